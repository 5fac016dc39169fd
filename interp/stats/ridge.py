"""Ridge regression whose whole path, and every way of leaving rows out, comes from one eigendecomposition.

With x centred and x'x = V diag(s2) V', Q = xV and w_j = 1 / (s2_j + alpha), for every alpha and every target at once:

    beta = V diag(w) Q'y        H = Q diag(w) Q' + 11'/n        r = y - Hy
    row i left out:    e_i = r_i / (1 - H_ii)
    rows g left out:   e_g = (I - H_gg)^-1 r_g

Both are what a refit without these rows gives, the intercept included; nothing is refitted. Where there are fewer rows
than columns the decomposition is that of xx'. The intercept is never penalised.

Reference: Golub, Heath & Wahba 1979 (leave-one-out); Cook & Weisberg 1982, ch. 3 (groups of rows).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import linalg

from interp.errors import InvalidInput

_TOGETHER = 2**22  # residuals that are held at once
_ILL = 1e-9  # a penalty below this share of the largest eigenvalue needs more digits than a Gram matrix keeps


@dataclass(frozen=True)
class RidgeBasis:
    """The centred rows of x [n, d] in their principal axes, of which there are k.

    Args:
        mean: [d], of the columns of x.
        s2: [k], eigenvalues of x'x, all above 0.
        vectors: [d, k], axes V.
        scores: [n, k], Q = (x - mean) V.
    """

    mean: np.ndarray
    s2: np.ndarray
    vectors: np.ndarray
    scores: np.ndarray

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.scores)

    @property
    def interpolates(self) -> bool:
        """Whether the axes span every centred target, so that I - H has no part that alpha does not shrink."""
        return len(self.s2) == self.n - 1


@dataclass(frozen=True)
class RidgePath:
    """Ridge regressions for a penalties and t targets: coef [a, d, t], intercept [a, t]."""

    alphas: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the guesses for x [m, d], float64 [a, m, t]."""
        return np.asarray(x, dtype=np.float64) @ self.coef + self.intercept[:, None, :]


@dataclass(frozen=True)
class LeftOut:
    """For each penalty, row and target the guess of the regression that did not see the row.

    Args:
        alphas: [a].
        predictions: [a, n, t].
        errors: [a, n, t], target - prediction.
    """

    alphas: np.ndarray
    predictions: np.ndarray
    errors: np.ndarray

    @cached_property
    def squared_error(self) -> np.ndarray:
        """Sum over the rows, [a, t]."""
        return (self.errors**2).sum(axis=1)

    @property
    def best(self) -> np.ndarray:
        """Number of the penalty with the least squared error, int [t]; as a figure to report it is optimistic."""
        return self.squared_error.argmin(axis=0)


def decompose(x: Any, *, least_alpha: float | None = None, dtype: Any = np.float64) -> RidgeBasis:
    """Return the principal axes of the centred rows of x [n, d].

    Args:
        least_alpha: the smallest penalty to come. Where it is so small beside the largest eigenvalue that a Gram
            matrix, which squares the condition number, would lose it, the singular values of x are taken (slower).
        dtype: of the decomposition. float32 takes about 60 % of the time and keeps 3 digits of the guesses where the
            spread of the axes and the penalty allow it; measured with axes over four orders of size and the penalty
            chosen by error: guesses off by up to .07 sd of the target. Activations of float32 need it not.

    Raises:
        InvalidInput: not [n, d] with two rows or more, or NaN or infinity in it.
    """
    x = _matrix(x)
    mean = x.mean(axis=0)
    centred = (x - mean).astype(dtype, copy=False)
    n, d = centred.shape
    square = centred.T @ centred if n >= d else centred @ centred.T
    s2, axes = linalg.eigh(square, overwrite_a=True, driver="evd", check_finite=False)
    floor = s2[-1] * np.finfo(dtype).eps * max(n, d)
    if least_alpha is not None and least_alpha < _ILL * s2[-1] and s2[-min(n - 1, d)] < _ILL * s2[-1]:
        return _by_singular_values(mean, centred)
    kept = s2 > max(floor, 0.0)  # the others are rounding errors of axes along which no row differs
    s2, axes = s2[kept].astype(np.float64), axes[:, kept].astype(np.float64)
    if n >= d:
        return RidgeBasis(mean, s2, axes, centred.astype(np.float64, copy=False) @ axes)
    scores = axes * np.sqrt(s2)
    return RidgeBasis(mean, s2, (centred.T @ axes) / np.sqrt(s2), scores)


