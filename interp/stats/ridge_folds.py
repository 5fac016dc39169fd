"""Ridge regression judged on rows that it did not see, its penalty chosen without them; folds may have a buffer.

A fold leaves rows out of the fit and is judged on some of them: a group, without its surroundings.
The penalty of fold f is the one with the least squared error over the other folds g, where the regression that g is
judged by sees no row that f or g leaves out. So no row that is reported has a part in the choice. Every one of these
regressions comes from one eigendecomposition (see `interp.stats.ridge`): with u rows left out of n and k axes,

    u large:  (diag(s2) + alpha - Q_u'Q_u - (n - u) mm') beta = Q'y - Q_u'y_u - (n - u) m level      a k x k system
    u small:  e_u = (I - H_uu)^-1 r_u                                                                a u x u system

with m and level the means of the rows that stay. Both are what a refit gives.

Reference: Cook & Weisberg 1982, ch. 3; nesting: Cawley & Talbot 2010; buffers: Roberts et al. 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg

from interp.errors import InvalidInput
from interp.stats.ridge import RidgeBasis, _inputs, _kept

MIN_FOLDS = 3
"""With two, nothing is left to choose the penalty on."""


@dataclass(frozen=True)
class Fold:
    """Rows that a regression does not see, and those of them that it is judged on; int, ascending."""

    left: np.ndarray
    scored: np.ndarray


@dataclass(frozen=True)
class NestedRidge:
    """Guesses for rows by regressions that did not see them, penalties included.

    Args:
        predictions: [n, t]; NaN for a row that no fold is judged on.
        alphas: [fold], the penalty of each reported fold.
        inner_error: [fold], the squared error over the other folds that chose it.
    """

    predictions: np.ndarray
    alphas: np.ndarray
    inner_error: np.ndarray


def folds_of(labels: Any) -> list[Fold]:
    """Return one fold a label, in the order of the labels: its rows are left out and judged."""
    values = np.asarray(labels)
    rows = (np.flatnonzero(values == label) for label in np.unique(values))
    return [Fold(r, r) for r in rows]


def nested_ridge(x: Any, y: Any, folds: Sequence[Fold], alphas: Any, *, n_reported: int | None = None) -> NestedRidge:
    """Return the guesses for the rows of each fold, with a penalty chosen on the other folds alone.

    Args:
        x: [n, d], or its `decompose`. y: [n] or [n, t]; the squared error is summed over targets. alphas: [a].
        folds: rows that are left out and judged; each row is judged in one reported fold at most.
        n_reported: the first so many folds are reported, the others serve the choice alone; default all.

    Raises:
        InvalidInput: as `ridge_path`; fewer than three folds (two where one is reported), a fold judged on rows that it
            does not leave out, or two folds that leave fewer than two rows.
    """
    basis, y, alphas = _inputs(x, y, alphas)
    reported = len(folds) if n_reported is None else n_reported
    _check(folds, reported, basis.n)
    pairs = [(f, g) for f, g in combinations(range(len(folds)), 2) if f < reported]
    problem, errors = _Problem(basis, y, basis.scores.T @ y), np.zeros((len(folds), len(alphas)))
    shares = [_share(basis, fold.left) for fold in folds]
    for f, g in pairs:
        both = np.intersect1d(folds[f].left, folds[g].left, assume_unique=True)
        share = shares[f] + shares[g] - _share(basis, both)
        # what f is chosen by are the rows of g, and the reverse
        own = [np.setdiff1d(folds[b].scored, folds[a].left, assume_unique=True) for a, b in ((f, g), (g, f))]
        rows = np.concatenate(own)
        found = _without(problem, np.union1d(folds[f].left, folds[g].left), rows, alphas, share)
        squares = ((found - y[rows]) ** 2).sum(axis=2)
        errors[f] += squares[:, : len(own[0])].sum(axis=1)
        errors[g] += squares[:, len(own[0]) :].sum(axis=1)
    best = errors[:reported].argmin(axis=1)
    predictions = np.full(y.shape, np.nan)
    for fold, chosen in zip(folds, best, strict=False):
        predictions[fold.scored] = _without(problem, fold.left, fold.scored, alphas[[chosen]])[0]
    return NestedRidge(predictions, alphas[best], errors[np.arange(reported), best])


def fold_squared_error(x: Any, y: Any, folds: Sequence[Fold], alphas: Any) -> np.ndarray:
    """Return the squared error [a, t] over the judged rows of all folds: for thousands of targets.

    Args:
        x, y, folds, alphas: as `nested_ridge`. The least over penalties is optimistic; to compare with that of permuted
            targets it will do, for theirs is as optimistic.
    """
    basis, y, alphas = _inputs(x, y, alphas)
    problem, out = _Problem(basis, y, basis.scores.T @ y), np.zeros((len(alphas), y.shape[1]))
    for fold in folds:
        found = _without(problem, fold.left, fold.scored, alphas)
        out += ((found - y[fold.scored]) ** 2).sum(axis=1)
    return out


def predictions_without(x: Any, y: Any, left: np.ndarray, alphas: Any) -> np.ndarray:
    """Return the guesses for rows `left` (int [u], ascending) by regressions without them, float64 [a, u, t].

    Raises:
        InvalidInput: as `ridge_path`, or fewer than two rows stay.
    """
    basis, y, alphas = _inputs(x, y, alphas)
    return _without(_Problem(basis, y, basis.scores.T @ y), left, left, alphas)


class _Problem(NamedTuple):
    """Axes, targets [n, t], and Q'y [k, t], which is the same whatever is left out."""

    basis: RidgeBasis
    y: np.ndarray
    moment: np.ndarray


