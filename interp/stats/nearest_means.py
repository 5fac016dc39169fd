"""The probe without a fit: which class has the nearest mean, in plain or whitened coordinates.

For two classes the score is x' S^-1 (mu_1 - mu_0) + constant, with S the identity or the covariance within classes.
Reference: Marks & Tegmark 2023, section 5 (mass-mean probing); Fisher 1936 (whitened).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from interp.errors import InvalidInput
from interp.stats.erasure import one_hot


@dataclass(frozen=True)
class MassMean:
    """Directions [d, class] and offsets [class]; the score of a class is x @ direction + offset."""

    directions: np.ndarray
    offsets: np.ndarray

    def scores(self, x: Any) -> np.ndarray:
        """Return the score of each class for x [m, d], float64 [m, class]; the largest is the nearest mean."""
        return np.asarray(x, dtype=np.float64) @ self.directions + self.offsets

    def direction(self) -> np.ndarray:
        """Return the direction from the first of two classes to the second, [d]: what to steer along.

        Raises:
            InvalidInput: more than two classes, which have no one direction.
        """
        if self.directions.shape[1] != 2:
            raise InvalidInput(f"{self.directions.shape[1]} classes have no single direction; take two of them.")
        return self.directions[:, 1] - self.directions[:, 0]


def mass_mean(x: Any, codes: Any, *, n_classes: int | None = None, whiten: float | None = None) -> MassMean:
    """Return the nearest-mean probe.

    Args:
        x: [n, d]. codes: int [n], class of each row.
        n_classes: default the largest code + 1. A class without rows is never the nearest.
        whiten: None for plain differences of means. A number from 0 to 1: divide by the covariance within classes,
            shrunk by so much towards a multiple of the identity (0 needs more rows than columns).

    Raises:
        InvalidInput: shapes that do not fit, or a share outside 0 to 1.
    """
    x, codes = np.asarray(x, dtype=np.float64), np.asarray(codes)
    if x.ndim != 2 or codes.shape != x.shape[:1] or not np.isfinite(x).all():
        raise InvalidInput(f"mass_mean needs finite x [n, d] and a code a row; given {x.shape} and {codes.shape}.")
    if whiten is not None and not 0 <= whiten <= 1:
        raise InvalidInput(f"whiten is None or a share from 0 to 1; given {whiten}.")
    member = one_hot(codes, n_classes)
    count = member.sum(axis=0)
    means = (member.T @ x) / np.maximum(count, 1)[:, None]
    directions = means.T if whiten is None else _whitened(x - means[codes], means.T, whiten)
    offsets = -0.5 * (means.T * directions).sum(axis=0)
    return MassMean(directions, np.where(count > 0, offsets, -np.inf))


def _whitened(rest: np.ndarray, means: np.ndarray, share: float) -> np.ndarray:
    covariance = rest.T @ rest / len(rest)
    d = len(covariance)
    covariance = (1 - share) * covariance + share * (np.trace(covariance) / d + 1e-300) * np.eye(d)
    s2, axes = linalg.eigh(covariance, check_finite=False)
    kept = s2 > max(s2[-1], 0.0) * d * np.finfo(np.float64).eps
    axes, s2 = axes[:, kept], s2[kept]
    return axes @ ((axes.T @ means) / s2[:, None])
