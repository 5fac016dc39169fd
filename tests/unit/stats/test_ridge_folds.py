"""Folds with buffers and nested penalties, against refits by scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from interp.errors import InvalidInput
from interp.stats.ridge import decompose, leave_group_out
from interp.stats.ridge_folds import Fold, fold_squared_error, folds_of, nested_ridge, predictions_without

ALPHAS = np.array([0.1, 3.0, 100.0])


def make(n, d, *, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)) * np.logspace(0.5, -1, d) + 3.0
    return x, x[:, :3] @ rng.standard_normal((3, 2)) + 0.5 * rng.standard_normal((n, 2))


def buffered(n, k=4, *, width=3):
    """Folds of a line, each leaving out so many rows on either side of those it is judged on; they overlap."""
    out = []
    for rows in np.array_split(np.arange(n), k):
        left = np.arange(max(0, rows[0] - width), min(n, rows[-1] + 1 + width))
        out.append(Fold(left, rows))
    return out


def refit(x, y, stay, rows, alpha):
    return Ridge(alpha=alpha, solver="svd").fit(x[stay], y[stay]).predict(x[rows])


def brute_nested(x, y, folds, alphas, n_reported):
    """Return guesses and penalties by refits alone."""
    guesses, chosen, everyone = np.full(y.shape, np.nan), [], np.arange(len(x))
    for f in range(n_reported):
        error = np.zeros(len(alphas))
        for g in range(len(folds)):
            if g == f:
                continue
            stay = np.setdiff1d(everyone, np.concatenate([folds[f].left, folds[g].left]))
            rows = np.setdiff1d(folds[g].scored, folds[f].left)
            for i, alpha in enumerate(alphas):
                error[i] += ((refit(x, y, stay, rows, alpha) - y[rows]) ** 2).sum()
        chosen.append(alphas[error.argmin()])
        stay = np.setdiff1d(everyone, folds[f].left)
        guesses[folds[f].scored] = refit(x, y, stay, folds[f].scored, chosen[-1])
    return guesses, np.array(chosen)


@pytest.mark.parametrize(("n", "d"), [(60, 7), (60, 45), (40, 90)], ids=["many rows", "few left", "more columns"])
def test_rows_left_out_are_guessed_as_by_a_refit(n, d):
    x, y = make(n, d)
    for left in (np.arange(5, 9), np.arange(3, n - 8)):
        stay = np.setdiff1d(np.arange(n), left)
        found = predictions_without(x, y, left, ALPHAS)
        for guess, alpha in zip(found, ALPHAS, strict=True):
            np.testing.assert_allclose(guess, refit(x, y, stay, left, alpha), rtol=0, atol=1e-8)


@pytest.mark.parametrize(("n", "d"), [(60, 7), (40, 90)])
def test_a_buffer_and_the_choice_of_the_penalty_are_those_of_refits(n, d):
    x, y = make(n, d)
    folds = buffered(n)
    guesses, chosen = brute_nested(x, y, folds, ALPHAS, len(folds))
    found = nested_ridge(x, y, folds, ALPHAS)
    np.testing.assert_array_equal(found.alphas, chosen)
    np.testing.assert_allclose(found.predictions, guesses, rtol=0, atol=1e-8)


def test_folds_that_are_not_reported_serve_the_choice_alone():
    x, y = make(60, 7)
    folds = [Fold(np.arange(10), np.arange(10)), *(Fold(r, r) for r in np.array_split(np.arange(10, 60), 3))]
    guesses, chosen = brute_nested(x, y, folds, ALPHAS, 1)
    found = nested_ridge(x, y, folds, ALPHAS, n_reported=1)
    np.testing.assert_array_equal(found.alphas, chosen)
    np.testing.assert_allclose(found.predictions[:10], guesses[:10], rtol=0, atol=1e-8)
    assert np.isnan(found.predictions[10:]).all()


def test_what_is_reported_does_not_depend_on_its_own_targets():
    x, y = make(60, 7)
    folds = folds_of(np.arange(60) % 4)
    other = y.copy()
    other[folds[2].scored] = 1e3 * np.random.default_rng(1).standard_normal((15, 2))
    found, again = (nested_ridge(x, v, folds, ALPHAS) for v in (y, other))
    assert found.alphas[2] == again.alphas[2]
    np.testing.assert_allclose(found.predictions[folds[2].scored], again.predictions[folds[2].scored], atol=1e-7)


def test_without_buffers_the_error_is_that_of_leaving_groups_out():
    x, y = make(60, 12)
    groups = np.random.default_rng(2).integers(0, 5, 60)
    expected = leave_group_out(decompose(x), y, groups, ALPHAS).squared_error
    np.testing.assert_allclose(fold_squared_error(x, y, folds_of(groups), ALPHAS), expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    ("folds", "match"),
    [
        (folds_of(np.arange(20) % 2), "at least 3"),
        ([Fold(np.arange(3), np.arange(5))] * 3, "does not leave out"),
        ([Fold(np.arange(3), np.arange(3))] * 3, "several reported"),
        ([Fold(np.array([], int), np.array([], int))] * 3, "at least one"),
        ([Fold(np.arange(19), r) for r in np.array_split(np.arange(19), 3)], "leave 1 to fit"),
    ],
)
def test_folds_that_cannot_be_are_refused(folds, match):
    x, y = make(20, 3)
    with pytest.raises(InvalidInput, match=match):
        nested_ridge(x, y, folds, ALPHAS)