def _without(
    problem: _Problem, left: np.ndarray, rows: np.ndarray, alphas: np.ndarray, share: np.ndarray | None = None
) -> np.ndarray:
    """Return the guesses for some rows among those left out, [a, row, t]; `share` is that of `_share`, where known."""
    n = problem.basis.n
    if n - len(left) < 2:
        raise InvalidInput(f"{len(left)} of {n} rows left out leave {n - len(left)} to fit; at least 2.")
    if 2 * len(left) < len(problem.basis.s2):
        return _few_left(problem, left, alphas)[:, np.searchsorted(left, rows)]
    return _many_left(problem, left, rows, alphas, _share(problem.basis, left) if share is None else share)


def _share(basis: RidgeBasis, rows: np.ndarray) -> np.ndarray:
    """Return what rows add to the Gram matrix of the scores, Q_u'Q_u [k, k]."""
    return basis.scores[rows].T @ basis.scores[rows]


def _many_left(
    problem: _Problem, left: np.ndarray, rows: np.ndarray, alphas: np.ndarray, share: np.ndarray
) -> np.ndarray:
    """Take the share of the rows out of the k x k system; the scores have mean 0, so that of those that stay is m."""
    basis, y, moment = problem
    part, own, n_left = basis.scores[left], y[left], basis.n - len(left)
    m = -part.sum(axis=0) / n_left
    level = (y.sum(axis=0) - own.sum(axis=0)) / n_left
    gram = np.diag(basis.s2) - share - n_left * np.outer(m, m)
    moment = moment - part.T @ own - n_left * np.outer(m, level)
    inputs, out = basis.scores[rows] - m, np.empty((len(alphas), len(rows), y.shape[1]))
    for i, alpha in enumerate(alphas):
        system = gram + np.diag(np.full(len(gram), alpha))
        factor = linalg.cho_factor(system, lower=True, overwrite_a=True, check_finite=False)
        out[i] = inputs @ linalg.cho_solve(factor, moment, check_finite=False) + level
    return out


def _few_left(problem: _Problem, left: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    basis, y, moment = problem
    part, own, centred = basis.scores[left], y[left], y[left] - y.mean(axis=0)
    u = part / np.sqrt(basis.s2)
    out = np.empty((len(alphas), *own.shape))
    for i, alpha in enumerate(alphas):
        if basis.interpolates:  # r = alpha Q diag(w / s2) Q'y: nothing of y is outside the axes
            residual = part @ (moment * (alpha / (basis.s2 + alpha) / basis.s2)[:, None])
        else:
            residual = centred - part @ (moment / (basis.s2 + alpha)[:, None])
        factor = linalg.cho_factor(_kept(basis, u, alpha), lower=True, check_finite=False)
        out[i] = own - linalg.cho_solve(factor, residual, check_finite=False)
    return out


def _check(folds: Sequence[Fold], reported: int, n: int) -> None:
    least = MIN_FOLDS if reported == len(folds) else 2
    if len(folds) < least or not 1 <= reported <= len(folds):
        raise InvalidInput(f"{len(folds)} folds, {reported} of them reported; expected at least {least}.")
    for number, fold in enumerate(folds):
        for rows in (fold.left, fold.scored):
            if len(rows) == 0 or rows[0] < 0 or rows[-1] >= n or (np.diff(rows) <= 0).any():
                raise InvalidInput(f"fold {number}: rows are numbers from 0 to {n - 1}, ascending, at least one.")
        if not np.isin(fold.scored, fold.left).all():
            raise InvalidInput(f"fold {number} is judged on rows that it does not leave out; leave them out as well.")
    judged = np.concatenate([fold.scored for fold in folds[:reported]])
    if len(np.unique(judged)) < len(judged):
        raise InvalidInput("a row is judged in several reported folds; each row belongs to one.")
