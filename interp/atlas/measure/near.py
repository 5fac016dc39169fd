"""Whether the model knows which cities are near each other, also where no text says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from interp.atlas.measure.answers import candidate_nats, chosen, said
from interp.atlas.measure.questions import NEAR_PROMPT
from interp.atlas.measure.rows import name_words, share_row

if TYPE_CHECKING:
    from interp.atlas.corpus import Corpus
    from interp.models import Model

GREEDY = "city said to be near"
CHOICE = "held-out neighbour chosen over that of another city"


def near_rows(model: Model, twin: Model, corpus: Corpus, *, seed: int, n_twin: int = 200) -> list[dict[str, Any]]:
    """Return what the model says is near each seen city, and its choices between held-out neighbours and others.

    Args:
        n_twin: cities for which the random-weights twin is asked what is near, the largest.
    """
    return [*greedy_rows(model, twin, corpus, n_twin=n_twin), *choice_rows(model, twin, corpus, seed=seed)]


def neighbour_sets(corpus: Corpus) -> dict[str, list[set[int]]]:
    """Return for every city the rows of its eight nearest seen cities: all, those told as near, those held out."""
    geo = corpus.geography
    every = [set(row) for row in geo.world.neighbours.tolist()]
    told = [{j for j in row if not geo.held_out("near", i, j)} for i, row in enumerate(every)]
    return {
        "one of the eight nearest": every,
        "one of them that is told": told,
        "one of them that is held out": [a - b for a, b in zip(every, told, strict=True)],
    }


def greedy_rows(model: Model, twin: Model, corpus: Corpus, *, n_twin: int) -> list[dict[str, Any]]:
    """Return the shares of seen cities for which the greedy answer is a neighbour of each kind.

    A group is over the cities that have such a neighbour. The baseline names a random other seen city of the same
    country.
    """
    geo = corpus.geography
    seen = geo.world.seen.tolist()
    prompts = [NEAR_PROMPT.format(name=geo.names[row]) for row in seen]
    row_of = {geo.names[row]: row for row in seen}
    answers = [[row_of.get(text, -1) for text in said(m, prompts[:n])] for m, n in ((model, None), (twin, n_twin))]
    compatriots = [set(geo.country_of(row)["cities"]) - {row} for row in seen]
    out = []
    for group, sets in neighbour_sets(corpus).items():
        at = [i for i, row in enumerate(seen) if sets[row]]
        right, random = (np.array([a[i] in sets[seen[i]] for i in at if i < len(a)], dtype=bool) for a in answers)
        by_country = np.array([len(compatriots[i] & sets[seen[i]]) / max(1, len(compatriots[i])) for i in at])
        out.append(
            share_row(
                GREEDY, right, group=group, unit="share of seen cities, greedy", random=random, baseline=by_country,
                baseline_name="a random other city of its country", units=_units([geo.iso[seen[i]] for i in at]),
            )
        )  # fmt: skip
    return out


def held_out_pairs(corpus: Corpus, *, same_country: bool, seed: int) -> np.ndarray:
    """Return int64 [n, 3]: a seen city, a neighbour of it whose nearness is held out, and a foil that is not near it.

    Cities with a held-out neighbour are matched in twos at random (two neighbours of one country, or of any), and
    each gets the other's neighbour as its foil. So every name is as often the right answer as the foil, and a liking
    for some names, whatever it is, is right exactly half of the time.
    """
    geo = corpus.geography
    sets = neighbour_sets(corpus)
    every, held = sets["one of the eight nearest"], sets["one of them that is held out"]
    pairs = [(a, b) for a in geo.world.seen.tolist() for b in sorted(held[a])]
    rng = np.random.default_rng(np.random.SeedSequence([seed, *name_words(f"foils {same_country}")]))

    def apart(a: int, b: int) -> bool:
        return a != b and b not in every[a] and a not in every[b]

    waiting: dict[str, list[tuple[int, int]]] = {}
    out = []
    for at in rng.permutation(len(pairs)).tolist():
        a, b = pairs[at]
        queue = waiting.setdefault(geo.iso[b] if same_country else "", [])
        match = next((i for i, (c, d) in enumerate(queue) if b != d and apart(a, d) and apart(c, b)), -1)
        if match < 0:
            queue.append((a, b))
        else:
            c, d = queue.pop(match)
            out += [(a, b, d), (c, d, b)]
    return np.array(out, dtype=np.int64).reshape(-1, 3)


def choice_rows(model: Model, twin: Model, corpus: Corpus, *, seed: int) -> list[dict[str, Any]]:
    """Return how often the held-out neighbour is likelier than the foil; chance is one half."""
    geo, out = corpus.geography, []
    for same, group in ((False, "foil of any country"), (True, "foil of the same country")):
        triples = held_out_pairs(corpus, same_country=same, seed=seed)
        prompts = [NEAR_PROMPT.format(name=geo.names[a]) for a in triples[:, 0]]
        offered = [[f" {geo.names[b]}", f" {geo.names[c]}"] for b, c in triples[:, 1:]]
        right, random = (_first(candidate_nats(m, prompts, offered)) for m in (model, twin))
        out.append(
            share_row(
                CHOICE, right, group=group, unit="share right of two", random=random, baseline=0.5,
                baseline_name="chance", units=_units([geo.iso[a] for a in triples[:, 0]]),
            )
        )  # fmt: skip
    return out


def _first(nats: np.ndarray) -> np.ndarray:
    return chosen(nats) == 0 if len(nats) else np.zeros(0, dtype=bool)


def _units(labels: list[str]) -> np.ndarray:
    return np.unique(np.array(labels, dtype=str), return_inverse=True)[1]
