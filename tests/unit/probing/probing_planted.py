"""Rows whose right answer is known: groups of rows, and labels that a direction tells."""

from __future__ import annotations

import numpy as np


def planted(n: int = 300, d: int = 20, n_classes: int = 2, *, n_groups: int = 60, noise: float = 0.3, seed: int = 0):
    """Return x [n, d], codes [n] told by the first columns, groups [n], and numbers [n] told by the last column."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    codes = (x[:, :n_classes] + noise * rng.gumbel(size=(n, n_classes))).argmax(axis=1)
    groups = rng.integers(0, n_groups, n)
    return x, codes, groups, x[:, -1] + noise * rng.standard_normal(n)


def entities(n_entities: int = 40, each: int = 10, d: int = 60, seed: int = 0):
    """Return x [n, d] that tells the entity and nothing else, a label a entity at random, and the entity [n]."""
    rng = np.random.default_rng(seed)
    entity = np.repeat(np.arange(n_entities), each)
    x = 2 * rng.standard_normal((n_entities, d))[entity] + rng.standard_normal((len(entity), d))
    return x, rng.integers(0, 2, n_entities)[entity], entity
