"""A tiny model, a TopK SAE with random directions that reads it, and a small pool with a task in it."""

import numpy as np
import pytest
import torch
from selection_pool import rows_of

from analyses.data_selection import read_samples
from interp.sae.config import SaeConfig
from interp.sae.topk import TopKSAE
from interp.testing import tiny_model


@pytest.fixture(scope="session")
def model():
    return tiny_model()


@pytest.fixture(scope="session")
def sae(model):
    config = SaeConfig(
        architecture="topk", d_in=32, d_sae=96, k=4, activation="topk", apply_b_dec_to_input=True,
        normalize_activations="none", input_scale=1.0, decoder_norm="unit", rescale_acts_by_decoder_norm=False,
        site="resid_post.0", hook_name=None, model_name=model.name, model_fingerprint=model.fingerprint,
        bos="always", context_size=None, dtype="float32",
    )  # fmt: skip
    directions = torch.from_numpy(np.random.default_rng(5).standard_normal((96, 32)).astype(np.float32))
    directions /= directions.norm(dim=1, keepdim=True)
    weights = {"W_enc": directions.T, "W_dec": directions, "b_enc": torch.zeros(96), "b_dec": torch.full((32,), 0.1)}
    return TopKSAE(config, weights)


@pytest.fixture(scope="session")
def samples():
    return read_samples(rows_of(40, 0))
