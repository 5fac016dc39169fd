"""Samples that say the same: equal texts, texts that share most runs of words, codes that are nearly equal."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from analyses.data_selection.shingles import Shingler
from interp.errors import InvalidInput
from interp.stats import generalized_jaccard
from interp.stats.seeds import check_seed

N_BANDS, BAND = 32, 4
"""A pair of Jaccard s meets in some band with chance 1 - (1 - s^4)^32: 0.999 at 0.66, 1 - 5e-8 at 0.8."""


def exact_duplicates(texts: Sequence[str]) -> np.ndarray:
    """Return for each text the row of an earlier one that is equal but for case and white space, or -1."""
    first: dict[bytes, int] = {}
    out = np.full(len(texts), -1, dtype=np.int64)
    for row, text in enumerate(texts):
        key = hashlib.blake2b(" ".join(text.lower().split()).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        earlier = first.setdefault(key, row)
        if earlier != row:
            out[row] = earlier
    return out


def near_duplicates(texts: Sequence[str], *, threshold: float = 0.8, n_words: int = 3, seed: int = 0) -> np.ndarray:
    """Return for each text the row of an earlier kept one that it nearly repeats, or -1, int64 [text].

    Texts are alike when their sets of runs of `n_words` words have a Jaccard similarity of at least `threshold`.
    Candidates are found by MinHash in 32 bands of 4 (Broder 1997; Leskovec et al. 2014, ch. 3) and every one is then
    compared exactly, so nothing is dropped by chance. Give the texts best first: the first of its kind is kept.

    Raises:
        InvalidInput: a threshold outside (0.5, 1], below which the bands miss pairs.
    """
    if not 0.5 < threshold <= 1:
        raise InvalidInput(f"threshold is {threshold}; near-duplicates are told from 0.5 (not included) to 1.")
    rng = np.random.default_rng(np.random.SeedSequence(check_seed(seed), spawn_key=(61,)))
    a = rng.integers(1, 2**63, size=N_BANDS * BAND, dtype=np.uint64) | np.uint64(1)
    b = rng.integers(0, 2**63, size=N_BANDS * BAND, dtype=np.uint64)
    shingler, kept = Shingler(), {}
    buckets: dict[tuple[int, bytes], list[int]] = {}
    out = np.full(len(texts), -1, dtype=np.int64)
    for row, text in enumerate(texts):
        mine = shingler.shingles(text, n_words)
        if not len(mine):
            continue
        signature = _signature(mine, a, b)
        keys = [(band, part.tobytes()) for band, part in enumerate(signature)]
        candidates = sorted({other for key in keys for other in buckets.get(key, ())})
        same = next((other for other in candidates if _jaccard(mine, kept[other]) >= threshold), None)
        if same is not None:
            out[row] = same
            continue
        kept[row] = mine
        for key in keys:
            buckets.setdefault(key, []).append(row)
    return out


def near_duplicate_codes(codes: Any, *, threshold: float = 0.9) -> np.ndarray:
    """Return for each row of codes, CSR [row, feature], an earlier kept row with J >= threshold, or -1.

    Every pair is compared, a block at a time: for a few thousand candidates, best first.
    """
    if not 0 < threshold <= 1:
        raise InvalidInput(f"threshold is {threshold}; expected more than 0, at most 1.")
    n = codes.shape[0]
    out = np.full(n, -1, dtype=np.int64)
    for start in range(0, n, 64):
        block = codes[start : start + 64]
        similar = generalized_jaccard(codes, block.toarray()) >= threshold
        for i in range(block.shape[0]):
            row = start + i
            if out[row] < 0:
                later = np.flatnonzero(similar[:, i])
                later = later[(later > row) & (out[later] < 0)]
                out[later] = row
    return out


def _signature(shingles: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        hashed = (shingles[:, None] * a + b) >> np.uint64(32)
    return hashed.min(axis=0).reshape(N_BANDS, BAND)


def _jaccard(a: np.ndarray, b: np.ndarray) -> float:
    common = len(np.intersect1d(a, b, assume_unique=True))
    return common / (len(a) + len(b) - common)
