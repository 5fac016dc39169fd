"""Bivariate Moran's I and Lee's L of features against covariates, under two nulls that ask different questions.

I_xy = sum_ij w_ij zx_i zy_j / S0: is a feature high where the covariate is high nearby? Dealing the covariate to
places at random ("permutation") also destroys its own autocorrelation. That null is right for a covariate without any;
against a smooth one it rejects even white noise some 40 % of the time at 5 %, since the neighbours' mean of a smooth
covariate varies more than that of a shuffled one, and independent smooth features more often still. "spectral" keeps
the autocorrelation of both: the covariate is written in the eigenvectors of the weights, and each of its coefficients
gets a random sign, which leaves its variance and its own Moran's I exactly as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from interp.errors import InvalidInput, nearest
from interp.stats.feature_columns import Columns, blocks, read_columns, standardise
from interp.stats.moran_graph import checked_weights
from interp.stats.permuted_sums import held_permutations
from interp.stats.pvalues import Alternative, check_alternative
from interp.stats.seeds import check_seed, sign_draws
from interp.stats.spatial_test import Collector, SpatialTest

BivariateNull = Literal["permutation", "spectral"]

_MOST_PLACES = 6000  # of a dense eigendecomposition: some minutes and 300 MB


@dataclass(frozen=True)
class BivariateResult:
    """Bivariate Moran's I of every feature against every covariate.

    Attributes:
        test: arrays of shape (feature, covariate); status may also be "covariate_constant" or "covariate_nan".
        n_effective: (feature, covariate), how many eigenvectors carry the statistic, (sum c^2)^2 / sum c^4 over their
            contributions c; NaN under "permutation". Below about 4 the two fields are so smooth that few independent
            rearrangements exist, and p can be several times too small.
        null: the null.
    """

    test: SpatialTest
    n_effective: np.ndarray
    null: BivariateNull


@dataclass(frozen=True, eq=False)
class _Null:
    """Rearrangements of covariates: `turn` takes rows b (row, place) to the space they are drawn in."""

    kind: BivariateNull
    draws: np.ndarray
    basis: np.ndarray | None

    def turn(self, rows: np.ndarray) -> np.ndarray:
        """Return rows (row, place) in the basis."""
        return rows if self.basis is None else rows @ self.basis

    def rearranged(self, y: np.ndarray) -> np.ndarray:
        """Return (draw, place) of one turned covariate."""
        return y[self.draws] if self.basis is None else y * self.draws

    def moments(self, b: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return exact mean, sd and skewness of sum b y over all rearrangements, shape (feature,) each."""
        n = y.size
        if self.basis is not None:
            return np.zeros(len(b)), np.sqrt(((b * y) ** 2).sum(axis=1)), np.full(len(b), np.nan)
        centred = b - b.mean(axis=1, keepdims=True)
        sd = np.sqrt((centred**2).sum(axis=1) * (y**2).sum() / (n - 1))
        third = n * (centred**3).sum(axis=1) * (y**3).sum() / ((n - 1) * (n - 2))
        return np.zeros(len(b)), sd, third / np.where(sd > 0, sd, np.nan) ** 3


def bivariate_moran_i(
    X: Any,
    V: Any,
    W: Any,
    *,
    null: BivariateNull,
    permutations: int = 999,
    alternative: Alternative = "two-sided",
    seed: int = 0,
    min_active: int = 10,
    basis: np.ndarray | None = None,
) -> BivariateResult:
    """Measure every column of X against the neighbours' values of every column of V.

    Args:
        X: places x features, array or scipy sparse; never changed.
        V: places x covariates, likewise; may be X or part of it, for features against features.
        W: places x places scipy sparse weights, used as they are.
        null: see above; there is no default. Independent fields rejected at 5 % under "spectral" (in brackets:
            "permutation"), by how far they reach: 640 km 5 % (25), 1,900 km 5 % (56), 6,400 km 13 % (73). Against
            latitude, a trend over the whole map: 3 % (60), 10 % (77), 24 % (86). So fields of the size of the map
            remain out of reach of either (see `n_effective`); against a few such trends, use `residual_moran_i`.
        permutations: rearrangements of the covariate, shared by all features; 0 for the moments alone.
        alternative: "greater", "less" or "two-sided".
        seed: seed of the rearrangements.
        min_active: features with fewer places off their majority value get status "too_rare".
        basis: from `spectral_basis(W)`, where it is used more than once.

    Raises:
        InvalidInput: shapes that do not fit, an unknown null, or more than 6,000 places for "spectral".

    Reference: Wartenberg 1985 (I_xy); Wagner & Dray 2015, "singleton" (Moran spectral randomization).
    """
    csr = checked_weights(W)

    def spread(z: np.ndarray) -> np.ndarray:
        return csr.T @ z / csr.sum()

    return _cross(X, V, csr, spread, null, permutations, alternative, seed, min_active, basis)


