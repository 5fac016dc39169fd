"""Running the model over many sequences of unequal length: batches by length, one pass, no gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.tokens import tokenize

if TYPE_CHECKING:
    from interp.models import Model

TOKENS_A_BATCH = 4096


def batched_logits(model: Model, ids: np.ndarray, mask: np.ndarray) -> Iterator[tuple[np.ndarray, Any]]:
    """Yield (rows, logits) over right-padded ids [rows, pos] with mask [rows, pos]: int64 [batch] and a tensor
    [batch, pos', d_vocab], shorter rows first and cut to the longest row of the batch."""
    import torch

    lengths = mask.sum(axis=1)
    order = np.argsort(lengths, kind="stable")
    at = 0
    while at < len(order):
        size = max(1, TOKENS_A_BATCH // max(1, int(lengths[order[at]])))
        rows = order[at : at + size]
        width = int(lengths[rows].max())
        part = (ids[rows, :width], mask[rows, :width])
        given, shown = (torch.from_numpy(x.astype(np.int64)).to(model.device) for x in part)
        with torch.inference_mode():
            yield rows, model.logits(given, shown)
        at += size


def token_nats(model: Model, ids: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Return the surprise of every next token in nats, float64 [rows, pos - 1]; NaN in the padding.

    Args:
        ids: int [rows, pos], right padded.
        mask: bool [rows, pos], a token and not padding; None: no padding.
    """
    import torch

    mask = np.ones(ids.shape, dtype=bool) if mask is None else mask
    out = np.full((len(ids), ids.shape[1] - 1), np.nan)
    for rows, logits in batched_logits(model, ids, mask):
        width = logits.shape[1]
        if width < 2:
            continue
        target = torch.from_numpy(ids[rows, 1:width].astype(np.int64)).to(logits.device)
        logp = logits[:, :-1].double().log_softmax(-1)
        out[rows, : width - 1] = -logp.gather(-1, target[..., None])[..., 0].cpu().numpy()
    return np.where(mask[:, 1:], out, np.nan)


def greedy(model: Model, asked: Sequence[tuple[str, str]]) -> np.ndarray:
    """Return bool [n]: whether greedy decoding of each prompt gives the whole answer (which begins with its space)."""
    spans = [(len(prompt), len(prompt) + len(answer)) for prompt, answer in asked]
    tokens = tokenize(model, [prompt + answer for prompt, answer in asked], spans=spans)
    assert tokens.span_mask is not None
    right = np.zeros(len(asked), dtype=bool)
    for rows, logits in batched_logits(model, tokens.ids, tokens.mask):
        width = logits.shape[1]
        best = logits[:, :-1].argmax(-1).cpu().numpy()
        right[rows] = ~(tokens.span_mask[rows, 1:width] & (best != tokens.ids[rows, 1:width])).any(axis=1)
    return right
