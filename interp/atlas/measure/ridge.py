"""Ridge regression with its strength chosen inside the training set, one eigendecomposition for all strengths.

x is centred and scaled by the training set; beta = (Z'Z + alpha I)^-1 Z'(y - mean y). With Z'Z = V diag(lambda) V' and
P = ZV, the leave-one-out error of place i is (y_i - yhat_i) / (1 - 1/n - sum_k P_ik² / (lambda_k + alpha)), exactly.
Each target has the alpha with the smallest sum of squares of these. Reference: Golub, Heath and Wahba (1979);
Hastie, Tibshirani and Friedman (2009), eq. 7.64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ALPHAS = np.logspace(-1, 5, 13)


@dataclass(frozen=True)
class Ridge:
    """A fitted probe: mean and scale [d] of the inputs, weights [d, target], mean of the targets, alpha a target."""

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    level: np.ndarray
    alpha: np.ndarray

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the guesses, float64 [place, target], for x [place, d]."""
        return (np.asarray(x, dtype=np.float64) - self.mean) / self.scale @ self.weights + self.level


def fit_ridge(x: np.ndarray, y: np.ndarray, *, each: bool = True, alphas: np.ndarray = ALPHAS) -> Ridge:
    """Fit y [place, target] by x [place, d]; a constant column of x is left without weight.

    Args:
        each: scale each column to unit variance; False: all by one number, to unit variance on average, where the
            sizes of the columns mean something (principal components).
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    mean, spread, level, n = x.mean(axis=0), x.std(axis=0), y.mean(axis=0), len(x)
    # a column that is constant up to rounding would be blown up to noise of unit size
    varies = spread > 1e-10 * np.maximum(1.0, np.abs(mean))
    scale = np.where(varies, spread if each else np.sqrt((spread**2).mean()), np.inf)
    z, centred = (x - mean) / scale, y - level
    eigenvalues, vectors = np.linalg.eigh(z.T @ z)
    rotated = z @ vectors
    shrink = 1 / (np.maximum(eigenvalues, 0.0)[:, None] + alphas)  # [d, alpha]
    kept = 1 - 1 / n - rotated**2 @ shrink  # [place, alpha]
    moment = rotated.T @ centred
    weights, chosen = np.empty((x.shape[1], y.shape[1])), np.empty(y.shape[1])
    for target in range(y.shape[1]):
        path = moment[:, target, None] * shrink
        error = ((centred[:, target, None] - rotated @ path) / kept) ** 2
        best = int(error.sum(axis=0).argmin())
        weights[:, target], chosen[target] = vectors @ path[:, best], alphas[best]
    return Ridge(mean, scale, weights, level, chosen)


def out_of_fold(x: np.ndarray, y: np.ndarray, folds: np.ndarray, *, each: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return the guess for each place by a probe that was fitted on the other folds, and by their mean alone.

    Args:
        x: [place, d]. y: [place, target]. folds: int [place]. each: see `fit_ridge`.

    Returns:
        Two float64 [place, target].
    """
    guess, constant = np.empty(y.shape), np.empty(y.shape)
    for fold in np.unique(folds):
        test = folds == fold
        probe = fit_ridge(x[~test], y[~test], each=each)
        guess[test], constant[test] = probe.predict(x[test]), probe.level
    return guess, constant
