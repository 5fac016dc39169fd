"""What an SAE is judged on: rows of activations, in chunks, and the weights that resample them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp.errors import InvalidInput

Activations = np.ndarray | Tensor | Iterable[Any]
CHUNK = 4096


def chunks(activations: Activations) -> Iterator[Tensor]:
    """Yield float32 chunks of at most 4096 rows, from one array or from an iterable of arrays.

    Raises:
        InvalidInput: an array that is not [n, d].
    """
    arrays = [activations] if isinstance(activations, np.ndarray | Tensor) else activations
    for array in arrays:
        rows = torch.as_tensor(array)
        if rows.ndim != 2:
            raise InvalidInput(f"activations are [n, d_in]; given {list(rows.shape)}.")
        for start in range(0, len(rows), CHUNK):
            yield rows[start : start + CHUNK].to(torch.float32)


class PoissonWeights:
    """Weights of a bootstrap that can be drawn on the way: 1 in column 0, Poisson(1) in `n_boot` others.

    With `text_index` the rows of one text share their weights: tokens of a text are not independent, and an interval
    that takes them for independent is too narrow.

    Reference: Hanley and MacGibbon 2006 (Poisson bootstrap).
    """

    def __init__(self, n_boot: int, rng: np.random.Generator, text_index: np.ndarray | None = None) -> None:
        """Prepare `n_boot` resamples; `text_index` int [n]: the text of each row, in the order of the rows.

        Raises:
            InvalidInput: a text_index that is not one row of integers.
        """
        self.n_boot, self._rng, self._at = n_boot, rng, 0
        self._text: np.ndarray | None = None
        if text_index is not None:
            given = np.asarray(text_index)
            if given.ndim != 1 or not np.issubdtype(given.dtype, np.integer):
                raise InvalidInput(f"text_index is int [n], the text of each row; given {given.dtype} {given.shape}.")
            texts, self._text = np.unique(given, return_inverse=True)
            self._drawn = rng.poisson(1.0, size=(len(texts), n_boot)).astype(np.float64)
            self.n_texts: int | None = len(texts)
        else:
            self.n_texts = None

    def take(self, n: int) -> np.ndarray:
        """Return the weights of the next n rows, float64 [n, 1 + n_boot].

        Raises:
            InvalidInput: there are more rows than text_index has.
        """
        if self._text is None:
            drawn = self._rng.poisson(1.0, size=(n, self.n_boot)).astype(np.float64)
        else:
            rows = self._text[self._at : self._at + n]
            if len(rows) < n:
                raise InvalidInput(f"text_index has {len(self._text)} entries and there are more rows than that.")
            drawn = self._drawn[rows]
        self._at += n
        return np.concatenate([np.ones((n, 1)), drawn], axis=1)

    def require_spent(self) -> None:
        """Raise InvalidInput if text_index has more entries than there were rows."""
        if self._text is not None and self._at != len(self._text):
            raise InvalidInput(f"text_index has {len(self._text)} entries for {self._at} rows of activations.")


def percentile_interval(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """Return the percentile interval of `values` [1 + n_boot], whose first is the estimate; NaN where there is none."""
    boot = np.asarray(values, dtype=np.float64)[1:]
    if len(boot) == 0 or not np.isfinite(boot).all():
        return float("nan"), float("nan")
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(boot, [tail, 100 - tail])
    return float(low), float(high)
