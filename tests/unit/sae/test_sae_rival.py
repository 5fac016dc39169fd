"""The random SAE that stands beside every number: as sparse, and as good as random directions can be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sae_planted import config_of, plant, random_sae

from interp.errors import InvalidInput
from interp.sae import rival
from interp.sae.density import latent_density

X = plant(rows=1500).activations + np.float32(20.0)


@pytest.fixture(params=["topk", "standard", "jumprelu", "gated"])
def sae(request):
    return random_sae(config_of(request.param, d_in=32, d_sae=64, k=6))


def test_it_has_the_l0_of_the_sae(sae):
    random = rival.random_sae(sae, X, seed=0)
    assert latent_density(random, X).sum() == pytest.approx(latent_density(sae, X).sum(), rel=1e-6)


@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "gated"])
def test_each_latent_keeps_its_own_density(architecture):
    sae = random_sae(config_of(architecture, d_in=32, d_sae=64))
    np.testing.assert_allclose(
        latent_density(rival.random_sae(sae, X, seed=0), X), latent_density(sae, X), atol=1.01 / len(X)
    )


def test_its_directions_are_not_those_of_the_sae(sae):
    W = rival.random_sae(sae, X, seed=0).W_dec
    cosine = torch.nn.functional.normalize(W, dim=1) @ torch.nn.functional.normalize(sae.W_dec, dim=1).T
    assert float(cosine.diagonal().abs().mean()) < 0.25  # sqrt(2 / (pi 32)) = 0.14 for random ones


def test_no_other_gain_would_fit_better(sae):
    random = rival.random_sae(sae, X, seed=0)
    x = torch.from_numpy(X).double()
    base = type(random)(random.config, {**random.weights(), "W_dec": torch.zeros_like(random.W_dec)})(X).double()
    part = random(X).double() - base
    errors = [float((x - base - gain * part).square().sum()) for gain in (0.9, 1.0, 1.1)]
    assert errors[1] == min(errors)


def test_it_never_loses_to_the_mean_on_the_rows_it_was_fitted_to(sae):
    out = rival.random_sae(sae, X, seed=0)(X).double().numpy()
    assert ((X - out) ** 2).sum() <= ((X - X.mean(axis=0)) ** 2).sum() * (1 + 1e-6)


def test_normalised_sae_gets_a_normalised_rival():
    sae = random_sae(config_of("standard", d_in=32, d_sae=64, normalize_activations="layer_norm"))
    random = rival.random_sae(sae, X, seed=0)
    assert random.config.normalize_activations == "layer_norm"
    np.testing.assert_allclose(latent_density(random, X), latent_density(sae, X), atol=1.01 / len(X))


def test_dead_and_always_on_latents_stay_so():
    sae = random_sae(config_of("standard", d_in=32, d_sae=64))
    b_enc = sae.b_enc.clone()
    b_enc[0], b_enc[1] = -1e6, 1e6
    sae = type(sae)(sae.config, {**sae.weights(), "b_enc": b_enc})
    density = latent_density(rival.random_sae(sae, X, seed=0), X)
    assert (density[0], density[1]) == (0.0, 1.0)


def test_seed_decides(sae):
    one, same, other = (rival.random_sae(sae, X, seed=s).W_dec for s in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)


def test_nothing_to_calibrate_on_is_refused(sae):
    with pytest.raises(InvalidInput, match="calibrate"):
        rival.random_sae(sae, [], seed=0)
