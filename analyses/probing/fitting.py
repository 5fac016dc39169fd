"""The probes: fitted on some rows, strength chosen inside them, guesses for other rows, many labels at once.

Every kind is a function (x, Y, x_new, inner, labels, seed) -> (guesses, strengths) with

    x [n, d], Y [v, n] (v versions of the labels: the real ones, permuted ones), x_new [m, d]
    inner [n]: folds within the rows, that split no group, for choosing the strength; never a row that is reported
    guesses [v, m], or [v, m, class] for more than two classes; strengths [v], NaN where there is nothing to choose

Guesses of more than two classes are relative to how common each is among the rows fitted on: balanced accuracy weighs
classes alike, and a probe that knows nothing then has no favourite.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from analyses.probing.labels import Labels
from interp.errors import InvalidInput, nearest
from interp.stats.multinomial import fit_multinomial
from interp.stats.nearest_means import mass_mean
from interp.stats.ridge import decompose, group_squared_error

ALPHAS = np.logspace(-6, 3, 10)
"""Of ridge, in units of the mean eigenvalue of x'x (a scale that knows no label)."""
RIDGES = (1e-3, 1e-2, 1e-1, 1.0)
"""Of logistic regression on standardised columns."""
TOLERANCE = 1e-5
"""Of the gradient of logistic regression: the score does not feel less."""
DECAYS = (1e-2, 1.0)
"""Of the MLP on standardised columns."""
HIDDEN = 64


class Guesses(NamedTuple):
    """Guesses [v, m] or [v, m, class] and strengths [v]."""

    values: np.ndarray
    strengths: np.ndarray


def held_out(
    kind: str, x: np.ndarray, versions: np.ndarray, folds: np.ndarray, labels: Labels, *, seed: int
) -> Guesses:
    """Return for each row the guess of the probe that saw no row of its fold, for each version of the labels.

    Within the other folds the strength is chosen by holding out each of them in turn. `strengths` is the geometric
    mean over folds.

    Args:
        x: [n, d]. versions: [v, n]. folds: int [n], at least 3 of them.
    """
    fit = KINDS[kind]
    out, chosen = None, []
    for fold in np.unique(folds):
        test = folds == fold
        found = fit(x[~test], versions[:, ~test], x[test], folds[~test], labels, seed)
        if out is None:
            out = np.empty((len(versions), len(x), *found.values.shape[2:]))
        out[:, test] = found.values
        chosen.append(found.strengths)
    assert out is not None
    return Guesses(out, np.exp(np.log(np.array(chosen)).mean(axis=0)))


def require_kind(kind: str, labels: Labels) -> None:
    """Refuse a kind of probe that does not exist, or that has no use for numbers.

    Raises:
        InvalidInput
    """
    if kind not in KINDS:
        raise InvalidInput(
            f"kind={kind!r} is no probe. Nearest: {nearest(str(kind), KINDS)[0]}. All: {', '.join(KINDS)}."
        )
    if not labels.names and kind in ("logistic", "mass_mean"):
        raise InvalidInput(f"kind={kind!r} tells classes, and the labels are numbers; take ridge or mlp.")


def _ridge(x: Any, Y: np.ndarray, x_new: Any, inner: np.ndarray, labels: Labels, seed: int) -> Guesses:
    """Least squares on numbers, on -1 and 1, or on one column a class; least squared error chooses."""
    targets, width = _targets(Y, labels)
    basis = decompose(x)
    alphas = ALPHAS * basis.s2.mean() if len(basis.s2) else ALPHAS
    error = group_squared_error(basis, targets, inner, alphas).reshape(len(alphas), len(Y), width).sum(axis=2)
    alpha = alphas[error.argmin(axis=0)]
    level = targets.mean(axis=0)
    moment = basis.scores.T @ (targets - level)
    beta = moment / (basis.s2[:, None] + np.repeat(alpha, width))
    guesses = ((x_new - basis.mean) @ basis.vectors) @ beta + level
    if width > 1:
        guesses = np.where(level > 0, guesses / np.where(level > 0, level, 1.0), -1e300)
    return Guesses(_unpacked(guesses, len(Y), width), alpha)


def _targets(Y: np.ndarray, labels: Labels) -> tuple[np.ndarray, int]:
    """Return the labels as columns [n, v * width], and the width of one version."""
    if not labels.names:
        return Y.T.astype(np.float64), 1
    if labels.n_classes == 2:
        return 2.0 * Y.T - 1.0, 1
    hot = (Y[:, :, None] == np.arange(labels.n_classes)).astype(np.float64)
    return hot.transpose(1, 0, 2).reshape(Y.shape[1], -1), labels.n_classes


