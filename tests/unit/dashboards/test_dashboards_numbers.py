"""The numbers behind a dashboard: equal to what numpy counts, right on planted latents, nothing on a null."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from dashboards_small import ALWAYS, DEAD, TEXTS, WORDS
from scipy import sparse

from analyses.dashboards import dashboard_data
from analyses.dashboards.compute import (
    Events,
    activity,
    coactive,
    intervals,
    logit_panel,
    nearest_rows,
    random_largest_cosine,
    strongest,
    token_table,
)
from analyses.dashboards.writes import in_residual, logit_weights, random_logits, related_neurons
from interp.errors import InvalidInput, SaeMismatch
from interp.sae import StandardSAE, topk_config
from interp.stats.intervals import wilson_interval
from interp.testing import tiny_model


def ordinary(data):
    """Rows of `data.encoded` that are text, in order: what `dense_latents` has."""
    return np.flatnonzero(~data.encoded.special)


def test_activations_are_those_of_the_sae(word_data, dense_latents):
    for part in word_data.latents:
        column = dense_latents[:, part.latent]
        assert np.array_equal(part.events.rows, ordinary(word_data)[column > 0])
        np.testing.assert_allclose(part.events.values, column[column > 0], rtol=1e-5)


def test_density_and_its_interval(word_data, dense_latents):
    n = len(dense_latents)
    for part in word_data.latents:
        n_on = int((dense_latents[:, part.latent] > 0).sum())
        found = part.activity
        assert (found.n, found.n_on, found.density) == (n, n_on, n_on / n)
        assert (found.ci_low, found.ci_high) == wilson_interval(n_on, n)
    status = {part.latent: part.activity.status for part in word_data.latents}
    assert (status[0], status[DEAD], status[ALWAYS]) == ("ok", "dead", "dense")
    assert word_data.about["L0 (latents on at a token)"] == pytest.approx((dense_latents > 0).sum(axis=1).mean())
    assert word_data.about["dead share"] == (dense_latents.max(axis=0) == 0).mean()


def test_a_planted_latent_shows_its_token(word_data, word_ids, dense_latents):
    for part in word_data.latents[:2]:
        table = part.tokens
        assert table["id"].tolist() == [word_ids[part.latent]]
        assert table["mass"].tolist() == [1.0]
        assert table["n_on"][0] == table["n"][0] == sum(text.count(" " + WORDS[part.latent]) for text in TEXTS)


def test_token_shares_by_hand():
    events = Events(np.array([0, 2, 3, 5]), np.array([1.0, 2.0, 5.0, 2.0]))
    table = token_table(events, np.array([7, 7, 7, 4, 9, 9]), np.bincount([7, 7, 7, 4, 9, 9]), 2)
    assert table.to_dict("list") == {"id": [4, 7], "mass": [0.5, 0.3], "n_on": [1, 2], "n": [1, 3]}


def test_intervals_cover_every_event_once_and_weights_count_them():
    rng = np.random.default_rng(0)
    values = rng.exponential(size=500)
    events = Events(np.arange(500), values)
    found = intervals(events, n_intervals=10, per_interval=8, seed=[0, 3])
    assert sum(i.n for i in found) == 500
    assert sum(i.share for i in found) == pytest.approx(1)
    assert sum(i.weight(5) * len(i.drawn[:5]) for i in found) == pytest.approx(500)
    assert [i.low for i in found] == sorted((i.low for i in found), reverse=True)
    for i in found:
        inside = (values >= i.low) & (values < i.high) if i.high < values.max() * 0.999 else values >= i.low
        assert i.n == inside.sum()
        assert set(i.drawn) <= set(np.flatnonzero(inside))
        assert len(set(i.drawn)) == len(i.drawn) == min(8, i.n)


def test_weighted_examples_estimate_the_mean_of_all_and_the_strongest_do_not():
    rng = np.random.default_rng(1)
    values = rng.exponential(size=4000)
    events = Events(np.arange(4000), values)
    estimates = []
    for seed in range(40):
        found = intervals(events, n_intervals=10, per_interval=8, seed=seed)
        drawn = [(values[i.drawn].mean(), i.n) for i in found]
        estimates.append(np.average([m for m, _ in drawn], weights=[n for _, n in drawn]))
    assert np.mean(estimates) == pytest.approx(values.mean(), rel=0.01)
    assert values[strongest(events, np.arange(4000), 8)].mean() > 5 * values.mean()


def test_the_draw_of_a_latent_does_not_depend_on_the_others(tiny, word_sae, word_data):
    alone = dashboard_data(word_sae, [8], model=tiny, texts=TEXTS).latents[0]
    together = next(part for part in word_data.latents if part.latent == 8)
    for a, b in zip(alone.intervals, together.intervals, strict=True):
        assert np.array_equal(a.drawn, b.drawn)


def test_the_strongest_are_at_most_one_a_text():
    values = np.array([3.0, 9.0, 8.0, 1.0, 7.0, 7.0])
    text_index = np.array([0, 0, 0, 1, 2, 3])
    events = Events(np.arange(6), values)
    assert strongest(events, text_index, 3).tolist() == [1, 4, 5]
    assert strongest(events, text_index, 9).tolist() == [1, 4, 5, 3]


def test_no_event_is_no_example():
    none = Events(np.empty(0, np.int64), np.empty(0))
    assert intervals(none, n_intervals=10, per_interval=8, seed=0) == []
    assert len(strongest(none, np.zeros(4, int), 8)) == 0
    assert activity(none, 50).status == "dead"
    assert activity(none, 50).ci_high > 0


def test_coactivation_is_counted_as_numpy_does(dense_latents):
    on = dense_latents > 0
    tables = coactive(sparse.csc_matrix(dense_latents), np.array([0, 8]), len(on), 4)
    for latent, table in zip((0, 8), tables, strict=True):
        assert len(table)
        for other, both, expected, phi in table.itertuples(index=False):
            assert both == (on[:, latent] & on[:, other]).sum()
            assert expected == pytest.approx(on[:, latent].sum() * on[:, other].sum() / len(on))
            assert phi == pytest.approx(np.corrcoef(on[:, latent], on[:, other])[0, 1])
        assert table["phi"].is_monotonic_decreasing


def test_latents_that_go_together_are_found_and_independent_ones_are_not():
    rng = np.random.default_rng(0)
    on = (rng.random((4000, 30)) < 0.1).astype(float)
    on[:, 7] = on[:, 3]
    (table,) = coactive(sparse.csc_matrix(on), np.array([3]), 4000, 5)
    assert table["latent"][0] == 7
    assert table["phi"][0] == pytest.approx(1)
    assert table["phi"][1:].max() < 0.06
    assert (abs(table["both"] / table["expected"] - 1)[1:] < 0.6).all()


def test_the_nearest_latent_is_the_planted_one(word_data, word_sae):
    part = word_data.latents[0]
    W = word_sae.W_dec.double().numpy()
    cosine = W @ W[0] / np.linalg.norm(W, axis=1) / np.linalg.norm(W[0])
    assert part.near_latents["latent"].tolist() == [i for i in np.argsort(-cosine) if i != 0][:5]
    assert part.near_latents["latent"].iloc[0] == 10
    np.testing.assert_allclose(part.near_latents["cosine"], cosine[part.near_latents["latent"]])


@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize(("d", "n"), [(20, 50), (192, 2000)])
def test_the_largest_random_cosine(d, n, two_sided):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(150):
        x = rng.standard_normal((n, d))
        cosine = x[:, 0] / np.linalg.norm(x, axis=1)
        found.append((np.abs(cosine) if two_sided else cosine).max())
    assert random_largest_cosine(d, n, 0.5, two_sided=two_sided) == pytest.approx(np.median(found), rel=0.03)
    assert random_largest_cosine(d, n, 0.95, two_sided=two_sided) == pytest.approx(np.quantile(found, 0.95), rel=0.05)


def test_logit_weights_are_those_of_the_weights(tiny, word_sae):
    module = tiny.bridge.original_model
    gain = torch.linspace(0.5, 2, tiny.d_model)
    norm = module.model.norm.weight
    before = norm.detach().clone()
    try:
        with torch.no_grad():
            norm.copy_(gain)
        found = logit_weights(tiny, "resid_pre.0", word_sae.W_dec.numpy())
    finally:
        with torch.no_grad():
            norm.copy_(before)
    expected = (word_sae.W_dec * gain) @ module.lm_head.weight.detach().T
    expected = (expected - expected.mean(dim=1, keepdim=True)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_logit_weights_of_z_are_what_the_model_adds(planted):
    from analyses.attention.ov import write_out

    rng = np.random.default_rng(0)
    z = rng.standard_normal((3, planted.model.n_heads * planted.model.d_head)).astype(np.float32)
    written = write_out(planted.model, 1, torch.from_numpy(z), bias=False)
    norm = planted.model.bridge.original_model.transformer.ln_f
    centred = (written - written.mean(dim=1, keepdim=True)) * norm.weight.detach()
    expected = (centred @ planted.model.bridge.original_model.lm_head.weight.detach().T).numpy()
    expected -= expected.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(logit_weights(planted.model, "z.1", z), expected, atol=1e-4 * np.abs(expected).max())


def test_only_what_reaches_the_residual_stream_has_logits_and_neurons(tiny):
    assert logit_weights(tiny, "k.0", np.zeros((1, 16))) is None
    assert random_logits(tiny, "q.0", 16, seed=0) is None
    assert logit_weights(tiny, "mlp_post.0", np.ones((1, tiny.d_mlp))).shape == (1, tiny.d_vocab)
    assert related_neurons(tiny, "k.0", 16, seed=0) is None
    whole = related_neurons(tiny, "resid_post.1", tiny.d_model, seed=0)
    assert len(whole.names) == len(whole.weights) == 2 * tiny.d_mlp
    assert whole.names[-1] == f"1.{tiny.d_mlp - 1}"
    assert whole.kind == "output"
    assert len(related_neurons(tiny, "resid_mid.1", tiny.d_model, seed=0).names) == tiny.d_mlp
    assert related_neurons(tiny, "resid_pre.0", tiny.d_model, seed=0) is None


@pytest.mark.parametrize(("architecture", "first"), [("llama", 0), ("gpt2", 0), ("gptj", 1)])
def test_attention_latents_stand_beside_the_neurons_that_read_them(architecture, first):
    """The gradient of a pre-activation is the input weights, and the norm's part; parallel blocks read later."""
    model = tiny_model(architecture=architecture, seed=4)
    width = model.n_heads * model.d_head
    for site, d in (("z.0", width), ("attn_out.0", model.d_model)):
        found = related_neurons(model, site, d, seed=0)
        assert found.kind == "input"
        assert found.names[0] == f"{first}.0"
        assert len(found.names) == (2 - first) * model.d_mlp
        assert 0.3 < found.null < 0.9
    assert (related_neurons(model, "attn_out.1", model.d_model, seed=0) is None) == (architecture == "gptj")
    mlp, x = model.bridge.blocks[1].mlp, torch.randn(1, model.d_model, generator=torch.Generator().manual_seed(0))
    W = mlp.W_gate if getattr(mlp, "W_gate", None) is not None else mlp.W_in
    norm = getattr(model.bridge.blocks[1], "ln2" if architecture != "gptj" else "ln1")
    own = torch.as_tensor(found.weights[found.names.index("1.5")])
    with torch.enable_grad():
        x.requires_grad_()
        gradient = torch.autograd.grad(norm(x[None])[0, 0] @ W[:, 5].detach(), x)[0][0].detach()
    centred = x.detach()[0] - (x.detach().mean() if architecture in ("gpt2", "gptj") else 0)
    # with the scale of the norm held; what it adds lies along x
    A = torch.stack([own, centred], dim=1)
    fit = torch.linalg.lstsq(A, gradient[:, None]).solution
    torch.testing.assert_close((A @ fit)[:, 0], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max()))


