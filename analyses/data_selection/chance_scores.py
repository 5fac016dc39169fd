"""Baselines that know nothing of the task: chance, chance with the lengths of a pick, and length itself."""

from __future__ import annotations

import numpy as np

from interp.errors import InvalidInput
from interp.stats.seeds import check_seed


def random_scores(n: int, *, seed: int) -> np.ndarray:
    """Return a random score for each of n samples, float64 [n] in [0, 1)."""
    return np.random.default_rng(np.random.SeedSequence(check_seed(seed), spawn_key=(51,))).random(n)


def length_matched(lengths: np.ndarray, wanted: np.ndarray, *, seed: int, among: int = 20) -> np.ndarray:
    """Return random rows whose lengths are those of a pick, int64 [len(wanted)], none twice.

    Each wanted length takes a random one of the `among` free rows whose lengths are nearest.

    Args:
        lengths: [row] of the pool.
        wanted: lengths of the pick, or of target examples (repeat them to the number that is needed).
    """
    if len(wanted) > len(lengths):
        raise InvalidInput(f"{len(wanted)} rows are wanted of a pool of {len(lengths)}.")
    rng = np.random.default_rng(np.random.SeedSequence(check_seed(seed), spawn_key=(52,)))
    order = rng.permutation(len(lengths))  # rows of equal length in random order
    order = order[np.argsort(lengths[order], kind="stable")]
    free, sizes = list(order), list(lengths[order])
    picked = np.empty(len(wanted), dtype=np.int64)
    for i in rng.permutation(len(wanted)):
        at = int(np.searchsorted(sizes, wanted[i]))
        low, high = max(0, at - among), min(len(free), at + among)
        nearest = low + np.argsort(np.abs(np.array(sizes[low:high]) - wanted[i]), kind="stable")[:among]
        one = int(rng.choice(nearest))
        picked[i] = free.pop(one)
        sizes.pop(one)
    return picked
