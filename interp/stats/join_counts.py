"""Join counts of binary firing: how many neighbouring pairs both fire, both are silent, or differ.

With f of n places firing and each pair of places e weighing a_e = (w_ij + w_ji) / 2:
BB = sum a_e [both fire], WW = sum a_e [neither], BW = sum a_e [one of two]. Under the null every choice of f firing
places is as likely, so all moments are counts: the exact mean, sd and skewness of BB and WW are given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from interp.errors import InvalidInput
from interp.stats.moran_engines import EngineName
from interp.stats.moran_graph import MoranGraph
from interp.stats.permuted_sums import held_permutations, sums_by_block
from interp.stats.pvalues import Alternative, check_alternative
from interp.stats.seeds import check_seed
from interp.stats.spatial_input import checked_pair
from interp.stats.spatial_test import Collector, SpatialTest, opposite


@dataclass(frozen=True)
class JoinCounts:
    """The three counts, each a `SpatialTest` of shape (feature,); `bw` has no skewness and so no analytic p."""

    bb: SpatialTest
    bw: SpatialTest
    ww: SpatialTest


def count_joins(
    X: Any,
    W: Any,
    *,
    threshold: float = 0.0,
    permutations: int = 999,
    alternative: Alternative = "greater",
    seed: int = 0,
    min_active: int = 10,
    engine: EngineName = "auto",
) -> JoinCounts:
    """Count the joins of every column of X, which fires where it exceeds `threshold`.

    Args:
        X: places x features, array or scipy sparse; never changed.
        W: places x places scipy sparse weights or a `MoranGraph`; for counts of pairs, binary and symmetric.
        threshold: a place fires above it; 0 or more for a sparse X.
        permutations: how many, shared by all features; 0 for the moments alone.
        alternative: "greater" clustered firing (many BB and WW, few BW), "less" or "two-sided".
        seed: seed of the permutations.
        min_active: features with fewer firing, or fewer silent, places get status "too_rare".
        engine: "numba", "numpy", or whichever is there.

    Returns:
        `JoinCounts`; `n_active` counts firing places.

    Raises:
        InvalidInput: shapes that do not fit, weights without pairs, options out of range.

    Reference: Cliff & Ord 1981, eqs 1.27-1.32 (non-free sampling).
    """
    check_alternative(alternative)
    firing, finite = _firing(X, threshold)
    columns, graph = checked_pair(firing, W, min_active)
    columns.status[~finite] = "nan"
    perm = held_permutations(graph.n, permutations, seed=check_seed(seed))
    bb, bw, ww = (Collector(columns) for _ in range(3))
    for block in sums_by_block(columns, graph, perm, centred=False, engine=engine):
        fires = columns.n_active[block.ids].astype(np.float64)
        sd = np.sqrt(fires / graph.n * (1 - fires / graph.n))  # the sums are of x / sd, with x of 0 and 1
        seen, dealt = (_counts(s, sd, graph.s0) for s in (block.observed, block.permuted))
        nulls = (_both_null(graph, fires), _differ_null(graph, fires), _both_null(graph, graph.n - fires))
        for out, mine, permuted, null in zip((bb, bw, ww), seen, dealt, nulls, strict=True):
            out.put(block.ids, mine, null, permuted)
    clustered = (alternative, opposite(alternative), alternative)
    return JoinCounts(*(c.result(permutations, seed, tail) for c, tail in zip((bb, bw, ww), clustered, strict=True)))


def _firing(X: Any, threshold: float) -> tuple[Any, np.ndarray]:
    """Return X > threshold as float64 0 and 1, and which features are finite throughout."""
    if not np.isfinite(threshold):
        raise InvalidInput(f"threshold={threshold!r}; expected a number.")
    if not sparse.issparse(X):
        values = np.asarray(X)
        if values.ndim != 2 or values.dtype.kind not in "fiub":
            raise InvalidInput(f"X has shape {values.shape} of {values.dtype}; expected real places x features.")
        return (values > threshold).astype(np.float64), np.asarray(np.isfinite(values).all(axis=0))
    if threshold < 0:
        raise InvalidInput(f"threshold={threshold} lets every zero of a sparse X fire; give 0 or more.")
    csc: Any = sparse.csc_array(X, dtype=np.float64, copy=True)
    csc.sum_duplicates()
    owner = np.repeat(np.arange(csc.shape[1]), np.diff(csc.indptr))
    finite = np.bincount(owner[~np.isfinite(csc.data)], minlength=csc.shape[1]) == 0
    csc.data = (csc.data > threshold).astype(np.float64)
    return csc, finite


def _counts(sums: np.ndarray, sd: np.ndarray, s0: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    both, one_end = sums[0] * sd**2, sums[2] * sd**2  # sum degree x counts each joined pair once an end
    return both, one_end - 2 * both, s0 / 2 - one_end + both


def _falling(count: np.ndarray, k: int, n: int) -> np.ndarray:
    """Chance that k given places are all among `count` of n."""
    out = np.ones(np.shape(count))
    for step in range(k):
        out = out * np.maximum(count - step, 0) / max(n - step, 1)
    return out


def _spread(second: np.ndarray, mean: np.ndarray) -> np.ndarray:
    variance = second - mean**2
    return np.sqrt(np.where(variance > 1e-12 * second, variance, 0.0))


def _both_null(graph: MoranGraph, count: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n, sums = graph.n, graph.sums
    among = {k: _falling(count, k, n) for k in range(2, 7)}
    mean = sums.s * among[2]
    second = sums.same * among[2] + sums.sharing * among[3] + sums.apart * among[4]
    third = sum((c * among[len(pattern)] for pattern, c in sums.triple.items()), start=np.zeros(count.shape))
    sd = _spread(second, mean)
    some = sd > 0
    skew = np.where(some, (third - 3 * mean * sd**2 - mean**3) / np.where(some, sd, 1.0) ** 3, np.nan)
    return mean, sd, skew


def _differ_null(graph: MoranGraph, count: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n, sums, rest = graph.n, graph.sums, graph.n - count
    pair = 2 * count * rest / (n * (n - 1))
    wedge = (count * rest * (rest - 1) + rest * count * (count - 1)) / (n * (n - 1) * (n - 2))
    two_pairs = 4 * count * (count - 1) * rest * (rest - 1) / (n * (n - 1) * (n - 2) * (n - 3))
    mean = sums.s * pair
    second = sums.same * pair + sums.sharing * wedge + sums.apart * two_pairs
    return mean, _spread(second, mean), np.full(count.shape, np.nan)
