"""Texts of five words, and an SAE with random directions, for the tests of the evaluation."""

from __future__ import annotations

import numpy as np
import torch

from interp.sae import TopKSAE, topk_config

WORDS = ("Paris", "London", "Berlin", "city", "France")
SITE = "resid_post.1"


def make_texts(n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" " + " ".join(rng.choice(WORDS, size=rng.integers(3, 12))) for _ in range(n)]


def make_sae(model, seed: int = 0, **stated) -> TopKSAE:
    rng = np.random.default_rng(seed)
    W = torch.from_numpy(rng.standard_normal((64, 32))).float()
    W = W / W.norm(dim=1, keepdim=True)
    about = {"site": SITE, "model_name": model.name, "model_fingerprint": model.fingerprint, "bos": "always",
             "context_size": 64}  # fmt: skip
    weights = {"W_enc": W.T, "W_dec": W, "b_enc": torch.zeros(64), "b_dec": torch.zeros(32)}
    return TopKSAE(topk_config(32, 64, k=8, **{**about, **stated}), weights)
