"""Compass directions between cities that no text states, beside what the countries alone give away.

Asked are unordered pairs of seen cities, each in one order drawn at random. "Held out" pairs have their direction in
no text. The others may have been stated; there are far more pairs than texts, so most of the far ones were not. Each
pair is put in two surfaces of the texts: as a question, and as a statement that gives the distance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.atlas.corpus.geography import rounded_km
from interp.atlas.measure.answers import answered, candidate_nats, chosen
from interp.atlas.measure.questions import DIRECTION_PROMPT, Question
from interp.atlas.measure.rows import name_words, share_row
from interp.atlas.world import COMPASS, bearing, unit_xyz

if TYPE_CHECKING:
    from interp.atlas.corpus import Corpus, Geography
    from interp.models import Model

CARDINAL = COMPASS[::2]
NEAR_KM = 500.0
EIGHT, FOUR = "direction, one of eight", "direction, one of four, as many of each"
STRATA = ("nearer than 500 km", "farther than 500 km", "two cities of one country")
CENTROIDS = "mean places of the two countries"
ASKED, STATED = "question", "statement"


def direction_rows(
    model: Model, twin: Model, corpus: Corpus, *, seed: int, n: int = 2000, per_class: int = 500, n_twin: int = 500
) -> list[dict[str, Any]]:
    """Return the accuracies of eight-way greedy answers and of four-way choices, held out and not, by distance.

    Args:
        n: pairs of the eight-way question.
        per_class: pairs of each of the four directions, or as many as there are of the rarest.
        n_twin: pairs that are asked of the random-weights twin, the first ones.
    """
    out = []
    for held_out in (True, False):
        group = "never stated" if held_out else "not held out"
        pairs = draw_pairs(corpus.geography, "any distance", held_out=held_out, n=n, seed=seed)
        for surface in (ASKED, STATED):
            prompts = prompts_of(corpus.geography, pairs, surface)
            out += _eight_rows(model, twin, corpus, pairs, prompts, f"{group}, {surface}", n_twin)
        for stratum in STRATA:
            pairs = draw_cardinal_pairs(corpus.geography, stratum, held_out=held_out, per_class=per_class, seed=seed)
            for surface in (ASKED, STATED):
                prompts, name = prompts_of(corpus.geography, pairs, surface), f"{group}, {stratum}, {surface}"
                out.append(_four_row(model, twin, corpus, pairs, prompts, name, n_twin))
    return out


def draw_pairs(
    geo: Geography,
    stratum: str,
    *,
    held_out: bool,
    n: int,
    seed: int,
    wanted: Callable[[str], bool] = lambda direction: True,
) -> np.ndarray:
    """Return int64 [<= n, 2], distinct unordered pairs (reference, other) of seen cities in random order.

    Args:
        stratum: one of `STRATA`, or "any distance".
        held_out: of pairs whose direction no text states, or of the others.
        wanted: called with the direction of each pair that qualifies, in order; whether to take it.
    """
    seen = geo.world.seen
    rng = np.random.default_rng(np.random.SeedSequence([seed, *name_words(f"{stratum} {held_out}")]))
    fits = np.triu(_stratum(geo, stratum, seen), k=1)
    first, second = np.nonzero(fits)
    out = []
    for at in rng.permutation(len(first)):
        if len(out) == n:
            break
        a, b = int(seen[first[at]]), int(seen[second[at]])
        if rng.random() < 0.5:
            a, b = b, a
        if geo.held_out("direction", a, b) == held_out and wanted(geo.world.direction(a, b)):
            out.append((a, b))
    return np.array(out, dtype=np.int64).reshape(-1, 2)


def _stratum(geo: Geography, stratum: str, seen: np.ndarray) -> np.ndarray:
    if stratum == "any distance":
        return np.ones((len(seen), len(seen)), dtype=bool)
    if stratum == STRATA[2]:
        country = np.array(geo.iso)[seen]
        return country[:, None] == country[None]
    near = geo.world.km[np.ix_(seen, seen)] < NEAR_KM
    return near if stratum == STRATA[0] else ~near


def draw_cardinal_pairs(geo: Geography, stratum: str, *, held_out: bool, per_class: int, seed: int) -> np.ndarray:
    """Return pairs within 22.5 degrees of north, east, south or west, as many of each, int64 [4 n, 2]."""
    left: dict[str, int] = dict.fromkeys(CARDINAL, per_class)

    def wanted(direction: str) -> bool:
        if not left.get(direction):
            return False
        left[direction] -= 1
        return True

    pairs = draw_pairs(geo, stratum, held_out=held_out, n=4 * per_class, seed=seed, wanted=wanted)
    truth = np.array([geo.world.direction(a, b) for a, b in pairs.tolist()], dtype=str)
    size = min((truth == word).sum() for word in CARDINAL)
    keep = np.sort(np.concatenate([np.flatnonzero(truth == word)[:size] for word in CARDINAL]))
    return pairs[keep]


def country_places(geo: Geography) -> dict[str, tuple[float, float]]:
    """Return the mean place (latitude, longitude in degrees) of the seen cities of each country, on the sphere."""
    xyz = unit_xyz(np.array(geo.lat), np.array(geo.lon))
    out = {}
    for iso, country in geo.world.countries.items():
        x, y, z = xyz[country["cities"]].mean(axis=0)
        out[iso] = (float(np.degrees(np.arctan2(z, np.hypot(x, y)))), float(np.degrees(np.arctan2(y, x))))
    return out


def centroid_credit(geo: Geography, pairs: np.ndarray, words: Sequence[str]) -> np.ndarray:
    """Return how right the countries' mean places are about each pair, float64 [pair], among equally spaced `words`.

    1 or 0; a pair of one country has no direction between means and gets the chance of a blind guess.
    """
    places, n = country_places(geo), len(words)
    out = np.full(len(pairs), 1 / n)
    for i, (a, b) in enumerate(pairs.tolist()):
        if geo.iso[a] != geo.iso[b]:
            guess = words[round(bearing(*places[geo.iso[a]], *places[geo.iso[b]]) / (360 / n)) % n]
            out[i] = guess == geo.world.direction(a, b)
    return out


def prompts_of(geo: Geography, pairs: np.ndarray, surface: str = ASKED) -> list[str]:
    """Return what stands before the direction of the second city of each pair, seen from the first."""
    if surface == ASKED:
        return [DIRECTION_PROMPT.format(name=geo.names[b], hub=geo.names[a]) for a, b in pairs.tolist()]
    km = [rounded_km(float(geo.world.km[a, b])) for a, b in pairs.tolist()]
    places = zip(pairs.tolist(), km, strict=True)
    return [f"From {geo.names[a]} to {geo.names[b]} it is about {far} km" for (a, b), far in places]


def _eight_rows(
    model: Model, twin: Model, corpus: Corpus, pairs: np.ndarray, prompts: list[str], group: str, n_twin: int
) -> list[dict[str, Any]]:
    geo = corpus.geography
    truth = [geo.world.direction(a, b) for a, b in pairs.tolist()]
    asked = [Question(EIGHT, p, f" {word}") for p, word in zip(prompts, truth, strict=True)]
    common = max(sorted(set(truth)), key=truth.count, default="")
    controls = {"baseline": centroid_credit(geo, pairs, COMPASS), "baseline_name": CENTROIDS}
    right, unit, units = answered(model, asked), "share right, greedy", _references(geo, pairs)
    return [
        share_row(EIGHT, right, group=group, unit=unit, random=answered(twin, asked[:n_twin]), units=units, **controls),
        share_row(f"{EIGHT}: always the commonest", np.array([w == common for w in truth], dtype=bool), group=group,
                  unit=unit, baseline=1 / 8, baseline_name="chance", units=units),
    ]  # fmt: skip


def _four_row(
    model: Model, twin: Model, corpus: Corpus, pairs: np.ndarray, prompts: list[str], group: str, n_twin: int
) -> dict[str, Any]:
    geo, offered = corpus.geography, [f" {word}" for word in CARDINAL]
    truth = np.array([CARDINAL.index(geo.world.direction(a, b)) for a, b in pairs.tolist()], dtype=np.int64)
    picks = [
        chosen(candidate_nats(m, prompts[:n], [offered] * len(prompts[:n]))) if len(prompts) else truth
        for m, n in ((model, len(prompts)), (twin, n_twin))
    ]
    return share_row(
        FOUR, picks[0] == truth, group=group, unit="share right of four; chance .25",
        random=picks[1] == truth[: len(picks[1])], baseline=centroid_credit(geo, pairs, CARDINAL),
        baseline_name=CENTROIDS, units=_references(geo, pairs),
    )  # fmt: skip


def _references(geo: Geography, pairs: np.ndarray) -> np.ndarray:
    """Return one number a country of the reference city: answers from one country are not independent."""
    return np.unique(np.array([geo.iso[a] for a in pairs[:, 0]], dtype=str), return_inverse=True)[1]
