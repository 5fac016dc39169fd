"""Where did the source get it? Attribution at a source, passed on to everything that wrote there before.

With patterns and norm scales held at their values every step is linear: the value at a source is a sum over what the
embedding, earlier attention (latents, error and biases of its SAE) and earlier MLPs added to the residual stream. The
parts must sum to the direct attribution at that source, and the table says by how much they do not.
Reference: Kissane et al. (2024), recursive direct feature attribution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analyses.attention.attributions import attention_layer, on_device, token_names
from analyses.attention.reading import require_attention
from analyses.attention.sae_fit import require_fit
from analyses.attention.token_rows import TokenRows, token_rows
from interp.attribution import encoder_of
from interp.errors import InvalidInput
from interp.linear_parts import normalised, output_map, value_readers
from interp.reading import read_sites
from interp.sites import Site

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE

EMBEDDING, LATENT, ERROR, SAE_BIAS, ATTENTION, OUT_BIAS, MLP, VALUE_BIAS = (
    "embedding", "latent", "SAE error", "SAE bias", "attention", "attention bias", "MLP", "norm and value bias",
)  # fmt: skip
COLUMNS = (
    "depth", "layer", "latent", "pos", "source", "token", "kind", "from_layer", "from_latent", "value", "share",
    "path_value", "dfa", "residual", "status",
)  # fmt: skip


@dataclass(frozen=True)
class _Event:
    layer: int
    pos: int
    latent: int
    weight: float
    """How much one unit of this pre-activation counts for the event that was asked for."""


def recursive_attribution(
    model: Model,
    saes: Mapping[int, SAE],
    rows: Sequence[Any] | TokenRows,
    *,
    row: int,
    pos: int,
    layer: int,
    latent: int,
    top_sources: int = 3,
    top_latents: int = 20,
    branches: int = 3,
    depth: int = 1,
    bos: str | None = None,
    allow_unfit: bool = False,
    allow_mismatch: bool = False,
) -> pd.DataFrame:
    """Return the edges into a latent at a token, from everything that wrote at its most important sources.

    Edge of node y at source s: sum over heads of A_h[q,s] (norm(y) W_V,h) . W_enc,h,i, the norm linear at the scale of
    s. Attention of a layer without an SAE is one node.

    Args:
        saes: layer -> SAE on z; that of `layer`, and of earlier layers where attention is to be told by latents.
        top_sources: sources of each event, largest attribution first. top_latents: latents of each source and layer
            that get a row of their own; the others are summed (from_latent -1).
        branches: largest latent edges that are followed, where depth > 1. depth: 1: the sources of the event alone.

    Returns:
        One row an edge: depth, layer, latent, pos (of the reader), source, token, kind, from_layer, from_latent,
        value, share (of the dfa at the source), path_value (times the weight of the path: what it gives to the event
        that was asked for), dfa (direct attribution at that source), residual (dfa less the sum of its edges), status.

    Raises:
        InvalidInput: no SAE of the layer, or an event that is not there. SaeMismatch: an SAE does not fit.
        ModelMismatch: a norm after attention, where an SAE of that layer was given.
    """
    given = token_rows(model, rows, bos=bos)
    _check(model, saes, given, row, pos, layer, latent, depth)
    for at, sae in saes.items():
        if attention_layer(model, sae, allow_mismatch=allow_mismatch) != at:
            raise InvalidInput(f"the SAE given for layer {at} reads {sae.config.site}.")
        if not allow_unfit:
            require_fit(model, sae, given, allow_mismatch=allow_mismatch)
    saes = {at: on_device(sae, model) for at, sae in saes.items()}
    trace = _Trace(model, saes, given.part(np.array([row])), layer)
    front, out = [_Event(layer, pos, latent, 1.0)], []
    for level in range(1, depth + 1):
        edges = [edge for event in front for edge in trace.edges(event, level, top_sources, top_latents)]
        out += edges
        front = _followed(edges, branches, trace)
    return pd.DataFrame(out).loc[:, list(COLUMNS)]


class _Trace:
    """One row of tokens with everything that was added to its residual stream up to a layer."""

    def __init__(self, model: Model, saes: Mapping[int, SAE], rows: TokenRows, layer: int) -> None:
        self.model, self.saes = model, saes
        self.names = token_names(model, rows.ids)[0]
        sites = [Site("resid_pre", 0)]
        for i in range(layer + 1):
            sites += [Site(name, i) for name in ("pattern", "z")] + ([Site("resid_pre", i)] if i else [])
            sites += [Site(name, i) for name in ("attn_out", "mlp_out")] if i < layer else []
        self.at: dict[str, Tensor] = {}
        ids, mask = (torch.from_numpy(x).to(model.device) for x in (rows.ids, rows.mask))
        readers = {s: (lambda x, s=s: self.at.__setitem__(str(s), x[0].detach().float().clone())) for s in sites}
        read_sites(model, ids, mask.long(), readers)
        self.active = {i: sae.encode(self.at[f"z.{i}"]) for i, sae in saes.items() if i <= layer}
        self.maps = {i: output_map(model, i, self.at[f"z.{i}"], self.at[f"attn_out.{i}"]) for i in saes if i < layer}

    def edges(self, event: _Event, level: int, top_sources: int, top_latents: int) -> list[dict[str, Any]]:
        """Return the edges into an event from its `top_sources` sources."""
        encoder = encoder_of(self.saes[event.layer], self.model.n_heads)
        scale = encoder.scale(self.at[f"z.{event.layer}"][event.pos].unflatten(0, (self.model.n_heads, -1)))
        W = encoder.W[:, :, event.latent].float() * scale
        attention = self.at[f"pattern.{event.layer}"][:, event.pos]
        W_V, b_V = value_readers(self.model, event.layer)
        x = self.at[f"resid_pre.{event.layer}"]
        norm, size = normalised(self.model, event.layer, x)
        reader = torch.einsum("hs,hmd,hd->sm", attention, W_V, W)  # what each source gives for a unit of normalised x
        bias = reader @ norm.shift + torch.einsum("hs,hd,hd->s", attention, b_V, W)
        dfa = (norm.apply(x, size) * reader).sum(dim=1) + bias
        order = dfa[: event.pos + 1].abs().argsort(descending=True)[:top_sources].tolist()
        out = []
        for source in order:
            back = self._pulled(norm, reader[source], size[source])
            nodes = self._nodes(event.layer, source, back, top_latents)
            nodes.append((VALUE_BIAS, event.layer, -1, float(bias[source])))
            left = float(dfa[source]) - sum(value for *_, value in nodes)
            out += [
                {
                    "depth": level, "layer": event.layer, "latent": event.latent, "pos": event.pos, "source": source,
                    "token": self.names[source], "kind": kind, "from_layer": at, "from_latent": index, "value": value,
                    "share": value / float(dfa[source]) if float(dfa[source]) else np.nan,
                    "path_value": value * event.weight, "dfa": float(dfa[source]), "residual": left, "status": "ok",
                }
                for kind, at, index, value in nodes
            ]  # fmt: skip
        return out

    @staticmethod
    def _pulled(norm: Any, reader: Tensor, scale: Tensor) -> Tensor:
        """Return the direction [d_model] whose product with a node is what it gives: the norm's adjoint."""
        back = reader * norm.gain * scale
        return back - back.mean() if norm.centred else back

    def _nodes(self, layer: int, source: int, back: Tensor, top: int) -> list[tuple[str, int, int, float]]:
        out = [(EMBEDDING, -1, -1, float(self.at["resid_pre.0"][source] @ back))]
        for i in range(layer):
            if i in self.saes:
                out += self._latent_nodes(i, source, back, top)
            else:
                out.append((ATTENTION, i, -1, float(self.at[f"attn_out.{i}"][source] @ back)))
            out.append((MLP, i, -1, float(self.at[f"mlp_out.{i}"][source] @ back)))
        return out

    def _latent_nodes(self, i: int, source: int, back: Tensor, top: int) -> list[tuple[str, int, int, float]]:
        sae, (M, bias) = self.saes[i], self.maps[i]
        onto = M @ back
        z, active = self.at[f"z.{i}"][source], self.active[i][source]
        base = sae.reconstruct(z[None], torch.zeros_like(active)[None])[0]
        whole = sae.reconstruct(z[None], active[None])[0]
        on = active.nonzero()[:, 0]
        alone = torch.zeros(len(on), len(active), device=z.device)
        alone[torch.arange(len(on)), on] = active[on]
        given = (sae.reconstruct(z.expand(len(on), -1), alone) - base) @ onto
        best = given.abs().argsort(descending=True)
        out = [(LATENT, i, int(on[j]), float(given[j])) for j in best[:top].tolist()]
        if len(best) > top:
            out.append((LATENT, i, -1, float(given[best[top:]].sum())))
        return [
            *out, (ERROR, i, -1, float((z - whole) @ onto)), (SAE_BIAS, i, -1, float(base @ onto)),
            (OUT_BIAS, i, -1, float(bias @ back)),
        ]  # fmt: skip