def test_a_latent_written_for_a_neuron_is_shown_beside_it(tiny):
    W_O = tiny.bridge.blocks[0].attn.W_O.detach().flatten(0, 1)
    read = related_neurons(tiny, "z.0", len(W_O), seed=0)
    z = np.linalg.lstsq(W_O.numpy().T, read.weights[read.names.index("1.7")], rcond=None)[0]
    tables = nearest_rows(in_residual(tiny, "z.0", z[None]), read.weights, 3, "neuron", two_sided=True)
    assert read.names[tables[0]["neuron"].iloc[0]] == "1.7"
    assert tables[0]["cosine"].iloc[0] > 0.99 > read.null


def test_random_directions_bound_a_random_latent_and_not_one_that_writes_a_token(tiny):
    null = random_logits(tiny, "resid_post.1", tiny.d_model, seed=0)
    W_U = tiny.bridge.W_U.detach().numpy()
    token = W_U[:, 30] / np.linalg.norm(W_U[:, 30])
    other = np.random.default_rng(5).standard_normal((20, tiny.d_model))
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    assert logit_weights(tiny, "resid_post.1", token[None]).max() > null.high
    assert (np.abs(logit_weights(tiny, "resid_post.1", other)).max(axis=1) < null.high).sum() >= 16


def test_the_logit_panel_by_hand():
    panel = logit_panel(np.array([0.0, 3.0, -2.0, 1.0]), 2, n_bins=5)
    assert panel.top.to_dict("list") == {"id": [1, 3], "logit": [3.0, 1.0]}
    assert panel.bottom.to_dict("list") == {"id": [2, 0], "logit": [-2.0, 0.0]}
    assert panel.counts.tolist() == [1, 0, 1, 1, 1]


