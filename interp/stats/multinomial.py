"""Logistic regression of two or more classes, many problems at once, by Newton's method.

The rows are turned into their principal axes once. There the curvature is bounded by a diagonal, (p (1 - p) <= 1/4 for
two classes, 1/2 for more: Böhning 1992) x s2 / n + ridge, which makes each Newton step a few conjugate-gradient steps,
whatever the number of columns and classes. Problems that share x (folds, labels, permuted labels) share the axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, log_softmax, softmax

from interp.errors import InvalidInput
from interp.stats.ridge import RidgeBasis, decompose

_NEWTON, _CONJUGATE, _HALVINGS = 60, 200, 30
_NO_CURVATURE = 1e-12


@dataclass(frozen=True)
class Multinomial:
    """Fitted regressions for b problems: coef [b, d, c], intercept [b, c]; c is 1 for two classes, else their number.

    Args:
        converged: bool [b], the gradient is 0 to a thousand times the tolerance.
    """

    coef: np.ndarray
    intercept: np.ndarray
    converged: np.ndarray

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Return the logits for x [m, d], float64 [b, m, c]; for two classes that of the second one."""
        return np.asarray(x, dtype=np.float64) @ self.coef + self.intercept[:, None, :]

    def log_chances(self, x: np.ndarray) -> np.ndarray:
        """Return the natural logarithm of the chance of each class, float64 [b, m, class]."""
        logits = self.logits(x)
        if logits.shape[2] == 1:
            return np.concatenate([-np.logaddexp(0.0, logits), -np.logaddexp(0.0, -logits)], axis=2)
        return log_softmax(logits, axis=2)


def fit_multinomial(
    x: Any,
    codes: Any,
    *,
    ridge: float,
    n_classes: int | None = None,
    weights: Any = None,
    tolerance: float = 1e-11,
) -> Multinomial:
    """Return coefficients that minimise mean log loss + ridge / 2 |coef|²; intercepts are not penalised.

    scikit-learn's LogisticRegression with C = 1 / (ridge n) has the same minimum.

    Args:
        x: float [n, d], or its `decompose`; shared by all problems.
        codes: int [n] or [b, n], class of each row, 0 to n_classes - 1.
        ridge: above 0, so that separable classes have a solution.
        n_classes: default the largest code + 1, at least 2.
        weights: [n] or [b, n], 0 or above; 0 leaves a row out of a problem, which makes folds one call.
        tolerance: of the gradient, in units of its bound on the curvature; 1e-5 is plenty for a score.

    Raises:
        InvalidInput: shapes that do not fit, codes that are no classes, or no penalty.
    """
    basis = x if isinstance(x, RidgeBasis) else decompose(x)
    codes, n_classes, shares = _checked(codes, n_classes, weights, basis.n, ridge)
    truth = (codes[:, :, None] == np.arange(n_classes)).astype(np.float64)
    truth = truth[:, :, 1:] if n_classes == 2 else truth
    beta, ok = _newton(basis, truth, shares, ridge, tolerance)
    coef = basis.vectors @ beta[:, :-1]
    intercept = beta[:, -1] - np.einsum("d,bdc->bc", basis.mean, coef)
    return Multinomial(coef, intercept - (intercept.mean(axis=1, keepdims=True) if n_classes > 2 else 0.0), ok)


