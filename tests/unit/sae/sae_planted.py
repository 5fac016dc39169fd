"""Small SAEs and activations with a known dictionary, for the SAE tests."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from interp.sae.coder import SAE
from interp.sae.config import SaeConfig, topk_config
from interp.sae.gated import GatedSAE
from interp.sae.jumprelu import JumpReluSAE
from interp.sae.relu import StandardSAE
from interp.sae.topk import TopKSAE

CLASSES: dict[str, type[SAE]] = {c.architecture: c for c in (TopKSAE, StandardSAE, JumpReluSAE, GatedSAE)}


def random_sae(config: SaeConfig, *, seed: int = 0) -> SAE:
    """An SAE with random weights, rows of W_dec of length 1 where the config says so, biases far from 0."""
    rng = np.random.default_rng(seed)
    cls = CLASSES[config.architecture]
    weights = {name: torch.from_numpy(rng.standard_normal(shape)).float() for name, shape in cls.shapes(config).items()}
    if config.decoder_norm == "unit":
        weights["W_dec"] = weights["W_dec"] / weights["W_dec"].norm(dim=1, keepdim=True)
    if "threshold" in weights:
        weights["threshold"] = weights["threshold"].abs()
    return cls(config, weights)


def config_of(architecture: str, *, d_in: int = 12, d_sae: int = 40, k: int = 5, **stated) -> SaeConfig:
    """A config of any architecture in our convention."""
    config = topk_config(d_in, d_sae, k=k)
    if architecture != "topk":
        names = {"standard": "relu", "jumprelu": "jumprelu", "gated": "gated"}
        config = config.with_(architecture=architecture, activation=names[architecture], k=None)
    return config.with_(**stated)


class Planted(NamedTuple):
    """Activations x = h V with `s` of `n` directions on, sizes uniform in [0.5, 1.5]."""

    dictionary: np.ndarray
    activations: np.ndarray


def plant(*, d: int = 32, n: int = 64, s: int = 3, rows: int = 30_000, seed: int = 0) -> Planted:
    """Draw a dictionary of n unit directions and activations that use s of them."""
    rng = np.random.default_rng(seed)
    dictionary = rng.standard_normal((n, d))
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    codes = np.zeros((rows, n))
    columns = np.argsort(rng.random((rows, n)), axis=1)[:, :s]
    np.put_along_axis(codes, columns, rng.uniform(0.5, 1.5, (rows, s)), axis=1)
    return Planted(dictionary, (codes @ dictionary).astype(np.float32))


def recall(found: np.ndarray, truth: np.ndarray, *, cosine: float = 0.9) -> float:
    """Share of the true directions that some found direction matches."""
    found = found / np.linalg.norm(found, axis=1, keepdims=True)
    return float(((truth @ found.T).max(axis=1) > cosine).mean())
