"""What latents write: into the residual stream, on to the logits, and beside which neurons."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from interp.linear_parts import linear_norm, neuron_readers, unembedding_directions
from interp.sites import Site

if TYPE_CHECKING:
    from interp.models import Model

_RESIDUAL = ("embed", "resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")
N_RANDOM = 200


class Neurons(NamedTuple):
    """Neurons that write as latents write, or that read what they write."""

    names: list[str]
    """"layer.neuron"."""
    weights: np.ndarray
    """float32 [n, d_model]: output weights, or input weights behind the gain of the norm (gated: of the gate)."""
    kind: str
    """"output" or "input"."""
    null: float
    """Median, over random directions at the site, of the largest |cosine| to any of them."""


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
    logits = (_in_residual(model, site, directions) @ unembedding_directions(model)).double().cpu().numpy()
    return logits - logits.mean(axis=1, keepdims=True)


def _in_residual(model: Model, site: str, directions: np.ndarray) -> Tensor:
    x = torch.as_tensor(directions, dtype=torch.float32, device=model.device)
    mapped = residual_map(model, site)
    return x if mapped is None else x @ mapped


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


@torch.no_grad()
def related_neurons(model: Model, site: str, d: int, *, seed: int) -> Neurons | None:
    """Return the neurons beside which latents of width d that write at a site are shown.

    In the residual stream and after an MLP those that write before or at it, by their output weights; after attention
    those that read it, of this layer (not where MLP and attention run side by side) and of later ones, by their input
    weights. None: another site, or weights that have no common shape.
    """
    where = Site.parse(site)
    if where.component in ("z", "attn_out") and where.layer is not None:
        first = where.layer + (f"resid_mid.{where.layer}" not in model.shapes)
        kind, layers, read = "input", list(range(first, model.n_layers)), _input_weights
    elif where.component in ("resid_pre", "resid_mid", "resid_post", "mlp_out"):
        last = model.n_layers if where.layer is None else where.layer + (where.component in ("resid_post", "mlp_out"))
        layers = [int(where.layer or 0)] if where.component == "mlp_out" else list(range(last))
        kind, read = "output", _output_weights
    else:
        return None
    try:
        weights = [read(model, layer) for layer in layers]
    except AttributeError:  # a mixture of experts
        return None
    if not weights or any(W.ndim != 2 for W in weights):
        return None
    names = [f"{layer}.{i}" for layer, W in zip(layers, weights, strict=True) for i in range(len(W))]
    together = np.concatenate(weights)
    return Neurons(names, together, kind, _random_cosine(model, site, d, together, seed))


def _output_weights(model: Model, layer: int) -> np.ndarray:
    return model.bridge.blocks[layer].mlp.W_out.detach().float().cpu().numpy()


def _input_weights(model: Model, layer: int) -> np.ndarray:
    W = neuron_readers(model, layer)[0][0]
    norm = linear_norm(model, layer, "ln2" if hasattr(model.bridge.blocks[layer], "ln2") else "ln1")
    if norm is not None:
        W = W * norm.gain
        W = W - W.mean(dim=1, keepdim=True) if norm.centred else W
    return W.cpu().numpy()


def _random_cosine(model: Model, site: str, d: int, weights: np.ndarray, seed: int) -> float:
    x = in_residual(model, site, np.random.default_rng([seed, 8]).standard_normal((N_RANDOM, d)))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    unit = weights / np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), 1e-30)
    return float(np.median(np.abs(x @ unit.T).max(axis=1)))


def in_residual(model: Model, site: str, directions: np.ndarray) -> np.ndarray:
    """Return what directions [n, d] at a site add to the residual stream, float32 [n, d_model]."""
    return _in_residual(model, site, directions).cpu().numpy()
