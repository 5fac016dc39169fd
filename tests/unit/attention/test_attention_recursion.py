"""Recursive attribution sums to the direct one at each source, in every architecture that allows it."""

import numpy as np
import pytest
import torch

from analyses.attention import direct_feature_attribution, recursive_attribution
from interp.errors import InvalidInput, ModelMismatch
from interp.linear_parts import linear_norm, normalised
from interp.testing import tiny_model
from interp.testing.tiny import _EXTRA

AFTER = ("gemma2", "gemma3", "olmo2")  # a norm after attention
EVENT = {"row": 0, "pos": 12, "layer": 2, "latent": 5}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return [np.concatenate([[0], rng.integers(2, 300, size=14)]) for _ in range(2)]


@pytest.mark.parametrize("architecture", _EXTRA)
def test_edges_sum_to_the_direct_attribution(architecture, make_sae, rows):
    model = tiny_model(architecture=architecture, n_layers=3)
    own = make_sae(model, layer=2)
    direct = direct_feature_attribution(model, own, rows, events=[(0, 12, 5)], allow_unfit=True).by_source()
    direct = direct.set_index("source")["dfa"]
    every = {layer: make_sae(model, layer=layer) for layer in range(3)}
    for saes in ({2: own}, every):
        if saes is every and architecture in AFTER:
            with pytest.raises(ModelMismatch, match="norm after attention"):
                recursive_attribution(model, saes, rows, **EVENT, allow_unfit=True)
            continue
        found = recursive_attribution(model, saes, rows, **EVENT, allow_unfit=True, top_sources=13, top_latents=4)
        sums = found.groupby("source")["value"].sum()
        np.testing.assert_allclose(sums, direct[sums.index], atol=1e-5 * direct.abs().max(), rtol=1e-4)
        assert found["residual"].abs().max() < 1e-5 * direct.abs().max()


def test_an_edge_is_what_is_lost_without_the_latent(make_sae, rows):
    """Take one latent out of what attention adds, hold patterns and scale, and compute the value again."""
    model = tiny_model(n_layers=2, seed=3)
    saes = {layer: make_sae(model, layer=layer) for layer in (0, 1)}
    event = {"row": 1, "pos": 9, "layer": 1, "latent": 3}
    found = recursive_attribution(model, saes, rows, **event, allow_unfit=True, top_sources=1)
    edge = found[(found["kind"] == "latent") & (found["from_latent"] >= 0)].iloc[0]
    source, latent = int(edge["source"]), int(edge["from_latent"])
    from analyses.attention.reading import read_attention
    from analyses.attention.token_rows import token_rows

    given = token_rows(model, rows).part(np.array([1]))
    attention = read_attention(model, given, [0, 1])
    z = attention[0].z[0, source].flatten()[None]
    written = (
        saes[0].encode(z)[0, latent] * saes[0].W_dec[latent] @ model.bridge.blocks[0].attn.W_O.detach().flatten(0, 1)
    )
    held = []
    from interp.reading import read_sites
    from interp.sites import Site

    ids = torch.from_numpy(given.ids)
    read_sites(model, ids, torch.ones_like(ids), {Site("resid_pre", 1): held.append})
    x = held[0][0, source]
    scale = 1 / (x.square().mean() + 1e-6).sqrt()
    v = (written * model.bridge.blocks[1].ln1.weight.detach() * scale) @ model.bridge.blocks[1].attn.W_V.detach()
    v = v.repeat_interleave(2, dim=0)
    W = saes[1].W_enc.reshape(4, 8, -1)[:, :, 3]
    expected = (attention[1].pattern[0, :, 9, source] * (v * W).sum(dim=1)).sum()
    assert edge["value"] == pytest.approx(float(expected), rel=1e-3)


def test_the_planted_word_comes_from_the_embedding(planted, planted_rows):
    found = direct_feature_attribution(planted.model, planted.sae, planted_rows, latents=[0], per_latent=1).events.iloc[
        0
    ]
    edges = recursive_attribution(
        planted.model, {1: planted.sae}, planted_rows, row=int(found["row"]), pos=int(found["pos"]), layer=1, latent=0,
        top_sources=1,
    ).set_index("kind")["value"]  # fmt: skip
    assert edges["embedding"] == pytest.approx(edges.sum(), abs=0.05)
    assert edges["embedding"] > 0.3


def test_depth_follows_latents_and_weights_multiply(make_sae, rows):
    model = tiny_model(n_layers=3, seed=1)
    saes = {layer: make_sae(model, layer=layer) for layer in range(3)}
    found = recursive_attribution(model, saes, rows, **EVENT, allow_unfit=True, depth=2, branches=2)
    first, second = (found[found["depth"] == d] for d in (1, 2))
    assert set(second["layer"]) <= {0, 1}
    assert (first["path_value"] == first["value"]).all()
    edges = first[(first["kind"] == "latent") & (first["from_latent"] >= 0)]
    for (layer, latent, pos), part in second.groupby(["layer", "latent", "pos"]):
        edge = edges[(edges["from_layer"] == layer) & (edges["from_latent"] == latent) & (edges["source"] == pos)]
        event = direct_feature_attribution(model, saes[layer], rows, events=[(0, pos, latent)], allow_unfit=True).events
        weight = edge["value"].iloc[0] / event["activation"].iloc[0]
        np.testing.assert_allclose(part["path_value"], part["value"] * weight, rtol=1e-4)


@pytest.mark.parametrize("architecture", _EXTRA)
def test_the_norm_is_found_by_asking(architecture):
    model = tiny_model(architecture=architecture, seed=4)
    norm = linear_norm(model, 1)
    if architecture == "olmo2":
        assert norm is None
        return
    assert norm is not None
    assert norm.centred == (architecture in ("gpt2", "opt", "bloom", "gpt_neox", "gptj"))
    x = torch.randn(6, model.d_model, generator=torch.Generator().manual_seed(0))
    found, scale = normalised(model, 1, x)
    expected = model.bridge.blocks[1].ln1(x[None])[0]
    torch.testing.assert_close(found.apply(x, scale) + found.shift, expected, rtol=1e-4, atol=1e-4)


def test_what_is_not_there_is_refused(tiny, make_sae, rows):
    sae = {1: make_sae(tiny)}
    for change, match in (
        ({"layer": 0}, "no SAE of layer 0"),
        ({"row": 7}, "no text token"),
        ({"pos": 0}, "no text token"),
        ({"latent": 99}, "latents are 0 to 39"),
    ):
        with pytest.raises(InvalidInput, match=match):
            recursive_attribution(tiny, sae, rows, **{**EVENT, "layer": 1, **change}, allow_unfit=True)
    with pytest.raises(InvalidInput, match=r"given for layer 0 reads z\.1"):
        recursive_attribution(tiny, {0: sae[1]}, rows, **{**EVENT, "layer": 0}, allow_unfit=True)