def _newton(
    basis: RidgeBasis, truth: np.ndarray, shares: np.ndarray, ridge: float, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return beta [b, k + 1, c], the intercept last, and which problems converged."""
    q = np.column_stack([basis.scores, np.ones(basis.n)])
    penalty = np.append(np.full(len(basis.s2), ridge), 0.0)[:, None]
    bound = 0.25 if truth.shape[2] == 1 else 0.5
    scale = np.append(bound * basis.s2 / basis.n + ridge, bound)[:, None]
    beta = np.zeros((len(truth), q.shape[1], truth.shape[2]))
    loss, done = _loss(q, truth, shares, beta, penalty), np.zeros(len(truth), dtype=bool)
    for _ in range(_NEWTON):
        b = np.flatnonzero(~done)
        chances = _chances(_each(q, beta[b]))
        gradient = _each(q.T, shares[b, :, None] * (chances - truth[b])) + penalty * beta[b]
        # in units of the bound on the curvature: what a step could still move
        left = np.abs(gradient / np.sqrt(scale)).max(axis=(1, 2))
        done[b[left < tolerance]] = True
        going = left >= tolerance
        if not going.any():
            break
        b, chances, gradient, left = b[going], chances[going], gradient[going], left[going]
        step = _solve(q, chances, shares[b], penalty, scale, gradient, np.minimum(0.1, left))
        beta[b], loss[b], stuck = _search(q, truth[b], shares[b], penalty, beta[b], step, loss[b])
        done[b[stuck]] = True
    chances = _chances(_each(q, beta))
    gradient = _each(q.T, shares[:, :, None] * (chances - truth)) + penalty * beta
    return beta, np.abs(gradient / np.sqrt(scale)).max(axis=(1, 2)) < 1e3 * tolerance


def _solve(
    q: np.ndarray,
    chances: np.ndarray,
    shares: np.ndarray,
    penalty: np.ndarray,
    scale: np.ndarray,
    gradient: np.ndarray,
    accuracy: np.ndarray,
) -> np.ndarray:
    """Return the Newton step by preconditioned conjugate gradients, to a share of the gradient's size."""

    def curve(v: np.ndarray) -> np.ndarray:
        z = _each(q, v)
        z = chances * (1 - chances) * z if z.shape[2] == 1 else chances * (z - (chances * z).sum(axis=2, keepdims=True))
        return _each(q.T, shares[:, :, None] * z) + penalty * v

    step, rest = np.zeros_like(gradient), gradient.copy()
    direction = rest / scale
    size = (rest * direction).sum(axis=(1, 2))
    goal = accuracy**2 * size
    for _ in range(_CONJUGATE):
        bent = curve(direction)
        curvature = (direction * bent).sum(axis=(1, 2))
        going = (size > goal) & (curvature > _NO_CURVATURE * size)
        if not going.any():
            break
        length = np.where(going, size / np.where(going, curvature, 1.0), 0.0)[:, None, None]
        step, rest = step + length * direction, rest - length * bent
        after = (rest * rest / scale).sum(axis=(1, 2))
        direction = rest / scale + (after / np.maximum(size, 1e-300))[:, None, None] * direction
        size = np.where(going, after, size)
    return step


def _search(
    q: np.ndarray,
    truth: np.ndarray,
    shares: np.ndarray,
    penalty: np.ndarray,
    beta: np.ndarray,
    step: np.ndarray,
    loss: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Halve the step of each problem until its loss is not larger; say which cannot be bettered."""
    length, worse, halvings = np.ones(len(beta)), np.ones(len(beta), dtype=bool), 0
    moved, after = beta, loss
    while worse.any() and halvings < _HALVINGS:
        moved = beta - length[:, None, None] * step
        after = _loss(q, truth, shares, moved, penalty)
        worse = ~(after <= loss + 1e-14 * np.abs(loss))
        length, halvings = np.where(worse, length / 2, length), halvings + 1
    return np.where(worse[:, None, None], beta, moved), np.where(worse, loss, after), worse


def _each(matrix: np.ndarray, stack: np.ndarray) -> np.ndarray:
    """Return matrix [m, k] @ each of stack [b, k, c], as one product: many narrow ones are slow."""
    b, k, c = stack.shape
    product = matrix @ stack.transpose(1, 0, 2).reshape(k, b * c)
    return product.reshape(-1, b, c).transpose(1, 0, 2)


def _chances(logits: np.ndarray) -> np.ndarray:
    return expit(logits) if logits.shape[2] == 1 else softmax(logits, axis=2)


def _loss(q: np.ndarray, truth: np.ndarray, shares: np.ndarray, beta: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    logits = _each(q, beta)
    if logits.shape[2] == 1:
        each = (np.logaddexp(0.0, logits) - truth * logits)[:, :, 0]
    else:
        each = -(truth * log_softmax(logits, axis=2)).sum(axis=2)
    return (shares * each).sum(axis=1) + (penalty * beta**2).sum(axis=(1, 2)) / 2


def _checked(
    codes: Any, n_classes: int | None, weights: Any, n: int, ridge: float
) -> tuple[np.ndarray, int, np.ndarray]:
    """Return the codes [b, n], the number of classes, and weights [b, n] that sum to 1."""
    codes = np.atleast_2d(np.asarray(codes))
    if codes.shape[1] != n or not np.issubdtype(codes.dtype, np.integer) or codes.min() < 0:
        raise InvalidInput(f"codes are integers from 0, [n] or [b, n] for the {n} rows of x; given {codes.shape}.")
    total = max(2, int(codes.max()) + 1) if n_classes is None else n_classes
    if codes.max() >= total or not ridge > 0:
        raise InvalidInput(f"codes are below n_classes={total} and ridge is above 0; given {codes.max()} and {ridge}.")
    given = np.ones((1, n)) if weights is None else np.atleast_2d(np.asarray(weights, dtype=np.float64))
    if given.shape[1] != n or not (given >= 0).all() or not (given.sum(axis=1) > 0).all():
        raise InvalidInput(f"weights are 0 or above, some of them above, [n] or [b, n]; given {given.shape}.")
    b = max(len(codes), len(given))
    if not {len(codes), len(given)} <= {1, b}:
        raise InvalidInput(f"{len(codes)} rows of codes and {len(given)} of weights; give one, or as many of both.")
    codes, given = np.broadcast_to(codes, (b, n)), np.broadcast_to(given, (b, n))
    return codes, total, given / given.sum(axis=1, keepdims=True)
