"""Planted models that recite given texts, and a small world to ask them about."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np

from interp.atlas.corpus import Corpus
from interp.atlas.world import default_world
from interp.tokens import encode

from .planted import PlantedModel, uniform


@cache
def small_corpus(n_cities: int = 250) -> Corpus:
    """A corpus over few cities; the same object in every test, which none may change."""
    return Corpus(default_world(n_cities))


def reciter(texts: Iterable[str], *, margin: float = 30.0) -> PlantedModel:
    """A model that goes on as the first of the texts that begins as what it reads; else with BOS."""
    model = PlantedModel(uniform(1), n_ctx=256)
    following: dict[tuple[int, ...], int] = {}
    encoded = encode(model, list(texts))
    for i in range(len(encoded)):
        ids = encoded.ids[encoded.starts[i] : encoded.starts[i + 1]].tolist()
        for j in range(1, len(ids)):
            following.setdefault(tuple(ids[:j]), ids[j])

    def logits(ids: np.ndarray) -> np.ndarray:
        out = np.zeros((*ids.shape, model.d_vocab))
        for r, row in enumerate(ids.tolist()):
            for j in range(len(row)):
                out[r, j, following.get(tuple(row[: j + 1]), 0)] = margin
        return out

    model.function = logits
    return model
