"""Erasure: afterwards nothing linear is left, and what is changed is as little as theory allows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from interp.errors import InvalidInput
from interp.stats import leace, mean_projection, random_projection
from interp.stats.erasure import one_hot

ERASERS = {"leace": leace, "mean projection": mean_projection}


def planted(n: int = 600, d: int = 20, n_classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Classes whose means differ, in columns that are correlated and of unlike size."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, n_classes, n)
    x = rng.standard_normal((n, d)) + 2 * rng.standard_normal((n_classes, d))[codes]
    return x @ (rng.standard_normal((d, d)) * np.logspace(-1, 1, d)) + 10, codes


@pytest.mark.parametrize("eraser", ERASERS.values(), ids=ERASERS.keys())
@pytest.mark.parametrize("n_classes", [2, 3])
def test_no_linear_probe_is_better_than_a_constant(eraser, n_classes):
    x, codes = planted(n_classes=n_classes)
    before = LogisticRegression(C=100.0, max_iter=5000).fit(x / x.std(axis=0), codes)
    assert before.score(x / x.std(axis=0), codes) > 0.95
    fitted = eraser(x, one_hot(codes))
    assert fitted.rank == n_classes - 1
    erased = fitted.apply(x)
    centred, z = erased - erased.mean(axis=0), one_hot(codes) - one_hot(codes).mean(axis=0)
    slope = np.linalg.lstsq(centred, z, rcond=None)[0]
    assert np.abs(centred @ slope).max() < 1e-6  # least squares: only the constant is left
    scaled = erased / erased.std(axis=0)
    after = LogisticRegression(C=100.0, max_iter=5000).fit(scaled, codes)
    assert after.score(scaled, codes) <= np.bincount(codes).max() / len(codes) + 0.01


@pytest.mark.parametrize("eraser", ERASERS.values(), ids=ERASERS.keys())
def test_the_mean_stays_and_twice_is_once(eraser):
    x, codes = planted()
    fitted = eraser(x, one_hot(codes))
    once = fitted.apply(x)
    np.testing.assert_allclose(once.mean(axis=0), x.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(fitted.apply(once), once, atol=1e-7)


def test_leace_changes_less_than_mean_projection():
    x, codes = planted(d=40, n_classes=2)
    z = one_hot(codes)
    changed = {name: ((eraser(x, z).apply(x) - x) ** 2).sum() for name, eraser in ERASERS.items()}
    assert changed["leace"] < changed["mean projection"]


def test_white_activations_are_erased_alike():
    rng = np.random.default_rng(0)
    x = np.linalg.qr(rng.standard_normal((200, 8)) - 0)[0]
    x = np.linalg.qr(x - x.mean(axis=0))[0]
    z = x[:, :1] + 0.1 * rng.standard_normal((200, 1))
    np.testing.assert_allclose(leace(x, z).apply(x), mean_projection(x, z).apply(x), atol=1e-9)


def test_a_random_projection_of_the_same_rank_leaves_the_label():
    x, codes = planted(n_classes=2)
    erased = random_projection(x, 1, seed=0).apply(x)
    scaled = erased / erased.std(axis=0)
    assert LogisticRegression(C=100.0, max_iter=5000).fit(scaled, codes).score(scaled, codes) > 0.9
    assert np.linalg.matrix_rank(erased - erased.mean(axis=0)) == x.shape[1] - 1


def test_columns_that_depend_on_each_other_do_no_harm():
    x, codes = planted(d=5)
    wide = np.column_stack([x, x @ np.ones((5, 3)), np.full(len(x), 4.0)])
    erased = leace(wide, one_hot(codes)).apply(wide)
    z = one_hot(codes) - one_hot(codes).mean(axis=0)
    assert np.abs((erased - erased.mean(axis=0)).T @ z).max() < 1e-5
    np.testing.assert_allclose(erased[:, 5:8], erased[:, :5] @ np.ones((5, 3)), atol=1e-6)


def test_what_cannot_be_erased_is_refused():
    x, _ = planted()
    with pytest.raises(InvalidInput, match="nothing to erase"):
        leace(x, np.ones(len(x)))
    with pytest.raises(InvalidInput, match="rank"):
        random_projection(x, 21, seed=0)
