"""Texts in, activations of units out: neurons, heads and latents of a model, and the views of the texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from analyses.polysemanticity.example_views import (
    context_words,
    folded_tokens,
    next_classes,
    window_means,
    word_vectors,
)
from analyses.polysemanticity.relations import relation_classes
from interp.capturing import capture, stream
from interp.tokens import Encoded, encode, find_tokenizer

if TYPE_CHECKING:
    from interp.models import Model
    from interp.sae import SAE

_FIRST = 8  # tokens of a text at which a head is not judged
Reader = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class TextTokens:
    """The ordinary tokens of some texts (no BOS, EOS or padding), end to end.

    ids, text_index: int64 [n_tokens]. tokens: str [n_tokens]. views: name -> array with a row a token.
    """

    texts: tuple[str, ...]
    ids: np.ndarray
    text_index: np.ndarray
    tokens: np.ndarray
    views: Mapping[str, np.ndarray]


def read_text_tokens(model: Model, texts: Sequence[str], *, window: int = 1, seed: int) -> TextTokens:
    """Return the tokens of texts, cut to the context of the model, and their views.

    Views: token (folded), context (words before it: TF-IDF, SVD), meaning (the model's own residual stream after its
    first block, mean over the last `window` tokens: in one token synonyms are close) and next (the token after it).
    """
    encoded = encode(model, texts, max_length=model.n_ctx)
    ordinary = ~encoded.special
    ids = encoded.ids[ordinary]
    text_index = np.repeat(np.arange(len(texts)), encoded.lengths)[ordinary]
    names = np.array(find_tokenizer(model).convert_ids_to_tokens(ids.tolist()), dtype=object)
    classes = folded_tokens(names)
    early = capture(model, texts, "resid_post.0", pool="none", max_length=model.n_ctx)["resid_post.0"]
    views = {
        "token": classes,
        "context": word_vectors(context_words(classes, text_index), seed=seed),
        "meaning": window_means(early, text_index, window=window),
        "next": next_classes(classes, text_index),
    }
    shown = np.array([str(name).lstrip("\u0120\u2581") for name in names], dtype=object)
    return TextTokens(tuple(texts), ids, text_index, shown, views)


def read_columns(model: Model, texts: Sequence[str], readers: Mapping[str, Reader]) -> dict[str, np.ndarray]:
    """Return what each reader makes of its site, float32 [n_tokens, k], in the order of the ordinary tokens.

    Only what the readers return is kept, so that a wide site may be read on many tokens.
    """
    encoded = encode(model, texts, max_length=model.n_ctx)
    counts = np.add.reduceat((~encoded.special).astype(np.int64), encoded.starts[:-1])
    offsets = np.concatenate([[0], np.cumsum(counts)])
    out: dict[str, np.ndarray] = {}
    for batch in stream(model, texts, list(readers), pool="none", max_length=model.n_ctx):
        begins = offsets[batch.rows]
        at = np.arange(batch.n_tokens.sum()) + np.repeat(
            begins - (np.cumsum(batch.n_tokens) - batch.n_tokens), batch.n_tokens
        )
        for site, reader in readers.items():
            made = reader(batch.values[site]).float().cpu().numpy()
            out.setdefault(site, np.empty((offsets[-1], made.shape[1]), dtype=np.float32))[at] = made
    return out


def read_neurons(
    model: Model, texts: Sequence[str], chosen: Mapping[int, np.ndarray], *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return activations of chosen neurons, and of as many random directions of the same layers.

    Args:
        chosen: layer -> neurons.
        seed: of the directions: unit vectors in the space of the layer's neurons.

    Returns:
        Two float32 [n_tokens, n], layers in order: the side of each, up or down, that carries more of its squares
        (a gated neuron has two), turned up, the other side set to 0.
    """
    readers, n_chosen, directions = {}, {}, random_directions(model, chosen, seed=seed)
    for layer, neurons in chosen.items():
        pick = np.zeros_like(directions[layer])
        pick[neurons, np.arange(len(neurons))] = 1.0
        both = np.concatenate([pick, directions[layer]], axis=1)
        projection = torch.as_tensor(both, dtype=torch.float32, device=model.device)
        readers[f"mlp_post.{layer}"] = lambda x, P=projection: x.float() @ P
        n_chosen[f"mlp_post.{layer}"] = len(neurons)
    found = read_columns(model, texts, readers)
    neurons, random = zip(*(np.split(found[site], [n], axis=1) for site, n in n_chosen.items()), strict=True)
    return stronger_side(np.concatenate(neurons, axis=1)), stronger_side(np.concatenate(random, axis=1))


