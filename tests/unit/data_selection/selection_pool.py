"""Rows of a pool made of a few words, and an SAE that reads the tiny model."""

import numpy as np
import torch

from interp.sae.config import SaeConfig
from interp.sae.topk import TopKSAE

WORDS = ("Paris", "London", "Berlin", "is", "in", "the", "city", "of", "France", "and")


def rows_of(n, seed):
    """Return n rows of prompt and completion out of a few words, of very different lengths."""
    rng = np.random.default_rng(seed)
    said = [" ".join(rng.choice(WORDS, size)) for size in rng.integers(1, 12, 2 * n)]
    return [{"prompt": said[2 * i], "completion": said[2 * i + 1]} for i in range(n)]


def tiny_sae(model):
    """Return a TopK SAE with random directions for `tiny_model()`."""
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
