"""Which earlier parts wrote what a unit reads: the embedding, heads by where they look, neurons, or SAE latents.

A place in the residual stream is a sum of what was added to it before. A unit that reads it with a vector r gets
part . r of each part, and these sum to all that it gets. Attention is split by head and by where the head looked from
the token: at itself, at the first token, at the one before, or at an earlier one. With attention patterns and the
activations of earlier neurons as they are, nothing is approximated.
References: Elhage et al. (2021), direct paths; Dreyer et al. (2024, PURE), units split by what drives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interp.errors import InvalidInput, ModelMismatch, SaeMismatch
from interp.linear_parts import neuron_output_map, output_map
from interp.models import find_site
from interp.reading import read_sites
from interp.sites import Site

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE

PLACES = ("itself", "first", "previous", "earlier")
EMBEDDING, HEAD, NEURON, ATTENTION, MLP, BIAS = "embedding", "head", "neuron", "attention", "MLP", "bias"
LATENTS = {"attn_out": "attention latent", "mlp_out": "MLP latent"}
_ERRORS = {"attn_out": "error of attention SAE", "mlp_out": "error of MLP SAE"}
_LETTERS = {HEAD: "H", NEURON: "N", LATENTS["attn_out"]: "A", LATENTS["mlp_out"]: "M"}
_READ = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z")


@dataclass(frozen=True, eq=False)
class Block:
    """Parts of one kind and layer at some tokens: part (group, place) is state[group, place] @ write[group]."""

    kind: str
    layer: int
    state: Tensor
    """[row, group, place, width]"""
    write: Tensor
    """[group, width, d_site]"""


class Upstream:
    """The parts that were added up to a site of a model, token by token.

    Args:
        site: where the unit reads: resid_pre, resid_mid, resid_post (all that was added before), attn_out, mlp_out
            (that layer alone) or z (its heads, before W_O).

        saes: of earlier z, attn_out or mlp_out: what was added there is told by their latents and an error instead.

    Attention or an MLP that is followed by a norm is one undivided part of its layer.

    Raises:
        InvalidInput: another site. UnknownSite: the model does not have it. SaeMismatch: an SAE of another place, or
            one that normalises tokens.
    """

    def __init__(self, model: Model, site: str | Site, *, saes: Sequence[SAE] = ()) -> None:
        self.model, self.site = model, find_site(model, site)
        self.saes = {_written_by(sae): sae for sae in saes}
        if self.site.component not in _READ or self.site.head is not None or self.site.layer is None:
            raise InvalidInput(f"what was written at {self.site} is not told by parts; it is at {', '.join(_READ)}.")
        self.maps: dict[Site, tuple[Tensor, Tensor] | None] = {}

    @property
    def _added(self) -> list[Site]:
        """What is added up to the site, in order: attn_out and mlp_out of layers."""
        layer, component = int(self.site.layer or 0), self.site.component
        if component in ("attn_out", "mlp_out", "z"):
            return [Site("attn_out" if component == "z" else component, layer)]
        sites = [Site(name, i) for i in range(layer) for name in ("attn_out", "mlp_out")]
        own = {"resid_pre": (), "resid_mid": ("attn_out",), "resid_post": ("attn_out", "mlp_out")}[component]
        return [*sites, *(Site(name, layer) for name in own)]

    def sites(self) -> list[Site]:
        """Return the sites that have to be read."""
        more = {"attn_out": ("pattern", "v", "z"), "mlp_out": ("mlp_post",)}
        read = {site: Site.parse(str(sae.config.site)) for site, sae in self.saes.items()}
        found = [
            Site(name, s.layer)
            for s in self._added
            for name in (s.component, *more[s.component], *([read[s].component] if s in read else []))
        ]
        start = [Site("resid_pre", 0)] if self.site.component.startswith("resid") else []
        return list(dict.fromkeys([*start, *found, self.site]))

    def blocks(self, at: dict[Site, Tensor], row: Tensor, pos: Tensor) -> list[Block]:
        """Return the parts at some tokens.

        Args:
            at: the tensors of `sites()` of a batch. row, pos: int64 [n], the tokens.
        """
        found, bias = [], torch.zeros(at[self.site].flatten(2).shape[-1], device=row.device)
        if Site("resid_pre", 0) in at and self.site.component.startswith("resid"):
            found.append(_whole(EMBEDDING, -1, at[Site("resid_pre", 0)][row, pos]))
        for site in self._added:
            is_head = site.component == "attn_out"
            mapped = self._mapped(at, site, row, pos)
            if mapped is None:
                found.append(_whole(ATTENTION if is_head else MLP, int(site.layer or 0), at[site][row, pos]))
                continue
            bias = bias + mapped[1]
            if site in self.saes and self.site.component not in ("z", site.component):
                found += _latents(at, self.saes[site], site, row, pos, mapped)
                continue
            split = _heads if is_head else _neurons
            found.append(split(at, int(site.layer or 0), row, pos, mapped[0]))
        return [*found, _whole(BIAS, -1, bias.expand(len(row), -1))]

    def _mapped(self, at: dict[Site, Tensor], site: Site, row: Tensor, pos: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return the linear map from heads or neurons to the site, None where there is none; found once."""
        if site not in self.maps:
            layer = int(site.layer or 0)
            if self.site.component == "z":
                width = self.model.n_heads * self.model.d_head
                eye = torch.eye(width, device=row.device)
                self.maps[site] = (eye, torch.zeros(width, device=row.device))
                return self.maps[site]
            name, find = ("z", output_map) if site.component == "attn_out" else ("mlp_post", neuron_output_map)
            try:
                self.maps[site] = find(
                    self.model, layer, at[Site(name, layer)][row, pos].flatten(1), at[site][row, pos]
                )
            except ModelMismatch:
                self.maps[site] = None
        return self.maps[site]


