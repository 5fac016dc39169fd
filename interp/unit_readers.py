"""What units read: latents of an SAE, neurons and directions among them, as vectors that what was written is read with.

Neurons are read behind a norm whose scale is held fixed. The pre-activation of a plain neuron is linear in what it
reads. A gated neuron is a product, act(gate) x other, and each factor gets half of it (the half rule of layer-wise
relevance propagation, Arras et al. 2019), so that the parts sum to the activation itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from interp.attribution import encoder_of
from interp.errors import ModelMismatch
from interp.linear_parts import neuron_readers, normalised
from interp.sites import Site
from interp.upstream import Block, block_weights

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE

_TOLERANCE = 1e-3  # of the largest pre-activation


class _Term(NamedTuple):
    """What neurons get of one of their factors: share (scale x . vector + constant)."""

    share: Tensor
    """[row, neuron]"""
    scale: Tensor
    """[row]"""
    vectors: Tensor
    """[neuron, d_model]"""
    constants: Tensor
    """[neuron]"""

    @property
    def factor(self) -> Tensor:
        return self.share * self.scale[:, None]


class LatentReaders:
    """Latents of an SAE with a linear encoder; what is attributed is the pre-activation.

    Raises:
        SaeMismatch: the encoder is not linear, or the SAE is a transcoder.
    """

    def __init__(self, sae: SAE, latents: Sequence[int] | np.ndarray, device: torch.device) -> None:
        self.encoder = encoder_of(sae, 1)
        self.site = Site.parse(str(sae.config.site))
        at = torch.as_tensor(np.asarray(latents), device=sae.W_dec.device)
        self.vectors = self.encoder.W[0][:, at].T.detach().to(device)
        self.constants = self.encoder.bias[at].detach().to(device)
        self.more: list[Site] = []
        self._weights: list[Tensor] | None = None

    def weights(
        self, at: dict[Site, Tensor], blocks: list[Block], place: tuple[Tensor, Tensor], row: Tensor, unit: Tensor
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return the weights of `contributions` for pairs, [pair, group, width] a block, a constant and the total.

        Args:
            at: tensors of the sites of a batch. place: row and position in the batch of each row of the blocks.
            row, unit: int64 [pair], rows of the blocks and units.
        """
        if self._weights is None:
            self._weights = block_weights(blocks, self.vectors)
        x = at[self.site].flatten(2)[place]
        scale = self.encoder.scale(x[:, None])[row]
        total = scale * (x[row] * self.vectors[unit]).sum(dim=1)
        return [w[unit] * scale[:, None, None] for w in self._weights], self.constants[unit], total


class NeuronReaders:
    """Neurons of a layer, or directions in the space of its neurons.

    Args:
        neurons: numbers; or
        directions: float [d_mlp, n], of which the activation sum_j d_j a_j is attributed, a plain neuron's activation
            being in proportion to its pre-activation.
    """

    def __init__(
        self, model: Model, layer: int, neurons: np.ndarray | None = None, *, directions: np.ndarray | None = None
    ) -> None:
        self.model, self.layer = model, layer
        self.site = Site("resid_mid" if f"resid_mid.{layer}" in model.shapes else "resid_pre", layer)
        self.more = [Site("mlp_pre", layer), Site("mlp_post", layer)]
        self.norm = "ln2" if hasattr(model.bridge.blocks[layer], "ln2") else "ln1"
        every = range(model.d_mlp) if neurons is None else neurons
        self.neurons = torch.as_tensor(np.asarray(every), device=model.device)
        self.directions = None
        if directions is not None:
            self.directions = torch.as_tensor(directions, dtype=torch.float32, device=model.device).T
        self._weights: list[list[Tensor]] | None = None

    def weights(
        self, at: dict[Site, Tensor], blocks: list[Block], place: tuple[Tensor, Tensor], row: Tensor, unit: Tensor
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return as `LatentReaders.weights`. Raises ModelMismatch: the neurons do not read what they seem to."""
        terms, values = self._terms(at, place)
        if self.directions is not None:
            mix = self.directions[unit]
            readers = _sum((mix * t.factor[row]) @ t.vectors for t in terms)
            constant = _sum((mix * t.share[row]) @ t.constants for t in terms)
            return block_weights(blocks, readers), constant, (mix * values[row]).sum(dim=1) - constant
        if self._weights is None:
            self._weights = [block_weights(blocks, t.vectors) for t in terms]
        constant = _sum(t.share[row, unit] * t.constants[unit] for t in terms)
        factors = [t.factor[row, unit][:, None, None] for t in terms]
        own = self._weights
        made = [_sum(w[b][unit] * f for f, w in zip(factors, own, strict=True)) for b in range(len(blocks))]
        return made, constant, values[row, unit] - constant

    def _terms(self, at: dict[Site, Tensor], place: tuple[Tensor, Tensor]) -> tuple[list[_Term], Tensor]:
        """Return the terms of the chosen neurons, and what is attributed, [row, neuron]."""
        x = at[self.site][place]
        norm, scale = normalised(self.model, self.layer, x, self.norm)
        pre, post = (at[site][place][:, self.neurons] for site in self.more)
        found, read = [], []
        for W, b in neuron_readers(self.model, self.layer):
            W, b = W[self.neurons], b[self.neurons]
            vectors = W * norm.gain
            vectors = vectors - vectors.mean(dim=1, keepdim=True) if norm.centred else vectors
            found.append((scale, vectors, W @ norm.shift + b))
            read.append(scale[:, None] * (x @ vectors.T) + found[-1][2])
        self._require(read[0], pre)
        if len(read) == 1 and self.directions is None:
            return [_Term(torch.ones_like(pre), *found[0])], pre
        return [_Term(_ratio(post, r) / len(read), *f) for r, f in zip(read, found, strict=True)], post

    def _require(self, made: Tensor, found: Tensor) -> None:
        error = float((made - found).abs().max() / found.abs().max().clamp_min(1e-30))
        if not error <= _TOLERANCE:
            raise ModelMismatch(
                f"the neurons of layer {self.layer} of {self.model.name} are not what {self.site} behind {self.norm} "
                f"and their weights make (error {error:.2g} of the largest), so what wrote them cannot be told."
            )


def _sum(tensors: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(tensors)).sum(dim=0)


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(b.abs() > 1e-9, a / torch.where(b.abs() > 1e-9, b, torch.ones_like(b)), torch.zeros_like(a))
