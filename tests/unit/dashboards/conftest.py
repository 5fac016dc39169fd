"""A random model whose SAE has latents for known tokens, and the planted attention layer."""

import numpy as np
import pytest
import torch
from dashboards_small import ALWAYS, D_SAE, DEAD, TEXTS, WORDS

from analyses.dashboards import dashboard_data
from interp.sae import StandardSAE, topk_config
from interp.testing import planted_layer, tiny_model


@pytest.fixture(scope="session")
def tiny():
    return tiny_model(seed=3)


@pytest.fixture(scope="session")
def word_ids(tiny):
    return [tiny.tokenizer.convert_tokens_to_ids("Ġ" + word) for word in WORDS]


@pytest.fixture(scope="session")
def word_sae(tiny, word_ids):
    """On the embedding: latent i is on at word i alone; then one dead, one always on, and random ones."""
    E = tiny.bridge.original_model.get_input_embeddings().weight.detach()
    rng = torch.Generator().manual_seed(0)
    W_enc = torch.randn(tiny.d_model, D_SAE, generator=rng)
    b_enc = torch.zeros(D_SAE)
    for i, token in enumerate(word_ids):
        others = E @ E[token] / E[token].square().sum()
        others[token] = -torch.inf
        W_enc[:, i], b_enc[i] = E[token] / E[token].square().sum(), -max(float(others.max()), 0.0) - 0.01
    W_enc[:, DEAD : ALWAYS + 1] = 0
    b_enc[DEAD], b_enc[ALWAYS] = -1.0, 1.0
    config = topk_config(
        tiny.d_model, D_SAE, k=1, site="resid_pre.0", hook_name="blocks.0.hook_resid_pre", model_name=tiny.name,
        model_fingerprint=tiny.fingerprint, bos="always", context_size=64, apply_b_dec_to_input=False,
        decoder_norm="free",
    ).with_(architecture="standard", activation="relu", k=None)  # fmt: skip
    W_dec = torch.randn(D_SAE, tiny.d_model, generator=rng)
    W_dec[10] = 2 * W_dec[0] + 0.1 * W_dec[10]  # the nearest of latent 0
    weights = {"W_enc": W_enc, "b_enc": b_enc, "W_dec": W_dec, "b_dec": torch.zeros(tiny.d_model)}
    return StandardSAE(config, weights)


@pytest.fixture(scope="session")
def word_data(tiny, word_sae):
    return dashboard_data(word_sae, [0, 1, DEAD, ALWAYS, 8], model=tiny, texts=TEXTS)


@pytest.fixture(scope="session")
def dense_latents(tiny, word_sae):
    """The latents of all ordinary tokens, [n_tokens, d_sae], found in another way."""
    from interp import capture

    return word_sae.encode(capture(tiny, TEXTS, "resid_pre.0", pool="none")["resid_pre.0"]).numpy().astype(np.float64)


@pytest.fixture(scope="session")
def planted():
    return planted_layer()


@pytest.fixture(scope="session")
def planted_rows(planted):
    return planted.rows(64, seed=0)
