"""The empirical semivariogram of many features: how unlike places are at every distance, beside shuffled places.

gamma(h) = sum (x_i - x_j)^2 / (2 N(h)) over the N(h) pairs of a band. In units of the feature's variance it is Geary's
C of the band: 1 for a feature without pattern, near 0 where neighbours are alike, and at its sill where they no longer
are. That ratio is what is returned; times `variance` it is the semivariance itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from interp.errors import InvalidInput
from interp.stats.correlogram import Band, band_status, band_sums, one_band, read_band
from interp.stats.feature_columns import Columns, blocks, power_sums, read_columns, standardise
from interp.stats.geary import null_sd
from interp.stats.moran_engines import EngineName, NumbaEngine, choose_engine
from interp.stats.permuted_sums import held_permutations
from interp.stats.pvalues import Alternative, check_alternative
from interp.stats.seeds import check_seed
from interp.stats.spatial_test import opposite


@dataclass(frozen=True)
class Variogram:
    """Arrays of shape (band, feature), NaN wherever `status` is not "ok"; `n_pairs` is (band,).

    Attributes:
        gamma: semivariance over `variance`.
        null_sd: its exact sd when values are dealt to places at random; its mean is 1.
        low: lower end of the permutation envelope of this band.
        high: upper end.
        p: permutation p of this band, ties counted.
        status: "ok", "no_pairs", "constant_null", or the reason of the feature.
        n_pairs: pairs of places in the band.
        variance: (feature,), sum (x - mean)^2 / (n - 1).
        n_active: (feature,), places with a non-zero value.
        n_perm: permutations.
        n: number of places.
        level: share of permuted values inside the envelope, band by band.
        seed: seed of the permutations.
        alternative: the tail: "greater" is positive autocorrelation, which is a low gamma.
    """

    gamma: np.ndarray
    null_sd: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    status: np.ndarray
    n_pairs: np.ndarray
    variance: np.ndarray
    n_active: np.ndarray
    n_perm: int
    n: int
    level: float
    seed: int
    alternative: Alternative


def variogram_gamma(
    X: Any,
    bands: Sequence[Any],
    *,
    permutations: int = 999,
    alternative: Alternative = "two-sided",
    level: float = 0.95,
    seed: int = 0,
    min_active: int = 10,
    engine: EngineName = "auto",
) -> Variogram:
    """Measure the semivariance of every column of X in every band.

    Args:
        X: places x features, array or scipy sparse; never changed.
        bands: places x places scipy sparse weights each, binary for the plain semivariance. One may be empty.
        permutations: shared by all features and bands, those of `moran_i`.
        alternative: "greater" (alike at this distance), "less" (unlike) or "two-sided".
        level: share of the permuted values of a band between `low` and `high`.
        seed: seed of the permutations.
        min_active: features with fewer places off their majority value get status "too_rare".
        engine: "numba", "numpy", or whichever is there.

    Raises:
        InvalidInput: no bands, shapes that do not fit, no permutations, or a level not between 0 and 1.

    Reference: Matheron 1963 (estimator); Cliff & Ord 1981, eq. 1.44 (variance, as that of Geary's C).
    """
    tail = opposite(check_alternative(alternative))
    columns = read_columns(X, min_active=min_active)
    graphs = [read_band(W, columns.n) for W in bands]
    if not graphs or permutations < 1 or not 0 < level < 1:
        raise InvalidInput(
            f"{len(graphs)} bands, permutations={permutations}, level={level}; need a band, 1 or more, 0 to 1."
        )
    perm = held_permutations(columns.n, permutations, seed=check_seed(seed))
    compiled = isinstance(choose_engine(engine), NumbaEngine)
    found, variance = _measure(columns, graphs, perm, level, tail, compiled)
    status = band_status(columns, graphs)
    status[(status == "ok") & ~(found[1] > 0)] = "constant_null"
    gamma, sd, low, high, p = np.where(status == "ok", found, np.nan)
    return Variogram(
        gamma=gamma,
        null_sd=sd,
        low=low,
        high=high,
        p=p,
        status=status,
        n_pairs=np.array([g.upper.nnz for g in graphs]),
        variance=variance,
        n_active=columns.n_active,
        n_perm=permutations,
        n=columns.n,
        level=level,
        seed=seed,
        alternative=alternative,
    )


def _measure(
    columns: Columns, graphs: list[Band], perm: np.ndarray, level: float, tail: Alternative, compiled: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return gamma, null sd, ends of the envelope and p, shape (5, band, feature), and variances."""
    n = columns.n
    found, variance = np.full((5, len(graphs), columns.status.size), np.nan), np.full(columns.status.size, np.nan)
    own = np.arange(n, dtype=perm.dtype)[None, :]
    degrees = [np.asarray((g.upper + g.upper.T).sum(axis=1)).ravel() for g in graphs]
    for ids in blocks(np.flatnonzero(columns.status == "ok")):
        values = columns.rows(ids)
        z = standardise(values)
        variance[ids] = values.var(axis=1, ddof=1)
        products = [band_sums(z, graphs, p, compiled) for p in (own, perm)]
        squares = z**2
        for b, (band, degree) in enumerate(zip(graphs, degrees, strict=True)):
            if band.sums.s == 0:
                continue
            scale = (n - 1) / (n * 2.0 * band.sums.s)
            seen, dealt = (
                scale * (_ends(squares, degree, p) - 2.0 * h[:, b]) for p, h in zip((own, perm), products, strict=True)
            )
            sums = (2.0 * band.sums.s, 4.0 * band.sums.same, 4.0 * float((degree**2).sum()))
            found[:, b, ids] = one_band(seen[0], dealt, null_sd(n, sums, power_sums(z)[4] / n), level, tail)
    return found, variance


def _ends(squares: np.ndarray, degree: np.ndarray, perm: np.ndarray) -> np.ndarray:
    """Return (permutation, feature): sum over places of degree times the square that is dealt there."""
    back = np.empty(perm.shape)
    np.put_along_axis(back, perm, np.broadcast_to(degree, perm.shape), axis=1)  # the degree that each value meets
    return back @ squares.T
