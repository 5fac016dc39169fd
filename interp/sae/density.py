"""How often each latent is on: dead, dense, and everything between."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from interp.errors import InvalidInput
from interp.sae.activation_rows import Activations, chunks
from interp.sae.coder import SAE

DENSE = 0.1
"""A latent that is on for more than this share of the rows is dense."""
BINS_PER_DECADE = 4


def latent_density(sae: SAE, activations: Activations) -> np.ndarray:
    """Return the share of rows on which each latent is on, float64 [d_sae].

    Raises:
        InvalidInput: no rows.
    """
    on, n = torch.zeros(sae.config.d_sae, dtype=torch.int64), 0
    for rows in chunks(activations):
        on += (sae.encode(rows) > 0).sum(dim=0).cpu()
        n += len(rows)
    if n == 0:
        raise InvalidInput("no activations to count on.")
    return on.numpy() / n


def density_shares(density: np.ndarray) -> dict[str, float]:
    """Return dead_share (never on), dense_share (on in more than 10 % of the rows) and the median of those ever on."""
    alive = density[density > 0]
    return {
        "dead_share": float((density == 0).mean()),
        "dense_share": float((density > DENSE).mean()),
        "density_median": float(np.median(alive)) if len(alive) else float("nan"),
    }


def density_histogram(density: np.ndarray, *, n_rows: int) -> pd.DataFrame:
    """Return how many latents are on how often, in quarters of a decade from 1 / n_rows to 1.

    Args:
        density: float [d_sae], share of rows on which each latent is on.
        n_rows: rows that it was counted on; a latent that is never on has, at 95 %, a density below 3 / n_rows.

    Returns:
        Columns low, high (low <= density < high; the last bin holds 1), n_latents, share. The first row is the dead
        ones: low 0, high the smallest density that n_rows can show.

    Raises:
        InvalidInput: a density outside [0, 1], or between 0 and 1 / n_rows.
    """
    found = np.asarray(density, dtype=np.float64)
    floor = 1.0 / n_rows
    if n_rows < 2 or found.ndim != 1 or not ((found == 0) | ((found >= floor * (1 - 1e-9)) & (found <= 1))).all():
        raise InvalidInput(
            f"density is [d_sae], each 0 or from 1/n_rows to 1, with n_rows of 2 or more; given {found.shape} and "
            f"n_rows = {n_rows}."
        )
    decades = int(np.ceil(np.log10(n_rows) * BINS_PER_DECADE)) if n_rows > 1 else 1
    tops = 10.0 ** (np.arange(-decades + 1, 1) / BINS_PER_DECADE)
    edges = np.concatenate([[0.0, floor * (1 - 1e-9)], tops[tops > floor]])
    edges[-1] = 1.0
    counts = np.histogram(found, edges)[0]
    shown = np.where(edges == edges[1], floor, edges)
    return pd.DataFrame({"low": shown[:-1], "high": shown[1:], "n_latents": counts, "share": counts / len(found)})
