"""The probe against scikit-learn, fold by fold."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

from interp.atlas.measure.ridge import ALPHAS, fit_ridge, out_of_fold


def planted(n=150, d=12, noise=2.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)) * np.logspace(-2, 2, d) + 5
    beta = rng.standard_normal((d, 2)) / np.logspace(-2, 2, d)[:, None]
    return x, x @ beta + noise * rng.standard_normal((n, 2)) * [1, 5]


@pytest.mark.parametrize(("n", "d"), [(150, 12), (60, 59), (40, 90)])
def test_fit_and_chosen_strength_are_those_of_sklearn(n, d):
    x, y = planted(n, d)
    ours = fit_ridge(x, y)
    scale = StandardScaler().fit(x)
    theirs = RidgeCV(alphas=ALPHAS, alpha_per_target=True).fit(scale.transform(x), y)
    np.testing.assert_allclose(ours.alpha, theirs.alpha_)
    fresh = planted(30, d, seed=1)[0]
    np.testing.assert_allclose(ours.predict(fresh), theirs.predict(scale.transform(fresh)), rtol=1e-6, atol=1e-8)


def test_each_target_has_a_strength_of_its_own():
    x, y = planted(60, 40)
    y[:, 1] = np.random.default_rng(1).standard_normal(60)  # nothing to find
    alpha = fit_ridge(x, y).alpha
    assert alpha[0] < alpha[1]


def test_columns_may_keep_their_sizes():
    x, y = planted()
    ours = fit_ridge(x, y, each=False)
    unit = np.sqrt(x.var(axis=0).mean())
    for target in range(2):
        theirs = SklearnRidge(alpha=ours.alpha[target]).fit(x / unit, y[:, target])
        np.testing.assert_allclose(ours.predict(x)[:, target], theirs.predict(x / unit), rtol=1e-8)
    assert not np.allclose(ours.predict(x), fit_ridge(x, y).predict(x))


def test_out_of_fold_guesses_are_those_of_sklearn_fitted_on_the_other_folds():
    x, y = planted()
    folds = np.random.default_rng(0).integers(7, size=len(x))
    guess, constant = out_of_fold(x, y, folds)
    for fold in range(7):
        test = folds == fold
        scale = StandardScaler().fit(x[~test])
        theirs = RidgeCV(alphas=ALPHAS, alpha_per_target=True).fit(scale.transform(x[~test]), y[~test])
        np.testing.assert_allclose(guess[test], theirs.predict(scale.transform(x[test])), rtol=1e-7)
        np.testing.assert_allclose(constant[test], np.tile(y[~test].mean(0), (test.sum(), 1)), rtol=1e-12)


def test_a_column_that_is_constant_up_to_rounding_is_not_used():
    x, y = planted()
    jitter = 3.0 + 1e-13 * np.random.default_rng(0).standard_normal((len(x), 1))
    with_it = fit_ridge(np.hstack([x, jitter]), y)
    assert (with_it.weights[-1] == 0).all()
    np.testing.assert_allclose(with_it.predict(np.hstack([x, jitter + 1])), fit_ridge(x, y).predict(x), rtol=1e-9)


def test_a_constant_input_gives_the_mean():
    _, y = planted()
    np.testing.assert_allclose(fit_ridge(np.ones((150, 4)), y).predict(np.full((2, 4), 7.0)), [y.mean(0)] * 2)


def test_arguments_are_left_as_they_are():
    x, y = planted()
    before = x.copy(), y.copy()
    out_of_fold(x, y, np.arange(len(x)) % 5)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])
