"""Moran's I of many features at every distance, each beside what shuffled places give at that distance.

One I at eight nearest neighbours mixes 7 km and 900 km. Here each band of distances is a graph of its own, and every
permutation is dealt once and read by all bands, so a whole curve can be compared with whole curves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from interp.errors import InvalidInput
from interp.stats.feature_columns import Columns, blocks, power_sums, read_columns, standardise
from interp.stats.moran_engines import EngineName, NumbaEngine, choose_engine
from interp.stats.moran_graph import PairSums
from interp.stats.moran_moments import pair_sum_variance
from interp.stats.permuted_sums import held_permutations
from interp.stats.pvalues import Alternative, check_alternative, permutation_p
from interp.stats.seeds import check_seed
from interp.stats.spatial_test import tails


@dataclass(frozen=True)
class Correlogram:
    """Arrays of shape (band, feature), NaN wherever `status` is not "ok"; `n_pairs` and `n_islands` are (band,).

    Attributes:
        I: Moran's I of the band.
        null_mean: -1 / (n - 1).
        null_sd: exact standard deviation under randomisation.
        low: lower end of the permutation envelope of this band.
        high: upper end.
        p: permutation p of this band, ties counted.
        status: "ok", "no_pairs", "constant_null", or the reason of the feature.
        n_pairs: pairs of places in the band.
        n_islands: places that are in none of its pairs; they count in n and in the mean, and have no neighbour.
        n_active: (feature,), places with a non-zero value.
        n_perm: permutations.
        n: number of places.
        level: share of permuted I inside the envelope, band by band.
        seed: seed of the permutations.
        alternative: the tail.
    """

    I: np.ndarray  # noqa: E741 - its name in every text on the subject
    null_mean: float
    null_sd: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    status: np.ndarray
    n_pairs: np.ndarray
    n_islands: np.ndarray
    n_active: np.ndarray
    n_perm: int
    n: int
    level: float
    seed: int
    alternative: Alternative


@dataclass(frozen=True, eq=False)
class Band:
    """Places of one band of distances: pairs (upper triangle), the sums its moments need, places without a pair."""

    upper: Any
    sums: PairSums
    n_islands: int


def correlogram_i(
    X: Any,
    bands: Sequence[Any],
    *,
    permutations: int = 999,
    alternative: Alternative = "two-sided",
    level: float = 0.95,
    seed: int = 0,
    min_active: int = 10,
    engine: EngineName = "auto",
) -> Correlogram:
    """Measure Moran's I of every column of X in every band.

    Args:
        X: places x features, array or scipy sparse; never changed.
        bands: places x places scipy sparse weights each; (W + W') / 2 is what counts. One may be empty.
        permutations: shared by all features and bands, those of `moran_i`.
        alternative: "greater", "less" or "two-sided".
        level: share of the permuted I of a band between `low` and `high`.
        seed: seed of the permutations.
        min_active: features with fewer places off their majority value get status "too_rare".
        engine: "numba", "numpy", or whichever is there.

    Raises:
        InvalidInput: no bands, shapes that do not fit, no permutations, or a level not between 0 and 1.

    Reference: Sokal & Oden 1978 (correlograms); Cliff & Ord 1981 (moments).
    """
    check_alternative(alternative)
    columns = read_columns(X, min_active=min_active)
    graphs = [read_band(W, columns.n) for W in bands]
    if not graphs or permutations < 1 or not 0 < level < 1:
        raise InvalidInput(
            f"{len(graphs)} bands, permutations={permutations}, level={level}; need a band, 1 or more, 0 to 1."
        )
    perm = held_permutations(columns.n, permutations, seed=check_seed(seed))
    found = _measure(columns, graphs, perm, level, alternative, isinstance(choose_engine(engine), NumbaEngine))
    status = band_status(columns, graphs)
    status[(status == "ok") & ~(found[1] > 0)] = "constant_null"
    values, sd, low, high, p = np.where(status == "ok", found, np.nan)
    return Correlogram(
        I=values,
        null_mean=-1.0 / (columns.n - 1),
        null_sd=sd,
        low=low,
        high=high,
        p=p,
        status=status,
        n_pairs=np.array([g.upper.nnz for g in graphs]),
        n_islands=np.array([g.n_islands for g in graphs]),
        n_active=columns.n_active,
        n_perm=permutations,
        n=columns.n,
        level=level,
        seed=seed,
        alternative=alternative,
    )


def _measure(
    columns: Columns, graphs: list[Band], perm: np.ndarray, level: float, alternative: Alternative, compiled: bool
) -> np.ndarray:
    """Return I, null sd, ends of the envelope and p, shape (5, band, feature), NaN where there is nothing to test."""
    found = np.full((5, len(graphs), columns.status.size), np.nan)
    for ids in blocks(np.flatnonzero(columns.status == "ok")):
        z = standardise(columns.rows(ids))
        observed = band_sums(z, graphs, np.arange(columns.n)[None, :], compiled)[0]
        dealt = band_sums(z, graphs, perm, compiled)
        for b, band in enumerate(graphs):
            if band.sums.s != 0:
                sd = _null_sd(band, columns.n, power_sums(z)[4])
                I, null = observed[b] / band.sums.s, dealt[:, b] / band.sums.s  # noqa: E741
                found[:, b, ids] = one_band(I, null, sd, level, alternative)
    return found


def _null_sd(band: Band, n: int, fourth: np.ndarray) -> np.ndarray:
    variance = pair_sum_variance(n, band.sums, fourth)
    vary = variance > 1e-12 * band.sums.s**2 / n
    return np.where(vary, np.sqrt(np.where(vary, variance, 1.0)) / abs(band.sums.s), 0.0)


def one_band(
    observed: np.ndarray, dealt: np.ndarray, sd: np.ndarray, level: float, alternative: Alternative
) -> np.ndarray:
    """Return I, null sd, ends of the envelope and p, shape (5, feature), from I as seen and as dealt."""
    ends = np.quantile(dealt, [(1 - level) / 2, (1 + level) / 2], axis=0)
    p = permutation_p(*tails(observed, dealt, sd), dealt.shape[0], alternative=alternative)
    return np.stack([observed, sd, *ends, p])


def read_band(W: Any, n: int) -> Band:
    """Return weights (place, place) as a band; W and its transpose count alike."""
    if not sparse.issparse(W) or W.shape != (n, n):
        raise InvalidInput(
            f"a band has shape {getattr(W, 'shape', None)}; expected sparse weights of {n} x {n} places."
        )
    csr = sparse.csr_array(W, dtype=np.float64)
    symmetric: Any = sparse.csr_array((csr + csr.T) * 0.5)
    if not np.isfinite(symmetric.data).all() or symmetric.diagonal().any():
        raise InvalidInput("a band has weights that are not finite, or on the diagonal; remove them.")
    symmetric.eliminate_zeros()
    upper = sparse.csr_array(sparse.triu(symmetric, 1))
    upper.sort_indices()
    row, squares = (np.asarray(m.sum(axis=1)).ravel() for m in (symmetric, symmetric.power(2)))
    s, same, sharing = float(upper.sum()), float(upper.power(2).sum()), float((row**2 - squares).sum())
    islands = int((np.diff(symmetric.indptr) == 0).sum())
    return Band(upper, PairSums(s, same, sharing, s**2 - same - sharing, {}), islands)


def band_status(columns: Columns, graphs: list[Band]) -> np.ndarray:
    """Return (band, feature): the status of the feature, or "no_pairs" where the band is empty."""
    status = np.tile(columns.status, (len(graphs), 1))
    for b, band in enumerate(graphs):
        if band.sums.s == 0:
            status[b, columns.status == "ok"] = "no_pairs"
    return status


def band_sums(z: np.ndarray, graphs: list[Band], perm: np.ndarray, compiled: bool) -> np.ndarray:
    """Return (permutation, band, feature): sum over the pairs of each band of a_e z_i z_j."""
    out = np.empty((perm.shape[0], len(graphs), z.shape[0]))
    by_place = np.ascontiguousarray(z.T)
    add: Any = None
    if compiled:
        from interp.stats.moran_kernels import pair_sums as add
    for p, row in enumerate(perm):
        dealt = by_place[row]
        for b, band in enumerate(graphs):
            if compiled:
                add(dealt, band.upper.indptr, band.upper.indices, band.upper.data, out[p, b])
            else:
                out[p, b] = np.ascontiguousarray(((band.upper @ dealt) * dealt).T).sum(axis=1)
    return out