def _unpacked(guesses: np.ndarray, v: int, width: int) -> np.ndarray:
    return guesses.T if width == 1 else guesses.reshape(-1, v, width).transpose(1, 0, 2)


def _logistic(x: Any, Y: np.ndarray, x_new: Any, inner: np.ndarray, labels: Labels, seed: int) -> Guesses:
    """Logistic regression; the least log loss on the inner folds chooses."""
    x, x_new = _standardised(x, x_new)
    basis, K = decompose(x), labels.n_classes
    stay = [(inner != f).astype(np.float64) for f in np.unique(inner)]
    loss = np.zeros((len(RIDGES), len(Y)))
    for i, ridge in enumerate(RIDGES):
        for weights in stay:
            fitted = fit_multinomial(basis, Y, ridge=ridge, n_classes=K, weights=weights, tolerance=TOLERANCE)
            out = weights == 0
            own = np.take_along_axis(fitted.log_chances(x[out]), Y[:, out, None], axis=2)[:, :, 0]
            loss[i] -= np.maximum(own, -20.0).sum(axis=1)  # a class that the other folds lack would decide alone
    best = loss.argmin(axis=0)
    values = np.empty((len(Y), len(x_new)) if K == 2 else (len(Y), len(x_new), K))
    for i in np.unique(best):
        fitted = fit_multinomial(basis, Y[best == i], ridge=RIDGES[i], n_classes=K, tolerance=TOLERANCE).logits(x_new)
        values[best == i] = fitted[:, :, 0] if K == 2 else fitted - np.log(_shares(Y[best == i], K))[:, None, :]
    return Guesses(values, np.array(RIDGES)[best])


def _mass_mean(x: Any, Y: np.ndarray, x_new: Any, inner: np.ndarray, labels: Labels, seed: int) -> Guesses:
    """Nearest mean; for two classes the score is along the difference of the means."""
    values = []
    for y in Y:
        found = mass_mean(x, y, n_classes=labels.n_classes).scores(x_new)
        values.append(found[:, 1] - found[:, 0] if labels.n_classes == 2 else found)
    return Guesses(np.nan_to_num(np.array(values), posinf=1e300, neginf=-1e300), np.full(len(Y), np.nan))


def _mlp(x: Any, Y: np.ndarray, x_new: Any, inner: np.ndarray, labels: Labels, seed: int) -> Guesses:
    """One hidden layer; the strength with the better score on one inner fold."""
    from analyses.probing.scores import score

    x, x_new = _standardised(x, x_new)
    out = inner == inner.min()
    values, chosen = [], []
    for y in Y:
        tried = [_network(x[~out], y[~out], x[out], labels, decay, seed) for decay in DECAYS]
        scores = [score(labels, y[out], guess, np.zeros(out.sum())) for guess in tried]
        decay = DECAYS[int(np.nanargmax(scores)) if np.isfinite(scores).any() else 0]
        values.append(_network(x, y, x_new, labels, decay, seed))
        chosen.append(decay)
    return Guesses(np.array(values), np.array(chosen))


def _network(x: np.ndarray, y: np.ndarray, x_new: np.ndarray, labels: Labels, decay: float, seed: int) -> np.ndarray:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    options: dict[str, Any] = {"hidden_layer_sizes": (HIDDEN,), "alpha": decay, "random_state": seed, "max_iter": 200}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 200 passes are the choice, not a failure
        if not labels.names:
            mean, sd = y.mean(), y.std() or 1.0
            return np.asarray(MLPRegressor(**options).fit(x, (y - mean) / sd).predict(x_new)) * sd + mean
        present = np.unique(y)
        chances = np.full((len(x_new), labels.n_classes), 1e-12)
        if len(present) == 1:
            chances[:, present] = 1.0
        else:
            chances[:, present] += MLPClassifier(**options).fit(x, y).predict_proba(x_new)
    return (
        np.log(chances[:, 1]) - np.log(chances[:, 0])
        if labels.n_classes == 2
        else chances / _shares(y[None], labels.n_classes)
    )


def _shares(Y: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the share of each class in each version [v, n], [v, class]; 1 for one that is not there."""
    shares = (Y[:, :, None] == np.arange(n_classes)).mean(axis=1)
    return np.where(shares > 0, shares, 1.0)


def _standardised(x: np.ndarray, x_new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, sd = x.mean(axis=0), x.std(axis=0)
    scale = np.where(sd > 1e-10 * np.maximum(1.0, np.abs(mean)), sd, np.inf)
    return (x - mean) / scale, (x_new - mean) / scale


KINDS: dict[str, Callable[..., Guesses]] = {
    "ridge": _ridge,
    "logistic": _logistic,
    "mass_mean": _mass_mean,
    "mlp": _mlp,
}
