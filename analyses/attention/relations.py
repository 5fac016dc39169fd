"""How a source token stands to the token that reads it: one of eight relations, the first that holds.

Sharing a relation with the query is what a head can look for; it says why something was read and not what. The
relations are literal (equal ids); fuzzy matches, such as translations, count as "other".
"""

from __future__ import annotations

import numpy as np

RELATIONS = ("BOS", "self", "induction", "duplicate", "previous", "first content", "same word", "other")
"""In order of priority: each pair of positions has the first relation that holds."""
BOS, SELF, INDUCTION, DUPLICATE, PREVIOUS, FIRST_CONTENT, SAME_WORD, OTHER = range(8)
NONE = 255
"""Pairs that are none: the source comes after the query, or either is padding, or the query is a special token."""


def relation_codes(ids: np.ndarray, mask: np.ndarray, special: np.ndarray, word: np.ndarray) -> np.ndarray:
    """Return the relation of each pair of positions, uint8 [row, query_pos, source_pos]; `NONE` where there is none.

    For query q and source s <= q: BOS: s is a special token. Self: s = q. Induction: the token before s equals the
    one at q (all earlier matches, not the last alone). Duplicate: the tokens at s and q are equal. Previous: s = q - 1.
    First content: s is the first token of the row that is not special. Same word: s and q are pieces of one word.

    Args:
        ids: int [row, pos]. mask: bool, no padding. special: bool, BOS, EOS or padding. word: int, number of the word.
    """
    n, pos = ids.shape
    query, source = np.arange(pos)[:, None], np.arange(pos)[None, :]
    content = mask & ~special
    earlier = source < query
    before = np.full_like(ids, -1)
    before[:, 1:] = np.where(content[:, :-1], ids[:, :-1], -1)
    first = content & (np.cumsum(content, axis=1) == 1)
    out = np.full((n, pos, pos), OTHER, dtype=np.uint8)
    # later assignments win, so the lowest priority comes first
    out[(word[:, :, None] == word[:, None, :]) & earlier] = SAME_WORD
    out[np.broadcast_to(first[:, None, :], out.shape) & earlier] = FIRST_CONTENT
    out[np.broadcast_to(source == query - 1, out.shape)] = PREVIOUS
    out[(ids[:, :, None] == ids[:, None, :]) & earlier] = DUPLICATE
    out[(ids[:, :, None] == before[:, None, :]) & earlier] = INDUCTION
    out[np.broadcast_to(source == query, out.shape)] = SELF
    out[np.broadcast_to(special[:, None, :], out.shape)] = BOS
    out[np.broadcast_to(source > query, out.shape)] = NONE
    out[~np.broadcast_to(content[:, :, None] & mask[:, None, :], out.shape)] = NONE
    return out


def relation_mass(mass: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return the sums of `mass` by relation, float64 [..., 8], over the last axis.

    Args:
        mass: [..., source_pos]. codes: uint8, as mass; `NONE` is left out.
    """
    flat_codes, flat = codes.reshape(-1, codes.shape[-1]), mass.reshape(-1, mass.shape[-1])
    k = len(RELATIONS) + 1  # the last bin takes what is left out
    bins = np.arange(len(flat))[:, None] * k + np.minimum(flat_codes, k - 1)
    counts = np.bincount(bins.ravel(), weights=flat.ravel(), minlength=len(flat) * k)
    return counts.reshape(*mass.shape[:-1], k)[..., :-1]


def shares(mass: np.ndarray, *, with_bos: bool = True) -> np.ndarray:
    """Return mass [..., 8] as shares of its sum; without BOS its share is 0. NaN where there is no mass."""
    kept = mass if with_bos else np.where(np.arange(len(RELATIONS)) == BOS, 0.0, mass)
    total = kept.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, kept / total, np.nan)


def effective_number(share: np.ndarray) -> np.ndarray:
    """Return exp of the entropy of shares [..., k]: k equal ones have k, a single one has 1. NaN for NaN."""
    with np.errstate(invalid="ignore", divide="ignore"):
        terms = np.where(share > 0, share * np.log(np.where(share > 0, share, 1.0)), 0.0)
    return np.where(np.isnan(share).any(axis=-1), np.nan, np.exp(-terms.sum(axis=-1)))
