"""Head scores: 1 for the planted role and not for the others; nothing on random weights; equal to a plain loop."""

import numpy as np
import pandas as pd
import pytest
import torch

from analyses.attention import compare_to_reference, head_scores, prefix_length_curve, token_map_scores
from analyses.attention.copying import eigenvalue_scores
from analyses.attention.heads import LOOKING, attention_at, place_masks
from analyses.attention.ov import head_outputs, read_out, token_vectors, write_out
from analyses.attention.prefixes import read_cells
from analyses.attention.reading import read_attention
from analyses.attention.reference import reference_heads
from analyses.attention.token_rows import random_repeats, token_rows
from interp.errors import InvalidInput, UnknownName
from interp.linear_parts import final_scale, unembedding_directions
from interp.sites import Site
from interp.testing import planted_suppressor, tiny_model
from interp.testing.tiny import _EXTRA
from interp.upstream import read_upstream

ROLE = {"previous token": (0, 0), "first token": (0, 2), "duplicate token": (1, 1), "induction": (1, 0)}


@pytest.fixture(scope="module")
def scores(planted):
    return head_scores(planted.model, seed=0, n_tokens=36, n_boot=100, twin=planted.model)


@pytest.fixture(scope="module")
def maps(planted):
    return token_map_scores(planted.model, planted.successors, seed=0, n_perm=199, n_boot=100)


@pytest.mark.parametrize("name", ROLE)
def test_the_planted_head_scores_1_and_is_first(scores, name):
    table = scores[scores["score"] == name].set_index(["layer", "head"])
    assert table.loc[ROLE[name], "value"] > 0.99
    assert table.loc[ROLE[name], "rank"] == 1


@pytest.mark.parametrize("name", ["previous token", "duplicate token", "induction"])
def test_a_head_of_another_role_stays_low(scores, name):
    table = scores[scores["score"] == name].set_index(["layer", "head"])["value"]
    assert table.drop([ROLE[name], (1, 3)]).max() < 0.15  # 1.3 has two roles


def test_chance_and_controls_stand_beside(scores):
    table = scores[scores["score"] == "induction"].set_index(["layer", "head"])
    assert table.loc[(1, 0), "null_mean"] < 0.01
    assert (table["random_weights"] == table["value"]).all()
    assert (table["largest_random"] == table["value"].max()).all()
    layer = table.loc[1]["value"]
    assert table.loc[(1, 0), "layer_mean"] == pytest.approx(layer.drop(0).mean())
    assert (table["ci_low"] <= table["value"] + 1e-12).all()
    assert (table["value"] <= table["ci_high"] + 1e-12).all()


def test_heads_that_copy_do_and_a_head_that_writes_nothing_scores_nothing(scores):
    wide = scores.pivot(index=["layer", "head"], columns="score", values="value")
    assert (wide.loc[[(1, 0), (1, 1), (1, 2)], ["copying (eigenvalues)", "copying (top 5)"]] > 0.99).all(axis=None)
    silent = wide.loc[[(0, 1), (0, 2), (1, 5)]]
    assert (silent[[c for c in wide if c.startswith("cop")]] == 0).all(axis=None)


def test_random_weights_have_no_such_heads():
    table = head_scores(tiny_model(seed=5, n_ctx=64), seed=0, scores=("duplicate token", "induction"), n_boot=0)
    assert table["value"].max() < 0.3
    assert (table["value"] - table["null_mean"]).abs().max() < 0.1


def test_scores_are_those_of_a_plain_loop(tiny):
    made = random_repeats(tiny, 3, length=24, seed=1)
    rows = made.repeated
    pattern = read_attention(tiny, rows, [0, 1])[1].pattern.numpy()
    found = attention_at(tiny, rows, place_masks(rows))
    for r, ids in enumerate(rows.ids):
        sums = {name: [] for name in LOOKING}
        for q in range(1, len(ids)):
            matches = [s for s in range(1, q) if ids[s] == ids[q]]
            if q > 1:
                sums["previous token"].append(pattern[r, 2, q, q - 1])
            sums["current token"].append(pattern[r, 2, q, q])
            sums["first token"].append(pattern[r, 2, q, 0])
            if matches:
                sums["duplicate token"].append(sum(pattern[r, 2, q, s] for s in matches if ids[s - 1] != ids[q]))
                sums["induction"].append(sum(pattern[r, 2, q, s + 1] for s in matches))
        for name in LOOKING:
            assert found[name][r, 1, 2] == pytest.approx(np.mean(sums[name]), abs=1e-6), name


