"""Rows of a pool made of a few words."""

import numpy as np

WORDS = ("Paris", "London", "Berlin", "is", "in", "the", "city", "of", "France", "and")


def rows_of(n, seed):
    """Return n rows of prompt and completion out of a few words, of very different lengths."""
    rng = np.random.default_rng(seed)
    said = [" ".join(rng.choice(WORDS, size)) for size in rng.integers(1, 12, 2 * n)]
    return [{"prompt": said[2 * i], "completion": said[2 * i + 1]} for i in range(n)]
