"""Ridge: the path, leaving out one row and leaving out a group, against refits by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV

from interp.errors import InvalidInput
from interp.stats import RidgeGram, leave_group_out, leave_one_out, ridge_path
from interp.stats.ridge import decompose, group_squared_error
from interp.stats.ridge_stream import fold_squared_error

ALPHAS = np.logspace(-2, 4, 7)
SHAPES = {"tall": (90, 12), "square": (40, 40), "wide": (30, 75), "one column": (25, 1)}


def planted(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Columns of unlike size, far from 0, and two targets."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)) * np.logspace(-1, 1, d) + 5 * rng.standard_normal(d)
    return x, x @ rng.standard_normal((d, 2)) / np.sqrt(d) + rng.standard_normal((n, 2)) + 3


def uneven_groups(n: int, seed: int = 0) -> np.ndarray:
    """Groups of many sizes, one of them a single row and one of half of all rows."""
    rng = np.random.default_rng(seed)
    groups = np.where(rng.random(n) < 0.5, 0, rng.integers(1, 6, n))
    groups[0] = 9
    return groups


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_the_path_is_that_of_scikit_learn(shape):
    x, y = planted(*shape)
    path = ridge_path(x, y, ALPHAS)
    for i, alpha in enumerate(ALPHAS):
        theirs = Ridge(alpha=alpha, solver="svd").fit(x, y)
        np.testing.assert_allclose(path.coef[i], theirs.coef_.T, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(path.intercept[i], theirs.intercept_, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(path.predict(x)[i], theirs.predict(x), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_leaving_one_out_is_refitting(shape):
    x, y = planted(*shape)
    found = leave_one_out(x, y, ALPHAS)
    for i, alpha in enumerate(ALPHAS):
        for row in range(0, len(x), 7):
            rest = np.delete(np.arange(len(x)), row)
            theirs = Ridge(alpha=alpha, solver="svd").fit(x[rest], y[rest]).predict(x[[row]])[0]
            np.testing.assert_allclose(found.predictions[i, row], theirs, rtol=1e-8, atol=1e-8)


def test_leaving_one_out_chooses_the_penalty_of_scikit_learn():
    x, y = planted(80, 20)
    theirs = RidgeCV(alphas=ALPHAS, alpha_per_target=True).fit(x, y)
    assert ALPHAS[leave_one_out(x, y, ALPHAS).best].tolist() == np.ravel(theirs.alpha_).tolist()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_leaving_a_group_out_is_refitting(shape):
    x, y = planted(*shape)
    groups = uneven_groups(len(x))
    found = leave_group_out(x, y, groups, ALPHAS)
    for i, alpha in enumerate(ALPHAS):
        for group in np.unique(groups):
            out = groups == group
            theirs = Ridge(alpha=alpha, solver="svd").fit(x[~out], y[~out]).predict(x[out]).reshape(-1, 2)
            np.testing.assert_allclose(found.predictions[i, out], theirs, rtol=1e-8, atol=1e-8)


def test_groups_of_one_row_are_leaving_one_out():
    x, y = planted(40, 60)
    groups = leave_group_out(x, y, np.arange(40), ALPHAS)
    np.testing.assert_allclose(groups.errors, leave_one_out(x, y, ALPHAS).errors, rtol=1e-8, atol=1e-9)


def test_one_row_that_stays_predicts_itself():
    x, y = planted(10, 3)
    found = leave_group_out(x, y, np.r_[1, np.zeros(9, dtype=int)], [1.0])
    np.testing.assert_allclose(found.predictions[0, 1:], np.tile(y[0], (9, 1)), atol=1e-9)


def test_labels_of_groups_do_not_matter():
    x, y = planted(60, 8)
    groups = uneven_groups(60)
    named = np.array([f"block {g}" for g in groups])
    found, again = (leave_group_out(x, y, g, ALPHAS).errors for g in (groups, named))
    np.testing.assert_allclose(found, again, rtol=1e-12)
    np.testing.assert_allclose(group_squared_error(x, y, groups, ALPHAS), (found**2).sum(axis=1))


@pytest.mark.parametrize("shape", [(200, 40), (40, 200)], ids=["tall", "wide"])
def test_a_condition_number_of_1e12_keeps_small_penalties(shape):
    rng = np.random.default_rng(0)
    n, d = shape
    k = min(n - 1, d)
    left = np.linalg.qr(rng.standard_normal((n, k + 1)) - 0.0)[0][:, :k]
    left = np.linalg.qr(left - left.mean(axis=0))[0]
    s = np.logspace(3, -3, k)  # singular values: those of x'x span 12 orders of magnitude
    right = np.linalg.qr(rng.standard_normal((d, k)))[0]
    x, y = (left * s) @ right.T, rng.standard_normal((n, 1))
    alphas = [1e-5, 1e-3, 10.0]
    u = left.T @ (y - y.mean())
    for i, path in enumerate(ridge_path(x, y, alphas).predict(x)):
        exact = y.mean() + left @ (u * (s**2 / (s**2 + alphas[i]))[:, None])
        np.testing.assert_allclose(path, exact, atol=1e-8)
    groups = np.arange(n) % 5
    found = leave_group_out(x, y, groups, alphas)
    for i, alpha in enumerate(alphas):
        theirs = Ridge(alpha=alpha, solver="svd").fit(x[groups != 0], y[groups != 0]).predict(x[groups == 0])
        np.testing.assert_allclose(found.predictions[i, groups == 0].ravel(), theirs.ravel(), rtol=1e-6, atol=1e-6)


def test_columns_that_are_constant_or_copies_change_nothing():
    x, y = planted(50, 6)
    path = ridge_path(np.column_stack([x, np.full(50, 7.0)]), y, ALPHAS)
    np.testing.assert_allclose(path.coef[:, :6], ridge_path(x, y, ALPHAS).coef, atol=1e-9)
    np.testing.assert_allclose(path.coef[:, 6], 0.0, atol=1e-9)
    twice = np.column_stack([x[:, 0], x[:, 0]])
    found = leave_group_out(twice, y, uneven_groups(50), [0.5])
    np.testing.assert_allclose(
        found.errors, leave_group_out(x[:, :1] * np.sqrt(2), y, uneven_groups(50), [0.5]).errors, atol=1e-9
    )


def test_rows_that_never_differ_predict_the_mean_of_the_others():
    y, groups = np.arange(12.0), np.arange(12) % 3
    x = np.full((12, 4), 3.0)
    for found, out in ((leave_group_out(x, y, groups, ALPHAS), groups), (leave_one_out(x, y, ALPHAS), np.arange(12))):
        expected = [y[out != out[i]].mean() for i in range(12)]
        np.testing.assert_allclose(found.predictions[0, :, 0], expected)
    np.testing.assert_array_equal(ridge_path(x, y, ALPHAS).coef, 0.0)


def test_float32_keeps_four_digits_of_the_guesses():
    x, y = planted(300, 60)
    exact = leave_group_out(x, y, np.arange(300) % 10, ALPHAS).predictions
    rounded = leave_group_out(x.astype(np.float32), y, np.arange(300) % 10, ALPHAS).predictions
    single = leave_group_out(decompose(x, dtype=np.float32), y, np.arange(300) % 10, ALPHAS).predictions
    assert np.abs(rounded - exact).max() < 1e-5 * y.std()  # activations of float32, arithmetic of float64
    assert np.abs(single - exact).max() < 1e-3 * y.std()  # arithmetic of float32


def test_what_depends_on_nothing_is_not_predicted():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((400, 30)), rng.standard_normal((400, 50))
    errors = leave_group_out(x, y, np.arange(400) % 10, [100.0]).errors[0]
    r2 = 1 - (errors**2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    assert r2.max() < 0.05
    assert r2.mean() < 0


@pytest.mark.parametrize("shape", [(200, 15), (40, 60)])
def test_batches_add_up_to_the_whole(shape):
    x, y = planted(*shape)
    gram = RidgeGram.of(x[:7], y[:7])
    for start in range(7, len(x), 11):
        gram = gram.add(x[start : start + 11], y[start : start + 11])
    ours, whole = gram.path(ALPHAS), ridge_path(x, y, ALPHAS)
    np.testing.assert_allclose(ours.coef, whole.coef, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(ours.intercept, whole.intercept, rtol=1e-7, atol=1e-8)


def test_folds_by_taking_their_sums_away_are_leaving_groups_out():
    x, y = planted(200, 15)
    folds = np.arange(200) % 5
    found = fold_squared_error([RidgeGram.of(x[folds == f], y[folds == f]) for f in range(5)], ALPHAS)
    errors = leave_group_out(x, y, folds, ALPHAS).errors
    for f in range(5):
        np.testing.assert_allclose(found[f], (errors[:, folds == f] ** 2).sum(axis=1), rtol=1e-8)


def test_large_means_cost_the_sums_no_digits():
    x, y = planted(200, 5)
    parts = [RidgeGram.of(x[f::4] + 1e6, y[f::4]) for f in range(4)]
    expected = fold_squared_error([RidgeGram.of(x[f::4], y[f::4]) for f in range(4)], ALPHAS)
    np.testing.assert_allclose(fold_squared_error(parts, ALPHAS), expected, rtol=1e-6)


def test_arguments_are_left_as_they_were():
    x, y = planted(30, 4)
    before = x.copy(), y.copy()
    leave_group_out(x, y, np.arange(30) % 3, ALPHAS)
    leave_one_out(x, y, ALPHAS)
    RidgeGram.of(x, y).add(x, y).path(ALPHAS)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


def test_what_cannot_be_fitted_is_refused():
    x, y = planted(10, 3)
    for wrong in (0.0, -1.0, np.nan, []):
        with pytest.raises(InvalidInput, match="alphas"):
            ridge_path(x, y, wrong)
    with pytest.raises(InvalidInput, match="10 rows"):
        ridge_path(x, y[:9], 1.0)
    with pytest.raises(InvalidInput, match="one group"):
        leave_group_out(x, y, np.zeros(10), 1.0)
    with pytest.raises(InvalidInput, match="NaN"):
        ridge_path(np.where(x == x[0, 0], np.nan, x), y, 1.0)
    with pytest.raises(InvalidInput, match="nothing would be left"):
        RidgeGram.of(x, y).without(RidgeGram.of(x, y))
