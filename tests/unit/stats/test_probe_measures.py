"""Nearest means, description lengths, variance explained and control labels, where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestCentroid

from interp.errors import InvalidInput
from interp.stats import control_labels, mass_mean, online_code, variance_explained
from interp.stats.erasure import one_hot


def planted(n: int, d: int, n_classes: int, gap: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, n_classes, n)
    return rng.standard_normal((n, d)) + gap * rng.standard_normal((n_classes, d))[codes], codes


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_nearest_mean_is_that_of_scikit_learn(n_classes):
    x, codes = planted(300, 6, n_classes, 1.0)
    guesses = mass_mean(x, codes).scores(x).argmax(axis=1)
    assert guesses.tolist() == NearestCentroid().fit(x, codes).predict(x).tolist()


def test_whitened_means_are_linear_discriminants():
    x, codes = planted(300, 6, 3, 1.0)
    x = x @ np.random.default_rng(1).standard_normal((6, 6))
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(x, codes)
    ours = mass_mean(x, codes, whiten=0.0)
    prior = np.log(np.bincount(codes) / len(codes))
    assert (ours.scores(x) + prior).argmax(axis=1).tolist() == theirs.predict(x).tolist()
    np.testing.assert_allclose(ours.directions.T, theirs.coef_, rtol=1e-6, atol=1e-8)


def test_the_direction_is_the_difference_of_means():
    x, codes = planted(100, 4, 2, 2.0)
    expected = x[codes == 1].mean(axis=0) - x[codes == 0].mean(axis=0)
    np.testing.assert_allclose(mass_mean(x, codes).direction(), expected)
    with pytest.raises(InvalidInput, match="no single direction"):
        mass_mean(*planted(100, 4, 3, 2.0)).direction()


def test_a_class_without_rows_is_never_the_nearest():
    x, codes = planted(50, 3, 2, 1.0)
    assert mass_mean(x, codes, n_classes=3).scores(x).argmax(axis=1).max() == 1


def test_easy_labels_take_few_bits_and_random_ones_take_no_fewer_than_they_are():
    x, codes = planted(2000, 10, 4, 3.0)
    easy = online_code(x, codes, n_classes=4)
    null = online_code(x, np.random.default_rng(9).permutation(codes), n_classes=4)
    assert easy.compression > 5
    assert 0.85 < null.compression <= 1.0
    assert easy.uniform_bits == 4000
    assert easy.block_bits.sum() == pytest.approx(easy.bits)


def test_flipped_labels_cost_what_their_entropy_says():
    x, codes = planted(4000, 5, 2, 4.0)
    flips = np.random.default_rng(3).random(4000) < 0.1
    found = online_code(x, np.where(flips, 1 - codes, codes), n_classes=2)
    bound = 1 / (-0.1 * np.log2(0.1) - 0.9 * np.log2(0.9))
    assert 0.85 * bound < found.compression < bound * 1.02


def test_a_class_that_comes_late_is_coded_all_the_same():
    x, codes = planted(200, 3, 2, 1.0)
    codes[-1] = 2
    found = online_code(x, codes, n_classes=3)
    assert np.isfinite(found.bits)
    assert np.isfinite(online_code(x, np.zeros(200, dtype=int), n_classes=2).bits)


def test_later_labels_do_not_touch_earlier_bits():
    x, codes = planted(400, 4, 2, 1.0)
    changed = codes.copy()
    changed[200:] = 1 - changed[200:]
    ours, theirs = (online_code(x, c, n_classes=2).block_bits[:-1] for c in (codes, changed))
    np.testing.assert_allclose(ours, theirs)


@pytest.mark.parametrize("fractions", [(), (0.5,), (1.0, 0.5), (0.0, 1.0)])
def test_blocks_that_do_not_end_with_the_last_row_are_refused(fractions):
    with pytest.raises(InvalidInput, match="fractions"):
        online_code(np.zeros((4, 1)), np.array([0, 1, 0, 1]), n_classes=2, fractions=fractions)


def test_planted_shares_of_variance_are_found():
    rng = np.random.default_rng(0)
    n = 4000
    easy, hard = rng.integers(0, 2, n), rng.integers(0, 2, n)
    directions = np.linalg.qr(rng.standard_normal((30, 2)))[0].T
    signal = sum(
        np.sqrt(share) * (2 * label - 1)[:, None] * axis
        for share, label, axis in zip((0.45, 0.05), (easy, hard), directions, strict=True)
    )
    h = signal + rng.standard_normal((n, 30)) * np.sqrt(0.5 / 30)
    folds = np.arange(n) % 10
    for label, share in ((easy, 0.45), (hard, 0.05)):
        assert variance_explained(h, one_hot(label), folds) == pytest.approx(share, abs=0.01)
        assert variance_explained(h, label, folds) == pytest.approx(share, abs=0.01)


def test_a_label_that_says_nothing_explains_nothing():
    rng = np.random.default_rng(0)
    h, label = rng.standard_normal((300, 10)), rng.integers(0, 20, 300)
    assert variance_explained(h, one_hot(label), np.arange(300) % 10) < 0.0
    assert variance_explained(h, one_hot(label)) == pytest.approx(19 / 299, abs=0.015)  # on its own rows


def test_activations_that_never_vary_have_no_share():
    assert np.isnan(variance_explained(np.ones((6, 2)), np.arange(6.0)))


def test_rows_of_a_type_share_their_control_label():
    types = np.random.default_rng(0).integers(0, 400, 3000)
    y = np.where(np.random.default_rng(1).random(3000) < 0.3, "a", "b")
    found = control_labels(types, y, seed=0)
    for kind in np.unique(types)[:50]:
        assert len(set(found[types == kind])) == 1
    assert np.mean(found == "a") == pytest.approx(0.3, abs=0.08)
    assert abs(np.mean(found == y) - (0.3**2 + 0.7**2)) < 0.05  # they say nothing of the real labels


def test_control_labels_depend_on_seed_and_types_alone():
    types, y = np.repeat(np.arange(30), 4), np.tile([0, 1], 60)
    found, order = control_labels(types, y, seed=1), np.random.default_rng(0).permutation(120)
    assert control_labels(types[order], y[order], seed=1).tolist() == found[order].tolist()
    assert control_labels(types, y, seed=2).tolist() != found.tolist()
    assert all(len(set(control_labels([0, 0, 1], [0, 0, 1], seed=s))) == 2 for s in range(10))
