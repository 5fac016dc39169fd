"""Getis and Ord's G: do high values meet high ones? One number a feature, or one a place.

The global G needs values of one sign. The local Gi compares the sum over the neighbours with what a draw from all
other places would give; Gi* counts the place itself in. Its p is conditional on the value at the place and comes from
draws, because the normal tail of a sum of eight mostly silent places is no tail at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from interp.stats.feature_columns import Columns, standardise
from interp.stats.local_autocorrelation import conditional_draws, conditional_tails, draws_without
from interp.stats.moran_engines import EngineName, NumbaEngine, choose_engine
from interp.stats.moran_graph import MoranGraph
from interp.stats.moran_moments import pair_sum_variance
from interp.stats.permuted_sums import BlockSums, held_permutations, sums_by_block
from interp.stats.pvalues import Alternative, check_alternative, permutation_p
from interp.stats.seeds import check_seed
from interp.stats.spatial_input import checked_local, checked_pair
from interp.stats.spatial_test import Collector, SpatialTest


def getis_ord_g(
    X: Any,
    W: Any,
    *,
    permutations: int = 999,
    alternative: Alternative = "greater",
    seed: int = 0,
    min_active: int = 10,
    engine: EngineName = "auto",
) -> SpatialTest:
    """Measure G = sum_ij w_ij x_i x_j / sum_{i != j} x_i x_j of every column of X.

    Args:
        X: places x features, array or scipy sparse, no value below 0 (else status "negative"); never changed.
        W: places x places scipy sparse weights or a `MoranGraph`; binary ones are usual.
        permutations: how many, shared by all features; 0 for the moments alone.
        alternative: "greater" (high values together), "less" or "two-sided".
        seed: seed of the permutations.
        min_active: features with fewer places off their majority value get status "too_rare".
        engine: "numba", "numpy", or whichever is there.

    Returns:
        `SpatialTest` with G as the statistic and its exact mean and sd under randomisation.

    Raises:
        InvalidInput: shapes that do not fit, weights without pairs, options out of range.

    Reference: Getis & Ord 1992, eqs 5-8.
    """
    check_alternative(alternative)
    columns, graph = checked_pair(X, W, min_active)
    columns.status[(columns.status == "ok") & _any_negative(columns)] = "negative"
    perm = held_permutations(graph.n, permutations, seed=check_seed(seed))
    out = Collector(columns)
    for block in sums_by_block(columns, graph, perm, centred=False, engine=engine):
        n, m = graph.n, block.mean
        all_pairs = n * (n * m**2 - (1.0 + m**2))  # (sum x)^2 - sum x^2, where x has variance 1
        statistic, permuted = (2.0 * s[0] / all_pairs for s in (block.observed, block.permuted))
        sd = 2.0 * np.sqrt(_pair_variance(graph, block)) / all_pairs
        out.put(block.ids, statistic, (graph.s0 / (n * (n - 1)), sd, np.nan), permuted)
    return out.result(permutations, seed, alternative)


def _any_negative(columns: Columns) -> np.ndarray:
    matrix = columns.matrix
    if not sparse.issparse(matrix):
        return (matrix < 0).any(axis=0)
    owner = np.repeat(np.arange(matrix.shape[1]), np.diff(matrix.indptr))
    return np.bincount(owner[matrix.data < 0], minlength=matrix.shape[1]) > 0


def _pair_variance(graph: MoranGraph, block: BlockSums) -> np.ndarray:
    """Variance of sum over pairs a_e x_i x_j for x = m + z: of its quadratic part, its linear part, and between."""
    n, sums, m, p3 = graph.n, graph.sums, block.mean, block.moments[3]
    quadratic = pair_sum_variance(n, sums, block.moments[4])
    degree, squares = graph.degree, float((graph.degree**2).sum())
    linear = float(((degree - degree.mean()) ** 2).sum()) * n / (n - 1)
    between = -squares * p3 / (n * (n - 1)) + (sums.s * graph.s0 - squares) * 2 * p3 / (n * (n - 1) * (n - 2))
    variance = quadratic + m**2 * linear + 2 * m * between
    return np.where(variance > 1e-13 * (sums.s * (1 + m**2)) ** 2 / n, variance, 0.0)


@dataclass(frozen=True)
class LocalGResult:
    """Arrays of shape (place, feature), NaN wherever `status` is not "ok".

    Attributes:
        z: Gi or Gi* as a standard score: its exact mean and sd over draws of neighbours.
        lag: weighted sum of the standardised values of the neighbours (and the place itself, for Gi*).
        p: conditional permutation p, ties in both tails.
        n_perm: draws that a p rests on.
        status: "ok"; "island" (no neighbours), "no_draws"; or the reason of the whole feature.
        seed: seed of the draws.
        star: whether the place counts among its neighbours.
        alternative: the tail.
    """

    z: np.ndarray
    lag: np.ndarray
    p: np.ndarray
    n_perm: np.ndarray
    status: np.ndarray
    seed: int
    star: bool
    alternative: Alternative


def getis_ord_local(
    X: Any,
    W: Any,
    *,
    star: bool = True,
    permutations: int = 9999,
    alternative: Alternative = "two-sided",
    seed: int = 0,
    min_active: int = 10,
    engine: EngineName = "auto",
) -> LocalGResult:
    """Find the places among high (z > 0) or low (z < 0) values: Gi, or Gi* with the place itself.

    z_i = (sum_j w_ij x_j - W_i m) / (s sqrt((N S_1i - W_i^2) / (N - 1))), with W_i = sum_j w_ij, S_1i = sum_j w_ij^2,
    and m, s over all N = n places for Gi*, over the N = n - 1 others for Gi. (esda 2.9 writes W_i for S_1i, which is
    the same for binary weights alone; here row-standardised and binary weights give one z.)

    Args:
        X: places x features, array or scipy sparse; never changed.
        W: places x places scipy sparse weights, used as they are, no diagonal.
        star: count the place itself, with the largest weight of its row.
        permutations: conditional draws shared by all places and features, those of `local_moran_i`.
        alternative: "greater" (hot), "less" (cold) or "two-sided".
        seed: seed of the draws.
        min_active: features with fewer places off their majority value get status "too_rare".
        engine: "numba", "numpy", or whichever is there; the numbers are the same.

    Raises:
        InvalidInput: shapes that do not fit, weights without pairs, no permutations, or a place joined to all others.

    Reference: Ord & Getis 1995, eqs 14-15; Anselin 1995 (conditional randomization).
    """
    check_alternative(alternative)
    columns, csr = checked_local(X, W, permutations, min_active)
    compiled = isinstance(choose_engine(engine), NumbaEngine)
    n, n_features = csr.shape[0], columns.status.size
    draws = conditional_draws(csr, permutations, check_seed(seed))
    total = draws_without(n, draws)
    z_out, lags, p = (np.full((n, n_features), np.nan) for _ in range(3))
    n_perm, status = np.zeros((n, n_features), dtype=np.int64), np.tile(columns.status, (n, 1))
    for f in np.flatnonzero(columns.status == "ok"):
        x = standardise(columns.rows(np.array([f])))[0]
        at_least, at_most = conditional_tails(x, csr @ x, draws, compiled=compiled)
        score, lag = _scores(x, csr, star=star)
        status[np.diff(csr.indptr) == 0, f] = "island"
        status[(status[:, f] == "ok") & (total == 0), f] = "no_draws"
        status[(status[:, f] == "ok") & np.isnan(score), f] = "constant_null"
        ok = status[:, f] == "ok"
        z_out[ok, f], lags[ok, f], n_perm[ok, f] = score[ok], lag[ok], total[ok]
        p[ok, f] = permutation_p(at_least, at_most, total, alternative=alternative)[ok]
    return LocalGResult(z_out, lags, p, n_perm, status, int(seed), star, alternative)


def _scores(x: np.ndarray, csr: Any, *, star: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return z and the weighted sum, for x of mean 0 and mean square 1."""
    n = x.size
    own = np.asarray(csr.max(axis=1).todense()).ravel() if star else np.zeros(n)
    lag = csr @ x + own * x
    total = np.asarray(csr.sum(axis=1)).ravel() + own
    squares = np.asarray(csr.power(2).sum(axis=1)).ravel() + own**2
    size = n if star else n - 1
    mean = np.zeros(n) if star else -x / size
    variance = np.ones(n) if star else (n - x**2) / size - mean**2
    spread = variance * (size * squares - total**2) / (size - 1)
    some = spread > 1e-12 * np.maximum(squares, 1e-300)
    return np.where(some, (lag - total * mean) / np.sqrt(np.where(some, spread, 1.0)), np.nan), lag