def _by_singular_values(mean: np.ndarray, centred: np.ndarray) -> RidgeBasis:
    left, s, right = linalg.svd(centred.astype(np.float64), full_matrices=False, check_finite=False)
    kept = s > s[0] * np.finfo(np.float64).eps * max(centred.shape)
    return RidgeBasis(mean, s[kept] ** 2, right[kept].T, left[:, kept] * s[kept])


def ridge_path(x: Any, y: Any, alphas: Any) -> RidgePath:
    """Return the ridge regressions of every target for every penalty, which minimise |y - xb - c|² + alpha |b|².

    Args:
        x: [n, d], or its `decompose`.
        y: [n] or [n, t].
        alphas: [a], each above 0, on the scale of n times the variance of x (that of scikit-learn's Ridge).

    Raises:
        InvalidInput: shapes that do not fit, NaN, or a penalty of 0 or below.
    """
    basis, y, alphas = _inputs(x, y, alphas)
    level = y.mean(axis=0)
    moment = basis.scores.T @ (y - level)
    coef = np.stack([basis.vectors @ (moment / (basis.s2 + alpha)[:, None]) for alpha in alphas])
    return RidgePath(alphas, coef, level - basis.mean @ coef)


def leave_one_out(x: Any, y: Any, alphas: Any) -> LeftOut:
    """Return the exact leave-one-out guesses of every target for every penalty; arguments as `ridge_path`."""
    basis, y, alphas = _inputs(x, y, alphas)
    squares, bent = _directions(basis) ** 2, basis.s2[:, None] + alphas
    whole = basis.interpolates
    kept = squares @ (alphas / bent) if whole else 1 - 1 / basis.n - squares @ (basis.s2[:, None] / bent)
    return _left_out(alphas, y, _residuals(basis, y, alphas) / kept.T[:, :, None])


def leave_group_out(x: Any, y: Any, groups: Any, alphas: Any) -> LeftOut:
    """Return for each row the guess of the regression that saw no row of its group: exact, without refits.

    Args:
        x, y, alphas: as `ridge_path`.
        groups: [n], any labels: folds, entities, blocks of space.

    Raises:
        InvalidInput: as `ridge_path`; or a single group, which leaves nothing to fit.
    """
    basis, y, alphas = _inputs(x, y, alphas)
    rows = group_rows(groups, basis.n)
    return _left_out(alphas, y, np.stack(list(_group_errors(basis, y, rows, alphas))))


def group_squared_error(x: Any, y: Any, groups: Any, alphas: Any) -> np.ndarray:
    """Return the squared error [a, t] of `leave_group_out` without keeping its guesses: for thousands of targets."""
    basis, y, alphas = _inputs(x, y, alphas)
    rows = group_rows(groups, basis.n)
    return np.stack([(errors**2).sum(axis=0) for errors in _group_errors(basis, y, rows, alphas)])


def group_rows(groups: Any, n: int) -> list[np.ndarray]:
    """Return the row numbers of each group, groups in the order of their labels.

    Raises:
        InvalidInput: not one label a row, or one group alone.
    """
    groups = np.asarray(groups)
    if groups.shape != (n,):
        raise InvalidInput(f"groups holds a label for each of the {n} rows; given {groups.shape}.")
    labels, codes = np.unique(groups, return_inverse=True)
    if len(labels) < 2:
        raise InvalidInput("all rows are in one group; leaving it out leaves nothing to fit. Give at least 2 groups.")
    return np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])


