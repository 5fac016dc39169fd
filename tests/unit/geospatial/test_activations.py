"""Latents and neurons of placenames, against single texts run through the bare Hugging Face module."""

import numpy as np
import pandas as pd
import pytest
import torch
from geo_small import make_places, make_sae

from analyses.geospatial.activations import neuron_site, placename_activations
from analyses.geospatial.prompts import make_prompts
from interp.errors import InvalidInput, UnknownSite
from interp.testing import tiny_model, tiny_module

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
POOLED = {"mean": lambda x: x.mean(axis=0), "max": lambda x: x.max(axis=0), "last": lambda x: x[-1]}
PLACES = make_places(12)


@pytest.fixture(scope="module")
def reader():
    """Text and span -> (residual stream, neurons) of layer 0 at the tokens that touch the span, one text at a time."""
    tokenizer = tiny_model(0).tokenizer
    module = tiny_module("llama", {"vocab_size": len(tokenizer), **SIZES}, seed=0)
    seen = {}
    layer = module.model.layers[0]
    layer.mlp.down_proj.register_forward_pre_hook(lambda _, args: seen.update(neurons=args[0][0]))
    layer.register_forward_hook(
        lambda _, args, out: seen.update(resid=(out[0] if isinstance(out, tuple) else out).reshape(-1, 32))
    )

    def read(text, span):
        encoded = tokenizer(text, return_offsets_mapping=True)
        assert encoded["input_ids"][0] == tokenizer.bos_token_id
        chosen = [
            i for i, (a, b) in enumerate(encoded["offset_mapping"]) if i > 0 and a < b and a < span[1] and b > span[0]
        ]
        with torch.no_grad():
            module(torch.tensor([encoded["input_ids"]]))
        return seen["resid"][chosen].numpy(), seen["neurons"][chosen].numpy()

    return read


def top_k_latents(sae, x, k=6):
    """One token through a TopK SAE, in numpy and float64."""
    w = {name: tensor.numpy().astype(np.float64) for name, tensor in sae.weights().items()}
    pre = (x.astype(np.float64) - w["b_dec"] * sae.config.apply_b_dec_to_input) @ w["W_enc"] + w["b_enc"]
    out = np.zeros_like(pre)
    kept = np.argsort(-pre)[:k]
    out[kept] = np.maximum(pre[kept], 0)
    return out


@pytest.mark.parametrize("template", ["{name}", "the city of {name} is in {country}"])
@pytest.mark.parametrize("pool", ["mean", "max", "last"])
def test_latents_and_neurons_equal_a_loop_over_texts(small, reader, template, pool):
    prompts = make_prompts(PLACES, template)
    acts = placename_activations(small.model, prompts, "resid_post.0", sae=small.sae, pool=pool)
    assert acts.latents.dtype == acts.neurons.dtype == np.float32
    latents = acts.latents.toarray()
    for row, (text, span) in enumerate(zip(prompts.texts, prompts.spans, strict=True)):
        resid, neurons = reader(text, span)
        assert acts.n_tokens[row] == len(resid)
        np.testing.assert_allclose(acts.neurons[row], POOLED[pool](neurons), rtol=1e-4, atol=1e-5)
        expected = POOLED[pool](np.array([top_k_latents(small.sae, x) for x in resid]))
        np.testing.assert_allclose(latents[row], expected, rtol=1e-4, atol=1e-4)


def test_each_token_is_encoded_and_then_pooled_not_the_reverse(small, reader):
    prompts = make_prompts(PLACES)
    acts = placename_activations(small.model, prompts, "resid_post.0", sae=small.sae)
    pairs = zip(prompts.texts, prompts.spans, strict=True)
    reverse = [top_k_latents(small.sae, reader(*pair)[0].mean(axis=0)) for pair in pairs]
    assert np.abs(acts.latents.toarray() - np.array(reverse)).max() > 0.1
    assert np.diff(acts.latents.indptr).max() > small.sae.config.k  # more than one token can light up


def test_bos_is_never_pooled(small):
    with_bos = placename_activations(small.model, make_prompts(PLACES), "resid_post.0", sae=small.sae)
    without = tiny_model(0, bos="never").tokenizer(list(PLACES["name"]), add_special_tokens=False)["input_ids"]
    assert with_bos.n_tokens.tolist() == [len(ids) for ids in without]


def test_what_stands_after_the_name_changes_nothing_in_a_causal_model(small):
    alone = placename_activations(small.model, make_prompts(PLACES), "resid_post.0", sae=small.sae)
    followed = placename_activations(
        small.model, make_prompts(PLACES, "{name} is in {country}"), "resid_post.0", sae=small.sae
    )
    np.testing.assert_array_equal(alone.n_tokens, followed.n_tokens)
    np.testing.assert_allclose(alone.neurons, followed.neurons, atol=1e-5)
    np.testing.assert_allclose(alone.latents.toarray(), followed.latents.toarray(), atol=1e-4)


@pytest.mark.parametrize("batch_tokens", [1, 17, 8192])
def test_batches_and_order_do_not_matter(small, batch_tokens):
    order = np.random.default_rng(3).permutation(len(PLACES))
    acts = placename_activations(small.model, make_prompts(PLACES), "resid_post.0", sae=small.sae)
    again = placename_activations(
        small.model, make_prompts(PLACES.iloc[order]), "resid_post.0", sae=small.sae, batch_tokens=batch_tokens
    )
    np.testing.assert_array_equal(again.n_tokens, acts.n_tokens[order])
    np.testing.assert_allclose(again.neurons, acts.neurons[order], atol=1e-5)
    np.testing.assert_allclose(again.latents.toarray(), acts.latents.toarray()[order], atol=1e-4)


def test_without_an_sae_there_are_neurons_alone(small):
    acts = placename_activations(small.model, make_prompts(PLACES), "resid_post.1")
    assert acts.latents is None
    assert acts.neurons.shape == (12, 64)


def test_an_sae_that_reads_the_neurons_themselves_is_served(small):
    sae = make_sae(small.model, site="mlp_post.0", d_in=64)
    acts = placename_activations(small.model, make_prompts(PLACES), "mlp_post.0", sae=sae, pool="last")
    expected = [top_k_latents(sae, x) for x in acts.neurons]
    np.testing.assert_allclose(acts.latents.toarray(), expected, atol=1e-4)


def test_a_dead_sae_gives_an_empty_matrix_of_full_shape(small):
    acts = placename_activations(small.model, make_prompts(PLACES), "resid_post.0", sae=small.dead_sae)
    assert acts.latents.shape == (12, 48)
    assert acts.latents.nnz == 0


@pytest.mark.parametrize(
    ("site", "neurons"), [("resid_post.1", "mlp_post.1"), ("attn_out.0", "mlp_post.0"), ("embed", "mlp_post.0")]
)
def test_neurons_are_those_of_the_layer_of_the_site(site, neurons):
    assert str(neuron_site(site)) == neurons


def test_another_pool_and_another_site_are_refused(small):
    with pytest.raises(InvalidInput, match="mean"):
        placename_activations(small.model, make_prompts(PLACES), "resid_post.0", pool="median")
    with pytest.raises(UnknownSite):
        placename_activations(small.model, make_prompts(pd.DataFrame({"name": ["a"]})), "resid_post.9", sae=small.sae)
