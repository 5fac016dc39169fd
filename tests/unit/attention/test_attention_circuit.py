"""Patching on a task that one planted head does; exchanging everything is exchanging the run."""

from itertools import permutations

import numpy as np
import pytest
import torch

from analyses.attention import circuit_study, head_scores
from analyses.attention.circuits import matched
from analyses.attention.object_heads import OBJECT, direct_effects
from analyses.attention.patching import Exchange, latent_estimates
from analyses.attention.prompt_pairs import PromptPair, encode_pairs, indirect_object_pairs
from interp.errors import InvalidInput
from interp.reading import read_sites
from interp.sites import Site
from interp.testing import tiny_model

SUCCESSOR = [
    PromptPair(f"{first} bala {a}", f"{first} bala {b}", f" {x}", f" {y}", "successor")
    for first in ("domi", "kine", "lutu")
    for (a, x), (b, y) in ((("two", "three"), ("monday", "tuesday")), (("friday", "saturday"), ("one", "two")))
]


@pytest.fixture(scope="module")
def exchange(planted):
    return Exchange(planted.model, encode_pairs(planted.model, SUCCESSOR)[0])


@pytest.fixture(scope="module")
def study(planted):
    return circuit_study(planted.model, {1: planted.sae}, seed=0, pairs=SUCCESSOR, counts=(4, 8), n_boot=50)


def test_the_planted_head_carries_the_task(study):
    heads = study.table.set_index(["layer", "head"])
    assert heads.loc[(1, 4), "denoised"] > 0.95
    assert heads.loc[(1, 4), "noised"] < 0.05
    others = heads.drop([(1, 4), (1, 5)])  # 1.5 moves the words themselves
    assert others["denoised"].abs().max() < 0.05
    assert (others["noised"] - 1).abs().max() < 0.05


def test_the_planted_latents_carry_it_and_random_ones_do_not(study, planted):
    words = {"two", "monday", "friday", "one"}
    best = study.tables["latents"].merge(planted.latents, on="latent").head(4)
    assert set(best["word"]) == words
    assert set(best["head"]) == {4}
    curve = study.tables["curve"].groupby(["n_latents", "which"])["denoised"].mean()
    assert curve[(4, "largest")] > 0.6  # a latent is its direction less a threshold
    assert abs(curve[(4, "random")]) < 0.1


def test_intervals_hold_the_value_and_summaries_say_n(study):
    table = study.table
    assert (table["noised_low"] <= table["noised"] + 1e-9).all()
    assert (table["noised"] <= table["noised_high"] + 1e-9).all()
    summary = study.tables["summary"].set_index("run")
    assert summary.loc["clean", "right"] == 1
    assert set(summary["n"]) == {len(SUCCESSOR)}


