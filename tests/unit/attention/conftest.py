"""The planted layer, a random model of two layers, and SAEs with random weights on its z."""

import numpy as np
import pytest
import torch

from interp.sae import GatedSAE, JumpReluSAE, SaeConfig, StandardSAE, TopKSAE
from interp.testing import planted_layer, tiny_model

KINDS = {"standard": StandardSAE, "topk": TopKSAE, "jumprelu": JumpReluSAE, "gated": GatedSAE}


@pytest.fixture(scope="session")
def planted():
    return planted_layer()


@pytest.fixture(scope="session")
def planted_rows(planted):
    return planted.rows(96, seed=0)


@pytest.fixture(scope="session")
def tiny():
    return tiny_model(seed=1)


@pytest.fixture(scope="session")
def make_sae():
    """Return a function that makes an SAE with random weights on z of a layer."""

    def make(model, *, layer=1, kind="standard", seed=0, d_sae=40, **options):
        rng = np.random.default_rng(seed)
        d_in = model.n_heads * model.d_head
        activation = {"standard": "relu"}.get(kind, kind)
        settings = {
            "architecture": kind, "activation": activation, "d_in": d_in, "d_sae": d_sae,
            "k": 8 if kind == "topk" else None, "apply_b_dec_to_input": True, "normalize_activations": "none",
            "input_scale": 1.0, "decoder_norm": "free", "rescale_acts_by_decoder_norm": False, "site": f"z.{layer}",
            "hook_name": f"blocks.{layer}.attn.hook_z", "model_name": model.name,
            "model_fingerprint": model.fingerprint, "bos": model.bos, "context_size": 64, "dtype": "float32",
            "n_heads": model.n_heads,
        }  # fmt: skip
        config = SaeConfig(**{**settings, **options})
        shapes = KINDS[kind].shapes(config)
        weights = {
            name: torch.from_numpy(rng.standard_normal(shape).astype(np.float32)) for name, shape in shapes.items()
        }
        if kind == "gated":
            weights["r_mag"] *= 0.1
        return KINDS[kind](config, weights)

    return make


@pytest.fixture(scope="session")
def random_rows(tiny):
    rng = np.random.default_rng(0)
    return [np.concatenate([[0], rng.integers(2, 300, size=size)]) for size in (11, 17, 24, 20)]
