"""Samples that hold text of the target or of the test: a pool may contain the benchmark."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analyses.data_selection.shingles import Shingler
from interp.errors import InvalidInput

SHORTEST = 4
"""Words below which a text to look for would be found by chance."""


def decontaminate(texts: Sequence[str], against: Sequence[str], *, n_words: int = 13) -> pd.DataFrame:
    """List the texts that share a run of `n_words` words with any of the texts in `against`.

    A text in `against` of fewer words is looked for whole; below 4 words it is not looked for (see `attrs`). 13 words
    is the rule of Brown et al. 2020; 8 finds more, by chance too.

    Returns:
        One row a contaminated text: row, against (row there, the first found), n_shared (runs in common), share (of the
        runs of the text), words (the first shared run). `attrs["too_short"]`: rows of `against` not looked for.

    Raises:
        InvalidInput: n_words below 4.
    """
    if n_words < SHORTEST:
        raise InvalidInput(f"n_words is {n_words}; runs below {SHORTEST} words are shared by chance.")
    shingler = Shingler()
    wanted, too_short = _wanted(shingler, against, n_words)
    found = []
    for row, text in enumerate(texts):
        words = shingler.words(text)
        hits = _hits(shingler, words, wanted)
        if hits:
            at, size, where = min(hits)
            shared = " ".join(words[at : at + size])
            runs = max(1, len(words) - n_words + 1)
            found.append((row, where, len(hits), min(1.0, len(hits) / runs), shared))
    table = pd.DataFrame(found, columns=pd.Index(["row", "against", "n_shared", "share", "words"]))
    table.attrs["too_short"] = too_short
    return table


def _wanted(shingler: Shingler, against: Sequence[str], n: int) -> tuple[dict[int, dict[int, int]], list[int]]:
    """Return {run length: {hash: row of against}} and the rows that are too short."""
    wanted: dict[int, dict[int, int]] = {}
    too_short = []
    for row, text in enumerate(against):
        words = shingler.words(text)
        if len(words) < SHORTEST:
            too_short.append(row)
            continue
        size = min(n, len(words))
        for value in shingler.hashes(words, size).tolist():
            wanted.setdefault(size, {}).setdefault(value, row)
    return wanted, too_short


def _hits(shingler: Shingler, words: list[str], wanted: dict[int, dict[int, int]]) -> list[tuple[int, int, int]]:
    """Return (position, run length, row of against) of each shared run."""
    hits = []
    for size, table in wanted.items():
        hashes = shingler.hashes(words, size)
        places = [at for at, value in enumerate(hashes.tolist()) if value in table]
        hits += [(at, size, table[int(hashes[np.intp(at)])]) for at in places]
    return hits
