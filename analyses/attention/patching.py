"""Logit differences with parts of the attention exchanged between two runs: by head and by latent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from analyses.attention.prompt_pairs import EncodedPairs
from interp.reading import hooked

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE

Chosen = Mapping[int, np.ndarray]
"""Layer -> latents."""


@dataclass(frozen=True, eq=False)
class Run:
    """One run of the prompts: z [pair, pos, head * d_head] by layer, and its logit differences."""

    ids: Tensor
    z: dict[int, Tensor]
    difference: np.ndarray
    """float64 [pair]: logit of the answer of the clean prompt less that of the other."""


class Exchange:
    """Runs prompts with parts of z taken from the other run."""

    def __init__(self, model: Model, pairs: EncodedPairs) -> None:
        self.model, self.pairs = model, pairs
        device = model.device
        self.mask = torch.from_numpy(pairs.mask).long().to(device)
        self.last, self.answer, self.other = (
            torch.from_numpy(x).to(device) for x in (pairs.last, pairs.answer, pairs.other)
        )
        self.clean, self.corrupt = (self._plain(torch.from_numpy(x).to(device)) for x in (pairs.clean, pairs.corrupt))

    def _plain(self, ids: Tensor) -> Run:
        z: dict[int, Tensor] = {}
        keep = {f"z.{i}": (lambda x, i=i: z.__setitem__(i, x.detach().clone())) for i in range(self.model.n_layers)}
        with torch.no_grad():
            return Run(ids, z, self._difference(ids, keep).double().cpu().numpy())

    def _difference(self, ids: Tensor, hooks: Mapping[str, Any]) -> Tensor:
        """Return the differences [pair] with hooks on; only the last tokens are unembedded."""
        site, held = f"resid_post.{self.model.n_layers - 1}", []
        at = torch.arange(len(ids), device=ids.device)
        with hooked(self.model, {**hooks, site: lambda x: held.append(x[at, self.last])}):
            self.model.run(ids, self.mask)
        with hooked(self.model, {site: lambda x: held[0][:, None].to(x)}):
            end = self.model.logits(ids[:, :1])[:, 0].float()
        return end[at, self.answer] - end[at, self.other]

    @torch.no_grad()
    def heads(self, run: Run, source: Run, layer: int, head: int) -> np.ndarray:
        """Return the differences [pair] of `run` with one head's z, at every position, from `source`."""
        width = self.model.d_head
        at = slice(head * width, (head + 1) * width)

        def edit(z: Tensor) -> Tensor:
            out = z.clone()
            out[..., at] = source.z[layer][..., at]
            return out

        return self._difference(run.ids, {f"z.{layer}": edit}).double().cpu().numpy()

    @torch.no_grad()
    def latents(self, run: Run, source: Run, saes: Mapping[int, SAE], chosen: Chosen) -> np.ndarray:
        """Return the differences [pair] of `run` with latents set to what they are in `source`; the error stays."""
        hooks = {f"z.{i}": _exchanged(saes[i], source.z[i], which) for i, which in chosen.items() if len(which)}
        return self._difference(run.ids, hooks).double().cpu().numpy()

    def gradients(self, run: Run) -> dict[int, Tensor]:
        """Return the gradient of the mean difference by z, [pair, pos, head * d_head] times the number of pairs."""
        held: dict[int, Tensor] = {}

        def keep(layer: int) -> Any:
            def hook(z: Tensor) -> Tensor:
                held[layer] = z.detach().requires_grad_() if layer == 0 else z
                held[layer].retain_grad()
                return held[layer]

            return hook

        with torch.enable_grad():
            total = self._difference(run.ids, {f"z.{i}": keep(i) for i in range(self.model.n_layers)}).sum()
            grads = torch.autograd.grad(total, list(held.values()))
        return {layer: grad.detach() for layer, grad in zip(held, grads, strict=True)}


def _exchanged(sae: SAE, source: Tensor, which: np.ndarray) -> Any:
    latents = torch.from_numpy(which)

    def edit(z: Tensor) -> Tensor:
        now, then = (sae.encode(x.flatten(0, 1))[:, latents] for x in (z, source))
        return z + ((then - now) @ sae.W_dec[latents]).reshape(z.shape).to(z)

    return edit


def latent_estimates(exchange: Exchange, saes: Mapping[int, SAE]) -> dict[int, np.ndarray]:
    """Return for each latent the first-order estimate of what noising it costs the clean run, float64 [latent].

    Sum over positions of (f_clean - f_corrupt) W_dec . dLD/dz, mean over pairs (Syed et al. 2023).
    """
    grads = exchange.gradients(exchange.clean)
    out = {}
    for layer, sae in saes.items():
        clean, corrupt = (sae.encode(run.z[layer].flatten(0, 1)) for run in (exchange.clean, exchange.corrupt))
        mask = exchange.mask.flatten()[:, None]
        direct = grads[layer].flatten(0, 1).float() @ sae.W_dec.T
        out[layer] = ((clean - corrupt) * direct * mask).sum(dim=0).double().cpu().numpy() / len(exchange.pairs)
    return out


def latent_activity(exchange: Exchange, saes: Mapping[int, SAE]) -> dict[int, np.ndarray]:
    """Return the mean activation of each latent over the tokens of the clean prompts, float64 [latent]."""
    keep = exchange.mask.flatten().bool()
    return {
        layer: sae.encode(exchange.clean.z[layer].flatten(0, 1)[keep]).double().mean(dim=0).cpu().numpy()
        for layer, sae in saes.items()
    }
