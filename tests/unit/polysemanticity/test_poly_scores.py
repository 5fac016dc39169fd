"""Scores of units against loops over pairs, all permutations, and libraries."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analyses.polysemanticity.alikeness import monosemanticity_score
from analyses.polysemanticity.shared_space import feature_capacity, interference_matrix, neuron_latent_map
from analyses.polysemanticity.unit_statistics import (
    logit_weight_moments,
    sparsity_statistics,
    vocabulary_concentration,
)
from interp.errors import InvalidInput, NonFinite


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def pair_loop(a, e):
    """The score as its authors compute it, one pair at a time."""
    a = (a - a.min()) / (a.max() - a.min())
    e = e / np.linalg.norm(e, axis=1, keepdims=True)
    above = below = 0.0
    for n in range(len(a)):
        for m in range(n):
            above += a[n] * a[m] * (e[n] @ e[m])
            below += a[n] * a[m]
    return above / below


@pytest.mark.parametrize("centre", [True, False])
def test_the_closed_form_is_the_loop_over_pairs(rng, centre):
    a, e = np.maximum(rng.normal(size=(60, 4)), 0), rng.normal(size=(60, 7)) + 1
    found = monosemanticity_score(a, e, centre=centre)["ms"]
    rows = e - e.mean(axis=0) if centre else e
    assert np.allclose(found, [pair_loop(a[:, u], rows) for u in range(4)], rtol=0, atol=1e-12)


def test_its_null_is_the_mean_and_sd_over_all_permutations(rng):
    a, e = rng.random((5, 2)), rng.normal(size=(5, 3))
    table = monosemanticity_score(a, e)
    every = np.array([monosemanticity_score(a[list(order)], e)["ms"] for order in permutations(range(5))])
    assert np.allclose(table["null_mean"], every.mean(axis=0), atol=1e-12)
    assert np.allclose(table["null_sd"], every.std(axis=0), atol=1e-12)


def test_a_unit_of_one_kind_scores_high_and_a_shuffled_one_does_not(rng):
    kinds = rng.integers(8, size=400)
    e = np.eye(8)[kinds] + 0.05 * rng.normal(size=(400, 8))
    one, four = (np.where(kinds < k, 1.0, 0.0) * rng.random(400) for k in (1, 4))
    table = monosemanticity_score(np.column_stack([one, four, rng.permutation(one)]), e)
    assert table["ms"][0] > 0.9 > 0.5 > table["ms"][1]
    assert table["z"][0] > table["z"][1] > 10
    assert abs(table["z"][2]) < 4


def test_a_unit_that_is_never_on_has_no_score(rng):
    table = monosemanticity_score(np.zeros((10, 1)), rng.normal(size=(10, 2)))
    assert table["status"][0] != "ok"
    assert np.isnan(table["ms"][0])


@pytest.mark.parametrize(
    ("a", "e", "error"),
    [
        (np.ones((3, 1)), np.ones((4, 2)), InvalidInput),
        (-np.ones((3, 1)), np.ones((3, 2)), InvalidInput),
        (np.full((3, 1), np.nan), np.ones((3, 2)), NonFinite),
        (np.ones((3, 1)), np.ones(3), InvalidInput),
    ],
)
def test_what_has_no_score_is_refused(a, e, error):
    with pytest.raises(error):
        monosemanticity_score(a, e)


def test_capacity_is_the_dimensionality_of_elhage(rng):
    W = rng.normal(size=(12, 5))
    unit = W / np.linalg.norm(W, axis=1, keepdims=True)
    D = (W**2).sum(axis=1) / ((unit @ W.T) ** 2).sum(axis=1)
    table = feature_capacity(W)
    assert np.allclose(table["capacity"], D, rtol=1e-12)
    assert table["capacity"].sum() <= 5 + 1e-9
    assert np.allclose(table["interference"], interference_matrix(W).sum(axis=1))


def test_known_capacities():
    antipodal = np.array([[1.0, 0], [-1, 0], [0, 1]])
    assert feature_capacity(antipodal)["capacity"].tolist() == [0.5, 0.5, 1.0]
    pentagon = np.exp(2j * np.pi * np.arange(5) / 5)
    assert np.allclose(feature_capacity(np.column_stack([pentagon.real, pentagon.imag]))["capacity"], 0.4)
    assert feature_capacity(np.zeros((1, 2)))["status"][0] == "zero direction"


def test_latents_on_single_neurons_are_told_from_rotated_ones(rng):
    aligned = np.eye(32)[np.arange(48) % 32] + 0.02 * rng.normal(size=(48, 32))
    turned = aligned @ np.linalg.qr(rng.normal(size=(32, 32)))[0]
    for weights, below in ((aligned, -3), (turned, None)):
        latents, neurons = neuron_latent_map(weights, n_rotations=30, seed=0)
        z = latents["z"].mean()
        assert z < below if below is not None else abs(z) < 1.5
    assert neurons["neuron"].tolist() == list(range(32))
    latents, neurons = neuron_latent_map(np.eye(4), seed=0)
    assert np.allclose(latents["n_effective"], 1)
    assert np.allclose(neurons["n_effective"], 1)
    assert np.allclose(neuron_latent_map(np.ones((3, 4)), seed=0)[0]["n_effective"], 4)


def test_energy_weighs_the_latents_of_a_neuron():
    W = np.array([[1.0, 0], [1, 0], [0, 1]])
    assert neuron_latent_map(W, seed=0)[1]["n_effective"][0] == pytest.approx(2)
    weighed = neuron_latent_map(W, energy=np.array([1.0, 0, 1]), seed=0)[1]
    assert weighed["n_effective"][0] == pytest.approx(1)
    with pytest.raises(InvalidInput):
        neuron_latent_map(W, energy=np.ones(2), seed=0)


def test_moments_of_logit_weights_are_those_of_scipy(rng):
    W, U = rng.normal(size=(3, 4)), rng.normal(size=(4, 50))
    table = logit_weight_moments(W, U)
    assert np.allclose(table["excess_kurtosis"], stats.kurtosis(W @ U, axis=1))
    assert np.allclose(table["skew"], stats.skew(W @ U, axis=1))
    assert table["top_token"].tolist() == (W @ U).argmax(axis=1).tolist()
    with pytest.raises(InvalidInput):
        logit_weight_moments(W, U.T)


def test_sparsity_has_its_known_ends(rng):
    one, even = np.zeros((100, 1)), np.ones((100, 1))
    one[3] = 2.0
    table = sparsity_statistics(np.hstack([one, even, np.zeros((100, 1))]))
    assert np.allclose(table["gini"][:2], [0.99, 0.0])
    assert np.allclose(table["hoyer"][:2], [1.0, 0.0])
    assert table["firing_rate"].tolist() == [0.01, 1.0, 0.0]
    assert table["status"][2] == "never active"
    a = rng.random(50)
    gini = np.abs(a[:, None] - a).sum() / (2 * 50**2 * a.mean())
    assert sparsity_statistics(a[:, None])["gini"][0] == pytest.approx(gini)


def test_vocabulary_counts_tokens_by_their_share():
    classes = np.array([0, 1, 2, 2])
    examples = pd.DataFrame({"unit": [0, 0, 1, 1, 1], "row": [0, 1, 2, 3, 0], "weight": [1, 3, 1, 1, 1.0]})
    table = vocabulary_concentration(examples, classes)
    assert table["n_effective"][0] == pytest.approx(2)
    assert table["top_share"][1] == pytest.approx(2 / 3)
    weighed = vocabulary_concentration(examples, classes, weighted=True)["n_effective"][0]
    assert weighed == pytest.approx(np.exp(stats.entropy([0.25, 0.75])))
