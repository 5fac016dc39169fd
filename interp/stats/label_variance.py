"""How much of the activations a label accounts for: what a probe's score does not tell.

VE(f) = |P_f H|^2 / |H|^2, H the centred activations and P_f the regression of them on the label f. Two features that a
probe reads equally well can differ tenfold in it. On held-out rows: VE = 1 - |H - H_hat|^2 / |H - mean|^2 with H_hat
and the mean of the other folds; a label that says nothing has 0 or a little less, not (K - 1) / (n - 1).

Reference: Lampinen et al. 2024, section 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from interp.errors import InvalidInput
from interp.stats.ridge import check_targets, group_rows

_CUT = 1e-10


def variance_explained(h: Any, f: Any, folds: Any = None) -> float:
    """Return the share of the variance of h [n, d] that f accounts for.

    Args:
        f: numbers [n] or [n, k]; the classes of a label as `one_hot` columns.
        folds: [n], any labels: each fold is judged by a regression on the others. None: on the rows it was fitted to,
            which is never below 0 and too large.

    Returns:
        NaN where h never varies.

    Raises:
        InvalidInput: shapes that do not fit, NaN, or a single fold.
    """
    h = np.asarray(h, dtype=np.float64)
    if h.ndim != 2 or len(h) < 2 or not np.isfinite(h).all():
        raise InvalidInput(f"h is finite, [n, d] with at least two rows; given {h.shape}.")
    f = check_targets(f, len(h))
    everything = np.arange(len(h))
    parts = [everything] if folds is None else group_rows(folds, len(h))
    missed = total = 0.0
    for part in parts:
        rest = everything if folds is None else np.setdiff1d(everything, part, assume_unique=True)
        mean, level = h[rest].mean(axis=0), f[rest].mean(axis=0)
        slope = np.linalg.lstsq(f[rest] - level, h[rest] - mean, rcond=_CUT)[0]
        off = h[part] - mean
        missed += ((off - (f[part] - level) @ slope) ** 2).sum()
        total += (off**2).sum()
    return float(1 - missed / total) if total > 0 else float("nan")
