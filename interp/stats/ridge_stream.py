"""Ridge regression on rows that do not fit into memory: batches are added up and never kept.

What is kept is n, the means, and the centred sums of products; two parts are merged, and a part is taken out again,
by the update of Chan, Golub & LeVeque 1979, which does not cancel where means are large beside spreads. A fold that is
kept as a part of its own is left out by taking it from the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from interp.errors import InvalidInput
from interp.stats.ridge import RidgePath, check_alphas, check_targets


@dataclass(frozen=True)
class RidgeGram:
    """Sums over n rows of x [n, d] and y [n, t].

    Args:
        n: rows.
        x_mean, y_mean: [d], [t].
        xx, xy: [d, d], [d, t], sums of products of what is left after the means are taken off.
        yy: [t], sums of squares of y, centred.
    """

    n: int
    x_mean: np.ndarray
    y_mean: np.ndarray
    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray

    @classmethod
    def of(cls, x: Any, y: Any) -> RidgeGram:
        """Return the sums over one batch.

        Raises:
            InvalidInput: shapes that do not fit, no row, or NaN or infinity.
        """
        x = np.asarray(x, dtype=np.float64)
        if x.ndim != 2 or len(x) == 0 or not np.isfinite(x).all():
            raise InvalidInput(f"a batch is finite x [n, d] of at least one row; given {x.shape}.")
        y = check_targets(y, len(x))
        x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
        x, y = x - x_mean, y - y_mean
        return cls(len(x), x_mean, y_mean, x.T @ x, x.T @ y, (y**2).sum(axis=0))

    def add(self, x: Any, y: Any) -> RidgeGram:
        """Return the sums with a batch more."""
        return self.merge(RidgeGram.of(x, y))

    def merge(self, other: RidgeGram) -> RidgeGram:
        """Return the sums over the rows of both."""
        self._require_like(other)
        return self._combine(other, 1)

    def without(self, part: RidgeGram) -> RidgeGram:
        """Return the sums over the rows that are not in `part`, which was merged into these before.

        Raises:
            InvalidInput: a part of other columns, or of as many rows as these.
        """
        self._require_like(part)
        if part.n >= self.n:
            raise InvalidInput(f"{part.n} rows cannot be taken from {self.n}: nothing would be left to fit.")
        return self._combine(part, -1)

    def path(self, alphas: Any) -> RidgePath:
        """Return the ridge regressions for every penalty (see `interp.stats.ridge_path`)."""
        alphas = check_alphas(alphas)
        s2, vectors = linalg.eigh(self.xx, check_finite=False)
        s2, moment = np.maximum(s2, 0.0), vectors.T @ self.xy
        coef = np.stack([vectors @ (moment / (s2 + alpha)[:, None]) for alpha in alphas])
        return RidgePath(alphas, coef, self.y_mean - self.x_mean @ coef)

    def squared_error(self, path: RidgePath) -> np.ndarray:
        """Return the sum of squared errors of regressions on these rows, [a, t], from the sums alone."""
        shift = self.y_mean - self.x_mean @ path.coef - path.intercept
        fitted = (path.coef * (self.xx @ path.coef)).sum(axis=1)
        cross = (path.coef * self.xy).sum(axis=1)
        return np.maximum(self.yy - 2 * cross + fitted, 0.0) + self.n * shift**2

    def _combine(self, other: RidgeGram, sign: int) -> RidgeGram:
        n = self.n + sign * other.n
        share = other.n / n
        dx, dy = other.x_mean - self.x_mean, other.y_mean - self.y_mean
        weight = self.n * share
        return RidgeGram(
            n,
            self.x_mean + sign * share * dx,
            self.y_mean + sign * share * dy,
            self.xx + sign * (other.xx + weight * np.outer(dx, dx)),
            self.xy + sign * (other.xy + weight * np.outer(dx, dy)),
            np.maximum(self.yy + sign * (other.yy + weight * dy**2), 0.0),
        )

    def _require_like(self, other: RidgeGram) -> None:
        if self.xy.shape != other.xy.shape:
            raise InvalidInput(f"parts of {self.xy.shape} and {other.xy.shape} (columns, targets) cannot be combined.")


def fold_squared_error(folds: Sequence[RidgeGram], alphas: Any) -> np.ndarray:
    """Return the squared error on each fold of the regression on all the others, float64 [fold, a, t].

    One eigendecomposition a fold, and no row is read again.

    Raises:
        InvalidInput: fewer than two folds.
    """
    if len(folds) < 2:
        raise InvalidInput(f"{len(folds)} fold leaves nothing to fit; give at least 2.")
    whole = folds[0]
    for fold in folds[1:]:
        whole = whole.merge(fold)
    return np.stack([fold.squared_error(whole.without(fold).path(alphas)) for fold in folds])
