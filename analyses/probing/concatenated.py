"""Several representations side by side (seeds, layers, models) against one of the same size.

Each seed may find one of several cues that are worth the same in training; side by side they hold all of them, which
shows where a cue is missing. More columns alone could do that too, so beside the whole stands its principal components,
as many as a single representation has columns, fitted on the training rows without the labels.

Reference: Zhang & Bottou 2023 (rich representations).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analyses.probing.compute import Data, ProbeConfig, read_data, status_of
from analyses.probing.fitting import KINDS, require_kind
from analyses.probing.labels import Labels, assign_folds, group_codes
from analyses.probing.layers import held_out_groups
from analyses.probing.scores import interval, score
from interp.errors import InvalidInput

TOGETHER, MATCHED, WIDER = "concatenated", "concatenated, size of one", "wider single"
IN_DOMAIN = "in domain"


def concat_probe(
    parts: Mapping[str, Any],
    y: Any,
    *,
    shifted: Mapping[str, tuple[Mapping[str, Any], Any]] | None = None,
    wider: tuple[Any, Mapping[str, Any]] | None = None,
    groups: Any = None,
    kind: str = "ridge",
    task: Any = "auto",
    seed: int = 0,
    test_share: float = 0.3,
    n_boot: int = 200,
) -> pd.DataFrame:
    """Return the score of each representation, of all side by side, and of these at the size of one.

    Every column is divided by its standard deviation on the training rows, so that no part weighs more for its units.

    Args:
        parts: name -> [n, d], representations of the same rows. y: [n]. groups: [n]; none is split.
        shifted: name -> (parts of other rows, under the same names; their labels): where the probes are judged
            without being fitted again, such as rows in which a cue is missing.
        wider: (x [n, sum of d], name -> x of each shifted set): one representation with as many columns as all
            together, where there is one; the match from above.
        kind, task: see `probe`. test_share: groups that are judged in domain.

    Returns:
        A row a representation and set ("in domain" and the shifted ones): representation, set, score, ci_low and
        ci_high (95 %, over groups in domain and over rows elsewhere), baseline, n_columns, metric, n, n_fitted, seed,
        status. "concatenated, size of one" has as many columns as the widest part.

    Raises:
        InvalidInput: fewer than two parts, rows that do not fit, or a shifted set with other names or labels.
    """
    if len(parts) < 2:
        raise InvalidInput(f"parts has {len(parts)} representation; side by side takes at least two, {{name: [n, d]}}.")
    config = ProbeConfig(kind=kind, task=task, seed=seed, n_perm=0, n_boot=n_boot)
    data = {name: read_data(x, y, groups, None, config) for name, x in parts.items()}
    first = next(iter(data.values()))
    require_kind(kind, first.labels)
    sets = {IN_DOMAIN: ({name: d.x for name, d in data.items()}, first.labels.y)}
    for name, (others, labels) in (shifted or {}).items():
        sets[name] = _shifted(name, others, labels, data, config)
    keep = held_out_groups(first.groups, test_share, seed=seed)
    size = max(d.x.shape[1] for d in data.values())
    given = {name: {at: x[name] for at, (x, _) in sets.items()} for name in data}
    given[TOGETHER] = {at: _side_by_side(x, data, keep) for at, (x, _) in sets.items()}
    given[MATCHED] = _components(given[TOGETHER], ~keep, size)
    if wider is not None:
        every = {IN_DOMAIN: wider[0], **wider[1]}
        given[WIDER] = {at: np.asarray(every[at], dtype=np.float64) for at in sets}
    truth = {at: labels for at, (_, labels) in sets.items()}
    rows = [row for name, xs in given.items() for row in _rows(name, xs, truth, first, keep, config)]
    return pd.DataFrame(rows)


def _shifted(
    name: str, others: Mapping[str, Any], labels: Any, data: dict[str, Data], config: ProbeConfig
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    if set(others) != set(data):
        raise InvalidInput(f"{name!r} has the parts {sorted(others)}; expected {sorted(data)}.")
    known = next(iter(data.values())).labels
    values = np.asarray(labels)
    if known.names:
        codes = {label: code for code, label in enumerate(known.names)}
        strange = sorted({str(v) for v in values} - set(codes))
        if strange:
            raise InvalidInput(f"{name!r} has labels that the probes were not fitted to: {', '.join(strange[:3])}.")
        y = np.array([codes[str(v)] for v in values], dtype=np.int64)
    else:
        y = values.astype(np.float64)
    rows = {part: read_data(x, y, None, None, config).x for part, x in others.items()}
    for part, x in rows.items():
        if x.shape[1] != data[part].x.shape[1]:
            raise InvalidInput(f"{part!r} of {name!r} has {x.shape[1]} columns; expected {data[part].x.shape[1]}.")
    return rows, y


def _side_by_side(x: Mapping[str, np.ndarray], data: dict[str, Data], keep: np.ndarray) -> np.ndarray:
    return np.concatenate([x[name] / _spread(d.x[~keep]) for name, d in data.items()], axis=1)


def _spread(x: np.ndarray) -> np.ndarray:
    sd = x.std(axis=0)
    return np.where(sd > 1e-10 * np.maximum(1.0, np.abs(x.mean(axis=0))), sd, np.inf)


def _components(x: Mapping[str, np.ndarray], fit: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """Return the principal components of the training rows, `size` of them or as many as there are."""
    rows = x[IN_DOMAIN][fit]
    mean = rows.mean(axis=0)
    axes = np.linalg.svd(rows - mean, full_matrices=False)[2][:size].T
    return {at: (part - mean) @ axes for at, part in x.items()}


def _rows(
    name: str, xs: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], first: Data, keep: np.ndarray, config: Any
) -> list[dict[str, Any]]:
    labels, groups = first.labels, first.groups
    fit = Labels(labels.y[~keep], labels.names)
    status = status_of(fit, groups[~keep])
    sd = _spread(xs[IN_DOMAIN][~keep])
    inner = assign_folds(group_codes(groups[~keep], int((~keep).sum())), config.n_folds, seed=config.seed)
    about = {"n_columns": xs[IN_DOMAIN].shape[1], "metric": labels.metric, "n_fitted": len(fit.y), "seed": config.seed}
    out = []
    for at, x in xs.items():
        rows = keep if at == IN_DOMAIN else np.full(len(x), True)
        y, own = truth[at][rows], group_codes(groups[rows], int(rows.sum())) if at == IN_DOMAIN else np.arange(len(x))
        found: dict[str, float] = dict.fromkeys(("score", "ci_low", "ci_high"), float("nan"))
        told = status if status != "ok" else "ok" if len(np.unique(y)) > 1 else "constant label"
        if told == "ok":
            scaled = xs[IN_DOMAIN][~keep] / sd
            guess = KINDS[config.kind](scaled, fit.y[None], x[rows] / sd, inner, labels, config.seed).values[0]
            once = np.zeros(len(y), dtype=np.int64)
            low, high = interval(labels, y, guess, once, own, n_boot=config.n_boot, seed=config.seed)
            found = {"score": score(labels, y, guess, once), "ci_low": low, "ci_high": high}
        chance = 0.0 if not labels.names else 0.5 if labels.n_classes == 2 else 1 / len(np.unique(y))
        out.append(
            {"representation": name, "set": at, **found, "baseline": chance, **about, "n": len(y), "status": told}
        )
    return out
