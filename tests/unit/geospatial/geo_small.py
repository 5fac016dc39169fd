"""A tiny model's SAE of random weights, and places whose names know their longitude."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from interp.sae.config import topk_config
from interp.sae.topk import TopKSAE

WORDS = ("ka", "lo", "mi", "nu", "pe", "ro", "sa", "ti")


def make_sae(model, *, seed=0, site="resid_post.0", d_in=None, d_sae=48, dead=False) -> TopKSAE:
    config = topk_config(
        d_in or model.d_model, d_sae, k=6, site=site, model_fingerprint=model.fingerprint, bos="always"
    )
    rng = np.random.default_rng(seed)
    weights = {
        name: torch.from_numpy(rng.standard_normal(shape)).float() for name, shape in TopKSAE.shapes(config).items()
    }
    weights["W_dec"] = weights["W_dec"] / weights["W_dec"].norm(dim=1, keepdim=True)
    if dead:
        weights["b_enc"] = torch.full_like(weights["b_enc"], -1e6)
    return TopKSAE(config, weights)


def make_places(n=60, *, seed=0) -> pd.DataFrame:
    """Names begin alike east of Greenwich and otherwise west of it; a country is on both sides."""
    rng = np.random.default_rng(seed)
    lon = rng.uniform(-170, 170, n)
    tails = ["".join(rng.choice(WORDS, rng.integers(1, 4))) for _ in range(n)]
    names = [("Zuz" if east else "Bob") + tail for east, tail in zip(lon > 0, tails, strict=True)]
    frame = {"name": names, "lat": rng.uniform(-60, 60, n), "lon": lon, "country": rng.choice(list("ABC"), n)}
    return pd.DataFrame(frame)
