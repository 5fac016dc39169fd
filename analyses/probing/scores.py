"""How good held-out guesses are, with weights on rows, so that resampling groups costs one more set of weights.

Numbers: R² against the mean of all rows. Two classes: area under the ROC curve over pairs of one fold (scores of
different folds come from different probes; pooling them biases it below .5). More classes: balanced accuracy, the mean
over classes of the share told right.
"""

from __future__ import annotations

import numpy as np

from analyses.probing.labels import Labels


def score(
    labels: Labels, y: np.ndarray, guesses: np.ndarray, folds: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """Return the score of guesses [n] or [n, class] of y [n]; NaN where it is not defined.

    Args:
        y: of the task of `labels`; other values than its own for permuted labels.
        folds: int [n], of each row: which probe it was judged by.
        weights: [n], 0 or above.
    """
    w = np.ones(len(y)) if weights is None else weights
    if not labels.names:
        return _r2(y, guesses, w)
    if labels.n_classes == 2:
        return _auc(y == 1, guesses, folds, w)
    return _balanced(y, guesses.argmax(axis=1), labels.n_classes, w)


def accuracy(labels: Labels, y: np.ndarray, guesses: np.ndarray) -> float:
    """Return the share of rows told right; NaN for numbers."""
    if not labels.names:
        return float("nan")
    told = guesses > 0 if labels.n_classes == 2 else guesses.argmax(axis=1)
    return float((told == y).mean())


def interval(
    labels: Labels, y: np.ndarray, guesses: np.ndarray, folds: np.ndarray, groups: np.ndarray, *, n_boot: int, seed: int
) -> tuple[float, float]:
    """Return the 95 % interval of the score over resamples of whole groups (the probe is not fitted again).

    NaN for fewer than 5 groups: their resamples say little.
    """
    n_groups = groups.max() + 1
    present = np.unique(groups)
    if n_boot == 0 or len(present) < 5:
        return float("nan"), float("nan")
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(9,)))
    draws = []
    for _ in range(n_boot):
        counts = np.bincount(rng.choice(present, len(present)), minlength=n_groups)
        draws.append(score(labels, y, guesses, folds, counts[groups].astype(np.float64)))
    draws = np.array(draws)[np.isfinite(draws)]
    if not len(draws):
        return float("nan"), float("nan")
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


def _r2(y: np.ndarray, guesses: np.ndarray, w: np.ndarray) -> float:
    mean = (w * y).sum() / w.sum()
    spread = (w * (y - mean) ** 2).sum()
    return float(1 - (w * (y - guesses) ** 2).sum() / spread) if spread > 0 else float("nan")


def _auc(y: np.ndarray, guesses: np.ndarray, folds: np.ndarray, w: np.ndarray) -> float:
    pairs = [_pairs(y[part], guesses[part], w[part]) for part in (folds == f for f in np.unique(folds))]
    won, total = np.sum(pairs, axis=0)
    if total == 0:  # groups of one class filled the folds: only rows of different folds can be compared
        won, total = _pairs(y, guesses, w)
    return float(won / total) if total > 0 else float("nan")


def _pairs(y: np.ndarray, guesses: np.ndarray, w: np.ndarray) -> tuple[float, float]:
    """Return the weight of pairs in which the row with y has the larger guess (ties half), and of all pairs."""
    _, ranks = np.unique(guesses, return_inverse=True)
    with_y, without = np.bincount(ranks, w * y), np.bincount(ranks, w * ~y)
    return float((with_y * (np.cumsum(without) - without / 2)).sum()), float(with_y.sum() * without.sum())


def _balanced(y: np.ndarray, told: np.ndarray, n_classes: int, w: np.ndarray) -> float:
    total, right = np.bincount(y, w, n_classes), np.bincount(y, w * (told == y), n_classes)
    return float((right[total > 0] / total[total > 0]).mean()) if (total > 0).any() else float("nan")
