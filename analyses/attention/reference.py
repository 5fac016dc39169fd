"""Heads that the literature has named, and where a table of scores ranks them.

Thresholds of papers do not carry over to other text, other baselines and other normalisation, so the question is
whether a known head is near the top, not whether it is above a constant.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interp.errors import InvalidInput, UnknownName, nearest

_FILE = Path(__file__).parent / "reference_heads.csv"


def reference_heads(model: str) -> pd.DataFrame:
    """Return the known heads of a model: layer, head, role, score (that finds the role), source.

    Raises:
        UnknownName: no heads of this model are listed.
    """
    table: Any = pd.read_csv(_FILE)
    names = table["model"].unique().tolist()
    if model not in names:
        near = ", ".join(nearest(model, names))
        raise UnknownName(f"no known heads of {model!r}; nearest: {near}. Give a table with layer, head, role, score.")
    return table[table["model"] == model].drop(columns="model").reset_index(drop=True)


def compare_to_reference(scores: pd.DataFrame, reference: str | pd.DataFrame) -> pd.DataFrame:
    """Return the rank of each known head in a table of scores.

    Args:
        scores: one row a score and head, as of `head_scores` (column score) or `token_map_scores` (column kind).
        reference: a model of `reference_heads`, "gpt2-small", or a table with layer, head, role and score.

    Returns:
        One row a known head: role, layer, head, score, value, rank (1: largest), n_heads, found (the rank is at most
        twice the number of heads known for the score), auc (of the heads of this role against all heads that are not
        known for the score), n_known, source, status.

    Raises:
        InvalidInput: a table without layer, head, value and the names of scores. UnknownName: no such reference.
    """
    known = reference_heads(reference) if isinstance(reference, str) else reference
    name = next((c for c in ("score", "kind") if c in scores.columns), None)
    missing = [c for c in ("layer", "head", "value") if c not in scores.columns]
    if name is None or missing:
        raise InvalidInput(f"scores need the columns score (or kind), layer, head and value; missing: {missing}.")
    return pd.DataFrame([_row(head, scores[scores[name] == head["score"]], known) for head in known.to_dict("records")])


def _row(head: dict, table: Any, known: Any) -> dict:
    same = known[known["score"] == head["score"]]
    out = {
        **{k: head.get(k, "") for k in ("role", "layer", "head", "score")}, "value": np.nan, "rank": np.nan,
        "n_heads": len(table), "found": False, "auc": np.nan, "n_known": len(same), "source": head.get("source", ""),
    }  # fmt: skip
    own = table[(table["layer"] == head["layer"]) & (table["head"] == head["head"])]
    if len(own) != 1:
        return {**out, "status": "the scores do not have this head" if len(table) else "this score was not computed"}
    value = float(own["value"].iloc[0])
    rank = int((table["value"] > value).sum()) + 1
    role = same[same["role"] == head["role"]]
    listed = set(zip(same["layer"], same["head"], strict=True))
    here = [(int(r.layer), int(r.head)) for r in table.itertuples()]
    of_role = table["value"].to_numpy()[[h in set(zip(role["layer"], role["head"], strict=True)) for h in here]]
    others = table["value"].to_numpy()[[h not in listed for h in here]]
    return {**out, "value": value, "rank": rank, "found": rank <= 2 * len(same), "auc": _auc(of_role, others),
            "status": "ok"}  # fmt: skip


def _auc(high: np.ndarray, low: np.ndarray) -> float:
    """Return the share of pairs in which the first is larger, ties counting half."""
    if not len(high) or not len(low):
        return float("nan")
    difference = high[:, None] - low[None, :]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())
