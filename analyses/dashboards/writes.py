"""What latents write: into the residual stream, on to the logits, and beside which neurons."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from interp.sites import Site

if TYPE_CHECKING:
    from interp.models import Model

_RESIDUAL = ("embed", "resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")
N_RANDOM = 200

Neurons = tuple[list[str], np.ndarray]
"""Names "layer.neuron" and output weights [n, d_model]."""


class RandomLogits(NamedTuple):
    """Median and 95 % quantile of the largest logit weight of random directions of length 1."""

    median: float
    high: float


def residual_map(model: Model, site: str) -> Tensor | None:
    """Return M with x M what a vector x at a site adds to the residual stream, float32 [d, d_model], or None.

    None is the identity for sites of the residual stream; see `reaches_residual`.
    """
    where = Site.parse(site)
    if where.component == "z":
        W_O = model.bridge.blocks[where.layer].attn.W_O.detach().float()
        return W_O.flatten(0, 1) if where.head is None else W_O[where.head]
    return model.bridge.blocks[where.layer].mlp.W_out.detach().float() if where.component == "mlp_post" else None


def reaches_residual(site: str) -> bool:
    """Return whether what is written at a site goes to the residual stream through weights alone."""
    return Site.parse(site).component in (*_RESIDUAL, "z", "mlp_post")


@torch.no_grad()
def logit_weights(model: Model, site: str, directions: np.ndarray) -> np.ndarray | None:
    """Return what directions [n, d] at a site add to the logits by the direct path, float64 [n, d_vocab], or None.

    The gain of the final norm is in it and its scale, which depends on the token, is not; rows have mean 0, as a
    constant changes no probability. None: the site does not write to the residual stream.
    """
    if not reaches_residual(site):
        return None
    x = torch.as_tensor(directions, dtype=torch.float32, device=model.device)
    mapped = residual_map(model, site)
    x = x if mapped is None else x @ mapped
    gain, centred = _final_gain(model)
    x = (x - x.mean(dim=1, keepdim=True) if centred else x) * gain
    logits = (x @ model.bridge.W_U.detach().float()).double().cpu().numpy()
    return logits - logits.mean(axis=1, keepdims=True)


def random_logits(model: Model, site: str, d: int, *, seed: int) -> RandomLogits | None:
    """Return the null of the largest logit weight: isotropic directions of length 1 at the same site."""
    directions = np.random.default_rng([seed, 7]).standard_normal((N_RANDOM, d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    most = []
    for part in np.split(directions, 8):  # a vocabulary is large
        logits = logit_weights(model, site, part)
        if logits is None:
            return None
        most.append(np.abs(logits).max(axis=1))
    return RandomLogits(float(np.median(np.concatenate(most))), float(np.quantile(np.concatenate(most), 0.95)))


def neurons_before(model: Model, site: str) -> Neurons | None:
    """Return the neurons that write before or at a site.

    None: the site does not hold the residual stream or what an MLP adds to it, or the weights have no common shape.
    """
    where = Site.parse(site)
    if where.component not in ("resid_pre", "resid_mid", "resid_post", "mlp_out"):
        return None
    last = model.n_layers if where.layer is None else where.layer + (where.component in ("resid_post", "mlp_out"))
    layers = [where.layer] if where.component == "mlp_out" else range(last)
    try:
        weights = [model.bridge.blocks[layer].mlp.W_out.detach().float().cpu().numpy() for layer in layers]
    except AttributeError:  # a mixture of experts
        return None
    if not weights or any(W.ndim != 2 for W in weights):
        return None
    names = [f"{layer}.{i}" for layer, W in zip(layers, weights, strict=True) for i in range(len(W))]
    return names, np.concatenate(weights)


def _final_gain(model: Model) -> tuple[Tensor, bool]:
    """Return the gain [d_model] of the final norm and whether it subtracts the mean, found by asking it."""
    norm = model.bridge.ln_final
    ones = torch.ones(model.d_model, device=model.device, dtype=model.dtype)
    turns = ones.clone()
    turns[1::2] = -1.0  # mean 0 and mean square 1
    flat, up, down = (norm(x[None, None])[0, 0].float() for x in (ones, turns, -turns))
    shift, gain = (up + down) / 2, (up - down) / 2 * turns
    return gain, bool((flat - shift).abs().max() < 0.01 * gain.abs().max())
