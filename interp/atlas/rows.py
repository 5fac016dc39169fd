"""From texts to training rows, streamed: row `i` is a pure function of (seed, i).

A row is `n_ctx` ids: texts one after another, each behind its own BOS, the last one cut off. A row of random
repeats is BOS, some random tokens and then one random sequence over and over; what cannot be predicted
carries no loss. No row is stored and none is seen twice.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np

from interp.atlas.corpus import Corpus, Text
from interp.atlas.world import default_world

BOS_ID, PAD_ID, N_SPECIAL = 0, 1, 2
Phases = Sequence[tuple[float, float]]
"""Stretches of a training: the share of the steps, and of their rows the share of random repeats."""
# the repeat-heavy stretch comes while the learning rate is still high: an induction head forms there or not at all
PHASES: Phases = ((0.10, 0.10), (0.20, 0.5), (0.70, 0.08))
IGNORE = -100
HELD_OUT_SEED = 1_000_003
"""Rows of this seed are another stream of texts, for evaluation."""


def texts_of_row(
    corpus: Corpus, tokenizer: Any, seed: int, number: int, *, n_ctx: int = 128
) -> Iterator[tuple[Text, list[int], int]]:
    """Yield (text, its ids in the row, number of its characters that were read) of one row.

    The ids begin with BOS. Of the last text of the row only the first characters are read.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, number]))
    left = n_ctx
    while left > 0:
        text = corpus.document(rng)
        encoding = tokenizer.encode(text.text)
        ids = encoding.ids[:left]
        # where the cut goes through the bytes of one letter, both tokens span it and it was not read
        read = (
            text.length if left >= len(encoding.ids) else min(encoding.offsets[left - 1][1], encoding.offsets[left][0])
        )
        left -= len(ids)
        yield text, ids, read


def text_rows(corpus: Corpus, tokenizer: Any, seed: int, start: int, n: int, *, n_ctx: int = 128) -> np.ndarray:
    """Return rows `start` to `start + n` of the corpus with this seed, uint16 [n, n_ctx]."""
    out = np.empty((n, n_ctx), dtype=np.uint16)
    for i in range(n):
        ids = [ids for _, ids, _ in texts_of_row(corpus, tokenizer, seed, start + i, n_ctx=n_ctx)]
        out[i] = np.concatenate(ids)
    return out


def corpus_sha256(tokenizer: Any, seed: int, *, n_cities: int, n_ctx: int = 128, rows: int = 256) -> str:
    """Return the hash that names a corpus: sha256 of its first rows, uint16 little-endian."""
    first = text_rows(Corpus(default_world(n_cities)), tokenizer, seed, 0, rows, n_ctx=n_ctx)
    return hashlib.sha256(np.ascontiguousarray(first, dtype="<u2").tobytes()).hexdigest()


_CORPUS: dict[str, Any] = {}  # of a worker process: built once, then used for every chunk


def _set_up(tokenizer_json: str, n_cities: int) -> None:
    from tokenizers import Tokenizer

    _CORPUS["tokenizer"] = Tokenizer.from_str(tokenizer_json)
    _CORPUS["corpus"] = Corpus(default_world(n_cities))


def _make(seed: int, start: int, n: int, n_ctx: int) -> np.ndarray:
    return text_rows(_CORPUS["corpus"], _CORPUS["tokenizer"], seed, start, n, n_ctx=n_ctx)


class RowStream:
    """Rows of text made ahead of their use by worker processes; the same rows for any number of workers."""

    def __init__(
        self, tokenizer: Any, *, seed: int, n_cities: int, n_ctx: int = 128, workers: int = 1, chunk: int = 256
    ) -> None:
        self.seed, self.n_ctx, self.chunk, self.workers = seed, n_ctx, chunk, workers
        self._given = (tokenizer.to_str(), n_cities)
        self._pool: ProcessPoolExecutor | None = None
        self._ready: deque[tuple[int, Future[np.ndarray]]] = deque()
        self._next = 0  # first row of the next chunk that is asked for
        self._held = (0, np.empty((0, n_ctx), dtype=np.uint16))

    def __enter__(self) -> RowStream:
        context = get_context("spawn")  # torch has threads of its own, and a fork of those can hang
        self._pool = ProcessPoolExecutor(self.workers, context, initializer=_set_up, initargs=self._given)
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _ask(self) -> None:
        assert self._pool is not None, "use RowStream in a with statement"
        while len(self._ready) < 2 * self.workers + 2:
            self._ready.append((self._next, self._pool.submit(_make, self.seed, self._next, self.chunk, self.n_ctx)))
            self._next += self.chunk

    def read(self, start: int, n: int) -> np.ndarray:
        """Return rows `start` to `start + n`, uint16 [n, n_ctx]; fastest when read in order."""
        out = []
        while n > 0:
            first, rows = self._held
            if not first <= start < first + len(rows):
                if not self._ready or self._ready[0][0] != start // self.chunk * self.chunk:
                    self._ready.clear()
                    self._next = start // self.chunk * self.chunk
                self._ask()
                first, future = self._ready.popleft()
                self._held = (first, future.result())
                self._ask()
                continue
            part = rows[start - first : start - first + n]
            out.append(part)
            start, n = start + len(part), n - len(part)
        return np.concatenate(out) if out else np.empty((0, self.n_ctx), dtype=np.uint16)


def repeat_row(rng: np.random.Generator, n_ctx: int, vocab: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and targets, int64 [n_ctx], of one row of random repeats of a random period and offset.

    Up to `n_ctx // 4` random tokens stand before the first period; they and it carry no loss.
    """
    period, offset = int(rng.integers(4, n_ctx // 2)), int(rng.integers(n_ctx // 4))
    before, cycle = (rng.integers(N_SPECIAL, vocab, size=size) for size in (offset, period))
    ids = np.concatenate([[BOS_ID], before, np.resize(cycle, n_ctx - offset)])
    targets = ids[1:].copy()
    targets[: offset + period] = IGNORE
    return ids[:-1], targets


def repeats_at(progress: float, phases: Phases = PHASES) -> float:
    """Return the share of random-repeat rows at a point of the training (0 to 1)."""
    edge = 0.0
    for share, repeats in phases:
        edge += share
        if progress < edge:
            return repeats
    return phases[-1][1]


def schedule(n_steps: int, batch: int, phases: Phases = PHASES) -> tuple[np.ndarray, np.ndarray]:
    """Return for each step the number of repeat rows and the first row of text, int64 [n_steps] each."""
    repeats = np.array([round(repeats_at(t / n_steps, phases) * batch) for t in range(n_steps)])
    return repeats, np.concatenate([[0], np.cumsum(batch - repeats)[:-1]])


def batch_at(text: np.ndarray, step: int, *, n_repeat: int, vocab: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and targets, int64 [rows + n_repeat, n_ctx], of a step: rows of text, then repeats."""
    ids = text.astype(np.int64)
    targets = np.full_like(ids, IGNORE)
    targets[:, :-1] = ids[:, 1:]
    rng = np.random.default_rng(np.random.SeedSequence([seed, 7, step]))
    made = [repeat_row(rng, text.shape[1], vocab) for _ in range(n_repeat)]
    return (
        np.concatenate([ids, *(row[None] for row, _ in made)]),
        np.concatenate([targets, *(row[None] for _, row in made)]),
    )
