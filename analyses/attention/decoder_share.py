"""Which head a latent belongs to by its weights: the share of its decoder that lies in each head."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analyses.attention.relations import effective_number
from interp.errors import SaeMismatch
from interp.sae.coder import SAE


def decoder_head_share(sae: SAE, *, n_heads: int | None = None) -> pd.DataFrame:
    """Return the share of each head in every latent's decoder: ||W_dec[i, h]|| / sum over h' of ||W_dec[i, h']||.

    Norms are summed, not squares (Kissane et al. 2024). `effective_heads` is exp of the entropy of the shares: 1 for a
    latent in one head. `random` is what isotropic directions of this width give in the mean.

    Args:
        n_heads: where the SAE does not say how many heads it reads.

    Returns:
        One row a latent and head: latent, head, share, effective_heads, random_effective_heads, status.

    Raises:
        SaeMismatch: the number of heads is not known, or does not divide the width.
    """
    heads = n_heads if n_heads is not None else sae.config.n_heads
    width = sae.W_dec.shape[1]
    if heads is None or width % heads or (sae.config.n_heads or heads) != heads:
        raise SaeMismatch(
            f"the decoder has rows of {width} values and the heads are {heads}; give n_heads= of the model "
            f"(the SAE says {sae.config.n_heads})."
        )
    share = head_share(sae.W_dec.detach().double().cpu().numpy(), heads)
    random = np.random.default_rng(0).standard_normal((1000, width))
    n = len(share)
    return pd.DataFrame(
        {
            "latent": np.repeat(np.arange(n), heads), "head": np.tile(np.arange(heads), n), "share": share.ravel(),
            "effective_heads": np.repeat(effective_number(share), heads),
            "random_effective_heads": float(effective_number(head_share(random, heads)).mean()),
            "status": np.repeat(np.where(np.isfinite(share[:, 0]), "ok", "the decoder row is 0"), heads),
        }
    )  # fmt: skip


def head_share(W_dec: np.ndarray, n_heads: int) -> np.ndarray:
    """Return the shares [latent, head] of decoder rows [latent, head * d_head]; NaN for a row of zeros."""
    norm = np.linalg.norm(W_dec.reshape(len(W_dec), n_heads, -1), axis=2)
    total = norm.sum(axis=1, keepdims=True)
    return np.divide(norm, total, out=np.full_like(norm, np.nan), where=total > 0)
