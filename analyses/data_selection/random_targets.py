"""Targets drawn from the pool itself: what similarity a sample has with a target that is about nothing.

How smooth a mean code is depends on how many tokens are behind it, and a long sample is more like a smooth one. A
random target has as many tokens as the real one, so both the level and the spread of chance are those of its size.
"""

from __future__ import annotations

import numpy as np

from analyses.data_selection.coded_pool import CodedPool
from interp.errors import InvalidInput
from interp.stats import generalized_jaccard
from interp.stats.seeds import check_seed


def random_targets(pool: CodedPool, n_tokens: int, *, n_draws: int = 32, seed: int = 0) -> np.ndarray:
    """Return the mean codes of random sets of samples with at least `n_tokens` tokens each, float64 [draw, feature].

    Draw number r depends on the seed and r alone.
    """
    tokens = pool.rows["n_tokens"].to_numpy()
    out = np.empty((n_draws, pool.n_features))
    for draw in range(n_draws):
        rng = np.random.default_rng(np.random.SeedSequence(check_seed(seed), spawn_key=(31, draw)))
        order = rng.permutation(len(pool))
        count = int(np.searchsorted(np.cumsum(tokens[order]), n_tokens)) + 1
        out[draw] = np.asarray(pool.take(order[:count]).mean(axis=0, dtype=np.float64)).ravel()
    return out


def chance_similarity(
    pool: CodedPool, n_tokens: int, *, n_draws: int = 32, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of J(z, b) over random targets b, each [sample].

    Raises:
        InvalidInput: rows of the pool were cut, or fewer than two draws.
    """
    if pool.is_cut:
        raise InvalidInput("entries of this pool were dropped (top=...); code it whole to compare with random targets.")
    if n_draws < 2:
        raise InvalidInput(f"n_draws is {n_draws}; a spread needs at least 2.")
    prototypes = random_targets(pool, n_tokens, n_draws=n_draws, seed=seed)
    mean, sd = np.empty(len(pool)), np.empty(len(pool))
    for rows, codes in pool.parts():
        similarity = generalized_jaccard(codes, prototypes)
        mean[rows], sd[rows] = similarity.mean(axis=1), similarity.std(axis=1, ddof=1)
    return mean, sd