def lee_l_i(
    X: Any,
    V: Any,
    W: Any,
    *,
    null: BivariateNull,
    permutations: int = 999,
    alternative: Alternative = "two-sided",
    seed: int = 0,
    min_active: int = 10,
    basis: np.ndarray | None = None,
) -> BivariateResult:
    """Measure how alike the neighbourhood means of every column of X and of every column of V are.

    L_xy = sum_i (sum_j w_ij zx_j) (sum_j w_ij zy_j) / sum_i (sum_j w_ij)^2, which, unlike bivariate Moran's I, is
    symmetric in x and y. Arguments, nulls and errors are those of `bivariate_moran_i`; both nulls rearrange the
    covariate alone, so that a correlation at the same places counts as association (Lee's own null moves pairs).

    Reference: Lee 2001, eq. 16.
    """
    csr = checked_weights(W)
    total = float((np.asarray(csr.sum(axis=1)) ** 2).sum())

    def spread(z: np.ndarray) -> np.ndarray:
        return csr.T @ (csr @ z) / total

    return _cross(X, V, csr, spread, null, permutations, alternative, seed, min_active, basis)


def _cross(
    X: Any,
    V: Any,
    csr: Any,
    spread: Callable[[np.ndarray], np.ndarray],
    null: BivariateNull,
    permutations: int,
    alternative: Alternative,
    seed: int,
    min_active: int,
    basis: np.ndarray | None,
) -> BivariateResult:
    """Measure sum_i b_i zy_i, where `spread` takes zx to b, both (place, feature)."""
    check_alternative(alternative)
    columns, covariates = read_columns(X, min_active=min_active), read_columns(V, min_active=0)
    n = csr.shape[0]
    if not columns.n == covariates.n == n:
        raise InvalidInput(f"X has {columns.n} places, V has {covariates.n} and W has {n}; they must be the same.")
    rule = _null(null, csr, permutations, check_seed(seed), basis)
    out = Collector(columns, (covariates.status.size,))
    n_effective = np.full(out.status.shape, np.nan)
    _mark(out, covariates)
    for c in np.flatnonzero(covariates.status == "ok"):
        y = standardise(covariates.rows(np.array([c])))[0]
        turned = rule.turn(y[None, :])[0]
        dealt = np.ascontiguousarray(rule.rearranged(turned).T)
        for ids in blocks(np.flatnonzero(columns.status == "ok")):
            b = np.ascontiguousarray(spread(standardise(columns.rows(ids)).T).T)
            b_turned = rule.turn(b)
            observed, null_moments = (b * y).sum(axis=1), rule.moments(b_turned, turned)
            out.put((ids, c), observed, null_moments, (b_turned @ dealt).T)
            if rule.basis is not None:
                share = (b_turned * turned) ** 2
                n_effective[ids, c] = share.sum(axis=1) ** 2 / (share**2).sum(axis=1)
    return BivariateResult(out.result(permutations, seed, alternative), n_effective, null)


def _mark(out: Collector, covariates: Columns) -> None:
    for c in np.flatnonzero(covariates.status != "ok"):
        testable = out.status[:, c] == "ok"
        out.status[testable, c] = f"covariate_{covariates.status[c]}"


def _null(kind: str, csr: Any, permutations: int, seed: int, basis: np.ndarray | None) -> _Null:
    n = csr.shape[0]
    for valid in get_args(BivariateNull):
        if kind == valid:
            break
    else:
        close = nearest(str(kind), get_args(BivariateNull), n=1)[0]
        raise InvalidInput(f"null={kind!r} is not one of {get_args(BivariateNull)}; did you mean {close!r}?")
    if kind == "permutation":
        return _Null("permutation", held_permutations(n, permutations, seed=seed), None)
    vectors = spectral_basis(csr) if basis is None else np.asarray(basis, dtype=np.float64)
    if vectors.shape != (n, n):
        raise InvalidInput(f"basis has shape {vectors.shape}; expected ({n}, {n}), from spectral_basis(W).")
    if permutations < 0:
        raise InvalidInput(f"permutations={permutations}; expected 0 or more, e.g. 999.")
    return _Null("spectral", sign_draws(n, permutations, seed=seed), vectors)


def spectral_basis(W: Any) -> np.ndarray:
    """Return the eigenvectors of the centred symmetric part of W as columns, float64 (place, place).

    M (W + W') / 2 M with M = 1 - 11'/n; a field's own Moran's I is the weighted mean of the eigenvalues, with its
    squared coefficients as the weights, so signs do not matter to it.

    Raises:
        InvalidInput: more than 6,000 places, for which a dense decomposition is too much.

    Reference: de Jong, Sprenger & van Veen 1984; Dray 2011.
    """
    csr = checked_weights(W)
    n = csr.shape[0]
    if n > _MOST_PLACES:
        raise InvalidInput(f"{n:,} places are too many for a spectral null (at most {_MOST_PLACES:,}); take a sample.")
    dense = ((csr + csr.T) / 2).toarray()
    dense -= dense.mean(axis=0, keepdims=True)
    dense -= dense.mean(axis=1, keepdims=True)
    return np.linalg.eigh((dense + dense.T) / 2)[1]
