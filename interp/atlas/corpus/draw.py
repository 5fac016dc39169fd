"""Random choices of the generators: Zipf-like draws, distinct draws, and facts held out by hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import TypeVar

import numpy as np

Rng = np.random.Generator
T = TypeVar("T")


@cache
def zipf_cdf(n: int, offset: float = 3.0) -> np.ndarray:
    """Return the cumulative Zipf-Mandelbrot law 1 / (rank + offset) over ranks 0 .. n - 1, float64 [n].

    Reference: Mandelbrot (1953); frequencies of words fall about as the inverse of their rank.
    """
    return np.cumsum(1.0 / (np.arange(n) + offset)) / np.sum(1.0 / (np.arange(n) + offset))


def draw(rng: Rng, cdf: np.ndarray) -> int:
    """Return an index drawn by a cumulative law, float64 [n]."""
    return min(int(np.searchsorted(cdf, rng.random(), side="right")), len(cdf) - 1)


def pick(rng: Rng, items: Sequence[T]) -> T:
    """Return one of the items, each as likely as the others."""
    return items[int(rng.random() * len(items))]


def common(rng: Rng, items: Sequence[T], offset: float = 3.0) -> T:
    """Return one of the items by Zipf's law: earlier ones are more common."""
    return items[draw(rng, zipf_cdf(len(items), offset))]


def distinct(rng: Rng, items: Sequence[T], n: int) -> list[T]:
    """Return `n` different items by Zipf's law, in random order of drawing."""
    chosen: dict[int, None] = {}
    while len(chosen) < n:
        chosen[draw(rng, zipf_cdf(len(items)))] = None
    return [items[i] for i in chosen]


@lru_cache(maxsize=1 << 20)
def held_out(fact: str, share: float = 0.1) -> bool:
    """Decide by the sha256 of its name alone whether a fact is kept out of every text.

    The split never depends on the seed, on which other facts exist or on the order of drawing.
    """
    digest = hashlib.sha256(f"held out:{fact}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < share
