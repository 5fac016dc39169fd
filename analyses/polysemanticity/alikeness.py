"""Monosemanticity score: are the things that a unit is on at alike? In closed form, for all units at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analyses.polysemanticity.sampling import checked_activations
from interp.errors import InvalidInput


def monosemanticity_score(activations: Any, embeddings: np.ndarray, *, centre: bool = True) -> pd.DataFrame:
    """Return MS of each unit, with the exact mean and sd that it has when activations are shuffled.

    MS = Σ_{n<m} ã_n ã_m cos(e_n, e_m) / Σ_{n<m} ã_n ã_m with ã the activations scaled to [0, 1]. The sums over pairs
    are (||Σ ã_n ê_n||² - Σ ã_n²) / 2 and ((Σ ã_n)² - Σ ã_n²) / 2, so that one matrix product serves all units. Under
    shuffling it is a statistic of two symmetric matrices, whose first two moments are known (Mantel).

    Args:
        activations: float [n, n_units]; dense. Negative values are not "less on": clip them, or take |a|, first.
        embeddings: float [n, d], one a row of activations.
        centre: subtract the mean embedding first, so that what all rows share counts for nothing.

    Returns:
        unit, ms, null_mean, null_sd, z, n (rows), n_active (rows above the smallest value), status.

    Raises:
        InvalidInput: shapes that do not fit, or negative activations.

    Reference: Pach et al. 2025 (the score); Mantel 1967 (moments under permutation of one of two matrices).
    """
    values, unit_rows = checked_activations(activations), _unit_rows(embeddings, centre)
    n, n_units = values.shape
    if len(unit_rows) != n:
        raise InvalidInput(f"{len(unit_rows)} embeddings for {n} rows of activations; each row needs one.")
    if (values < 0).any():
        raise InvalidInput("activations are negative in places; clip them at 0 or take their absolute value first.")
    a = _scaled(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        weights = _pair_sums(a)
        sums = a.T @ unit_rows
        own = (a**2).T @ (unit_rows**2).sum(axis=1)
        ms = ((sums**2).sum(axis=1) - own) / weights["total"]
        mean, sd = _shuffled_moments(weights, unit_rows)
        z = (ms - mean) / sd
    active = (a > 0).sum(axis=0)
    status = np.where(active >= 2, "ok", "fewer than two active rows")
    table = pd.DataFrame({"unit": np.arange(n_units), "ms": ms, "null_mean": mean, "null_sd": sd, "z": z})
    table.loc[status != "ok", ["ms", "null_mean", "null_sd", "z"]] = np.nan
    return table.assign(n=n, n_active=active, status=status)


def _unit_rows(embeddings: np.ndarray, centre: bool) -> np.ndarray:
    rows = np.asarray(embeddings, dtype=np.float64)
    if rows.ndim != 2:
        raise InvalidInput(f"embeddings are [n, d], not {list(rows.shape)}.")
    rows = rows - rows.mean(axis=0) if centre else rows
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 1e-12)


def _scaled(values: np.ndarray) -> np.ndarray:
    low, high = values.min(axis=0), values.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    return (values.astype(np.float64) - low) / span


def _pair_sums(a: np.ndarray) -> dict[str, np.ndarray]:
    """Return of w_nm = ã_n ã_m (n ≠ m): Σ w, Σ w², and Σ_n (Σ_m w_nm)², each [n_units]."""
    s1, s2, s3, s4 = ((a**p).sum(axis=0) for p in (1, 2, 3, 4))
    rows = s1**2 * s2 - 2 * s1 * s3 + s4
    return {"total": s1**2 - s2, "squares": s2**2 - s4, "rows": rows}


def _shuffled_moments(w: dict[str, np.ndarray], unit_rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and sd of MS over all permutations of the rows of one side."""
    n = len(unit_rows)
    lengths = (unit_rows**2).sum(axis=1)  # 1, or 0 for a row without a direction
    total = unit_rows.sum(axis=0)
    row_sums = unit_rows @ total - lengths
    gram = unit_rows.T @ unit_rows
    C0, C1 = row_sums.sum(), (row_sums**2).sum()
    C2 = (gram**2).sum() - (lengths**2).sum()
    W0, W1, W2 = w["total"], w["rows"], w["squares"]
    mean = C0 / (n * (n - 1)) * np.ones_like(W0)
    if n < 4:
        return mean, np.full_like(W0, np.nan)
    second = (
        2 * W2 * C2 / (n * (n - 1))
        + 4 * (W1 - W2) * (C1 - C2) / (n * (n - 1) * (n - 2))
        + (W0**2 + 2 * W2 - 4 * W1) * (C0**2 + 2 * C2 - 4 * C1) / (n * (n - 1) * (n - 2) * (n - 3))
    )
    return mean, np.sqrt(np.maximum(second / W0**2 - mean**2, 0.0))
