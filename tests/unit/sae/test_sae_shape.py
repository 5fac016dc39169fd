"""Whether latents write where they read, and whether two of them write the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sae_planted import config_of, random_sae

from interp.sae.evaluate import evaluate_sae
from interp.sae.shape import encoder_decoder_cosine, nearest_cosine


def edited(**weights):
    sae = random_sae(config_of("standard", decoder_norm="free"))
    return type(sae)(sae.config, {**sae.weights(), **weights})


def test_tied_latents_write_where_they_read_whatever_the_lengths():
    W_dec = random_sae(config_of("standard")).W_dec
    np.testing.assert_allclose(encoder_decoder_cosine(edited(W_dec=W_dec, W_enc=3 * W_dec.T)), 1.0, rtol=1e-6)
    np.testing.assert_allclose(encoder_decoder_cosine(edited(W_dec=W_dec, W_enc=-W_dec.T)), -1.0, rtol=1e-6)


def test_latent_without_a_direction_has_no_cosine():
    W_dec = random_sae(config_of("standard")).W_dec.clone()
    W_dec[3] = 0
    sae = edited(W_dec=W_dec)
    for cosines in (encoder_decoder_cosine(sae), nearest_cosine(sae)):
        assert np.isnan(cosines[3])
        assert np.isfinite(np.delete(cosines, 3)).all()


def test_nearest_cosine_equals_a_loop_over_pairs(monkeypatch):
    monkeypatch.setattr("interp.sae.shape._BLOCK", 7)
    sae = random_sae(config_of("standard"))
    W = sae.W_dec.double().numpy()
    expected = [max(W[i] @ W[j] for j in range(len(W)) if j != i) for i in range(len(W))]
    np.testing.assert_allclose(nearest_cosine(sae), expected, rtol=1e-6)


def test_copied_latent_has_a_neighbour_at_one():
    W_dec = random_sae(config_of("standard")).W_dec.clone()
    W_dec[5] = 2 * W_dec[4]
    found = nearest_cosine(edited(W_dec=W_dec))
    assert found[4] == pytest.approx(1, abs=1e-6)
    assert found[5] == pytest.approx(1, abs=1e-6)
    assert np.delete(found, [4, 5]).max() < 0.95


def test_null_of_the_pairing_is_the_mean_over_all_wrong_pairs():
    sae = random_sae(config_of("standard"))
    x = np.random.default_rng(0).standard_normal((50, 12)).astype(np.float32)
    null = evaluate_sae(sae, x, seed=0).set_index("metric").loc["encoder_decoder_cosine", "null_random_sae"]
    cosines = (
        torch.nn.functional.normalize(sae.W_enc.T.double(), dim=1)
        @ torch.nn.functional.normalize(sae.W_dec.double(), dim=1).T
    )
    wrong = cosines[~torch.eye(40, dtype=torch.bool)]
    assert null == pytest.approx(float(wrong.mean()), abs=1e-9)
