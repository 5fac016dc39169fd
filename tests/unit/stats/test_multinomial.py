"""Multinomial logistic regression, against scikit-learn and where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from interp.errors import InvalidInput
from interp.stats import fit_multinomial


def planted(n: int, d: int, n_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)) * np.logspace(-0.5, 0.5, d) + 2
    logits = x @ rng.standard_normal((d, n_classes)) + rng.gumbel(size=(n, n_classes))
    return x, logits.argmax(axis=1)


@pytest.mark.filterwarnings("ignore:.*ine [sS]earch")  # of scikit-learn, at the last digits
@pytest.mark.parametrize("n_classes", [2, 3, 7])
@pytest.mark.parametrize("shape", [(300, 6), (40, 90)], ids=["tall", "wide"])
@pytest.mark.parametrize("ridge", [1e-4, 1e-2, 1.0])
def test_it_finds_the_weights_of_scikit_learn(n_classes, shape, ridge):
    x, y = planted(*shape, n_classes)
    y[:n_classes] = np.arange(n_classes)
    ours = fit_multinomial(x, y, ridge=ridge)
    theirs = LogisticRegression(C=1 / (ridge * len(y)), tol=1e-12, max_iter=20_000, solver="newton-cg").fit(x, y)
    assert ours.converged.all()
    np.testing.assert_allclose(ours.coef[0].T, theirs.coef_, atol=2e-6, rtol=1e-5)
    np.testing.assert_allclose(np.exp(ours.log_chances(x)[0]), theirs.predict_proba(x), atol=1e-6)


def test_problems_in_one_call_are_problems_alone():
    x, y = planted(200, 10, 3)
    labels = np.stack([y, np.random.default_rng(1).permutation(y), y])
    weights = np.ones((3, 200))
    weights[2, :80] = 0
    together = fit_multinomial(x, labels, ridge=1e-2, weights=weights)
    for b in range(2):
        alone = fit_multinomial(x, labels[b], ridge=1e-2)
        np.testing.assert_allclose(together.coef[b], alone.coef[0], atol=1e-6)
    without = fit_multinomial(x[80:], y[80:], ridge=1e-2)  # a weight of 0 leaves a row out
    np.testing.assert_allclose(together.coef[2], without.coef[0], atol=1e-6)
    np.testing.assert_allclose(together.log_chances(x)[2], without.log_chances(x)[0], atol=1e-6)


def test_classes_that_a_line_parts_have_finite_weights():
    x = np.linspace(-1, 1, 60)[:, None]
    for y in ((x[:, 0] > 0).astype(int), np.digitize(x[:, 0], [-0.3, 0.3])):
        found = fit_multinomial(x, y, ridge=1e-6)
        assert np.isfinite(found.coef).all()
        assert (found.log_chances(x)[0].argmax(axis=1) == y).mean() > 0.95


def test_planted_classes_are_found_and_shuffled_ones_are_not():
    x, y = planted(2000, 8, 4)
    null = np.random.default_rng(5).permutation(y)
    train = np.arange(2000) < 1000
    found = fit_multinomial(x, np.stack([y, null]), ridge=1e-3, weights=train.astype(float))
    guesses = found.log_chances(x[~train]).argmax(axis=2)
    assert (guesses[0] == y[~train]).mean() > 0.75
    chance = np.bincount(y[~train]).max() / 1000
    assert (guesses[1] == null[~train]).mean() < chance + 0.03


def test_a_class_that_is_nowhere_has_next_to_no_chance():
    x, y = planted(100, 3, 2)
    found = fit_multinomial(x, y, ridge=1e-2, n_classes=3)
    assert np.isfinite(found.coef).all()
    assert np.exp(found.log_chances(x))[0, :, 2].max() < 1e-3


@pytest.mark.parametrize(
    ("codes", "more"),
    [([0, 1], {}), ([0.0, 1.0, 1.0], {}), ([0, 1, -1], {}), ([0, 1, 2], {"n_classes": 2}), ([0, 1, 1], {"ridge": 0.0})],
)
def test_what_has_no_solution_is_refused(codes, more):
    with pytest.raises(InvalidInput):
        fit_multinomial(np.arange(6.0).reshape(3, 2), np.array(codes), **{"ridge": 1.0, **more})
