"""Directions: which pairs are asked, what the countries give away, and planted models that know or do not."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from interp.atlas.corpus.geography import rounded_km
from interp.atlas.measure import directions
from interp.atlas.measure.directions import (
    CARDINAL,
    EIGHT,
    FOUR,
    STRATA,
    centroid_credit,
    country_places,
    direction_rows,
    draw_cardinal_pairs,
    draw_pairs,
)
from interp.atlas.world import COMPASS

from .reciter import reciter, small_corpus


def toy(places, countries):
    """A world of given (latitude, longitude) and countries."""
    lat, lon = zip(*places, strict=True)
    members = {iso: [i for i, c in enumerate(countries) if c == iso] for iso in countries}
    world = SimpleNamespace(countries={iso: {"cities": rows} for iso, rows in members.items()})
    return SimpleNamespace(lat=list(lat), lon=list(lon), iso=list(countries), world=world)


@pytest.mark.parametrize("held_out", [True, False])
def test_pairs_are_distinct_unordered_seen_and_held_out_or_not(held_out):
    geo = small_corpus().geography
    pairs = draw_pairs(geo, "any distance", held_out=held_out, n=300, seed=0)
    assert pairs.shape == (300, 2)
    assert len({frozenset(pair) for pair in pairs.tolist()}) == 300
    assert set(pairs.ravel().tolist()) <= set(geo.world.seen.tolist())
    assert all(geo.held_out("direction", a, b) == held_out for a, b in pairs.tolist())
    assert 0.4 < np.mean(pairs[:, 0] < pairs[:, 1]) < 0.6  # the order within a pair tells nothing
    np.testing.assert_array_equal(pairs, draw_pairs(geo, "any distance", held_out=held_out, n=300, seed=0))
    assert not np.array_equal(pairs, draw_pairs(geo, "any distance", held_out=held_out, n=300, seed=1))


def test_all_pairs_are_given_where_fewer_than_asked_for_qualify():
    geo = small_corpus().geography
    seen = geo.world.seen.tolist()
    every = {
        (a, b) for a in seen for b in seen if a < b and geo.world.km[a, b] < 500 and geo.held_out("direction", a, b)
    }
    found = draw_pairs(geo, STRATA[0], held_out=True, n=10**6, seed=0)
    assert {tuple(sorted(pair)) for pair in found.tolist()} == every


@pytest.mark.parametrize("stratum", STRATA)
def test_four_way_pairs_are_of_their_stratum_and_as_many_of_each_direction(stratum):
    geo = small_corpus().geography
    pairs = draw_cardinal_pairs(geo, stratum, held_out=False, per_class=20, seed=0)
    words = [geo.world.direction(a, b) for a, b in pairs.tolist()]
    assert {word: words.count(word) for word in words} == dict.fromkeys(CARDINAL, len(words) // 4)
    assert len(words) > 20
    for a, b in pairs.tolist():
        if stratum == STRATA[2]:
            assert geo.iso[a] == geo.iso[b]
        else:
            assert (geo.world.km[a, b] < 500) == (stratum == STRATA[0])


def test_the_mean_place_of_a_country_is_taken_on_the_sphere():
    geo = toy([(0, 10), (0, 20), (10, 179), (10, -179), (40, 5)], ["A", "A", "B", "B", "C"])
    places = country_places(geo)
    assert places["A"] == (pytest.approx(0), pytest.approx(15))
    assert (places["B"][0], abs(places["B"][1])) == (pytest.approx(10, abs=0.01), pytest.approx(180))
    assert places["C"] == (pytest.approx(40), pytest.approx(5))


def test_the_countries_give_away_a_direction_between_them_and_none_within():
    # A around (0, 0), B around (0, 40): B lies east of A. City 1 of A lies far south, so that from it 2 is north-east.
    geo = toy([(10, 0), (-10, 0), (0, 40), (0, 41)], ["A", "A", "B", "B"])
    truth = {(0, 2): "east", (2, 0): "west", (1, 2): "north-east", (0, 1): "south"}
    geo.world.direction = lambda a, b: truth[a, b]
    pairs = np.array(list(truth))
    assert centroid_credit(geo, pairs, COMPASS).tolist() == [1.0, 1.0, 0.0, 1 / 8]
    assert centroid_credit(geo, pairs, CARDINAL).tolist() == [1.0, 1.0, 0.0, 1 / 4]


def planted(monkeypatch, word_of):
    """Greedy answers and choices by `word_of`(reference, other) instead of a model."""
    geo = small_corpus().geography
    asked = {}
    for a in range(len(geo.names)):
        for b in range(len(geo.names)):
            asked[f"Question: Where is {geo.names[b]} from {geo.names[a]}? Answer:"] = (a, b)
            km = rounded_km(float(geo.world.km[a, b]))
            asked[f"From {geo.names[a]} to {geo.names[b]} it is about {km} km"] = (a, b)
    monkeypatch.setattr(
        directions, "answered",
        lambda m, given: np.array([f" {word_of(*asked[q.prompt])}" == q.answer for q in given], dtype=bool),
    )  # fmt: skip
    monkeypatch.setattr(
        directions, "candidate_nats",
        lambda m, prompts, offered: np.array(
            [[float(c != f" {word_of(*asked[p])}") for c in given] for p, given in zip(prompts, offered, strict=True)]
        ),
    )  # fmt: skip


def rows_of(**options):
    rows = direction_rows(None, None, small_corpus(), seed=0, n=200, per_class=15, n_twin=50, **options)
    return {(row["measure"], row["group"]): row for row in rows}


def test_a_model_that_knows_the_map_is_always_right(monkeypatch):
    planted(monkeypatch, small_corpus().geography.world.direction)
    rows = rows_of()
    assert len(rows) == 2 * 2 * (2 + len(STRATA))
    assert all(row["value"] == 1.0 for (measure, _), row in rows.items() if "commonest" not in measure)
    assert rows[EIGHT, "never stated, question"]["n"] == 200
    assert rows[FOUR, "never stated, farther than 500 km, statement"]["n"] == 60


def test_a_model_that_says_one_word_is_at_chance_among_four(monkeypatch):
    planted(monkeypatch, lambda a, b: "west")
    rows = rows_of()
    assert {row["value"] for (measure, _), row in rows.items() if measure == FOUR} == {0.25}
    eight = rows[EIGHT, "never stated, question"]["value"]
    assert 0 < eight <= rows[f"{EIGHT}: always the commonest", "never stated, question"]["value"]


def test_a_model_that_knows_countries_alone_is_as_good_as_the_baseline(monkeypatch):
    geo = small_corpus().geography
    places = country_places(geo)

    def by_country(a, b):
        return COMPASS[round(directions.bearing(*places[geo.iso[a]], *places[geo.iso[b]]) / 45) % 8]

    planted(monkeypatch, by_country)
    pairs = draw_pairs(geo, "any distance", held_out=True, n=200, seed=0)
    within = np.mean([geo.iso[a] == geo.iso[b] for a, b in pairs.tolist()])
    row = rows_of()[EIGHT, "never stated, statement"]
    assert row["value"] == pytest.approx(row["baseline"], abs=within)
    assert 0.5 < row["baseline"] < 1
    within_country = rows_of()[FOUR, "never stated, two cities of one country, question"]
    assert within_country["baseline"] == 0.25


def test_a_real_model_is_asked_in_the_words_of_the_texts():
    geo = small_corpus().geography
    pairs = draw_pairs(geo, "any distance", held_out=True, n=200, seed=0)[:20]
    known = reciter(f"{p} {geo.world.direction(*pair)}."
                    for p, pair in zip(directions.prompts_of(geo, pairs), pairs.tolist(), strict=True))  # fmt: skip
    rows = direction_rows(known, reciter(["x."]), small_corpus(), seed=0, n=20, per_class=1, n_twin=4)
    found = {(row["measure"], row["group"]): row for row in rows}[EIGHT, "never stated, question"]
    assert (found["value"], found["random_weights"], found["n"]) == (1.0, 0.0, 20)


def test_a_stratum_without_pairs_is_a_row_without_a_value(monkeypatch):
    geo = small_corpus().geography
    monkeypatch.setattr(geo.__class__, "held_out", lambda *_: False)
    planted(monkeypatch, geo.world.direction)
    row = rows_of()[FOUR, "never stated, nearer than 500 km, question"]
    assert (row["status"], row["n"]) == ("no sample", 0)
    assert np.isnan(row["value"])
