"""What every test of a spatial statistic returns, and how its permutations are counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from interp.stats.feature_columns import Columns
from interp.stats.pvalues import Alternative, pearson3_p, permutation_p

_TIE, _TIE_FLOOR = 1e-7, 1e-11  # two statistics are tied within this part of the null sd, or of their own size


@dataclass(frozen=True)
class SpatialTest:
    """Arrays of shape (feature,), or (feature, covariate); NaN (0 for counts) wherever `status` is not "ok".

    Attributes:
        statistic: the statistic, on its own scale.
        null_mean: its exact mean when values are dealt to places at random.
        null_sd: its exact standard deviation under the same null.
        skew: its exact skewness under the same null, NaN where no formula is at hand.
        z: (statistic - null_mean) / null_sd.
        p_analytic: Pearson III tail of z; NaN without a skewness.
        p_perm: (1 + exceedances) / (n_perm + 1), or twice the smaller tail.
        at_least: permuted statistics >= the observed one, ties counted.
        at_most: permuted statistics <= the observed one, ties counted.
        n_perm: permutations drawn.
        n_active: int64 (feature,), places with a non-zero value.
        status: "ok", or why there is no test.
        n: number of places.
        seed: seed of the permutations.
        alternative: the tail, of the statistic itself.
    """

    statistic: np.ndarray
    null_mean: np.ndarray
    null_sd: np.ndarray
    skew: np.ndarray
    z: np.ndarray
    p_analytic: np.ndarray
    p_perm: np.ndarray
    at_least: np.ndarray
    at_most: np.ndarray
    n_perm: np.ndarray
    n_active: np.ndarray
    status: np.ndarray
    n: int
    seed: int
    alternative: Alternative


def tails(statistic: np.ndarray, permuted: np.ndarray, null_sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count permuted statistics (permutation, ..) at least and at most `statistic` (..), ties in both."""
    tie = np.maximum(_TIE * np.nan_to_num(null_sd), _TIE_FLOOR * np.maximum(np.abs(statistic), np.nan_to_num(null_sd)))
    return (permuted >= statistic - tie).sum(axis=0), (permuted <= statistic + tie).sum(axis=0)


def opposite(alternative: Alternative) -> Alternative:
    """Return the other tail, for statistics that fall where likeness grows."""
    return {"greater": "less", "less": "greater"}.get(alternative, alternative)  # type: ignore[return-value]


class Collector:
    """The arrays of a `SpatialTest` while they are filled, block by block."""

    def __init__(self, columns: Columns, width: tuple[int, ...] = ()) -> None:
        shape = (columns.status.size, *width)
        self.columns = columns
        status = columns.status.reshape(-1, *(1 for _ in width))
        self.status = np.broadcast_to(status, shape).copy()
        self.statistic, self.mean, self.sd, self.skew = (np.full(shape, np.nan) for _ in range(4))
        self.at_least, self.at_most = (np.zeros(shape, dtype=np.int64) for _ in range(2))

    def put(self, ids: Any, statistic: np.ndarray, null: tuple[Any, Any, Any], permuted: np.ndarray) -> None:
        """Add the features at `ids`: statistic (feature,), null (mean, sd, skew), permuted (permutation, feature)."""
        mean, sd, skew = (np.broadcast_to(np.asarray(x, dtype=np.float64), statistic.shape) for x in null)
        self.statistic[ids], self.mean[ids], self.sd[ids], self.skew[ids] = statistic, mean, sd, skew
        self.at_least[ids], self.at_most[ids] = tails(statistic, permuted, sd)

    def result(self, n_perm: int, seed: int, alternative: Alternative) -> SpatialTest:
        """Return the test; a feature whose null cannot vary has status "constant_null"."""
        self.status[(self.status == "ok") & ~(self.sd > 0)] = "constant_null"
        ok = self.status == "ok"
        with np.errstate(invalid="ignore", divide="ignore"):
            z = np.where(ok, (self.statistic - self.mean) / self.sd, np.nan)
        at_least, at_most = np.where(ok, self.at_least, 0), np.where(ok, self.at_most, 0)
        drawn = np.where(ok, n_perm, 0)
        return SpatialTest(
            statistic=np.where(ok, self.statistic, np.nan),
            null_mean=np.where(ok, self.mean, np.nan),
            null_sd=np.where(ok, self.sd, np.nan),
            skew=np.where(ok, self.skew, np.nan),
            z=z,
            p_analytic=pearson3_p(z, np.where(ok, self.skew, np.nan), alternative=alternative),
            p_perm=permutation_p(at_least, at_most, drawn, alternative=alternative),
            at_least=at_least,
            at_most=at_most,
            n_perm=drawn,
            n_active=self.columns.n_active,
            status=self.status,
            n=self.columns.n,
            seed=seed,
            alternative=alternative,
        )
