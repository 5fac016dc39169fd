"""Each architecture against a loop in float64 written from its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sae_planted import CLASSES, config_of, random_sae

from interp.errors import InvalidInput, NonFinite, SaeMismatch
from interp.sae.topk import top_k

X = np.random.default_rng(7).standard_normal((25, 12)).astype(np.float32)


def brute_force(sae, x: np.ndarray) -> np.ndarray:
    """Latents of one row at a time, in float64, from the formulas of the papers."""
    w = {name: value.numpy().astype(np.float64) for name, value in sae.weights().items()}
    c = sae.config
    out = np.zeros((len(x), c.d_sae))
    for i, row in enumerate(x.astype(np.float64)):
        if c.apply_b_dec_to_input:
            row = row - w["b_dec"]
        if c.architecture == "gated":
            for j in range(c.d_sae):
                gate = row @ w["W_enc"][:, j] + w["b_gate"][j] > 0
                size = np.exp(w["r_mag"][j]) * (row @ w["W_enc"][:, j]) + w["b_mag"][j]
                out[i, j] = max(size, 0.0) * gate
            continue
        pre = np.array([row @ w["W_enc"][:, j] + w["b_enc"][j] for j in range(c.d_sae)])
        if c.rescale_acts_by_decoder_norm:
            pre = pre * np.linalg.norm(w["W_dec"], axis=1)
        if c.architecture == "topk":
            for j in sorted(range(c.d_sae), key=lambda j: (-pre[j], j))[: c.k]:
                out[i, j] = max(pre[j], 0.0)
        else:
            threshold = w.get("threshold", np.zeros(c.d_sae))
            out[i] = np.where(pre > threshold, np.maximum(pre, 0.0), 0.0)
    return out


CASES = [(a, b, "unit", False) for a in CLASSES for b in (True, False)]
CASES += [("topk", b, "free", r) for b in (True, False) for r in (True, False)]


@pytest.mark.parametrize(("architecture", "apply_b_dec", "norm", "rescale"), CASES)
def test_encode_equals_brute_force(architecture, apply_b_dec, norm, rescale):
    sae = random_sae(
        config_of(
            architecture, apply_b_dec_to_input=apply_b_dec, decoder_norm=norm, rescale_acts_by_decoder_norm=rescale
        )
    )
    np.testing.assert_allclose(sae.encode(X).numpy(), brute_force(sae, X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("architecture", "apply_b_dec", "norm", "rescale"), CASES)
def test_forward_is_decode_of_encode_and_equals_brute_force(architecture, apply_b_dec, norm, rescale):
    sae = random_sae(
        config_of(
            architecture, apply_b_dec_to_input=apply_b_dec, decoder_norm=norm, rescale_acts_by_decoder_norm=rescale
        )
    )
    W_dec = sae.W_dec.numpy().astype(np.float64)
    scale = np.linalg.norm(W_dec, axis=1) if rescale else 1.0
    expected = (brute_force(sae, X) / scale) @ W_dec + sae.b_dec.numpy()
    np.testing.assert_allclose(sae(X).numpy(), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(sae(X), sae.decode(sae.encode(X)))


@pytest.mark.parametrize("architecture", CLASSES)
def test_sparse_encoding_holds_the_same_numbers(architecture, make_sae):
    sae = make_sae(architecture)
    values, indices = sae.encode_sparse(X)
    dense = torch.zeros(len(X), 40).scatter_add(1, indices, values)
    torch.testing.assert_close(dense, sae.encode(X), rtol=0, atol=0)
    assert bool((indices.diff(dim=1) > 0).all())  # ascending, so no column twice


def test_tie_for_the_last_place_goes_to_the_lower_latent():
    pre = torch.tensor([[1.0, 3.0, 2.0, 2.0, 2.0], [5.0, 5.0, 5.0, 5.0, 5.0], [0.0, 4.0, 1.0, 2.0, 3.0]])
    values, indices = top_k(pre, 2)
    assert indices.tolist() == [[1, 2], [0, 1], [1, 4]]
    assert values.tolist() == [[3.0, 2.0], [5.0, 5.0], [4.0, 3.0]]


@pytest.mark.parametrize("k", [1, 3, 39, 40])
def test_top_k_of_coarse_values_equals_a_stable_sort(k):
    pre = torch.from_numpy(np.random.default_rng(k).integers(0, 6, (200, 40))).float()  # ties everywhere
    _, indices = top_k(pre, k)
    expected = np.sort(np.argsort(-pre.numpy(), axis=1, kind="stable")[:, :k], axis=1)
    np.testing.assert_array_equal(indices.numpy(), expected)


def test_row_with_few_positive_preactivations_has_fewer_than_k_latents(make_sae):
    sae = make_sae(k=40, d_sae=40)
    l0 = (sae.encode(X) > 0).sum(dim=1)
    assert bool((l0 < 40).all())
    assert bool((sae.encode(X) >= 0).all())


def test_layer_norm_is_undone_after_decoding(make_sae):
    sae = make_sae(normalize_activations="layer_norm")
    plain = random_sae(sae.config.with_(normalize_activations="none"))
    x = torch.from_numpy(X).double()
    mean, sd = x.mean(dim=1, keepdim=True), x.std(dim=1, keepdim=True)
    rows = ((x - mean) / (sd + 1e-5)).float()
    torch.testing.assert_close(sae.encode(X), plain.encode(rows), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sae(X), (plain(rows) * sd + mean).float(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sae(X), sae(X), rtol=0, atol=0)  # a second call finds no state left behind


def test_layer_norm_sae_refuses_to_decode_latents_alone(make_sae):
    sae = make_sae(normalize_activations="layer_norm")
    with pytest.raises(InvalidInput, match="cannot decode latents alone"):
        sae.decode(sae.encode(X))


def test_half_precision_activations_are_encoded_in_float32(make_sae):
    sae = make_sae()
    half = torch.from_numpy(X).half()
    assert sae.encode(half).dtype == torch.float32
    assert torch.equal(sae.encode(half), sae.encode(half.float()))


@pytest.mark.parametrize("shape", [(3, 11), (12,), (2, 3, 12)])
def test_activations_of_another_shape_are_refused(make_sae, shape):
    with pytest.raises(SaeMismatch, match=r"\[batch, 12\]"):
        make_sae().encode(np.zeros(shape, dtype=np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_activation_names_its_row(make_sae, bad):
    x = X.copy()
    x[17, 3] = bad
    with pytest.raises(NonFinite, match="row 17"):
        make_sae().encode_sparse(x)


def test_encoding_changes_neither_input_nor_weights(make_sae):
    sae, x = make_sae(), torch.from_numpy(X.copy())
    before = {name: value.clone() for name, value in sae.weights().items()}
    sae(x)
    sae.encode_sparse(x)
    assert np.array_equal(x.numpy(), X)
    assert all(torch.equal(before[name], value) for name, value in sae.weights().items())


def test_unit_norm_is_checked_against_the_weights():
    free = random_sae(config_of("topk", decoder_norm="free"))
    claimed = free.config.with_(decoder_norm="unit")
    with pytest.raises(SaeMismatch, match="decoder_norm is 'unit'"):
        CLASSES["topk"](claimed, free.weights())


@pytest.mark.parametrize("change", ["missing", "unknown", "shape", "nan"])
def test_weights_that_do_not_fit_are_refused(make_sae, change):
    sae = make_sae("jumprelu")
    weights = dict(sae.weights())
    if change == "missing":
        del weights["threshold"]
    elif change == "unknown":
        weights["b_gate"] = weights["b_enc"]
    elif change == "shape":
        weights["W_enc"] = weights["W_enc"].T
    else:
        weights["b_enc"] = weights["b_enc"] * float("nan")
    with pytest.raises((SaeMismatch, NonFinite)):
        type(sae)(sae.config, weights)


def test_empty_batch_gives_empty_latents(make_sae):
    for architecture in CLASSES:
        sae = make_sae(architecture)
        empty = np.zeros((0, 12), dtype=np.float32)
        assert sae.encode(empty).shape == (0, 40)
        assert len(sae.encode_sparse(empty).values) == 0


def transcoder_config(architecture, **stated):
    return config_of(architecture, apply_b_dec_to_input=False, **({"d_out": 9, "skip_connection": True} | stated))


@pytest.mark.parametrize("architecture", CLASSES)
@pytest.mark.parametrize("skip", [True, False])
def test_transcoder_equals_its_formula(architecture, skip):
    sae = random_sae(transcoder_config(architecture, skip_connection=skip))
    w = {name: value.numpy().astype(np.float64) for name, value in sae.weights().items()}
    assert w["W_dec"].shape == (40, 9)
    np.testing.assert_allclose(sae.encode(X).numpy(), brute_force(sae, X), rtol=1e-5, atol=1e-5)
    expected = brute_force(sae, X) @ w["W_dec"] + w["b_dec"]
    if skip:
        expected += X.astype(np.float64) @ w["W_skip"].T
    np.testing.assert_allclose(sae(X).numpy(), expected, rtol=1e-4, atol=1e-4)


def test_skip_transcoder_cannot_decode_latents_alone():
    sae = random_sae(transcoder_config("topk"))
    with pytest.raises(InvalidInput, match="skipped part comes from the input"):
        sae.decode(sae.encode(X))
    without = random_sae(transcoder_config("topk", skip_connection=False))
    assert torch.equal(without.decode(without.encode(X)), without(X))


@pytest.mark.parametrize("normalize", ["none", "layer_norm"])
def test_reconstruct_with_its_own_latents_is_forward_and_with_others_is_not(normalize):
    sae = random_sae(config_of("standard", normalize_activations=normalize))
    latents = sae.encode(X)
    assert torch.equal(sae.reconstruct(X, latents), sae(X))
    edited = latents.clone()
    edited[:, 3] += 2.0
    scale = torch.from_numpy(X).std(dim=1, keepdim=True) if normalize == "layer_norm" else 1.0
    torch.testing.assert_close(sae.reconstruct(X, edited) - sae(X), 2.0 * scale * sae.W_dec[3].expand(25, -1))
