"""Absorption where the truth is known: the latent of a child takes over its parent, and the parent's falls silent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from interp.errors import InvalidInput
from interp.sae.synthetic.recovery import match_truth
from interp.sae.synthetic.source import unit_rows


def absorption(latents: Any, codes: Any, *, found: Any, truth: Any, parent: Any) -> pd.DataFrame:
    """Return a row for each child feature: how far its latent points along its parent, and what the parent's misses.

    Latents are matched one to one with true features (`match_truth`). score = cos(child's latent, true parent);
    score_truth = cos(true child, true parent), what a perfect dictionary scores. miss_with_child: share of rows with
    this child on (its parent then is too) in which the parent's latent is off; miss_without: the same of rows with
    the parent and none of its children on, the control: a latent that is off everywhere misses in both.

    Args:
        latents: [rows, M], on where positive; codes: [rows, n], of the same rows.
        found, truth: directions [M, d] and [n, d].
        parent: int [n], -1 for a feature without a parent.

    Returns:
        Columns child, parent, latent, parent_latent, cosine (child's latent with the child), score, score_truth,
        miss_with_child, miss_without, n_with, n_without, status.

    Reference: Costa et al. 2025 (score); Chanin et al. 2024 (absorption).
    """
    fired, on = np.asarray(latents) > 0, np.asarray(codes) > 0
    parent = np.asarray(parent)
    found, truth = unit_rows(found), unit_rows(truth)
    if parent.shape != (len(truth),) or on.shape != (len(fired), len(truth)) or fired.shape[1] != len(found):
        raise InvalidInput(
            f"{len(truth)} true and {len(found)} found directions need codes [rows, {len(truth)}], latents "
            f"[rows, {len(found)}] and parent [{len(truth)}]; given {list(on.shape)}, {list(fired.shape)}, "
            f"{list(parent.shape)}."
        )
    match = match_truth(found, truth)
    rows = []
    for child in np.flatnonzero(parent >= 0):
        above = int(parent[child])
        alone = on[:, above] & ~on[:, parent == above].any(axis=1)
        own, other = int(match.latent[child]), int(match.latent[above])
        row = {
            "child": int(child),
            "parent": above,
            "latent": own,
            "parent_latent": other,
            "cosine": float(match.cosine[child]),
            "score": float(found[own] @ truth[above]) if own >= 0 else np.nan,
            "score_truth": float(truth[child] @ truth[above]),
            "n_with": int(on[:, child].sum()),
            "n_without": int(alone.sum()),
        }
        silent = ~fired[:, other] if other >= 0 else np.ones(len(fired), dtype=bool)
        row["miss_with_child"] = float(silent[on[:, child]].mean()) if row["n_with"] else np.nan
        row["miss_without"] = float(silent[alone].mean()) if row["n_without"] else np.nan
        rows.append(row | {"status": _status(row)})
    names = ["child", "parent", "latent", "parent_latent", "cosine", "score", "score_truth", "miss_with_child"]
    return pd.DataFrame(rows, columns=[*names, "miss_without", "n_with", "n_without", "status"])


def summarise_absorption(table: pd.DataFrame) -> dict[str, float]:
    """Return the means over the children: score, score_truth, miss_with_child, miss_without (NaN without a child)."""
    columns = {n: table[n].to_numpy(np.float64) for n in ("score", "score_truth", "miss_with_child", "miss_without")}
    return {n: float(np.nanmean(x)) if np.isfinite(x).any() else float("nan") for n, x in columns.items()}


def _status(row: dict[str, Any]) -> str:
    if row["latent"] < 0:
        return "no latent is left for the child"
    if row["n_with"] == 0 or row["n_without"] == 0:
        return "the child never fires" if row["n_with"] == 0 else "the parent never fires alone"
    return "ok"
