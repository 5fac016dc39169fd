"""Ways to hold cities out of a probe: at random, whole countries, whole cells of the map."""

from __future__ import annotations

from typing import Any

import numpy as np

from interp.atlas.measure.rows import name_words
from interp.errors import InvalidInput

CELL_DEGREES = 10


def cells(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Return the number of the cell of 10 x 10 degrees that each place (degrees) lies in, int64 [place]."""
    row = np.clip(np.floor((np.asarray(lat, float) + 90) / CELL_DEGREES), 0, 180 // CELL_DEGREES - 1)
    column = np.clip(np.floor((np.asarray(lon, float) + 180) / CELL_DEGREES), 0, 360 // CELL_DEGREES - 1)
    return (row * (360 // CELL_DEGREES) + column).astype(np.int64)


def random_folds(n: int, *, seed: int, k: int = 10) -> np.ndarray:
    """Return the fold of each of `n` places, int64 [n]: `k` folds (or n) of equal size up to one, at random.

    Raises:
        InvalidInput: fewer than two places.
    """
    return group_folds(np.arange(n), seed=seed, k=k)


def group_folds(groups: Any, *, seed: int, k: int = 10) -> np.ndarray:
    """Return the fold of each place, int64 [place]: no group is split, and folds are of about equal size.

    Groups in random order go to the fold that is the smallest so far.

    Args:
        groups: [place], any labels.
        k: number of folds; as many as there are groups if these are fewer.

    Raises:
        InvalidInput: fewer than two groups.
    """
    labels, codes, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    if len(labels) < 2:
        raise InvalidInput(f"{len(labels)} group cannot be split into folds; at least 2 are needed.")
    rng = np.random.default_rng(np.random.SeedSequence([seed, *name_words("folds")]))
    fold_of, sizes = np.empty(len(labels), dtype=np.int64), np.zeros(min(k, len(labels)), dtype=np.int64)
    for group in rng.permutation(len(labels)):
        fold_of[group] = sizes.argmin()
        sizes[fold_of[group]] += counts[group]
    return fold_of[codes]
