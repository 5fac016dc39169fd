"""What every probe of the card shares: coordinates, folds, resampled blocks and the spelling of the names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.atlas.measure.answers import name_tokens
from interp.atlas.measure.fit import Resampled, resample
from interp.atlas.measure.folds import cells, group_folds, random_folds
from interp.atlas.measure.ridge import fit_ridge, out_of_fold

if TYPE_CHECKING:
    from interp.atlas.corpus import Corpus
    from interp.models import Model

FOLDS = ("random folds", "whole countries held out", "cells of 10 degrees held out")
EVERY, ONE, SEVERAL, NEVER = "seen cities", "names of one token", "names of several tokens", "never mentioned"
N_COMPONENTS = 400


@dataclass(frozen=True)
class Places:
    """The cities of a world as the probes of one model need them.

    seen, never: int64, rows of the cities of the texts and of those that no text mentions.
    one_token: bool [seen], whether the name is one token.
    degrees: float64 [city, 2], latitude and longitude. country: str [city]. names: of all cities.
    """

    seen: np.ndarray
    never: np.ndarray
    one_token: np.ndarray
    degrees: np.ndarray
    country: np.ndarray
    names: tuple[str, ...]
    seed: int

    @cached_property
    def folds(self) -> dict[str, np.ndarray]:
        """The fold of each seen city under each way of holding out, int64 [seen]."""
        ways = (
            random_folds(len(self.seen), seed=self.seed),
            group_folds(self.country[self.seen], seed=self.seed),
            group_folds(cells(*self.degrees[self.seen].T), seed=self.seed),
        )
        return dict(zip(FOLDS, ways, strict=True))

    @cached_property
    def groups(self) -> dict[str, np.ndarray]:
        """Groups of seen cities whose figures stand apart, bool [seen]."""
        return {EVERY: np.ones(len(self.seen), dtype=bool), ONE: self.one_token, SEVERAL: ~self.one_token}

    @cached_property
    def draws(self) -> dict[str, Resampled]:
        """Resampled cells of the map for each group of cities."""
        rows = {name: self.seen[keep] for name, keep in self.groups.items()} | {NEVER: self.never}
        return {name: resample(cells(*self.degrees[r].T), seed=self.seed) for name, r in rows.items() if len(r)}

    @cached_property
    def spelling(self) -> np.ndarray:
        """What `spelling_features` makes of the names of all cities."""
        return spelling_features(self.names)


def places_of(model: Model, corpus: Corpus, *, seed: int) -> Places:
    """Return the cities of a corpus for probes of this model."""
    geo = corpus.geography
    seen = np.asarray(geo.world.seen)
    never = np.setdiff1d(np.arange(len(geo.names)), seen)
    one = np.array(name_tokens(model, corpus))[seen] == 1
    return Places(seen, never, one, np.column_stack([geo.lat, geo.lon]), np.array(geo.iso), tuple(geo.names), seed)


def spelling_features(names: Sequence[str]) -> np.ndarray:
    """Return the principal components of the character n-grams of the names, float64 [name, <= N_COMPONENTS].

    Counts of n-grams (2 to 4 characters, with the ends of words), scaled to unit length a name. These many
    components guess coordinates as well as all n-grams together, at a fraction of the time.
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    counts: Any = HashingVectorizer(analyzer="char_wb", ngram_range=(2, 4), n_features=2**16).transform(names)
    values, vectors = np.linalg.eigh((counts @ counts.T).toarray())
    kept = slice(None, -min(N_COMPONENTS, len(values)) - 1, -1)
    return vectors[:, kept] * np.sqrt(np.maximum(values[kept], 0.0))


@dataclass(frozen=True)
class Guesses:
    """Guessed degrees, float64 [place, 2]: `seen` and the blind guess `constant` by kind of folds, and `never`.

    The probe for never-mentioned cities is fitted on all seen ones.
    """

    seen: dict[str, np.ndarray]
    constant: dict[str, np.ndarray]
    never: np.ndarray


def guess(places: Places, x: np.ndarray, *, each: bool = True) -> Guesses:
    """Return the guesses of probes on x [city, d]; `each` as in `fit_ridge`."""
    seen_x, y = x[places.seen], places.degrees[places.seen]
    both = {name: out_of_fold(seen_x, y, folds, each=each) for name, folds in places.folds.items()}
    seen, constant = ({name: pair[i] for name, pair in both.items()} for i in (0, 1))
    return Guesses(seen, constant, fit_ridge(seen_x, y, each=each).predict(x[places.never]))
