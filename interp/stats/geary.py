"""Geary's C of many features at once: how unlike neighbours are, beside all pairs of places."""

from __future__ import annotations

from typing import Any

import numpy as np

from interp.stats.moran_engines import EngineName
from interp.stats.moran_graph import MoranGraph
from interp.stats.permuted_sums import held_permutations, sums_by_block
from interp.stats.pvalues import Alternative, check_alternative
from interp.stats.seeds import check_seed
from interp.stats.spatial_input import checked_pair
from interp.stats.spatial_test import Collector, SpatialTest, opposite


def geary_c(
    X: Any,
    W: Any,
    *,
    permutations: int = 999,
    alternative: Alternative = "greater",
    seed: int = 0,
    min_active: int = 10,
    engine: EngineName = "auto",
) -> SpatialTest:
    """Measure C = (n - 1) / (2 S0) sum_ij w_ij (x_i - x_j)^2 / sum_i (x_i - mean)^2 of every column of X.

    Args:
        X: places x features, array or scipy sparse; never changed.
        W: places x places scipy sparse weights, used as they are, or a `MoranGraph` prepared from them.
        permutations: how many, shared by all features (the ones `moran_i` draws); 0 for the moments alone.
        alternative: "greater" positive autocorrelation, which is C < 1; "less" negative; or "two-sided".
        seed: seed of the permutations.
        min_active: features with fewer places off their majority value get status "too_rare".
        engine: "numba", "numpy", or whichever is there.

    Returns:
        `SpatialTest` with C as the statistic, mean 1 and the exact sd under randomisation. Its `alternative` is the
        tail of C itself. No p from moments is given: C is skewed for rare features, and only permutations follow that.

    Raises:
        InvalidInput: shapes that do not fit, weights without pairs, options out of range.

    Reference: Geary 1954; Cliff & Ord 1981, eqs 1.40 and 1.44 (mean and variance under randomisation).
    """
    tail = opposite(check_alternative(alternative))
    columns, graph = checked_pair(X, W, min_active)
    perm = held_permutations(graph.n, permutations, seed=check_seed(seed))
    out = Collector(columns)
    for block in sums_by_block(columns, graph, perm, centred=True, engine=engine):
        scale = (graph.n - 1) / (graph.n * graph.s0)
        statistic, permuted = (scale * (s[2] - 2.0 * s[0]) for s in (block.observed, block.permuted))
        sd = null_sd(graph.n, weight_sums(graph), block.moments[4] / graph.n)
        out.put(block.ids, statistic, (1.0, sd, np.nan), permuted)
    return out.result(permutations, seed, tail)


def weight_sums(graph: MoranGraph) -> tuple[float, float, float]:
    """Return S0 = sum w_ij, S1 = sum (w_ij + w_ji)^2 / 2 and S2 = sum (row sum + column sum)^2."""
    return graph.s0, 4.0 * graph.sums.same, 4.0 * float((graph.degree**2).sum())


def null_sd(n: int, sums: tuple[float, float, float], kurtosis: np.ndarray) -> np.ndarray:
    """Return the exact sd of C under randomisation, for S0, S1, S2 of the weights and sum z^4 / n of each feature."""
    s0, s1, s2 = sums
    a = (n - 1) * s1 * (n * n - 3 * n + 3 - (n - 1) * kurtosis)
    b = 0.25 * (n - 1) * s2 * (n * n + 3 * n - 6 - (n * n - n + 2) * kurtosis)
    c = s0**2 * (n * n - 3 - (n - 1) ** 2 * kurtosis)
    variance = (a - b + c) / (n * (n - 2) * (n - 3) * s0**2)
    return np.sqrt(np.where(variance > 1e-12, variance, 0.0))
