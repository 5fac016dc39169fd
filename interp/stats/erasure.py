"""Take a concept out of activations by an affine map: LEACE, mean projection, and a random subspace to compare with.

With x centred, z the concept (a column a class, or numbers) and S the covariance of x, W = S^(-1/2) (pseudo-inverse):

    LEACE             x - W^+ P W (x - mean)    P projects onto the columns of W cov(x, z)
    mean projection   x - P (x - mean)          P projects onto the columns of cov(x, z)
    random            x - P (x - mean)          P projects onto as many random directions

After either of the first two no linear map fitted by least squares, and no linear classifier of any convex loss, does
better than a constant on the rows it was fitted to; LEACE is the one that changes x least.

Reference: Belrose et al. 2023, theorem 4.3 (LEACE), theorem 4.1 (why it is enough).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from interp.errors import InvalidInput
from interp.stats.ridge import check_targets

_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Eraser:
    """x - (x - mean) right' left', with left and right [d, rank], mean [d]."""

    mean: np.ndarray
    left: np.ndarray
    right: np.ndarray

    @property
    def rank(self) -> int:
        """Dimensions that are taken out."""
        return self.left.shape[1]

    def apply(self, x: Any) -> np.ndarray:
        """Return x [n, d] without the concept, float64."""
        x = np.asarray(x, dtype=np.float64)
        return x - ((x - self.mean) @ self.right) @ self.left.T


def leace(x: Any, z: Any) -> Eraser:
    """Return the eraser that makes x and z uncorrelated and changes x least (in any norm).

    Args:
        x: [n, d], n > d; where columns depend on each other only their span is changed. z: [n] or [n, k], numbers.

    Raises:
        InvalidInput: shapes that do not fit, NaN, or a concept that never varies.
    """
    mean, x, cross = _moments(x, z)
    s2, axes = linalg.eigh(x.T @ x / len(x), check_finite=False)
    kept = s2 > s2[-1] * len(s2) * np.finfo(np.float64).eps
    axes, scale = axes[:, kept], np.sqrt(s2[kept])
    span = _span((axes.T @ cross) / scale[:, None])
    return Eraser(mean, axes @ (scale[:, None] * span), axes @ (span / scale[:, None]))


def mean_projection(x: Any, z: Any) -> Eraser:
    """Return the orthogonal projection off the directions along which the means of x differ with z; as `leace`."""
    mean, _, cross = _moments(x, z)
    span = _span(cross)
    return Eraser(mean, span, span)


def random_projection(x: Any, rank: int, *, seed: int) -> Eraser:
    """Return a projection off `rank` random directions: what erasing as much of anything does.

    Raises:
        InvalidInput: a rank below 1 or above the columns of x.
    """
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or not 1 <= rank <= x.shape[1]:
        raise InvalidInput(f"rank is from 1 to the columns of x [n, d]; given {rank} and {x.shape}.")
    span = np.linalg.qr(np.random.default_rng(seed).standard_normal((x.shape[1], rank)))[0]
    return Eraser(x.mean(axis=0), span, span)


def one_hot(codes: Any, n_classes: int | None = None) -> np.ndarray:
    """Return float64 [n, class], 1 where a row has a class; codes: int [n]."""
    codes = np.asarray(codes)
    return (codes[:, None] == np.arange(codes.max() + 1 if n_classes is None else n_classes)).astype(np.float64)


def _moments(x: Any, z: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or len(x) < 2 or not np.isfinite(x).all():
        raise InvalidInput(f"x is finite, [n, d] with at least two rows; given {x.shape}.")
    z = check_targets(z, len(x))
    mean, spread = x.mean(axis=0), np.ptp(z, axis=0) > 0
    if not spread.any():
        raise InvalidInput("the concept is the same in every row: there is nothing to erase.")
    z = z[:, spread]
    return mean, x - mean, (x - mean).T @ ((z - z.mean(axis=0)) / z.std(axis=0)) / len(x)


def _span(columns: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of the span of the columns, without directions that are rounding errors."""
    u, s, _ = linalg.svd(columns, full_matrices=False)
    return u[:, s > _TOLERANCE * max(s[0], 1e-300)]
