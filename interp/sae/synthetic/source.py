"""Activations x = h V with a dictionary V that is known: a seeded stream, every batch a function of its number.

A batch is drawn from the seed and its own number alone, so a training run that is resumed at batch 700 starts there
without drawing the 699 before it, and the rows that judge an SAE are never among those that trained it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from interp.errors import InvalidInput

Codes = Callable[[np.random.Generator, int], np.ndarray]
"""Law of the codes: a generator and a number of rows give float64 [rows, n], never negative."""

DICTIONARY_STREAM, _TRAIN_STREAM, _HELD_OUT_STREAM = 0, 1, 2  # keys of the seed's independent streams
BATCH_ROWS = 4096


class Draw(NamedTuple):
    """Activations and the codes they were made of.

    activations: float32 [rows, d]; codes: float64 [rows, n], 0 where a feature is off.
    """

    activations: np.ndarray
    codes: np.ndarray


@dataclass(frozen=True)
class Synthetic:
    """A known dictionary and the law by which its features fire."""

    name: str
    """Of the family, with what tells it from others."""
    dictionary: np.ndarray
    """V, float64 [n, d], rows of length 1."""
    probability: np.ndarray
    """Exact firing probability of each feature, float64 [n]."""
    parent: np.ndarray
    """For each feature the one that is always on with it, int64 [n]; -1 where there is none."""
    codes: Codes
    seed: int

    def __post_init__(self) -> None:
        n = len(self.dictionary)
        if len(self.probability) != n or len(self.parent) != n:
            raise InvalidInput(
                f"a dictionary of {n} features has {n} probabilities and parents; given {len(self.probability)} and "
                f"{len(self.parent)}."
            )

    @property
    def n(self) -> int:
        """Number of features."""
        return len(self.dictionary)

    @property
    def d(self) -> int:
        """Width of the activations."""
        return self.dictionary.shape[1]

    @property
    def l0(self) -> float:
        """Expected number of features on in a row."""
        return float(self.probability.sum())

    def batch(self, number: int, *, rows: int = BATCH_ROWS) -> Draw:
        """Return training batch `number` (from 0)."""
        return self._draw(_TRAIN_STREAM, number, rows)

    def held_out(self, rows: int) -> Draw:
        """Return rows that are in no training batch; a larger draw starts with other rows than a smaller one."""
        return self._draw(_HELD_OUT_STREAM, 0, rows)

    def stream(self, *, rows: int = BATCH_ROWS) -> Callable[[int], Iterator[np.ndarray]]:
        """Return an endless source of activations for `train_sae`: batch `start`, `start` + 1, and so on."""

        def source(start: int) -> Iterator[np.ndarray]:
            number = start
            while True:
                yield self.batch(number, rows=rows).activations
                number += 1

        return source

    def _draw(self, stream: int, number: int, rows: int) -> Draw:
        if rows < 1 or number < 0:
            raise InvalidInput(f"a draw has rows from 1 and a number from 0; given {rows} and {number}.")
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(stream, number)))
        codes = self.codes(rng, rows)
        return Draw((codes @ self.dictionary).astype(np.float32), codes)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Return the rows divided by their lengths, float64. Raises InvalidInput where a row is 0 or not finite."""
    rows = np.asarray(rows, dtype=np.float64)
    if rows.ndim != 2:
        raise InvalidInput(f"a dictionary is [features, d]; given {list(rows.shape)}.")
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (np.isfinite(length).all() and (length > 0).all()):
        bad = int(np.flatnonzero(~(np.isfinite(length) & (length > 0)))[0])
        raise InvalidInput(f"row {bad} of the dictionary has no direction: its length is {float(length[bad, 0])}.")
    return rows / length
