"""Runs of n words as 64-bit numbers: what near-duplicates and contamination are told by."""

from __future__ import annotations

import hashlib
import re

import numpy as np

_WORD = re.compile(r"\w+|[^\w\s]")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)


class Shingler:
    """Turns texts into hashed runs of n words; case and white space do not matter. Equal on every machine."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def words(self, text: str) -> list[str]:
        """Return words and marks of punctuation, in lower case."""
        return _WORD.findall(text.lower())

    def hashes(self, words: list[str], n: int) -> np.ndarray:
        """Return the hash of each run of n words, uint64 [len(words) - n + 1]; of fewer words none."""
        codes = np.fromiter((self._code(word) for word in words), dtype=np.uint64, count=len(words))
        count = len(words) - n + 1
        if count < 1:
            return np.zeros(0, dtype=np.uint64)
        out = np.zeros(count, dtype=np.uint64)
        with np.errstate(over="ignore"):
            for i in range(n):
                out = out * _FACTOR + codes[i : i + count]
            out ^= out >> np.uint64(31)
            return out * _MIX

    def shingles(self, text: str, n: int) -> np.ndarray:
        """Return the distinct runs of n words of a text, ascending; of a shorter text the one run it is."""
        words = self.words(text)
        return np.unique(self.hashes(words, max(1, min(n, len(words)))))

    def _code(self, word: str) -> int:
        found = self._known.get(word)
        if found is None:
            found = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest())
            self._known[word] = found
        return found
