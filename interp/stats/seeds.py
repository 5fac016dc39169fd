"""Random rearrangements that depend on the seed and on nothing else.

Permutation number 17 of seed 0 is the same array whether it is drawn alone, in a batch of a thousand, or by the third
of five workers: each has a generator of its own, keyed by its number. Every feature of a run sees the same
permutations, so the order of the features, a subset of them, or a split into shards cannot move a p-value.
"""

from __future__ import annotations

import numpy as np

from interp.errors import InvalidInput
from interp.stats.recent import keep_recent

_GLOBAL, _SUBSETS, _SIGNS = 0, 1, 2  # one stream for each kind of draw, so that no two kinds share their numbers


def _generator(seed: int, stream: int, number: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream, number)))


def check_seed(seed: int) -> int:
    """Return `seed` as an int.

    Raises:
        InvalidInput: `seed` is no integer, or negative.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InvalidInput(f"seed is {seed!r}; expected an integer of 0 or more, e.g. seed=0.")
    return int(seed)


@keep_recent(4)
def permutation_indices(
    n: int, count: int, *, seed: int, start: int = 0, groups: np.ndarray | None = None
) -> np.ndarray:
    """Draw permutations number `start` to `start + count - 1` of `range(n)`.

    Args:
        n: length of each permutation.
        count: how many to draw.
        seed: with the number of a permutation, all that it depends on.
        start: number of the first one.
        groups: shape (n,), integer codes; where given, each index stays among those of its group.

    Returns:
        int32, shape (count, n), read-only; row p applied to values `x` is `x[row]`.

    Reference: Besag & Clifford 1989 (Monte Carlo tests); groups: restricted permutation, Good 2005 ch. 3.
    """
    out = np.empty((count, n), dtype=np.int32)
    codes = None if groups is None else np.unique(groups, return_inverse=True)[1].ravel()
    slots = None if codes is None else np.argsort(codes, kind="stable")
    for row in range(count):
        rng = _generator(seed, _GLOBAL, start + row)
        if codes is None or slots is None:
            out[row] = rng.permutation(n)
        else:  # sorted by group, then at random within it: fills the slots of each group with its own members
            out[row, slots] = np.argsort(codes + rng.random(n))
    return out


def subset_indices(n: int, size: int, count: int, *, seed: int) -> np.ndarray:
    """Draw `count` random ordered subsets of `range(n)`, without replacement.

    Returns:
        int32, shape (count, size); the first j columns are themselves a random subset of size j.
    """
    out = np.empty((count, size), dtype=np.int32)
    for row in range(count):
        out[row] = _generator(seed, _SUBSETS, row).choice(n, size=size, replace=False)
    return out


def sign_draws(n: int, count: int, *, seed: int) -> np.ndarray:
    """Draw `count` times `n` independent signs, each + or - with chance one half.

    Returns:
        float64 of -1 and 1, shape (count, n); row p depends on the seed, p and n alone.
    """
    out = np.empty((count, n))
    for row in range(count):
        out[row] = 2.0 * _generator(seed, _SIGNS, row).integers(0, 2, size=n) - 1.0
    return out