def _group_errors(basis: RidgeBasis, y: np.ndarray, rows: list[np.ndarray], alphas: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the errors [n, t] for each penalty."""
    directions, large = _directions(basis), [len(g) > len(basis.s2) for g in rows]
    moment = basis.scores.T @ y if any(large) else np.empty(0)
    together, some = max(1, _TOGETHER // y.size), np.empty(0)
    for i, alpha in enumerate(alphas):
        if i % together == 0 and not all(large):
            some = _residuals(basis, y, alphas[i : i + together])
        out = np.empty_like(y)
        for g, is_large in zip(rows, large, strict=True):
            if is_large:
                out[g] = _by_subtraction(basis, y, moment, g, alpha)
            else:
                residuals = some[i % together]
                factor = linalg.cho_factor(_kept(basis, directions[g], alpha), lower=True, check_finite=False)
                out[g] = linalg.cho_solve(factor, residuals[g], check_finite=False)
        yield out


def _kept(basis: RidgeBasis, u: np.ndarray, alpha: float) -> np.ndarray:
    """Return the lower half of (I - H)_gg for the rows u = Q_g / s of a group."""
    if basis.interpolates:  # I - 11'/n = UU': subtracting H from it would leave rounding errors where alpha is small
        half = u * np.sqrt(alpha / (basis.s2 + alpha))
        return _lower_product(half, 1.0)
    half = u * np.sqrt(basis.s2 / (basis.s2 + alpha))
    kept = _lower_product(half, -1.0) - 1 / basis.n
    kept[np.diag_indices_from(kept)] += 1
    return kept


def _lower_product(half: np.ndarray, sign: float) -> np.ndarray:
    """Return the lower half of sign * half @ half.T, at half its cost."""
    syrk: Any = linalg.get_blas_funcs("syrk", (half,))
    return syrk(sign, half.T, trans=1, lower=1)


def _by_subtraction(basis: RidgeBasis, y: np.ndarray, moment: np.ndarray, g: np.ndarray, alpha: float) -> np.ndarray:
    """Return the errors of a group of more rows than axes: take its share out of the k x k system.

    The scores have mean 0, so that of the rows that stay is m = -n_g q / (n - n_g) with q the mean of the group, and
    their centred Gram matrix is diag(s2) - Q_g'Q_g - (n - n_g) mm'.
    """
    part, own = basis.scores[g], y[g]
    n_left = basis.n - len(g)
    mean = -part.sum(axis=0) / n_left
    level = (y.sum(axis=0) - own.sum(axis=0)) / n_left
    gram = np.diag(basis.s2 + alpha) - part.T @ part - n_left * np.outer(mean, mean)
    rest = moment - part.T @ own - n_left * np.outer(mean, level)
    beta = linalg.solve(gram, rest, assume_a="pos", check_finite=False)
    return own - (part - mean) @ beta - level


def _directions(basis: RidgeBasis) -> np.ndarray:
    return basis.scores / np.sqrt(basis.s2)


def _residuals(basis: RidgeBasis, y: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """Return y - Hy for each penalty, [a, n, t]."""
    centred = y - y.mean(axis=0)
    moment = basis.scores.T @ centred
    share = 1 / (basis.s2 + alphas[:, None])
    if basis.interpolates:
        share = alphas[:, None] * share / basis.s2
    weighted = (moment[:, None, :] * share.T[:, :, None]).reshape(len(moment), len(alphas) * y.shape[1])
    fitted = (basis.scores @ weighted).reshape(basis.n, len(alphas), y.shape[1]).transpose(1, 0, 2)
    return fitted if basis.interpolates else centred - fitted


def _left_out(alphas: np.ndarray, y: np.ndarray, errors: np.ndarray) -> LeftOut:
    return LeftOut(alphas, y - errors, errors)


def _inputs(x: Any, y: Any, alphas: Any) -> tuple[RidgeBasis, np.ndarray, np.ndarray]:
    alphas = check_alphas(alphas)
    basis = x if isinstance(x, RidgeBasis) else decompose(x, least_alpha=float(alphas.min()))
    return basis, check_targets(y, basis.n), alphas


def check_alphas(alphas: Any) -> np.ndarray:
    """Return the penalties as float64 [a].

    Raises:
        InvalidInput: none, or one that is not above 0.
    """
    values = np.atleast_1d(np.asarray(alphas, dtype=np.float64))
    if values.ndim != 1 or values.size == 0 or not (np.isfinite(values) & (values > 0)).all():
        raise InvalidInput(f"alphas are finite numbers above 0; given {alphas!r}.")
    return values


def check_targets(y: Any, n: int) -> np.ndarray:
    """Return the targets as float64 [n, t].

    Raises:
        InvalidInput: another number of rows, or NaN or infinity.
    """
    values = np.asarray(y, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or len(values) != n or not np.isfinite(values).all():
        raise InvalidInput(f"y holds finite numbers, [n] or [n, t], for the {n} rows of x; given {np.shape(y)}.")
    return values


def _matrix(x: Any) -> np.ndarray:
    values = np.asarray(x, dtype=np.float64)
    if values.ndim != 2 or len(values) < 2 or values.shape[1] < 1:
        raise InvalidInput(f"x is [n, d] with at least two rows; given {values.shape}.")
    if not np.isfinite(values).all():
        raise InvalidInput(f"x holds NaN or infinity in {(~np.isfinite(values)).any(axis=1).sum()} of its rows.")
    return values
