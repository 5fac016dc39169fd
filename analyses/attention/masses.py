"""Mass by relation: of heads, attention times the length of the value; of latents, positive attribution by source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from analyses.attention.attributions import encoded
from analyses.attention.reading import attention_batches
from analyses.attention.relations import NONE, relation_codes, relation_mass
from analyses.attention.token_rows import TokenRows
from interp.attribution import Attention, encoder_of, event_attribution
from interp.errors import InvalidInput

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE

_CELLS = 4_000_000  # attributions that are held at once


@dataclass(frozen=True, eq=False)
class HeadMass:
    """How much each head of a layer moved by relation."""

    mass: np.ndarray
    """float64 [row, head, 8]"""
    available: np.ndarray
    """float64 [row, head, 8]: the same mass if each query had looked at all its sources alike."""
    n_queries: np.ndarray
    """int64 [row]"""


@dataclass(frozen=True, eq=False)
class LatentEvents:
    """Every activation of an SAE on z in some rows, and where it came from."""

    row: np.ndarray
    pos: np.ndarray
    latent: np.ndarray
    act: np.ndarray
    mass: np.ndarray
    """float64 [event, 8]: positive attribution, heads summed, by relation of the source."""
    available: np.ndarray
    """float64 [event, 8]: share of the sources that stand in each relation."""
    distance: np.ndarray
    """Median distance to a source, weighted by positive attribution; NaN without any."""
    top_source: np.ndarray
    """int64: id of the source token with the largest attribution."""
    top_mass: np.ndarray
    net: np.ndarray
    """Attribution summed over sources and heads, negative ones too."""
    bias: np.ndarray


def head_masses(model: Model, rows: TokenRows, layers: list[int]) -> dict[int, HeadMass]:
    """Return the mass of every head by relation; BOS, EOS and padding ask nothing."""
    kept: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {layer: [] for layer in layers}
    counts = []
    for _, part, found in attention_batches(model, rows, layers):
        codes = relation_codes(part.ids, part.mask, part.special, part.word)
        counts.append(part.content.sum(axis=1))
        for layer in layers:
            kept[layer].append(_head_mass(found[layer], codes))
    n = np.concatenate(counts)
    return {
        layer: HeadMass(np.concatenate([m for m, _ in pairs]), np.concatenate([even for _, even in pairs]), n)
        for layer, pairs in kept.items()
    }


def _head_mass(attention: Attention, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = attention.v.norm(dim=-1).permute(0, 2, 1)
    moved = (attention.pattern * size[:, :, None]).cpu().numpy()
    even = (codes != NONE).astype(np.float64)
    even /= np.maximum(even.sum(axis=-1, keepdims=True), 1)
    same = size[:, :, None].cpu().numpy() * even[:, None]
    out = []
    for mass in (moved, same):
        by_query = relation_mass(mass.transpose(1, 0, 2, 3), np.broadcast_to(codes, mass.transpose(1, 0, 2, 3).shape))
        out.append(by_query.sum(axis=2).transpose(1, 0, 2))
    return out[0], out[1]


def latent_events(
    model: Model, saes: dict[int, SAE], rows: TokenRows, *, latents: np.ndarray | None = None
) -> dict[int, LatentEvents]:
    """Return the events of the SAEs of some layers, from one pass: every text token at which a latent is on."""
    kept: dict[int, list[LatentEvents]] = {layer: [] for layer in saes}
    for at, part, found in attention_batches(model, rows, list(saes)):
        codes = relation_codes(part.ids, part.mask, part.special, part.word)
        for layer, sae in saes.items():
            kept[layer].append(_events(sae, found[layer], part, codes, at.start, model.n_heads, latents))
    out = {layer: _joined(parts) for layer, parts in kept.items()}
    silent = [layer for layer, events in out.items() if len(events.row) == 0]
    if silent:
        raise InvalidInput(f"no latent of layer {silent[0]} is on at any of {int(rows.content.sum())} text tokens.")
    return out


def _events(
    sae: SAE, attention: Attention, rows: TokenRows, codes: np.ndarray, first: int, n_heads: int,
    latents: np.ndarray | None,
) -> LatentEvents:  # fmt: skip
    acts = encoded(sae, attention) * rows.content[..., None]
    row, pos, latent = np.nonzero(acts > 0)
    if latents is not None:
        keep = np.isin(latent, latents)
        row, pos, latent = row[keep], pos[keep], latent[keep]
    encoder = encoder_of(sae, n_heads)
    step = max(1, _CELLS // (attention.pattern.shape[-1] * n_heads))
    sources, net = [np.zeros((0, attention.pattern.shape[-1]))], [np.zeros(0)]
    for start in range(0, len(row), step):
        part = (torch.from_numpy(x[start : start + step]).to(attention.z.device) for x in (row, pos, latent))
        by_source = event_attribution(attention, encoder, *part).sum(dim=2).double().cpu().numpy()
        sources.append(by_source)
        net.append(by_source.sum(axis=1))
    made, code = np.concatenate(sources), codes[row, pos]
    positive = np.where(code == NONE, 0.0, np.maximum(made, 0.0))
    top = positive.argmax(axis=1)
    here = (code != NONE).astype(np.float64)
    return LatentEvents(
        row + first, pos, latent, acts[row, pos, latent], relation_mass(positive, code),
        relation_mass(here / np.maximum(here.sum(axis=1, keepdims=True), 1), code),
        _median_distance(positive, pos), rows.ids[row, top], positive[np.arange(len(top)), top],
        np.concatenate(net), encoder.bias.detach().cpu().numpy()[latent],
    )  # fmt: skip


def _median_distance(positive: np.ndarray, pos: np.ndarray) -> np.ndarray:
    """Return the distance below which half of the mass of each event [event, source_pos] lies."""
    if not len(positive):
        return np.zeros(0)
    total = positive.sum(axis=1)
    beyond = np.cumsum(positive, axis=1)  # mass at this source or further back
    source = (beyond >= total[:, None] / 2).argmax(axis=1)
    return np.where(total > 0, pos - source, np.nan)


def _joined(parts: list[LatentEvents]) -> LatentEvents:
    names = LatentEvents.__dataclass_fields__
    return LatentEvents(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def by_row(events: LatentEvents, values: np.ndarray, n_rows: int, n_latents: int) -> np.ndarray:
    """Return sums of event values [event, k] by row and latent, float64 [row, latent, k]."""
    k = values.shape[1]
    flat = events.row * n_latents + events.latent
    out = np.stack([np.bincount(flat, values[:, j], minlength=n_rows * n_latents) for j in range(k)], axis=1)
    return out.reshape(n_rows, n_latents, k)