def random_directions(model: Model, chosen: Mapping[int, np.ndarray], *, seed: int) -> dict[int, np.ndarray]:
    """Return as many random unit vectors as neurons were chosen, float64 [d_mlp, n] by layer."""
    rng = np.random.default_rng([seed, 2])
    drawn = {layer: rng.standard_normal((model.d_mlp, len(neurons))) for layer, neurons in chosen.items()}
    return {layer: found / np.linalg.norm(found, axis=0) for layer, found in drawn.items()}


def stronger_side(values: np.ndarray) -> np.ndarray:
    """Return max(±a, 0), the sign of each column such that more of its sum of squares is kept."""
    up = (np.maximum(values, 0) ** 2).sum(axis=0) >= (np.minimum(values, 0) ** 2).sum(axis=0)
    return np.maximum(values * np.where(up, 1, -1).astype(values.dtype), 0)


def read_latents(model: Model, sae: SAE, texts: Sequence[str], latents: np.ndarray) -> np.ndarray:
    """Return activations of chosen latents where the SAE reads, float32 [n_tokens, n]."""
    site, at = str(sae.config.site), torch.as_tensor(latents)
    return read_columns(model, texts, {site: lambda x: sae.encode(x)[:, at.to(x.device)]})[site]


@dataclass(frozen=True, eq=False)
class HeadReading:
    """What each head moves most at each token, and from where; columns are heads, layer after layer.

    moved: float32 [n_tokens, n_heads], the largest (A - A_even) ||v W_O|| over keys but BOS, 0 if none is above 0;
        A_even is 1 / number of keys, BOS too. 0 for the first eight tokens of a text, where there is little to choose.
    source: int64, row of that key. relation: int64, see `relation_classes`.
    random_source, random_relation: [n_tokens], of a key drawn evenly: what uniform attention would read.
    """

    moved: np.ndarray
    source: np.ndarray
    relation: np.ndarray
    random_source: np.ndarray
    random_relation: np.ndarray


def read_heads(model: Model, texts: Sequence[str], *, seed: int, rotations: Sequence[torch.Tensor] = ()) -> HeadReading:
    """Return what all heads move on texts.

    Args:
        rotations: orthogonal matrices of the z of each layer, [n_heads d_head, n_heads d_head]: given these, a "head"
            is what d_head columns of the rotated z move, source by source, with the patterns of the true heads. With
            the identity these are the heads themselves.
    """
    return read_heads_rotated(model, texts, [rotations], seed=seed)[0]


def read_heads_rotated(
    model: Model, texts: Sequence[str], rotations: Sequence[Sequence[torch.Tensor]], *, seed: int
) -> list[HeadReading]:
    """Return `read_heads` for each of several rotations, none of them for (), from one pass."""
    encoded = encode(model, texts, max_length=model.n_ctx)
    ordinary = ~encoded.special
    row_of = np.cumsum(ordinary) - 1
    n, n_heads, layers = int(ordinary.sum()), model.n_layers * model.n_heads, range(model.n_layers)
    turned = [[each[layer] if each else None for layer in layers] for each in rotations]
    grams = [[_write_gram(model, layer, each[layer]) for layer in layers] for each in turned]
    moved = [np.zeros((n, n_heads), dtype=np.float32) for _ in rotations]
    source = [np.zeros((n, n_heads), dtype=np.int64) for _ in rotations]
    sites = [f"{kind}.{layer}" for layer in layers for kind in ("pattern", "v")]
    for batch in stream(model, texts, sites, pool="none", include_special=True, max_length=model.n_ctx):
        for layer in layers:
            columns = slice(layer * model.n_heads, (layer + 1) * model.n_heads)
            for i, each in enumerate(turned):
                mover = _Mover(batch.values[f"v.{layer}"], grams[i][layer], each[layer])
                _fill(moved[i][:, columns], source[i][:, columns], batch, layer, mover, encoded, row_of)
    text = np.repeat(np.arange(len(texts)), encoded.lengths)[ordinary]
    first = np.searchsorted(text, text)
    ids, here = encoded.ids[ordinary], np.arange(n)
    drawn = first + np.random.default_rng([seed, 3]).integers(here - first + 1)
    anywhere = relation_classes(ids, here, drawn, first)
    return [
        HeadReading(
            m, s, np.stack([relation_classes(ids, here, column, first) for column in s.T], axis=1), drawn, anywhere
        )
        for m, s in zip(moved, source, strict=True)
    ]


