"""Attribution sums to the pre-activation, on every architecture, and equals the formula written out in full."""

import numpy as np
import pytest
import torch

from analyses.attention import direct_feature_attribution
from analyses.attention.reading import read_attention, require_attention
from analyses.attention.token_rows import token_rows
from interp.attribution import (
    batch_attribution_by_head,
    batch_attribution_by_source,
    encoder_of,
    event_attribution,
)
from interp.errors import InvalidInput, ModelMismatch, SaeMismatch, UnknownSite
from interp.testing import tiny_model
from interp.testing.tiny import _EXTRA


def own_pre_activations(sae, z):
    """The linear part of the encoder, by the definition of each architecture."""
    x = torch.from_numpy(z)
    if sae.config.normalize_activations == "layer_norm":
        x = (x - x.mean(dim=1, keepdim=True)) / (x.std(dim=1, keepdim=True) + 1e-5)
    if sae.config.apply_b_dec_to_input:
        x = x - sae.b_dec
    if sae.config.architecture == "gated":
        return x @ (sae.W_enc * sae.r_mag.exp()) + sae.b_mag
    pre = x @ sae.W_enc + sae.b_enc
    return pre * sae.W_dec.norm(dim=1) if sae.config.rescale_acts_by_decoder_norm else pre


@pytest.mark.parametrize("architecture", _EXTRA)
def test_it_closes_on_every_architecture(architecture, make_sae, random_rows):
    model = tiny_model(architecture=architecture, seed=2)
    sae = make_sae(model)
    found = direct_feature_attribution(model, sae, random_rows, latents=range(40), per_latent=3, allow_unfit=True)
    assert len(found.events) > 60
    assert found.residual_error < 1e-5


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("standard", {}),
        ("standard", {"apply_b_dec_to_input": False}),
        ("topk", {"rescale_acts_by_decoder_norm": True}),
        ("topk", {"normalize_activations": "layer_norm"}),
        ("jumprelu", {}),
        ("gated", {}),
    ],
)
def test_it_closes_for_every_convention_of_an_sae(tiny, make_sae, random_rows, kind, options):
    sae = make_sae(tiny, kind=kind, **options)
    rows = token_rows(tiny, random_rows)
    attention = read_attention(tiny, rows, [1])[1]
    encoder = encoder_of(sae, tiny.n_heads)
    z = attention.z.flatten(2)[0, :12].numpy()
    expected = own_pre_activations(sae, z).numpy()
    latents = torch.arange(40)
    by_head = batch_attribution_by_head(attention, encoder, latents).sum(dim=2)[0, :12]
    by_source = batch_attribution_by_source(attention, encoder, latents).sum(dim=2)[0, :12]
    np.testing.assert_allclose(by_head + encoder.bias, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(by_source + encoder.bias, expected, rtol=1e-4, atol=1e-4)


def test_it_is_the_formula(tiny, make_sae, random_rows):
    sae = make_sae(tiny)
    attention = read_attention(tiny, token_rows(tiny, random_rows), [1])[1]
    W = sae.W_enc.reshape(tiny.n_heads, tiny.d_head, -1).double()
    row, pos, latent = (torch.tensor(x) for x in ([0, 2, 3, 3], [4, 20, 1, 15], [7, 0, 39, 7]))
    found = event_attribution(attention, encoder_of(sae, tiny.n_heads), row, pos, latent).numpy()
    for e, (r, q, i) in enumerate(zip(row, pos, latent, strict=True)):
        for s in range(attention.v.shape[1]):
            for h in range(tiny.n_heads):
                one = attention.pattern[r, h, q, s] * (attention.v[r, s, h].double() @ W[h, :, i])
                assert found[e, s, h] == pytest.approx(float(one), abs=1e-4)


def test_tables_name_what_was_moved(planted, planted_rows):
    latent = int(planted.latents.query("head == 0 and word == 'bala'")["latent"].iloc[0])
    found = direct_feature_attribution(planted.model, planted.sae, planted_rows, latents=[latent], per_latent=5)
    sources = found.by_source()
    top = sources.loc[sources.groupby("event")["dfa"].idxmax()]
    assert (top["token"] == "bala").all()
    assert (top["relation"] == "induction").all()
    assert (top["top_head"] == 0).all()
    heads = found.by_head().pivot(index="event", columns="head", values="dfa")
    assert heads.drop(columns=0).abs().to_numpy().max() < 1e-6
    whole = heads.sum(axis=1) + found.events["bias"] + found.events["residual"]
    np.testing.assert_allclose(whole, found.events["pre_activation"], atol=1e-6)


def test_an_sae_that_does_not_fit_is_refused(tiny, make_sae, random_rows):
    with pytest.raises(SaeMismatch, match="allow_unfit"):
        direct_feature_attribution(tiny, make_sae(tiny), random_rows, latents=[0])


def test_an_sae_of_another_place_is_refused(tiny, make_sae, random_rows):
    sae = make_sae(tiny, site="resid_post.1", hook_name=None, n_heads=None)
    with pytest.raises(SaeMismatch, match="on z"):
        direct_feature_attribution(tiny, sae, random_rows, latents=[0], allow_unfit=True)


def test_an_encoder_that_is_not_linear_is_refused():
    from interp.sae import MatchingPursuitSAE, matching_pursuit_config

    sae = MatchingPursuitSAE(
        matching_pursuit_config(8, 4, max_iterations=2), {"W_dec": torch.eye(8)[:4], "b_dec": torch.zeros(8)}
    )
    with pytest.raises(SaeMismatch, match="not linear"):
        encoder_of(sae, 2)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "say what"),
        ({"latents": [40]}, "latents are 0 to 39"),
        ({"events": [(0, 0, 1)]}, "not at BOS"),
        ({"events": [(9, 1, 1)]}, "below"),
    ],
)
def test_events_that_do_not_exist_are_refused(tiny, make_sae, random_rows, options, match):
    with pytest.raises(InvalidInput, match=match):
        direct_feature_attribution(tiny, make_sae(tiny), random_rows, allow_unfit=True, **options)


def test_a_layer_without_a_pattern_is_refused_by_name(tiny):
    with pytest.raises(UnknownSite, match="layers 0 to 1"):
        require_attention(tiny, [2])
    table = tiny.checks.copy()
    tiny.checks.loc[tiny.checks["identity"] == "pattern x v == z", "status"] = "not applicable: no pattern"
    try:
        with pytest.raises(ModelMismatch, match="layer 1"):
            require_attention(tiny, [1])
    finally:
        tiny.checks = table
