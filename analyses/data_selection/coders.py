"""What turns the activation of a token into a sparse code: an SAE, and the two controls that take its place."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from interp.errors import SaeMismatch

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE


class Coder(Protocol):
    """Reads activations [token, d] of one site and gives values and columns [token, k], values not negative."""

    @property
    def site(self) -> str: ...

    @property
    def width(self) -> int: ...

    def codes(self, x: Tensor) -> tuple[Tensor, Tensor]: ...

    def identity(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class SaeCoder:
    """The latents of an SAE."""

    sae: SAE

    @property
    def site(self) -> str:
        """Where the SAE reads."""
        if self.sae.config.site is None:
            raise SaeMismatch("the SAE does not say where it reads; its cfg.json needs a site.")
        return self.sae.config.site

    @property
    def width(self) -> int:
        """Number of latents."""
        return self.sae.config.d_sae

    def codes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the active latents of x [token, d_in]."""
        values, indices = self.sae.encode_sparse(x)
        return values, indices

    def identity(self) -> dict[str, Any]:
        """Return what decides the codes."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.sae.weights().items()):
            digest.update(name.encode() + tensor.cpu().numpy().tobytes())
        return {"coder": "sae", "architecture": self.sae.architecture, "site": self.site, "weights": digest.hexdigest()}


@dataclass(frozen=True)
class NeuronCoder:
    """The k most active neurons of a layer, positive activations alone: the code without an SAE (Ma et al. 2025)."""

    site: str
    width: int
    k: int

    def codes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the k largest positive activations of x [token, width]."""
        values, indices = torch.topk(x.float().relu(), min(self.k, self.width), dim=1)
        return values, indices

    def identity(self) -> dict[str, Any]:
        """Return what decides the codes."""
        return {"coder": "neurons", "site": self.site, "k": self.k}


def neuron_coder(model: Model, layer: int, k: int) -> NeuronCoder:
    """Return the coder of the MLP neurons of a layer."""
    return NeuronCoder(f"mlp_post.{layer}", model.d_mlp, k)


def random_sae(sae: SAE, seed: int) -> SAE:
    """Return an SAE of the same kind and width whose directions are drawn at random: the control of what it learnt.

    Encoder and decoder are one random unit dictionary; the biases of the decoder stay, those of the encoder are 0.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(17,)))
    old = sae.weights()
    n_latents, d_out = old["W_dec"].shape
    d_in = old["W_enc"].shape[0]
    encoder, decoder = (_unit(rng.standard_normal((n_latents, d))) for d in (d_in, d_out))
    new = {name: tensor.clone() for name, tensor in old.items()}
    new |= {"W_enc": encoder.T.contiguous(), "b_enc": torch.zeros_like(old["b_enc"])}
    new["W_dec"] = encoder if d_in == d_out else decoder
    return type(sae)(replace(sae.config), new)


def _unit(rows: np.ndarray) -> Tensor:
    return torch.from_numpy((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))


def as_coder(given: Any) -> Coder:
    """Return the coder of an SAE, or the coder that was given."""
    return given if hasattr(given, "codes") else SaeCoder(given)
