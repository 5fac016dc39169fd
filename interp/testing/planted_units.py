"""Units whose number of concepts is known, on a corpus that is made for them.

A text is about one topic: some of its tokens are words of the topic, the others are common words. A concept is either
a topic (the unit is on at the words of a topic, in texts about it) or a word (on wherever that common word stands).
A unit with k concepts is on wherever one of them is. How strongly each concept drives it and how often are two
different things, and a measure of polysemanticity may react to either, so they are set apart:

- strengths "equal": every concept reaches the same activation; "halving": 1, 1/2, 1/4, ...
- rates "concept": every concept is as frequent in a unit with five of them as in a unit with one, so that the first
  is on more often; "unit": every unit is on equally often, and each of its concepts the more seldom the more there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from interp.errors import InvalidInput

REGIMES = (("equal", "concept"), ("halving", "concept"), ("equal", "unit"), ("halving", "unit"))
"""Every pair of strengths and rates."""
N_TOPICS, N_TOPIC_WORDS, N_COMMON, N_EQUAL = 40, 12, 120, 40
TOPIC_SHARE = 0.6  # of the tokens of a text
RATE = 0.7  # how often a concept that is there drives the unit
SPREAD = 0.35  # sd of the logarithm of an activation around the strength of its concept
N_NOISE = 16
LEAK, LEAK_RATE = 0.04, 0.02  # weak activations on any token, and how often


@dataclass(frozen=True, eq=False)
class PlantedUnits:
    """Texts of equal length and the activations of units on their tokens.

    ids: int64 [n_texts, length].
    topics: int64 [n_texts].
    activations: float32 [n_texts * length, n_units], token by token, text after text.
    n_concepts: int64 [n_units], the truth.
    concept_of: int64 [n_texts * length, n_units]: which of its concepts drives the unit there, -1 for none.
    """

    ids: np.ndarray
    topics: np.ndarray
    activations: np.ndarray
    n_concepts: np.ndarray
    concept_of: np.ndarray

    @property
    def text_index(self) -> np.ndarray:
        """Text of each row of `activations`, int64."""
        return np.repeat(np.arange(len(self.ids)), self.ids.shape[1])

    def written(self, unit: int, rows: np.ndarray, *, by: Literal["concept", "word"]) -> np.ndarray:
        """Return what each earlier part gave to a unit, float64 [row, part], as if parts had written it.

        Args:
            by: "concept": each of its concepts has a part of its own; "word": one part writes words of even ids,
                another those of odd ids, whatever they mean.

        The other parts are noise, together a tenth as long as the largest activation; a row sums to the activation.
        """
        values = self.activations[rows, unit].astype(np.float64)
        part = self.concept_of[rows, unit] if by == "concept" else self.ids.ravel()[rows] % 2
        own = np.where(part[:, None] == np.arange(max(2, self.n_concepts[unit])), values[:, None], 0.0)
        size = 0.1 * float(self.activations[:, unit].max()) / N_NOISE**0.5
        noise = size * np.random.default_rng(unit).standard_normal((len(self.activations), N_NOISE))[rows]
        return np.concatenate([own, noise, (values - own.sum(axis=1) - noise.sum(axis=1))[:, None]], axis=1)


def concept_units(
    n_concepts: Sequence[int] = (1, 2, 3, 5),
    *,
    strengths: Literal["equal", "halving"] = "equal",
    rates: Literal["concept", "unit"] = "concept",
    kind: Literal["topic", "word"] = "topic",
    per_count: int = 10,
    n_texts: int = 3000,
    length: int = 16,
    seed: int,
) -> PlantedUnits:
    """Return `per_count` units for each number of concepts, over one corpus.

    Args:
        kind: "topic" (many words in one kind of text) or "word" (one word in every kind of text).

    Raises:
        InvalidInput: a choice that does not exist, or more concepts than there are.
    """
    most = N_TOPICS if kind == "topic" else N_EQUAL
    if (strengths, rates) not in REGIMES or kind not in ("topic", "word"):
        raise InvalidInput(f"no units of {strengths=}, {rates=}, {kind=}; strengths and rates are one of {REGIMES}.")
    if not n_concepts or min(n_concepts) < 1 or max(n_concepts) > most:
        raise InvalidInput(f"a unit has 1 to {most} concepts of kind {kind!r}, not {list(n_concepts)}.")
    rng = np.random.default_rng(seed)
    topics, ids = _corpus(rng, n_texts, length)
    counts = np.repeat(np.asarray(n_concepts, dtype=np.int64), per_count)
    columns = [_unit(rng, ids, topics, int(k), strengths, rates, kind) for k in counts]
    activations, concept_of = (np.stack(parts, axis=1) for parts in zip(*columns, strict=True))
    return PlantedUnits(ids, topics, activations.astype(np.float32), counts, concept_of)


def _corpus(rng: np.random.Generator, n_texts: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    topics = rng.integers(N_TOPICS, size=n_texts)
    about = rng.random((n_texts, length)) < TOPIC_SHARE
    shares = 1.0 / np.maximum(np.arange(N_COMMON), N_EQUAL)  # concepts of equal frequency, then Zipf's law
    common = rng.choice(N_COMMON, size=(n_texts, length), p=shares / shares.sum())
    words = N_COMMON + topics[:, None] * N_TOPIC_WORDS + rng.integers(N_TOPIC_WORDS, size=(n_texts, length))
    return topics, np.where(about, words, common).astype(np.int64)


def _unit(
    rng: np.random.Generator, ids: np.ndarray, topics: np.ndarray, k: int, strengths: str, rates: str, kind: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return activations and concept of each token, flat."""
    chosen = rng.choice(N_TOPICS if kind == "topic" else N_EQUAL, size=k, replace=False)
    where = np.where(ids >= N_COMMON, topics[:, None], -1) if kind == "topic" else ids
    concept_of = np.full(ids.shape, -1)
    for number, concept in enumerate(chosen):
        concept_of[where == concept] = number
    rate = RATE if rates == "concept" else RATE / k
    concept_of[rng.random(ids.shape) >= rate] = -1
    strength = np.ones(k) if strengths == "equal" else 0.5 ** np.arange(k)
    noise = np.exp(SPREAD * rng.standard_normal(ids.shape))
    leak = np.where(rng.random(ids.shape) < LEAK_RATE, LEAK * rng.random(ids.shape), 0.0)
    values = np.where(concept_of >= 0, strength[concept_of] * noise, leak)
    return values.ravel(), concept_of.ravel()
