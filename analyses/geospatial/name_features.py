"""What the letters and the tokens of a placename say by themselves: indicators, and their principal components.

Spelling follows language, and language follows the map, so "which n-grams are in the name" is autocorrelated with no
model at all. The indicators are the baseline beside latents; their components are taken out of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from scipy import sparse


def ngram_indicators(
    names: Sequence[str], *, sizes: Sequence[int] = (2, 3, 4), min_places: int = 20
) -> tuple[sparse.csr_array, list[str]]:
    """Return which character n-grams are in each name: 0/1 [place, n-gram], and the n-grams in order.

    Names are folded and their ends marked (^ and $); an n-gram counts once a name. Those of fewer than `min_places`
    names, or of every name, are left out.
    """
    return _indicators([_grams(name, sizes) for name in names], min_places)


def token_indicators(token_ids: Sequence[Sequence[int]], *, min_places: int = 10) -> tuple[sparse.csr_array, list[int]]:
    """Return which tokens are in each name: 0/1 [place, token], and the token ids in order (see `ngram_indicators`)."""
    return _indicators([{int(i) for i in ids} for ids in token_ids], min_places)


def principal_components(table: Any, n_components: int) -> np.ndarray:
    """Return principal component scores of indicators [place, indicator], float64 [place, component].

    Fewer come back where the table has a lower rank. Each has variance 1; the sign is fixed by its largest loading.
    """
    dense = table.toarray().astype(np.float64)
    width = min(n_components, dense.shape[1], dense.shape[0] - 1)
    if width < 1:
        return np.empty((dense.shape[0], 0))
    dense -= dense.mean(axis=0)
    values, vectors = np.linalg.eigh(dense.T @ dense)
    top = vectors[:, ::-1][:, :width][:, values[::-1][:width] > 1e-9 * values[-1]]
    top = top * np.sign(top[np.abs(top).argmax(axis=0), np.arange(top.shape[1])])
    scores = dense @ top
    return scores / scores.std(axis=0)


def _indicators(found: Sequence[set], min_places: int) -> tuple[sparse.csr_array, list]:
    counts: Counter[Any] = Counter(item for items in found for item in items)
    kept: Iterable[Any] = (item for item, n in counts.items() if min_places <= n < len(found))
    column = {item: i for i, item in enumerate(sorted(kept))}
    pairs = [(row, column[item]) for row, items in enumerate(found) for item in items if item in column]
    rows, cols = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2).T
    ones = np.ones(len(rows), dtype=np.float32)
    return sparse.csr_array((ones, (rows, cols)), shape=(len(found), len(column))), list(column)


def _grams(name: str, sizes: Sequence[int]) -> set[str]:
    text = f"^{name.casefold()}$"
    return {text[i : i + size] for size in sizes for i in range(len(text) - size + 1)}
