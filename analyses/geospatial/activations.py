"""Placenames in, activations out: latents of an SAE or neurons, pooled over the tokens of the name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import sparse

from interp.activations import Activations
from interp.capturing import capture
from interp.errors import InvalidInput
from interp.latents import pool_token_latents
from interp.sites import Site
from interp.tokens import encode

from .prompts import Prompts

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE

Pool = Literal["mean", "max", "last"]


@dataclass(frozen=True)
class PlaceActivations:
    """What a model has at the name of each place.

    latents: CSR float32 [place, latent], each token encoded and then pooled; None without an SAE.
    neurons: float32 [place, d_mlp], MLP neurons of the SAE's layer (or of the site's), pooled alike.
    n_tokens: int64 [place], tokens that were pooled.
    """

    latents: sparse.csr_matrix | None
    neurons: np.ndarray
    n_tokens: np.ndarray


def neuron_site(site: str | Site) -> Site:
    """Return the MLP neurons that stand beside a site: those of its layer (of layer 0 for the embedding)."""
    return Site("mlp_post", Site.parse(site).layer or 0)


def placename_activations(
    model: Model,
    prompts: Prompts,
    site: str | Site,
    *,
    sae: SAE | None = None,
    pool: Pool = "mean",
    batch_tokens: int = 8192,
) -> PlaceActivations:
    """Return latents and neurons of every place, over the tokens of its span alone (never BOS or padding).

    Args:
        prompts: from `make_prompts`.
        site: where the SAE reads; the neurons are those of the same layer.
        sae: encodes each token; None gives neurons alone.
        pool: how the tokens become one value: "mean", "max" or "last".

    Raises:
        InvalidInput: another pool. UnknownSite: the model has no such site.
    """
    found = layer_activations(model, prompts, {str(site): sae}, pool=pool, batch_tokens=batch_tokens)
    return found[str(site)]


def layer_activations(
    model: Model,
    prompts: Prompts,
    readers: Mapping[str, SAE | None],
    *,
    pool: Pool = "mean",
    batch_tokens: int = 8192,
) -> dict[str, PlaceActivations]:
    """Return what `placename_activations` gives at several sites, from one pass of the model: site -> activations.

    Args:
        readers: site -> the SAE that reads there, or None for the neurons of that layer alone.
    """
    if pool not in ("mean", "max", "last"):
        raise InvalidInput(f"pool is 'mean', 'max' or 'last', not {pool!r}.")
    sites = [Site.parse(site) for site, sae in readers.items() if sae is not None]
    wanted = list(dict.fromkeys([*sites, *(neuron_site(site) for site in readers)]))
    acts = capture(model, prompts.texts, wanted, pool="none", spans=prompts.spans, batch_tokens=batch_tokens)
    text_index = np.repeat(np.arange(len(acts)), acts.tokens_per_text)
    out = {}
    for site, sae in readers.items():
        latents = None
        if sae is not None:
            latents = pool_token_latents(sae, acts[Site.parse(site)], text_index, len(acts), how=pool)
        out[site] = PlaceActivations(latents, _pooled(acts, neuron_site(site), pool), acts.tokens_per_text)
    return out


def name_tokens(model: Model, prompts: Prompts) -> list[list[int]]:
    """Return the ids of the tokens that each span touches, a list a place."""
    encoded = encode(model, prompts.texts, spans=prompts.spans)
    mask = np.asarray(encoded.span_mask)
    ends = zip(encoded.starts[:-1], encoded.starts[1:], strict=True)
    return [encoded.ids[a:b][mask[a:b]].tolist() for a, b in ends]


def _pooled(acts: Activations, site: Site, pool: Pool) -> np.ndarray:
    values, starts = acts[site], acts.offsets[:-1]
    if pool == "last":
        return values[acts.offsets[1:] - 1]
    if pool == "max":
        return np.maximum.reduceat(values, starts, axis=0)
    totals = np.add.reduceat(values.astype(np.float64), starts, axis=0)
    return (totals / acts.tokens_per_text[:, None]).astype(np.float32)