def random_rotations(model: Model, *, seed: int) -> list[torch.Tensor]:
    """Return a random rotation of z of each layer, uniform over orthogonal matrices (Mezzadri 2007)."""
    rng, width = np.random.default_rng([seed, 5]), model.n_heads * model.d_head
    out = []
    for _ in range(model.n_layers):
        Q, R = np.linalg.qr(rng.standard_normal((width, width)))
        out.append(torch.as_tensor(Q * np.sign(np.diagonal(R)), dtype=torch.float32, device=model.device))
    return out


def _write_gram(model: Model, layer: int, rotation: torch.Tensor | None) -> torch.Tensor:
    """Return W_O W_O' of each head, [n_heads, d_head, d_head]: ||v W_O||² = v W_O W_O' v'; of rotated heads, R' W_O."""
    W_O = model.bridge.blocks[layer].attn.W_O.detach().float()
    if rotation is not None:
        W_O = (rotation.T @ W_O.flatten(0, 1)).reshape(W_O.shape)
    return W_O @ W_O.transpose(1, 2)


class _Mover:
    """The length of what each head moves between each two tokens of a text, from the values of a batch."""

    def __init__(self, v: torch.Tensor, gram: torch.Tensor, rotation: torch.Tensor | None) -> None:
        n_heads, d_head, _ = gram.shape
        values = v.float().reshape(len(v), -1, d_head)  # query heads share values in order
        self.values = values.repeat_interleave(n_heads // values.shape[1], dim=1)
        self.gram, self.rotation = gram, rotation
        if rotation is None:
            self.norms = self._lengths(self.values).T

    def _lengths(self, x: torch.Tensor) -> torch.Tensor:
        """Return ||x W_O|| of x [n, head, d_head], [n, head]."""
        turned = torch.bmm(x.transpose(0, 1), self.gram)
        return (turned.transpose(0, 1) * x).sum(dim=2).clamp_min(0).sqrt()

    def __call__(self, weight: torch.Tensor, start: int) -> torch.Tensor:
        """Return ||weight v W_O||, [head, query, key], of the text whose values begin at `start`."""
        stop = start + weight.shape[-1]
        if self.rotation is None:
            return weight * self.norms[:, None, start:stop]
        out, on = torch.zeros_like(weight), (weight > 0).any(dim=0)  # of the other pairs nothing is moved
        given = weight[:, on].T[:, :, None] * self.values[start:stop][on.nonzero()[:, 1]]
        parts = (given.flatten(1) @ self.rotation).unflatten(1, self.gram.shape[:2])
        out[:, on] = self._lengths(parts).T
        return out


def _fill(
    moved: np.ndarray, source: np.ndarray, batch, layer: int, mover: _Mover, encoded: Encoded, row_of: np.ndarray
) -> None:
    start = 0
    for text, pattern in zip(batch.rows, batch.values[f"pattern.{layer}"], strict=True):
        n = pattern.shape[-1]
        places = int(encoded.starts[text]) + np.arange(n)
        plain = ~encoded.special[places]
        even = 1.0 / torch.arange(1, n + 1, device=pattern.device)
        weight = mover((pattern.float() - even[:, None]).clamp_min(0), start)
        kept = torch.as_tensor(np.flatnonzero(plain), device=weight.device)
        most, key = weight[:, kept][:, :, kept].max(dim=-1)
        most[:, :_FIRST] = 0
        rows = row_of[places[plain]]
        moved[rows] = most.T.cpu().numpy()
        source[rows] = rows[key.T.cpu().numpy()]
        start += n
