"""Logistic regression, against scikit-learn and where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from interp.errors import InvalidInput
from interp.stats.logistic import fit_logistic


@pytest.mark.parametrize("ridge", [1e-4, 1e-2, 1.0])
def test_it_finds_the_weights_of_scikit_learn(ridge):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 6))
    y = rng.random(300) < 1 / (1 + np.exp(-(x @ rng.standard_normal(6)) - 0.7))
    weights, intercept = fit_logistic(x, y, ridge=ridge)
    theirs = LogisticRegression(C=1 / (ridge * len(y)), tol=1e-12, max_iter=10_000).fit(x, y)
    np.testing.assert_allclose(weights, theirs.coef_[0], rtol=1e-4, atol=1e-6)
    assert intercept == pytest.approx(theirs.intercept_[0], rel=1e-4)


def test_classes_that_a_line_parts_have_finite_weights():
    x = np.linspace(-1, 1, 40)[:, None]
    weights, _ = fit_logistic(x, x[:, 0] > 0, ridge=1e-3)
    assert np.isfinite(weights).all()
    assert weights[0] > 5


def test_columns_that_are_copies_share_the_weight():
    x = np.random.default_rng(0).standard_normal((200, 1))
    y = x[:, 0] + np.random.default_rng(1).standard_normal(200) > 0
    weights, _ = fit_logistic(np.repeat(x, 2, axis=1), y, ridge=1e-3)
    assert weights[0] == pytest.approx(weights[1], rel=1e-6)


@pytest.mark.parametrize(("y", "ridge"), [([True] * 5, 1.0), ([True, False], 1.0), ([True, False] * 2 + [True], 0.0)])
def test_what_has_no_solution_is_refused(y, ridge):
    with pytest.raises(InvalidInput):
        fit_logistic(np.zeros((5, 2)), np.array(y), ridge=ridge)
