"""Experts and masks: planted groups come back, and what must change nothing changes nothing."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from analyses.polysemanticity.domain_masks import (
    domain_means,
    knowledge_exclusivity,
    leading_units,
    mask_specificity,
    masking_matrix,
)
from analyses.polysemanticity.neuron_experts import emergent_experts, expert_fidelity, route_experts
from interp.errors import InvalidInput
from interp.testing import tiny_model


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_planted_experts_come_back_and_random_keys_give_none(rng):
    truth = rng.permutation(np.arange(64) % 4)
    keys = rng.normal(size=(4, 12))[truth] + 0.2 * rng.normal(size=(64, 12))
    found = emergent_experts(keys, 4, seed=0)
    assert adjusted_rand_score(found, truth) == 1.0
    assert abs(adjusted_rand_score(emergent_experts(rng.normal(size=(64, 12)), 4, seed=0), truth)) < 0.1


@pytest.mark.parametrize(("n", "sizes"), [(1, [10]), (3, [3, 3, 4]), (10, [1] * 10)])
def test_experts_are_balanced(rng, n, sizes):
    found = emergent_experts(rng.normal(size=(10, 3)), n, seed=0)
    assert sorted(np.bincount(found).tolist()) == sizes
    assert np.array_equal(found, emergent_experts(np.random.default_rng(0).normal(size=(10, 3)), n, seed=0))


def test_one_expert_or_all_of_them_are_the_mlp(rng):
    a, W = rng.normal(size=(20, 12)), rng.normal(size=(12, 5))
    experts = emergent_experts(rng.normal(size=(12, 4)), 4, seed=0)
    assert np.array_equal(route_experts(a, experts, 4), a)
    assert np.array_equal(route_experts(a, np.zeros(12, dtype=int), 1), a)
    table = expert_fidelity(a, W, {"weights": experts}, ks=(1, 2, 4))
    assert table["fvu"].iloc[-1] == 0
    assert table["fvu"].iloc[0] > 0


def test_the_most_active_experts_are_kept():
    a = np.array([[1.0, 1, 5, 0, 0, 0]])
    assert route_experts(a, np.array([0, 0, 1, 1, 2, 2]), 1).tolist() == [[0, 0, 5, 0, 0, 0]]
    with pytest.raises(InvalidInput):
        route_experts(a, np.array([0, 0, 1, 1, 2, 2]), 4)
    with pytest.raises(InvalidInput):
        emergent_experts(np.ones((3, 2)), 4, seed=0)


def test_units_belong_to_the_domain_that_they_are_on_in():
    means = np.array([[4.0, 1, 0, 1], [1, 1.5, 0, 9]])
    table = knowledge_exclusivity(means, ["a", "b"], [(0, 0), (0, 1), (1, 0), (1, 1)])
    assert table["domain"].tolist() == ["a", "b", "a", "b"]
    assert table["exclusive"].tolist() == [True, False, False, True]
    assert table["status"].tolist() == ["ok", "ok", "never active", "ok"]
    assert leading_units(table, n=1) == {"a": [(0, 0)], "b": [(1, 1)]}
    assert leading_units(table, n=9)["b"] == [(1, 1), (0, 1)]


@pytest.fixture(scope="module")
def small():
    model = tiny_model(0)
    texts = ["Paris is in France", "London is the city", "from Berlin to Paris", "the city of London and Paris"] * 2
    return model, texts, ["fr", "en", "fr", "en"] * 2


def test_means_are_those_of_the_tokens(small):
    from interp.capturing import capture

    model, texts, labels = small
    means, domains, units = domain_means(model, texts, labels)
    acts = capture(model, texts, "mlp_post.1", pool="none")
    mine = np.repeat(np.array(labels), acts.tokens_per_text) == "fr"
    assert domains == ["en", "fr"]
    assert len(units) == means.shape[1] == 2 * model.d_mlp
    assert np.allclose(means[1, model.d_mlp :], np.abs(acts["mlp_post.1"][mine]).mean(axis=0), rtol=1e-5)


def test_a_mask_of_neurons_that_write_nothing_costs_nothing(small):
    import torch

    model = tiny_model(0)
    _, texts, labels = small
    silent = [(1, 3), (1, 5)]
    W_out = model.bridge.blocks[1].mlp.original_component.down_proj.original_component.weight
    with torch.no_grad():
        W_out[:, [3, 5]] = 0
    masks = {"fr": silent, "en": [(0, i) for i in range(model.d_mlp)]}
    table = masking_matrix(model, texts, labels, masks, n_random=2, seed=0).set_index(["masked", "evaluated"])
    assert np.allclose(table.loc["fr", "delta"], 0, atol=1e-5)
    assert (table.loc["en", "delta"].abs() > 1e-3).all()
    assert table.loc[("fr", "en"), "n_units"] == 2
    assert (table["ci_low"] <= table["delta"]).all()
    assert table.loc[("fr", "fr"), "null_sd"] > 0


def test_the_losses_are_those_of_the_model_itself(small):
    import torch

    from analyses.polysemanticity.domain_masks import _batches, _losses
    from interp.tokens import tokenize

    model, texts, _ = small
    sums, counts = _losses(model, list(_batches(model, texts, 64)), len(texts), lambda keep: {})
    ids = torch.from_numpy(tokenize(model, [texts[1]]).ids)
    logits = model.logits(ids)[0, :-1].log_softmax(dim=-1)
    expected = -logits[torch.arange(ids.shape[1] - 1), ids[0, 1:]].sum()
    assert sums[1] == pytest.approx(float(expected.detach()), rel=1e-4)
    assert counts[1] == ids.shape[1] - 1


@pytest.mark.parametrize(
    ("labels", "masks"),
    [(["a"], {"a": [(0, 0)]}), (None, {"no": [(0, 0)]}), (None, {"fr": [(9, 0)]}), (None, {"fr": []})],
)
def test_masks_that_cannot_be_are_refused(small, labels, masks):
    model, texts, own = small
    with pytest.raises(InvalidInput):
        masking_matrix(model, texts, labels or own, masks, seed=0)


def square(D):
    names = [f"d{i}" for i in range(len(D))]
    pairs = [(m, e) for m in names for e in names]
    return pd.DataFrame(pairs, columns=["masked", "evaluated"]).assign(delta=np.ravel(D), null_mean=0.1)


def test_specificity_is_diagonal_less_off_diagonal(rng):
    table = mask_specificity(square(np.eye(5) + 0.5), seed=0)
    assert np.allclose(table["specificity"], 1.0)
    assert table["p"].iloc[-1] <= 0.02
    assert np.isnan(table["p"].iloc[0])
    assert mask_specificity(square(rng.normal(size=(6, 6))), seed=0)["p"].iloc[-1] > 0.02
    with pytest.raises(InvalidInput):
        mask_specificity(square(np.eye(3)).query("masked != 'd0'"), seed=0)