def read_upstream(model: Model, ids: np.ndarray, mask: np.ndarray, sites: list[Site]) -> dict[Site, Tensor]:
    """Return the tensors of sites for ids [batch, pos] with mask [batch, pos], float32, from one pass."""
    at: dict[Site, Tensor] = {}
    tokens, attend = (torch.from_numpy(x).to(model.device) for x in (ids, mask))
    readers = {s: (lambda x, s=s: at.__setitem__(s, x.detach().float().clone())) for s in dict.fromkeys(sites)}
    read_sites(model, tokens, attend.long(), readers)
    return at


def block_weights(blocks: list[Block], readers: Tensor) -> list[Tensor]:
    """Return what each group of each block gives to a reader for a unit of its state, [reader, group, width] a block.

    Args:
        readers: [reader, d_site].
    """
    return [(readers @ b.write.flatten(0, 1).T).unflatten(1, b.write.shape[:2]) for b in blocks]


def contributions(blocks: list[Block], row: Tensor, weights: list[Tensor]) -> Tensor:
    """Return what each part gives, [pair, part], for pairs of a row of the blocks and weights [pair, group, width]."""
    return torch.cat(
        [(b.state[row] * w[:, :, None]).sum(dim=3).flatten(1) for b, w in zip(blocks, weights, strict=True)], dim=1
    )


def part_table(blocks: list[Block]) -> pd.DataFrame:
    """Return one row a part, in the order of `contributions`: kind, layer, number (of head or neuron), place, part."""
    rows = []
    for b in blocks:
        _, groups, places, _ = b.state.shape
        for group in range(groups):
            for place in range(places):
                rows.append((b.kind, b.layer, group, PLACES[place] if places > 1 else ""))
    table = pd.DataFrame(rows, columns=["kind", "layer", "number", "place"])
    return table.assign(part=[_name(*row) for row in rows])


def _name(kind: str, layer: int, number: int, place: str) -> str:
    if kind in (EMBEDDING, BIAS):
        return kind
    if kind in (ATTENTION, MLP, *_ERRORS.values()):
        return f"{kind} {layer}"
    return f"L{layer}{_LETTERS[kind]}{number}" + (f" {place}" if place else "")


def _written_by(sae: SAE) -> Site:
    """Return what an SAE tells apart, attn_out or mlp_out of a layer. Raises SaeMismatch."""
    site = Site.parse(str(sae.config.site))
    if site.component not in ("z", "attn_out", "mlp_out") or site.head is not None or sae.config.is_transcoder:
        raise SaeMismatch(f"what was added is told by SAEs of z, attn_out or mlp_out; this one reads {site}.")
    if sae.config.normalize_activations != "none":
        raise SaeMismatch("an SAE that normalises each token has no latents that write one vector each.")
    return Site("attn_out" if site.component == "z" else site.component, site.layer)


def _latents(
    at: dict[Site, Tensor], sae: SAE, site: Site, row: Tensor, pos: Tensor, mapped: tuple[Tensor, Tensor]
) -> list[Block]:
    """Return the latents that wrote at a site, and what they leave: the error, with the bias of the decoder."""
    read, layer = Site.parse(str(sae.config.site)), int(site.layer or 0)
    x = at[read].flatten(2)[row, pos]
    M = mapped[0] if read.component == "z" else torch.eye(x.shape[1], device=x.device)
    active, W = sae.encode(x), sae.W_dec.detach()
    rest = at[site][row, pos] - mapped[1] - active @ W @ M
    kind, error = LATENTS[site.component], _ERRORS[site.component]
    return [Block(kind, layer, active[:, :, None, None], (W @ M)[:, None]), _whole(error, layer, rest)]


def _whole(kind: str, layer: int, vector: Tensor) -> Block:
    eye = torch.eye(vector.shape[-1], device=vector.device)
    return Block(kind, layer, vector[:, None, None], eye[None])


def _neurons(at: dict[Site, Tensor], layer: int, row: Tensor, pos: Tensor, M: Tensor) -> Block:
    return Block(NEURON, layer, at[Site("mlp_post", layer)][row, pos][:, :, None, None], M[:, None])


def _heads(at: dict[Site, Tensor], layer: int, row: Tensor, pos: Tensor, M: Tensor) -> Block:
    """Split z of each head by where it looked; each source is at one place, the first that holds in `PLACES`."""
    pattern, z = at[Site("pattern", layer)], at[Site("z", layer)].flatten(2)
    n_heads = pattern.shape[1]
    z = z.unflatten(2, (n_heads, -1))
    v = at[Site("v", layer)].flatten(2).unflatten(2, (-1, z.shape[3]))
    v = v.repeat_interleave(n_heads // v.shape[2], dim=2)  # grouped query heads share a value
    first, before = torch.zeros_like(pos), (pos - 1).clamp_min(0)
    parts = []
    for source, holds in ((pos, pos >= 0), (first, pos > 0), (before, pos > 1)):
        weight = pattern[row, :, pos, source] * holds[:, None]
        parts.append(weight[..., None] * v[row, source])
    own = z[row, pos]
    parts.append(own - sum(parts))
    return Block(HEAD, layer, torch.stack(parts, dim=2), M.unflatten(0, (n_heads, -1)))