def _followed(edges: list[dict[str, Any]], branches: int, trace: _Trace) -> list[_Event]:
    """Return the events behind the largest latent edges; a unit of such a latent counts edge / activation."""
    latents = [e for e in edges if e["kind"] == LATENT and e["from_latent"] >= 0]
    best = sorted(latents, key=lambda e: -abs(e["path_value"]))[:branches]
    return [
        _Event(e["from_layer"], e["source"], e["from_latent"],
               e["path_value"] / float(trace.active[e["from_layer"]][e["source"], e["from_latent"]]))
        for e in best
    ]  # fmt: skip


def _check(
    model: Model, saes: Mapping[int, SAE], rows: TokenRows, row: int, pos: int, layer: int, latent: int, depth: int
) -> None:
    if layer not in saes:
        raise InvalidInput(f"there is no SAE of layer {layer}; those given are of layers {sorted(saes)}.")
    require_attention(model, sorted(set(saes) | {layer}))
    n, width = rows.ids.shape
    if not (0 <= row < n and 0 <= pos < width and rows.content[row, pos]):
        raise InvalidInput(f"row {row}, position {pos} is no text token of {n} rows of up to {width} tokens.")
    if not 0 <= latent < saes[layer].config.d_sae or depth < 1:
        last = saes[layer].config.d_sae - 1
        raise InvalidInput(f"latents are 0 to {last} and depth is from 1; got {latent} and {depth}.")
