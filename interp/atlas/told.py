"""What the training told: every fact and mention in the rows of text that the training read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd

from interp.atlas.corpus import Corpus
from interp.atlas.rows import texts_of_row
from interp.atlas.world import default_world

COLUMNS = ("relation", "city", "other", "count")
CHUNK = 1000


@dataclass(frozen=True)
class Telling:
    """What some rows of text told: a table with `COLUMNS`, mentions int64 [city], and how many texts were begun."""

    told: pd.DataFrame
    mentions: np.ndarray
    n_texts: int


def tell(corpus: Corpus, tokenizer: Any, *, seed: int, start: int, stop: int, n_ctx: int) -> Telling:
    """Return what the rows `start` to `stop` told.

    A text that is cut off at the end of its row tells and mentions only what lies before the cut.
    """
    told: Counter[tuple[str, int, int]] = Counter()
    mentions = np.zeros(len(corpus.world.cities), dtype=np.int64)
    n_texts = 0
    for row in range(start, stop):
        for text, ids, read in texts_of_row(corpus, tokenizer, seed, row, n_ctx=n_ctx):
            n_texts += len(ids) > 1  # where one token was left in the row it is BOS, and nothing of the text
            told.update((t.relation, t.a, t.b) for t in text.told if t.end <= read)
            for _, end, city in text.spans:
                mentions[city] += end <= read
    rows = [(*fact, count) for fact, count in told.items()]
    return Telling(_sorted(pd.DataFrame(rows, columns=list(COLUMNS))), mentions, n_texts)


def merge(parts: list[Telling]) -> Telling:
    """Return what several stretches of rows told together."""
    told: Any = pd.concat([part.told for part in parts], ignore_index=True)
    added = told.groupby(list(COLUMNS[:3]), as_index=False)["count"].sum()
    mentions = np.sum([part.mentions for part in parts], axis=0)
    return Telling(_sorted(added), mentions, sum(part.n_texts for part in parts))


def tell_rows(
    tokenizer: Any,
    n_rows: int,
    *,
    seed: int,
    n_cities: int,
    n_ctx: int,
    workers: int = 1,
    shown: Callable[[Iterator[Telling], int], Iterator[Telling]] = lambda parts, _: parts,
) -> Telling:
    """Return what the first `n_rows` rows told, counted by `workers` processes; the same for any number of them.

    Args:
        shown: wraps the iterator over stretches of rows (given their number), to show how far it is.
    """
    edges = [(start, min(start + CHUNK, n_rows)) for start in range(0, n_rows, CHUNK)]
    given = (tokenizer.to_str(), n_cities, seed, n_ctx)
    if workers == 1:
        _set_up(*given)
        return merge(list(shown(map(_chunk, edges), len(edges))))
    context = get_context("spawn")  # torch has threads of its own, and a fork of those can hang
    with ProcessPoolExecutor(min(workers, len(edges)), context, initializer=_set_up, initargs=given) as pool:
        return merge(list(shown(pool.map(_chunk, edges), len(edges))))


_GIVEN: dict[str, Any] = {}  # of a worker process: made once, then used for every stretch of rows


def _set_up(tokenizer_json: str, n_cities: int, seed: int, n_ctx: int) -> None:
    from tokenizers import Tokenizer

    corpus = Corpus(default_world(n_cities))
    _GIVEN.update(corpus=corpus, tokenizer=Tokenizer.from_str(tokenizer_json), seed=seed, n_ctx=n_ctx)


def _chunk(edges: tuple[int, int]) -> Telling:
    start, stop = edges
    return tell(
        _GIVEN["corpus"], _GIVEN["tokenizer"], seed=_GIVEN["seed"], start=start, stop=stop, n_ctx=_GIVEN["n_ctx"]
    )


def _sorted(told: pd.DataFrame) -> pd.DataFrame:
    table = told.sort_values(list(COLUMNS[:3]), ignore_index=True)
    return table.astype({"city": np.int16, "other": np.int16, "count": np.int32})
