"""Neighbours said and chosen by models that know them, that know the country alone, or that know nothing."""

from __future__ import annotations

import numpy as np
import pytest

from interp.atlas.measure import near
from interp.atlas.measure.near import choice_rows, greedy_rows, held_out_pairs, neighbour_sets
from interp.atlas.measure.questions import NEAR_PROMPT

from .planted import PlantedModel, uniform
from .reciter import reciter, small_corpus


def nothing():
    return PlantedModel(uniform(len(PlantedModel(uniform(1)).tokenizer)), n_ctx=256)


def says(names_of):
    """A model that names as near to each seen city what `names_of`(row) gives."""
    geo = small_corpus().geography
    return reciter(f"{NEAR_PROMPT.format(name=geo.names[r])} {names_of(r)}." for r in geo.world.seen.tolist())


def test_neighbours_are_the_nearest_seen_cities_split_by_what_is_held_out():
    geo, sets = small_corpus().geography, neighbour_sets(small_corpus())
    every, told, held = sets.values()
    for row in range(0, 250, 13):
        order = [j for j in np.argsort(geo.world.km[row]) if j != row and j in geo.world.seen]
        assert every[row] == set(order[:8])
        assert told[row] | held[row] == every[row]
        assert not told[row] & held[row]
        assert all(geo.held_out("near", row, j) for j in held[row])


def test_a_model_that_names_the_nearest_city_is_right_where_that_is_told():
    geo = small_corpus().geography
    first = geo.world.neighbours[:, 0]
    every, told, held = greedy_rows(says(lambda r: geo.names[first[r]]), nothing(), small_corpus(), n_twin=9)
    seen = geo.world.seen.tolist()
    hidden = [geo.held_out("near", r, int(first[r])) for r in seen]
    some_held = [any(geo.held_out("near", r, int(j)) for j in geo.world.neighbours[r]) for r in seen]
    assert (every["value"], every["n"], every["random_weights"]) == (1.0, len(seen), 0.0)
    assert told["value"] == pytest.approx(1 - np.mean(hidden))
    assert (held["value"], held["n"]) == (pytest.approx(sum(hidden) / sum(some_held)), sum(some_held))


def test_the_baseline_is_the_chance_of_a_random_compatriot():
    corpus = small_corpus()
    geo, rng = corpus.geography, np.random.default_rng(0)
    expected = greedy_rows(nothing(), nothing(), corpus, n_twin=1)[0]["baseline"]
    draws = []
    for row in np.repeat(geo.world.seen, 40).tolist():
        others = [j for j in geo.country_of(row)["cities"] if j != row]
        draws.append(bool(others) and rng.choice(others) in geo.world.neighbours[row])
    assert expected == pytest.approx(np.mean(draws), abs=4 * np.std(draws) / np.sqrt(len(draws)))
    assert 0.1 < expected < 0.9


@pytest.mark.parametrize("same", [True, False])
def test_foils_are_held_out_neighbours_of_others_and_not_near(same):
    corpus = small_corpus()
    geo = corpus.geography
    triples = held_out_pairs(corpus, same_country=same, seed=0)
    assert len(triples) > 30
    assert len({(a, b) for a, b, _ in triples.tolist()}) == len(triples)
    assert sorted(triples[:, 1]) == sorted(triples[:, 2])
    for a, b, c in triples.tolist():
        assert geo.held_out("near", a, b)
        assert b in geo.world.neighbours[a]
        assert c not in geo.world.neighbours[a]
        assert a not in geo.world.neighbours[c]
        assert c not in (a, b)
        assert not same or geo.iso[b] == geo.iso[c]
    if not same:
        assert len({geo.iso[c] == geo.iso[b] for _, b, c in triples.tolist()}) == 2
    np.testing.assert_array_equal(triples, held_out_pairs(corpus, same_country=same, seed=0))
    assert not np.array_equal(triples, held_out_pairs(corpus, same_country=same, seed=1))


def planted_nats(monkeypatch, score):
    """Choices by `score`(city, candidate) instead of a model."""
    geo = small_corpus().geography
    row_of = {name: i for i, name in enumerate(geo.names)}
    asked = {NEAR_PROMPT.format(name=name): i for name, i in row_of.items()}
    monkeypatch.setattr(
        near,
        "candidate_nats",
        lambda m, prompts, offered: np.array(
            [[score(asked[p], row_of[c.strip()]) for c in given] for p, given in zip(prompts, offered, strict=True)]
        ),
    )


def test_a_model_that_knows_the_map_chooses_right(monkeypatch):
    geo = small_corpus().geography
    planted_nats(monkeypatch, lambda a, c: geo.world.km[a, c])
    rows = choice_rows(None, None, small_corpus(), seed=0)
    assert [row["value"] for row in rows] == [1.0, 1.0]
    assert [row["baseline"] for row in rows] == [0.5, 0.5]


@pytest.mark.parametrize("same", [True, False])
def test_a_liking_for_some_names_is_right_half_of_the_time_exactly(same):
    triples = held_out_pairs(small_corpus(), same_country=same, seed=0)
    liking = np.random.default_rng(0).standard_normal((50, 250))
    assert ((liking[:, triples[:, 1]] > liking[:, triples[:, 2]]).mean(axis=1) == 0.5).all()


def test_a_model_that_knows_nothing_is_at_chance():
    for row in choice_rows(nothing(), nothing(), small_corpus(), seed=0):
        assert row["ci_low"] < 0.5 < row["ci_high"]