def test_repeats_repeat_and_controls_do_not(tiny):
    made = random_repeats(tiny, 20, length=48, seed=0)
    assert len(set(made.period.tolist())) > 5
    for row, fresh, start, period in zip(made.repeated.ids, made.fresh.ids, made.start, made.period, strict=True):
        np.testing.assert_array_equal(row[start + period :], row[start:-period])
        np.testing.assert_array_equal(row[: start + period], fresh[: start + period])
        assert len(set(fresh.tolist())) == len(fresh)


def test_an_unknown_score_is_refused(tiny):
    with pytest.raises(InvalidInput, match="nearest: induction"):
        head_scores(tiny, seed=0, scores=("inductoin",))


@pytest.mark.parametrize("architecture", _EXTRA)
def test_what_heads_write_is_read_from_the_model(architecture):
    model = tiny_model(architecture=architecture, seed=3)
    x = token_vectors(model, torch.arange(5, 9))
    heads = head_outputs(model, 1, x)
    assert heads.shape == (4, 4, 32)
    assert torch.isfinite(read_out(model, heads[0])).all()
    if architecture in ("gemma2", "gemma3", "olmo2"):
        return  # a norm after attention: what heads write does not add up
    weights = model.bridge.blocks[1].attn.W_O.detach()
    one = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
    scale = 0.5 if architecture == "granite" else 1.0
    expected = scale * torch.einsum("nhd,hdm->nm", one, weights)
    torch.testing.assert_close(write_out(model, 1, one.flatten(1), bias=False), expected, rtol=1e-4, atol=1e-4)


def test_the_eigenvalue_score_of_known_matrices():
    assert eigenvalue_scores(np.eye(10))[0] == pytest.approx(1)
    assert eigenvalue_scores(-np.eye(10))[0] == pytest.approx(-1)
    assert eigenvalue_scores(np.zeros((10, 10)))[0] == 0
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    assert eigenvalue_scores(turn)[0] == pytest.approx(0)


def test_the_successor_head_scores_1_and_others_below_a_third(maps):
    table = maps[maps["kind"] != "all classes"].set_index(["kind", "layer", "head"]).sort_index()
    for kind in ("days", "numbers"):
        assert table.loc[(kind, 1, 4), "value"] == 1
        assert table.loc[(kind, 1, 4), "q"] < 0.1
        assert table.loc[(kind, 1, 4), "top1"] == 1
        assert table.drop((kind, 1, 4)).loc[kind, "value"].max() < 0.3
    assert (table.drop([("days", 1, 4), ("numbers", 1, 4)])["p"] > 0.05).all()
    assert maps[maps["kind"] == "all classes"].set_index(["layer", "head"]).loc[(1, 4), "value"] == 1


def test_another_map_finds_another_head(planted):
    words = planted.latents["word"].unique()[:10].tolist()
    table = token_map_scores(planted.model, {"itself": [(w, w) for w in words]}, seed=0, n_perm=99, n_boot=0)
    top = table[table["value"] > 0.9]
    assert set(zip(top["layer"], top["head"], strict=True)) == {(1, 0), (1, 1), (1, 2), (1, 3)}


def test_words_of_several_tokens_are_counted_and_a_class_of_them_is_refused(planted):
    pairs = {"numbers": [*planted.successors["numbers"], ("six", "seventy two")]}
    table = token_map_scores(planted.model, pairs, seed=0, n_perm=9, n_boot=0)
    assert set(table["n_left_out"]) == {1}
    with pytest.raises(InvalidInput, match="single tokens"):
        token_map_scores(planted.model, {"x": [("a b", "c d")]}, seed=0)


def test_the_permutation_p_is_uniform_without_a_map(planted):
    rng = np.random.default_rng(0)
    words = planted.latents["word"].unique()[:36]
    p = []
    for seed in range(12):
        order = rng.permutation(words)
        pairs = {"none": list(zip(words.tolist(), order.tolist(), strict=True))}
        p += token_map_scores(planted.model, pairs, seed=seed, layers=[1], n_perm=99, n_boot=0)["p"].tolist()
    assert np.mean(np.array(p) <= 0.05) < 0.1


def test_a_head_of_short_prefixes_needs_one_token(planted):
    table = prefix_length_curve(planted.model, seed=0, lengths=(1, 2, 3), n_rows=16, n_boot=50)
    wide = table.pivot(index=["layer", "head"], columns="prefix", values="value")
    assert (wide.loc[(1, 0)] > 0.99).all()
    assert wide.drop([(1, 0), (1, 3)]).max(axis=None) < 0.15
    halves = table.groupby(["layer", "head"])["n50"].first()
    assert halves[(1, 0)] == 1
    assert np.isnan(halves[(1, 1)])
    with pytest.raises(InvalidInput, match="prefixes"):
        prefix_length_curve(planted.model, seed=0, lengths=(0, 1))


