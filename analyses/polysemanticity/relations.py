"""Why a head reads where it reads: the relation of the token it reads to the token it writes to.

Literal matches of token ids only; each pair has one relation, the first that holds in the order of `RELATIONS`.
"""

from __future__ import annotations

import numpy as np

RELATIONS = ("self", "induction", "duplicate", "previous", "first")
"""Same token place; the one after an earlier copy; an earlier copy; the one before; the first of the text."""


def relation_classes(ids: np.ndarray, query: np.ndarray, key: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the relation of each pair as an index of `RELATIONS`, -1 for none; int64, the shape of `query`.

    Args:
        ids: int [n_tokens], texts end to end.
        query, key: rows of `ids` in the same text, key not after query.
        first: row of the first token of that text.
    """
    copied = (key > first) & (ids[np.maximum(key - 1, 0)] == ids[query])
    holds = [key == query, copied, ids[key] == ids[query], key == query - 1, key == first]
    return np.select(holds, range(len(RELATIONS)), default=-1)


def effective_relations(weights: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return exp(entropy) of the relations of each head, weighted; "none of them" counts as one; float64 [n_heads].

    Args:
        weights: float [n_tokens, n_heads], what each pair moves.
        classes: int [n_tokens, n_heads] of `relation_classes`.
    """
    mass = np.stack([np.where(classes == c, weights, 0.0).sum(axis=0) for c in range(-1, len(RELATIONS))])
    total = mass.sum(axis=0)
    share = np.divide(mass, total, out=np.zeros_like(mass), where=total > 0)
    return np.exp(-(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=0))