@pytest.mark.parametrize(("latents", "says"), [([12], "Nearest: 11"), ([-3], "Nearest: 0"), ([], "0 to 11")])
def test_a_latent_that_is_not_there_is_refused_by_name(tiny, word_sae, latents, says):
    with pytest.raises(InvalidInput, match=says):
        dashboard_data(word_sae, latents, model=tiny, texts=TEXTS)


@pytest.mark.parametrize("latents", [[True], [1.0], ["1"]])
def test_a_latent_is_an_integer(tiny, word_sae, latents):
    with pytest.raises(InvalidInput, match="integer"):
        dashboard_data(word_sae, latents, model=tiny, texts=TEXTS)


def test_no_texts_and_another_model_are_refused(tiny, word_sae, planted):
    with pytest.raises(InvalidInput, match="no texts"):
        dashboard_data(word_sae, [0], model=tiny, texts=[])
    with pytest.raises(InvalidInput, match="nothing but BOS"):
        dashboard_data(word_sae, [0], model=tiny, texts=[np.array([tiny.tokenizer.bos_token_id])])
    with pytest.raises(SaeMismatch):
        dashboard_data(planted.sae, [0], model=tiny, texts=TEXTS)


def test_ids_give_what_their_texts_give(tiny, word_sae, word_data):
    starts = word_data.encoded.starts
    rows = [word_data.encoded.ids[a:b] for a, b in pairwise(starts)]
    found = dashboard_data(word_sae, [0], model=tiny, texts=rows).latents[0]
    assert np.array_equal(found.events.rows, word_data.latents[0].events.rows)


def test_a_transcoder_is_shown_by_what_it_writes(tiny):
    config = topk_config(
        tiny.d_model, 5, k=1, site="resid_mid.0", model_name=tiny.name, model_fingerprint=tiny.fingerprint,
        bos="always", apply_b_dec_to_input=False, decoder_norm="free", d_out=tiny.d_mlp, site_out="mlp_post.0",
        skip_connection=False,
    ).with_(architecture="standard", activation="relu", k=None)  # fmt: skip
    rng = torch.Generator().manual_seed(0)
    W_enc, W_dec = torch.randn(tiny.d_model, 5, generator=rng), torch.randn(5, tiny.d_mlp, generator=rng)
    sae = StandardSAE(
        config, {"W_enc": W_enc, "b_enc": torch.zeros(5), "W_dec": W_dec, "b_dec": torch.zeros(tiny.d_mlp)}
    )
    part = dashboard_data(sae, [2], model=tiny, texts=TEXTS[:5]).latents[0]
    expected = logit_weights(tiny, "mlp_post.0", W_dec[2:3].numpy())[0]
    assert part.logits.top["id"].tolist() == np.argsort(-expected, kind="stable")[:8].tolist()
    assert part.near_neurons is None