def test_long_prefixes_are_told_from_short_ones_by_length_and_by_cutting():
    """Head 1.1 needs one token of the match, head 1.4 two; what they say is what they attend to."""
    model = planted_suppressor().model
    table = prefix_length_curve(model, seed=0, heads=[(1, 1), (1, 4), (1, 5)], lengths=(1, 2, 3), n_rows=16, n_boot=50)
    short, long_, idle = (table.query("head == @h").set_index("prefix") for h in (1, 4, 5))
    assert (short["value"] > 0.99).all()
    assert long_["value"].round(2).tolist() == [0, 1, 1]
    assert (short["n50"] == 1).all()
    assert (long_["n50"] == 2).all()
    assert (short.loc[2:, "cut_ratio"] > 0.99).all()
    assert (long_.loc[2:, "cut_ratio"] < 0.01).all()
    assert table.query("prefix == 1")[["cut", "cut_ratio", "cut_low"]].isna().all(axis=None)
    assert (short["logit"] > 5).all()
    np.testing.assert_allclose(long_.loc[2:, "logit"], short.loc[2:, "logit"], rtol=0.05)
    assert abs(long_.loc[1, "logit"]) < 0.01
    assert (table["logit_null"].abs() < 0.3).all()
    assert (idle["logit"] == 0).all()
    boxed = table.query("prefix > 1 and head != 5")
    assert ((boxed["cut_low"] <= boxed["cut_ratio"]) & (boxed["cut_ratio"] <= boxed["cut_high"])).all()
    assert ((boxed["logit_low"] <= boxed["logit"]) & (boxed["logit"] <= boxed["logit_high"])).all()


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gptj", "gemma2"])
def test_logits_of_heads_are_what_they_add(architecture):
    model = tiny_model(architecture=architecture, seed=3)
    rng = np.random.default_rng(0)
    rows = token_rows(model, [np.concatenate([[0], rng.integers(2, 300, size=9)]) for _ in range(3)])
    row, query, source, token = np.arange(3), np.array([5, 9, 7]), np.array([2, 3, 7]), np.array([11, 250, 40])
    seen, said = read_cells(model, rows, query, source, token)
    sites = [Site("resid_post", model.n_layers - 1), Site("z", 1), Site("pattern", 1)]
    found = read_upstream(model, rows.ids, rows.mask, sites)
    final, z, pattern = (found[site] for site in sites)
    np.testing.assert_allclose(seen[:, 1, 2], pattern[row, 2, query, source], rtol=1e-5)
    if architecture == "gemma2":  # a norm after attention
        assert np.isnan(said).all()
        return
    x, U = final[row, query], unembedding_directions(model)
    scale, logits = final_scale(model, x), read_out(model, x)
    torch.testing.assert_close(
        scale[:, None] * (x @ U), logits - logits.mean(dim=1, keepdim=True), rtol=1e-4, atol=1e-4
    )
    z = z.flatten(2)[row, query].unflatten(1, (model.n_heads, -1))[:, 2]
    added = z @ model.bridge.blocks[1].attn.W_O.detach()[2]
    np.testing.assert_allclose(said[:, 1, 2], scale * (added * U[:, token].T).sum(dim=1), rtol=1e-4, atol=1e-5)


def test_known_heads_are_ranked(planted, scores):
    known = pd.DataFrame({"layer": [1, 0, 9], "head": [0, 0, 9], "role": ["induction", "previous token", "successor"],
                          "score": ["induction", "previous token", "induction"]})  # fmt: skip
    found = compare_to_reference(scores, known).set_index("role")
    assert found.loc["induction", "rank"] == 1
    assert found.loc["induction", "found"]
    assert found.loc["induction", "auc"] == 1
    assert np.isnan(found.loc["successor", "rank"])
    assert found.loc["successor", "status"] != "ok"


def test_the_shipped_heads_are_those_of_gpt2():
    table = reference_heads("gpt2-small")
    assert set(table[table["role"] == "name mover"].apply(lambda r: (r["layer"], r["head"]), axis=1)) == {
        (9, 9), (9, 6), (10, 0)
    }  # fmt: skip
    assert table["layer"].between(0, 11).all()
    assert table["head"].between(0, 11).all()
    assert not table.duplicated(["role", "layer", "head", "score"]).any()
    with pytest.raises(UnknownName, match="gpt2-small"):
        reference_heads("gpt2-smal")
