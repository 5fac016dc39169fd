"""Experts and masks: planted groups come back, and what must change nothing changes nothing."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from analyses.polysemanticity.domain_masks import mask_specificity, masking_matrix
from analyses.polysemanticity.domain_units import (
    domain_means,
    exclusive_share,
    experts_of,
    knowledge_exclusivity,
    leading_units,
    text_sums,
)
from analyses.polysemanticity.expert_scores import against, expert_scores
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


def planted_groups(rng, n_texts=60, per_text=10, planted=True):
    """Units in 8 groups that read alike, are on together, and each in one of 4 domains; or units of no groups."""
    truth = rng.permutation(np.arange(64) % 8)
    domain = rng.integers(4, size=n_texts)
    on = np.repeat(domain, per_text)[:, None] == (truth % 4)[None]
    group_on = rng.random((n_texts * per_text, 8)) < 0.5
    a = np.where(on & group_on[:, truth], 1.0, 0.02) * np.exp(0.2 * rng.standard_normal(on.shape))
    keys = rng.normal(size=(8, 24))[truth] + 0.2 * rng.normal(size=(64, 24))
    if not planted:
        a, keys = np.exp(0.2 * rng.standard_normal(on.shape)), rng.normal(size=(64, 24))
    text = np.repeat(np.arange(n_texts), per_text)
    return a, keys, rng.normal(size=(64, 32)), text, [f"d{d}" for d in domain]


def test_planted_groups_are_better_than_random_ones_in_every_score(rng):
    a, keys, writes, text, domains = planted_groups(rng)
    table = expert_scores(a, keys, writes, text_index=text, domains=domains, n_experts=8, seed=0)
    assert (table["p"] < 1e-3).all()
    assert (table["status"] == "ok").all()
    by = table.set_index(["split", "score", "k"])
    assert by.loc[("weights and co-activation", "agreement", 8), "value"] == 1.0
    for split in ("weights", "co-activation"):
        assert by.loc[(split, "domain share", 8), "value"] > 0.8 > 0.5 > by.loc[(split, "domain share", 8), "null_mean"]
        fvu = by.loc[(split, "fvu", 4)]
        assert fvu["value"] < 0.2 * fvu["null_mean"]
    boxed = table["score"] != "agreement"
    assert ((table["ci_low"] <= table["value"]) & (table["value"] <= table["ci_high"]))[boxed].all()
    assert set(table["n_texts"]) == {30}


def test_units_of_no_groups_are_no_better_than_random_ones():
    """P-values over 40 draws are no more often small than they should be."""
    p = []
    for seed in range(40):
        a, keys, writes, text, domains = planted_groups(np.random.default_rng(seed), planted=False)
        table = expert_scores(
            a, keys, writes, text_index=text, domains=domains, n_experts=8, kept=(0.5,), seed=seed
        ).query("split != 'co-activation'")
        p += table["p"].tolist()
    assert len(p) == 120
    assert (np.array(p) < 0.05).mean() <= 0.11
    assert np.mean(p) == pytest.approx(0.5, abs=0.1)


def test_what_is_lost_is_that_of_the_routed_mlp(rng):
    a, keys, writes, text, _ = planted_groups(rng)
    table = expert_scores(a, keys, writes, text_index=text, n_experts=8, kept=(0.25, 1.0), seed=0)
    judged = a[text % 2 == 1]
    experts = emergent_experts(keys, 8, seed=0)
    expected = expert_fidelity(judged, writes, {"weights": experts}, ks=(2, 8))["fvu"]
    found = table.query("split == 'weights'").sort_values("k")["value"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-9)
    assert "domain share" not in set(table["score"])
    with pytest.raises(InvalidInput, match="groups of 64 units"):
        expert_scores(a, keys, writes, text_index=text, n_experts=65, seed=0)
    with pytest.raises(InvalidInput, match="two texts"):
        expert_scores(a, keys, writes, text_index=0 * text, n_experts=8, seed=0)


def test_a_value_beside_few_random_ones(rng):
    from scipy import stats

    null = rng.normal(size=9)
    found = against(1.5, null, better="larger")
    t = (1.5 - null.mean()) / (null.std(ddof=1) * np.sqrt(1 + 1 / 9))
    assert found["p"] == pytest.approx(stats.t.sf(t, 8))
    assert against(1.5, null, better="smaller")["p"] == pytest.approx(1 - found["p"])
    assert against(1.0, null[:2], better="larger")["status"] == "fewer than 3 random ones"
    assert against(1.0, np.ones(5), better="larger")["status"] == "random ones are all equal"
    drawn = [against(rng.normal(), rng.normal(size=5), better="larger")["p"] for _ in range(2000)]
    assert np.mean(np.array(drawn) < 0.05) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("planted", [True, False])
def test_exclusive_units_are_counted_beside_shuffled_domains(rng, planted):
    domains = np.array(["a", "b", "c"])[rng.integers(3, size=90)]
    sums = rng.gamma(2.0, size=(90, 40)) * 10
    if planted:
        sums[:, :20] *= np.where(domains == "b", 5.0, 1.0)[:, None]
    sums[:, 39] = 0
    counts = np.full(90, 10.0)
    found = exclusive_share(sums, counts, domains.tolist(), permutations=99, seed=0)
    assert found["n"] == 39
    assert found["n_exclusive"] == (20 if planted else 0)
    assert (found["p"] <= 0.01) == planted
    assert found["null_mean"] < 0.05
    assert found["ci_low"] <= found["share"] <= found["ci_high"]
    table = knowledge_exclusivity(*domain_means(sums, counts, domains.tolist()), [(0, i) for i in range(40)])
    assert table["exclusive"].sum() == found["n_exclusive"]
    with pytest.raises(InvalidInput, match="two or more"):
        exclusive_share(sums, counts, ["a"] * 90, seed=0)


@pytest.fixture(scope="module")
def small():
    model = tiny_model(0)
    texts = ["Paris is in France", "London is the city", "from Berlin to Paris", "the city of London and Paris"] * 2
    return model, texts, ["fr", "en", "fr", "en"] * 2


def test_means_are_those_of_the_tokens(small):
    from interp.capturing import capture

    model, texts, labels = small
    sums, counts, units = text_sums(model, texts)
    means, domains = domain_means(sums, counts, labels)
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


def test_experts_of_a_model_are_those_of_its_layers(small):
    from interp.capturing import capture

    model, texts, labels = small
    table = experts_of(model, texts, labels, n_experts=4, n_random=3, seed=0)
    assert table["layer"].unique().tolist() == [0, 1]
    acts = capture(model, texts, "mlp_post.1", pool="none")
    text = np.repeat(np.arange(len(texts)), acts.tokens_per_text)
    mlp = model.bridge.blocks[1].mlp
    expected = expert_scores(
        acts["mlp_post.1"], mlp.W_gate.detach().T.numpy(), mlp.W_out.detach().numpy(), text_index=text, domains=labels,
        n_experts=4, n_random=3, seed=0,
    )  # fmt: skip
    own = table.query("layer == 1").drop(columns="layer").reset_index(drop=True)
    pd.testing.assert_frame_equal(own, expected, rtol=1e-4, atol=1e-6)


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