def test_a_complete_dictionary_exchanges_the_whole_run(tiny, make_sae):
    width = tiny.n_heads * tiny.d_head
    sae = make_sae(tiny, d_sae=2 * width)
    both = torch.cat([torch.eye(width), -torch.eye(width)])
    sae.W_dec, sae.W_enc = both, both.T.contiguous()
    sae.b_enc, sae.b_dec = torch.zeros(2 * width), torch.zeros(width)
    words = ["Paris", "London", "Berlin", "France", "city"]
    others = [*words[1:], words[0]]
    pairs = [
        PromptPair(f"the {a} is in", f"the {b} is in", f" {a}", f" {b}") for a, b in zip(words, others, strict=True)
    ]
    exchange = Exchange(tiny, encode_pairs(tiny, pairs)[0])
    every = {1: np.arange(2 * width)}
    made = exchange.latents(exchange.clean, exchange.corrupt, {1: sae}, every)
    from interp.reading import hooked

    with torch.no_grad(), hooked(tiny, {"z.1": lambda z: exchange.corrupt.z[1]}):
        logits = tiny.logits(exchange.clean.ids, exchange.mask)[torch.arange(5), exchange.last]
    expected = logits[torch.arange(5), exchange.answer] - logits[torch.arange(5), exchange.other]
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-4)
    same = exchange.latents(exchange.clean, exchange.clean, {1: sae}, every)
    np.testing.assert_allclose(same, exchange.clean.difference, rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_small_steps(exchange):
    grads = exchange.gradients(exchange.clean)
    rng = torch.Generator().manual_seed(0)
    for layer in (0, 1):
        step = torch.randn(exchange.clean.z[layer].shape, generator=rng)
        moved = [
            exchange._difference(exchange.clean.ids, {f"z.{layer}": lambda z, e=e, step=step: z + e * step}).sum()
            for e in (1e-3, -1e-3)
        ]
        slope = float((moved[0] - moved[1]).detach()) / 2e-3
        assert slope == pytest.approx(float((grads[layer] * step).sum()), rel=0.05, abs=0.05)


def test_estimates_are_near_what_patching_finds(exchange, planted):
    found = latent_estimates(exchange, {1: planted.sae})[1]
    best = set(np.argsort(-found)[:4].tolist())
    own = planted.latents[
        (planted.latents["head"] == 4) & planted.latents["word"].isin(["two", "monday", "friday", "one"])
    ]
    assert best == set(own["latent"])


def test_the_head_that_writes_the_answer_is_the_name_mover(planted):
    table = head_scores(planted.model, seed=0, scores=OBJECT, pairs=SUCCESSOR, n_boot=20)
    best = table[table["score"] == "name mover"].sort_values("rank").iloc[0]
    assert (best["layer"], best["head"]) == (1, 4)
    assert best["ci_low"] > 0
    wide = table.pivot(index=["layer", "head"], columns="score", values="value")
    np.testing.assert_allclose(wide["name mover"], -wide["negative name mover"])
    assert wide["S-inhibition"].abs().max() < 1e-6  # no head of layer 1 hangs on what layer 0 writes at the end
    with pytest.raises(InvalidInput, match="give pairs="):
        head_scores(planted.model, seed=0, scores=("name mover",))


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "granite"])
def test_direct_effects_are_those_of_the_weights(architecture):
    model = tiny_model(architecture=architecture, seed=6)
    words = ["Paris", "London", "Berlin", "France"]
    pairs = [PromptPair(f"the {a} is in", f"the {b} is in", f" {a}", f" {b}") for a, b in permutations(words, 2)]
    exchange = Exchange(model, encode_pairs(model, pairs)[0])
    found = direct_effects(model, exchange)
    held, at = [], torch.arange(len(pairs))
    read_sites(model, exchange.clean.ids, exchange.mask, {Site("resid_post", 1): held.append})
    final = held[0][at, exchange.last]
    W_O = model.bridge.blocks[0].attn.W_O.detach()[2] * (0.5 if architecture == "granite" else 1.0)
    written = exchange.clean.z[0][at, exchange.last].reshape(len(pairs), 4, 8)[:, 2] @ W_O

    def difference(x):
        with torch.no_grad():
            logits = model.bridge.original_model.lm_head(model.bridge.ln_final(x[:, None])[:, 0])
        return logits[at, exchange.answer] - logits[at, exchange.other]

    expected = difference(final) - difference(final - written)
    scale = float(expected.abs().max() / np.abs(found[:, 0, 2]).max())  # some models scale their logits
    assert scale == pytest.approx(round(scale), abs=1e-3)
    np.testing.assert_allclose(found[:, 0, 2] * scale, expected, rtol=1e-3, atol=1e-4)


def test_matched_units_are_others_and_as_active():
    activity = np.arange(100.0)
    found = matched(np.array([3, 50, 97]), activity, np.random.default_rng(0))
    assert not set(found) & {3, 50, 97}
    assert len(set(found)) == 3
    assert np.abs(activity[found] - [3, 50, 97]).max() <= 12


def test_a_task_that_the_model_does_not_do_is_refused(planted):
    wrong = [PromptPair(p.corrupt, p.clean, p.answer, p.other) for p in SUCCESSOR]
    with pytest.raises(InvalidInput, match="does not do this task"):
        circuit_study(planted.model, seed=0, pairs=wrong)
    with pytest.raises(InvalidInput, match="at least 4"):
        circuit_study(planted.model, seed=0, pairs=SUCCESSOR[:3])


def test_the_bundled_pairs_differ_in_one_name():
    pairs = indirect_object_pairs(6, seed=0)
    for pair in pairs:
        assert pair.clean != pair.corrupt
        assert pair.answer.strip() in pair.clean
        assert pair.clean.count(pair.other.strip()) == 2
        assert pair.corrupt.count(pair.answer.strip()) == 2
    assert {pair.kind for pair in pairs} == {"ABBA", "BABA"}
    assert pairs == indirect_object_pairs(6, seed=0)
