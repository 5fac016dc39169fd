"""Logistic regression with a ridge penalty, by Newton's method: small, exact, and the same everywhere."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from interp.errors import InvalidInput

_STEPS = 100
_TOLERANCE = 1e-10


def fit_logistic(x: np.ndarray, y: np.ndarray, *, ridge: float) -> tuple[np.ndarray, float]:
    """Return weights [k] and intercept that minimise mean log loss + ridge / 2 |weights|^2.

    Args:
        x: float [n, k]. Standardise it first: the penalty is on its scale; the intercept is not penalised.
        y: bool [n], with both classes.
        ridge: above 0, so that separable classes have a solution.

    Raises:
        InvalidInput: shapes that differ, one class alone, or no penalty.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 2 or y.shape != x.shape[:1] or not 0 < y.mean() < 1 or not ridge > 0:
        raise InvalidInput(
            f"logistic regression needs x [n, k], y bool [n] with both classes and ridge above 0; given {x.shape}, "
            f"{y.shape} with {int(y.sum())} of {len(y)} true, and ridge {ridge}."
        )
    full = np.column_stack([x, np.ones(len(x))])
    penalty = np.append(np.full(x.shape[1], ridge), 0.0)
    beta = np.zeros(full.shape[1])
    beta[-1] = np.log(y.mean() / (1 - y.mean()))
    loss = _loss(full, y, beta, penalty)
    for _ in range(_STEPS):
        chance = expit(full @ beta)
        gradient = full.T @ (chance - y) / len(y) + penalty * beta
        curvature = (full * (chance * (1 - chance))[:, None]).T @ full / len(y) + np.diag(penalty)
        curvature[-1, -1] += 1e-12  # every chance 0 or 1 leaves the intercept without curvature
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while (shorter := _loss(full, y, beta - size * step, penalty)) > loss and size > 1e-6:
            size /= 2
        beta, before, loss = beta - size * step, loss, min(loss, shorter)
        if before - loss < _TOLERANCE * max(1.0, loss) and np.abs(gradient).max() < 1e-8:
            break
    return beta[:-1], float(beta[-1])


def _loss(x: np.ndarray, y: np.ndarray, beta: np.ndarray, penalty: np.ndarray) -> float:
    logit = x @ beta
    return float((np.logaddexp(0.0, logit) - y * logit).mean() + (penalty * beta**2).sum() / 2)
