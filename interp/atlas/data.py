"""From texts to training rows: packing, and random repeats made of token ids.

A row is `n_ctx` ids that begins with BOS; texts follow one another, each behind its own BOS. A row of
random repeats is BOS and then one random sequence over and over; its first period cannot be
predicted, so it carries no loss. Row `i` of step `t` is a pure function of (seed, t, i).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from interp.atlas.corpus import Corpus
from interp.atlas.world import default_world

BOS_ID, PAD_ID, N_SPECIAL = 0, 1, 2
IGNORE = -100


def pack(ids: Iterator[list[int]], n_tokens: int, n_ctx: int) -> np.ndarray:
    """Return uint16 rows [n_tokens // n_ctx, n_ctx] of texts in order; a text cut by a row end goes on in the next."""
    rows = n_tokens // n_ctx
    flat = np.empty(rows * n_ctx, dtype=np.uint16)
    at = 0
    for text in ids:
        take = text[: len(flat) - at]
        flat[at : at + len(take)] = take
        at += len(take)
        if at == len(flat):
            break
    out = flat.reshape(rows, n_ctx)
    out[:, 0] = BOS_ID  # every row begins as every prompt will
    return out


def corpus_ids(tokenizer: Any, seed: int, start: int = 0, batch: int = 1024) -> Iterator[list[int]]:
    """Yield the ids of document after document (BOS first)."""
    documents = Corpus(default_world()).documents(seed, start)
    while True:
        texts = [next(documents).text for _ in range(batch)]
        for encoding in tokenizer.encode_batch(texts):
            yield encoding.ids


def repeat_row(rng: np.random.Generator, n_ctx: int, vocab: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and targets, int64 [n_ctx], of one row of random repeats of a random period."""
    period = int(rng.integers(4, n_ctx // 2))
    cycle = rng.integers(N_SPECIAL, vocab, size=period)
    ids = np.concatenate([[BOS_ID], np.resize(cycle, n_ctx)])
    targets = ids[1:].copy()
    targets[:period] = IGNORE
    return ids[:-1], targets


@dataclass(frozen=True)
class Phase:
    """A stretch of training: its share of the tokens and of them the share of random repeats."""

    share: float
    repeats: float


# the repeat-heavy stretch comes while the learning rate is still high: an induction head forms there or not at all
PHASES = (Phase(0.30, 0.10), Phase(0.18, 0.5), Phase(0.52, 0.10))


def repeats_at(progress: float, phases: tuple[Phase, ...] = PHASES) -> float:
    """Return the share of random-repeat rows at a point of the training (0 to 1)."""
    edge = 0.0
    for phase in phases:
        edge += phase.share
        if progress < edge:
            return phase.repeats
    return phases[-1].repeats


def schedule(n_steps: int, batch: int, phases: tuple[Phase, ...] = PHASES) -> tuple[np.ndarray, np.ndarray]:
    """Return for each step the number of repeat rows and the first row of text, int64 [n_steps] each."""
    repeats = np.array([round(repeats_at(t / n_steps, phases) * batch) for t in range(n_steps)])
    return repeats, np.concatenate([[0], np.cumsum(batch - repeats)[:-1]])


def batch_at(
    rows: np.ndarray, step: int, *, plan: tuple[np.ndarray, np.ndarray], batch: int, vocab: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and targets, int64 [batch, n_ctx], of a step: rows of text in order, then repeats.

    `rows` uint16 [n, n_ctx] are read round and round at a place that depends on the step alone.
    """
    n_repeat, first = int(plan[0][step]), int(plan[1][step])
    text = rows[np.arange(first, first + batch - n_repeat) % len(rows)].astype(np.int64)
    targets = np.full_like(text, IGNORE)
    targets[:, :-1] = text[:, 1:]
    rng = np.random.default_rng(np.random.SeedSequence([seed, 7, step]))
    made = [repeat_row(rng, rows.shape[1], vocab) for _ in range(n_repeat)]
    return (
        np.concatenate([text, *(ids[None] for ids, _ in made)]),
        np.concatenate([targets, *(t[None] for _, t in made)]),
    )
