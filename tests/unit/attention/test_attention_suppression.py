"""Copy suppression on text: the planted suppressor scores 1, no other head does, and the ablation is the formula."""

import numpy as np
import pytest
import torch

from analyses.attention import compare_to_reference, suppression_scores
from analyses.attention.copy_suppression import AGAINST, EFFECT, KEPT, SUPPRESSION
from analyses.attention.reading import read_attention
from analyses.attention.token_rows import token_rows
from interp.errors import InvalidInput, ModelMismatch
from interp.linear_parts import unembedding_directions
from interp.reading import hooked
from interp.testing import planted_suppressor, tiny_model


@pytest.fixture(scope="module")
def suppressor():
    return planted_suppressor()


@pytest.fixture(scope="module")
def scored(suppressor):
    rows = token_rows(suppressor.model, list(suppressor.rows(12, seed=0)))
    return suppression_scores(suppressor.model, rows, seed=0, n_boot=50)


def test_the_planted_suppressor_is_found_and_no_other_head(suppressor, scored):
    found = scored.query("score == @KEPT and layer == 1").merge(suppressor.heads, on=["layer", "head"])
    own = found[found["suppresses"]].iloc[0]
    assert own["value"] > 0.99
    assert own["rank"] == 1
    assert own["ci_low"] <= own["value"] <= own["ci_high"]
    assert own["null_mean"] < 0.01
    others = found[~found["suppresses"] & (found["status"] == "ok")]
    assert len(others) == 4
    assert (others["value"] < 0.01).all()


def test_a_head_without_effect_has_a_reason_and_no_number(suppressor, scored):
    idle = scored.query("layer == 1 and head == 5").set_index("score")
    assert idle.loc[KEPT, "status"] == "the head changes less than 0.0001 nats a token"
    assert idle.loc[AGAINST, "status"] == "the head moves nothing"
    assert np.isnan(idle.loc[[KEPT, AGAINST], "value"]).all()
    assert idle.loc[EFFECT, "value"] == 0


def test_what_is_moved_against_its_source_has_a_sign(scored):
    value = scored.query("score == @AGAINST and layer == 1").set_index("head")["value"]
    assert value[0] > 0.95  # lowers what it attends to
    assert value[2] < -0.95  # raises it
    assert abs(value[3]) < 0.05  # lowers another word


def brute_force(model, rows, layer, head, k):
    """Return KL of the mean ablation and of CSPA, nats a token, with loops over tokens."""
    U = unembedding_directions(model)
    attention = read_attention(model, rows, [layer])[layer]
    W_O = model.bridge.blocks[layer].attn.W_O.detach().float()[head]
    content = torch.from_numpy(rows.content)
    out = attention.z[:, :, head] @ W_O
    mean = out[content].mean(dim=0)
    held = []
    ids, mask = torch.from_numpy(rows.ids), torch.from_numpy(rows.mask).long()
    with torch.no_grad(), hooked(model, {f"resid_pre.{layer}": lambda x: held.append(x.clone())}):
        clean = model.logits(ids, mask).log_softmax(-1)
    change = {"mean": torch.zeros_like(held[0]), "cspa": torch.zeros_like(held[0])}
    for r in range(len(rows)):
        for q in np.flatnonzero(rows.content[r]):
            sources = [s for s in range(q + 1) if rows.content[r, s]]
            predicted = {int(ids[r, s]): float(held[0][r, q] @ U[:, ids[r, s]]) for s in sources}
            best = sorted(predicted, key=lambda token: -predicted[token])[:k]
            left = mean.clone()
            for s in sources:
                u = U[:, ids[r, s]] / U[:, ids[r, s]].norm()
                along = float(attention.v[r, s, head] @ W_O @ u)
                if int(ids[r, s]) in best and along < 0:
                    left += attention.pattern[r, head, q, s] * along * u
            change["mean"][r, q], change["cspa"][r, q] = mean - out[r, q], left - out[r, q]
    kl = {}
    for name, added in change.items():
        with torch.no_grad(), hooked(model, {f"attn_out.{layer}": lambda x, a=added: x + a}):
            made = model.logits(ids, mask).log_softmax(-1)
        kl[name] = float((clean.exp() * (clean - made)).sum(-1)[content].mean())
    return kl


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gptj"])
def test_it_is_the_formula(architecture):
    model = tiny_model(architecture=architecture, seed=2)
    rng = np.random.default_rng(1)
    rows = token_rows(model, [np.concatenate([[0], rng.integers(2, 30, size=n)]) for n in (9, 12)])
    table = suppression_scores(model, rows, seed=0, k_sources=3, n_boot=0).set_index(["score", "layer", "head"])
    for layer, head in ((0, 1), (1, 2)):
        kl = brute_force(model, rows, layer, head, 3)
        assert table.loc[(EFFECT, layer, head), "value"] == pytest.approx(kl["mean"], rel=1e-3)
        assert table.loc[(KEPT, layer, head), "value"] == pytest.approx(1 - kl["cspa"] / kl["mean"], abs=1e-3)
    assert set(table["n"]) == {21}


def test_random_heads_keep_no_more_than_with_other_tokens():
    """On random weights the kept share is that of unembeddings of other tokens, in the mean over heads and models."""
    gaps = []
    for seed in range(4):
        model = tiny_model(seed=seed)
        rng = np.random.default_rng(seed)
        rows = token_rows(model, [np.concatenate([[0], rng.integers(2, 300, size=20)]) for _ in range(6)])
        kept = suppression_scores(model, rows, seed=0, n_boot=0).query("score == @KEPT")
        gaps += (kept["value"] - kept["null_mean"]).tolist()
    assert np.abs(np.mean(gaps)) < 3 * np.std(gaps, ddof=1) / np.sqrt(len(gaps))
    assert np.max(gaps) < 0.25


def test_baselines_and_references_stand_beside(suppressor):
    rows = token_rows(suppressor.model, list(suppressor.rows(4, seed=1)))
    table = suppression_scores(suppressor.model, rows, seed=0, n_boot=0, twin=suppressor.model)
    kept = table[table["status"] == "ok"]
    np.testing.assert_allclose(kept["value"], kept["random_weights"])
    assert set(table["score"]) == set(SUPPRESSION)
    known = suppressor.heads[suppressor.heads["suppresses"]].assign(score=KEPT)
    assert compare_to_reference(table, known)["rank"].iloc[0] == 1


def test_what_cannot_be_asked_is_refused(suppressor):
    rows = token_rows(suppressor.model, list(suppressor.rows(2, seed=0)))
    with pytest.raises(InvalidInput, match="k_sources"):
        suppression_scores(suppressor.model, rows, seed=0, k_sources=0)
    model = tiny_model(architecture="gemma2", seed=1)
    rng = np.random.default_rng(1)
    with pytest.raises(ModelMismatch, match="norm after attention"):
        suppression_scores(model, token_rows(model, [np.r_[0, rng.integers(2, 300, size=9)]]), seed=0)
