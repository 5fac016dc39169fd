"""Heads of the indirect object: those that move the name, those that work against it, those that keep the giver out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from analyses.attention.ov import read_out, write_out
from analyses.attention.patching import Exchange
from analyses.attention.prompt_pairs import PromptPair, encode_pairs
from interp.reading import hooked, read_sites
from interp.sites import Site

if TYPE_CHECKING:
    from interp.models import Model

OBJECT = ("name mover", "negative name mover", "S-inhibition")
N_MOVERS = 3


def object_scores(
    model: Model, names: Sequence[str], pairs: Sequence[PromptPair], *, seed: int, n_boot: int
) -> list[pd.DataFrame]:
    """Return the scores of `OBJECT` of every head, one table each; columns as `head_scores`.

    Name mover: what the logit difference of the two names falls by when what the head writes at the last token is
    taken out of the final residual stream (its direct effect, the norm computed anew). Negative: less that. In a model
    with a norm after attention it is what the head would write alone.
    S-inhibition: with z of the head at the last token exchanged for that of the corrupted prompt, the mean over the
    `N_MOVERS` strongest name movers of the rise of their attention to the name that changed, less its rise to the other
    one. All paths from the head to the movers count, not the direct one alone. Reference: Wang et al. (2022).
    """
    encoded, _ = encode_pairs(model, pairs)
    exchange = Exchange(model, encoded)
    direct = direct_effects(model, exchange)
    found = {"name mover": direct, "negative name mover": -direct}
    if "S-inhibition" in names:
        found["S-inhibition"] = inhibition(model, exchange, strongest(direct))
    from analyses.attention.heads import score_table

    about: dict[str, Any] = {"null": "no effect", "null_mean": 0.0, "n": len(encoded), "n_rows": len(encoded)}
    return [score_table(name, found[name], seed=seed, n_boot=n_boot).assign(**about) for name in names]


def strongest(direct: np.ndarray) -> list[tuple[int, int]]:
    """Return (layer, head) of the `N_MOVERS` largest mean direct effects, of effects [pair, layer, head]."""
    mean = direct.mean(axis=0)
    order = np.argsort(-mean.ravel(), kind="stable")[:N_MOVERS]
    return [(int(i // mean.shape[1]), int(i % mean.shape[1])) for i in order]


def direct_effects(model: Model, exchange: Exchange) -> np.ndarray:
    """Return the direct effect of each head at the last token on the clean logit difference, [pair, layer, head]."""
    pairs = exchange.pairs
    n, at = len(pairs), torch.arange(len(pairs))
    ids, held = exchange.clean.ids, []
    read_sites(model, ids, exchange.mask, {Site("resid_post", model.n_layers - 1): held.append})
    final = held[0][at, exchange.last].float()
    out = np.zeros((n, model.n_layers, model.n_heads))
    for layer in range(model.n_layers):
        z = exchange.clean.z[layer][at, exchange.last].unflatten(1, (model.n_heads, -1))
        alone = torch.zeros(model.n_heads, *z.shape)
        alone[torch.arange(model.n_heads), :, torch.arange(model.n_heads)] = z.transpose(0, 1)
        written = write_out(model, layer, alone.flatten(0, 1).flatten(1), bias=False)
        without = final.repeat(model.n_heads, 1) - written.to(final)
        out[:, layer] = (_difference(model, exchange, final)[None] - _difference(model, exchange, without)).T
    return out


def _difference(model: Model, exchange: Exchange, x: torch.Tensor) -> np.ndarray:
    """Return the logit differences of final residual vectors [k * pair, d_model]: [k, pair], or [pair] for k = 1."""
    logits = read_out(model, x).unflatten(0, (-1, len(exchange.pairs)))
    at = torch.arange(len(exchange.pairs))
    found = (logits[:, at, exchange.answer] - logits[:, at, exchange.other]).double().cpu().numpy()
    return found[0] if len(found) == 1 else found


def inhibition(model: Model, exchange: Exchange, movers: list[tuple[int, int]]) -> np.ndarray:
    """Return the S-inhibition of each head on the attention of `movers`, [pair, layer, head]; 0 after the last."""
    before = _preference(model, exchange, movers, {})
    out = np.zeros((len(exchange.pairs), model.n_layers, model.n_heads))
    for layer in range(max(layer for layer, _ in movers)):
        for head in range(model.n_heads):
            edit = _at_the_end(exchange, layer, head, model.d_head)
            out[:, layer, head] = _preference(model, exchange, movers, {f"z.{layer}": edit}) - before
    return out


def _at_the_end(exchange: Exchange, layer: int, head: int, width: int) -> Any:
    at, part = torch.arange(len(exchange.pairs)), slice(head * width, (head + 1) * width)

    def edit(z: torch.Tensor) -> torch.Tensor:
        out = z.clone()
        out[at, exchange.last, part] = exchange.corrupt.z[layer][at, exchange.last, part]
        return out

    return edit


def _preference(model: Model, exchange: Exchange, movers: list[tuple[int, int]], hooks: dict[Any, Any]) -> np.ndarray:
    """Return attention from the last token to the name that changed less that to the other name, mean over movers."""
    pairs = exchange.pairs
    answer_at = _mentions(pairs.clean, pairs.corrupt, pairs.changed)
    held: dict[int, np.ndarray] = {}

    def keep(layer: int) -> Any:
        return lambda a: held.__setitem__(layer, a[torch.arange(len(pairs)), :, exchange.last].double().cpu().numpy())

    with hooked(model, hooks):
        readers = {Site("pattern", layer): keep(layer) for layer, _ in movers}
        read_sites(model, exchange.clean.ids, exchange.mask, readers)
    at = np.arange(len(pairs))
    looks = [held[layer][:, head] for layer, head in movers]
    return np.mean([a[at, pairs.changed] - (a * answer_at).sum(axis=1) for a in looks], axis=0)


def _mentions(clean: np.ndarray, corrupt: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """Return bool [pair, pos]: the tokens of the clean prompt that equal what stands in the corrupted one's place."""
    other = corrupt[np.arange(len(corrupt)), changed]
    return clean == other[:, None]
