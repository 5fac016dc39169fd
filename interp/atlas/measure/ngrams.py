"""Unigram, bigram and trigram tables: what next-token statistics alone can say, as a baseline of losses.

Each order is interpolated with the one below it, down to the uniform law (Witten-Bell), so that every
token has a probability in every context and each law sums to one. A context never reaches across BOS:
the first token of a text has BOS before it, and BOS before that. BOS itself is never predicted.

Reference: Witten and Bell (1991), method C; Chen and Goodman (1999), eq. 17:
P(w|h) = (c(hw) + T(h) P(w|h')) / (c(h) + T(h)), T(h) the number of different tokens seen after h, h' the
context without its first token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from interp.errors import InvalidInput

ORDERS = ("unigram", "bigram", "trigram")
BOS_ID = 0


@dataclass(frozen=True)
class Counts:
    """How often each key occurs; keys that are not there occur 0 times."""

    keys: np.ndarray
    """int64 [n], sorted."""
    counts: np.ndarray
    """int64 [n]"""

    @classmethod
    def of(cls, keys: np.ndarray) -> Counts:
        """Return the counts of keys, int64 [n]."""
        return cls(*np.unique(keys, return_counts=True))

    def at(self, keys: np.ndarray) -> np.ndarray:
        """Return the count of each key, float64 of the shape of `keys`."""
        if not len(self.keys):
            return np.zeros(keys.shape)
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[place] == keys, self.counts[place], 0).astype(np.float64)


@dataclass(frozen=True)
class NGrams:
    """Counts of 1, 2 and 3 tokens; keys are the tokens read as digits to the base `d_vocab`."""

    d_vocab: int
    n_tokens: int
    grams: tuple[Counts, ...]
    """c(hw): of one token, of two, of three."""
    contexts: tuple[Counts, ...]
    """c(h): tokens that follow each context."""
    followers: tuple[Counts, ...]
    """T(h): different tokens that follow each context."""


def contexts(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the token two before, the one before and the target, int64 [rows, pos - 1] each, of ids [rows, pos]."""
    ids = np.asarray(ids, dtype=np.int64)
    before, target = ids[:, :-1], ids[:, 1:]
    second = np.full_like(before, BOS_ID)
    second[:, 1:] = ids[:, :-2]
    return np.where(before == BOS_ID, BOS_ID, second), before, target


def fit_ngrams(rows: np.ndarray, d_vocab: int) -> NGrams:
    """Count the tokens of packed ids [rows, pos] (BOS in front of each text) with up to two before them.

    Raises:
        InvalidInput: an id outside the vocabulary, or no token but BOS.
    """
    rows = np.asarray(rows)
    if rows.ndim != 2 or not rows.size or int(rows.min()) < 0 or int(rows.max()) >= d_vocab:
        raise InvalidInput(f"n-grams are counted in ids [rows, pos] from 0 to {d_vocab - 1}; got {rows.shape}.")
    second, before, target = (x[rows[:, 1:] != BOS_ID] for x in contexts(rows))
    if not len(target):
        raise InvalidInput("the rows hold no token but BOS; give rows of text.")
    histories = (np.zeros_like(target), before, second * d_vocab + before)
    grams = tuple(Counts.of(history * d_vocab + target) for history in histories)
    return NGrams(
        d_vocab=d_vocab,
        n_tokens=len(target),
        grams=grams,
        contexts=tuple(Counts.of(history) for history in histories),
        followers=tuple(Counts.of(gram.keys // d_vocab) for gram in grams),
    )


def probabilities(table: NGrams, second: np.ndarray, before: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return P(target | before it), float64 [3, ...], by unigram, bigram and trigram; int64 arrays of one shape."""
    law = np.full(np.shape(target), 1.0 / table.d_vocab)
    out = []
    for order, history in enumerate((np.zeros_like(target), before, second * table.d_vocab + before)):
        total, kinds = table.contexts[order].at(history), table.followers[order].at(history)
        met = table.grams[order].at(history * table.d_vocab + target)
        law = np.where(total > 0, (met + kinds * law) / np.maximum(total + kinds, 1.0), law)
        out.append(law)
    return np.stack(out)


def next_token_law(table: NGrams, second: int, before: int) -> np.ndarray:
    """Return the law of the token after (`second`, `before`), float64 [3, d_vocab], by each order."""
    target = np.arange(table.d_vocab)
    return probabilities(table, np.full_like(target, second), np.full_like(target, before), target)


def ngram_nats(table: NGrams, ids: np.ndarray) -> np.ndarray:
    """Return -log P of every target of ids [rows, pos] in nats, float64 [3, rows, pos - 1]; NaN where it is BOS."""
    second, before, target = contexts(ids)
    nats = -np.log(probabilities(table, second, before, target))
    return np.where(target == BOS_ID, np.nan, nats)
