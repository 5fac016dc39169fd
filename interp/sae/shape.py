"""The shape of a dictionary: does a latent write where it reads, and how near is its nearest neighbour?"""

from __future__ import annotations

import numpy as np
import torch

from interp.sae.coder import SAE

_BLOCK = 1024


def encoder_decoder_cosine(sae: SAE) -> np.ndarray:
    """Return the cosine between what each latent reads and what it writes, float64 [d_sae].

    NaN for a latent with a direction of length 0, and everywhere where reading and writing share no space: an encoder
    without weights of its own, or a decoder of another width.
    """
    W_enc = sae.weights().get("W_enc")
    if W_enc is None or W_enc.T.shape != sae.W_dec.shape:
        return np.full(sae.config.d_sae, np.nan)
    return row_cosine(W_enc.T.double().cpu().numpy(), sae.W_dec.double().cpu().numpy())


def row_cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine of each row of a [n, d] with the same row of b, float64 [n]; NaN where one has length 0."""
    size = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.divide((a * b).sum(axis=1), size, out=np.full(len(a), np.nan), where=size > 0)


def nearest_cosine(sae: SAE) -> np.ndarray:
    """Return for each latent its largest decoder cosine with another latent, float64 [d_sae].

    Near 1: two latents write the same, as when one feature was split. NaN for a row of length 0, and for the only row.
    """
    W = sae.W_dec.double().cpu()
    size = W.norm(dim=1)
    unit = W / torch.where(size > 0, size, torch.ones_like(size))[:, None]
    unit[size == 0] = torch.nan
    best = []
    for start in range(0, len(unit), _BLOCK):
        block = unit[start : start + _BLOCK] @ unit.T
        own = torch.arange(len(block))
        block[own, start + own] = -torch.inf
        block[:, size == 0] = -torch.inf
        block[size[start : start + _BLOCK] == 0] = torch.nan
        best.append(block.max(dim=1).values)
    found = torch.cat(best).numpy()
    return np.where(np.isneginf(found), np.nan, found)
