"""The map that the texts tell: true to the globe, silent about what is held out."""

import numpy as np
import pytest

from interp.atlas.corpus.geography import ABOUT_ONE, BETWEEN_TWO, rounded_km
from interp.atlas.world import EARTH_KM, bearing, choose_cities, default_world, unit_xyz


def row_of(corpus, name: str) -> int:
    return corpus.geography.names.index(name)


@pytest.fixture(scope="module")
def told(corpus):
    rng = np.random.default_rng(11)
    made = [corpus.geography.document(rng) for _ in range(20_000)]
    made += [corpus.skills.document(rng) for _ in range(10_000)]
    return [(fact.relation, fact.a, fact.b) for text in made for fact in text.told]


def test_cities_held_out_are_never_mentioned(corpus, texts):
    seen = corpus.world.cities["seen"].to_numpy()
    assert 0.05 < (~seen).mean() < 0.15
    assert all(seen[row] for t in texts for _, _, row in t.spans)


def test_no_coordinate_is_written(corpus, texts):
    cities = corpus.world.cities
    for t in texts:
        for _, _, row in t.spans:
            assert f"{cities['lat'].iat[row]:.1f}" not in t.text


@pytest.mark.parametrize("relation", ["country", "language", "continent", "currency", "capital"])
def test_facts_of_a_city_that_are_held_out_are_never_told(corpus, told, relation):
    rows = {a for name, a, _ in told if name == relation}
    hidden = {row for row in corpus.world.seen.tolist() if corpus.geography.held_out(relation, row)}
    assert 0.05 < len(hidden) / len(corpus.world.seen) < 0.15
    assert rows
    assert not rows & hidden


@pytest.mark.parametrize("relation", BETWEEN_TWO)
def test_facts_of_a_pair_that_are_held_out_are_never_told(corpus, told, relation):
    pairs = {(a, b) for name, a, b in told if name == relation}
    assert len(pairs) > 300
    assert not any(corpus.geography.held_out(relation, a, b) for a, b in pairs)
    assert not any(corpus.geography.held_out(relation, b, a) for a, b in pairs)


def test_a_held_out_direction_does_not_slip_in_through_an_ordered_list(corpus):
    rng = np.random.default_rng(0)
    for _ in range(1000):
        rows = [row for _, _, row in corpus.geography.order(rng).spans]
        assert not any(corpus.geography.held_out("direction", a, b) for a in rows for b in rows if a != b)


def test_a_country_that_is_held_out_is_named_in_no_text_with_the_city_alone(corpus):
    rng, geo = np.random.default_rng(1), corpus.geography
    for _ in range(5000):
        text = geo.facts(rng)
        row = text.spans[0][2]
        if geo.held_out("country", row):
            assert f"is a city in {geo.country_of(row)['name']}" not in text.text


def test_an_unknown_relation_is_refused(corpus):
    with pytest.raises(KeyError, match=ABOUT_ONE[0]):
        corpus.geography.held_out("size", 0)


def test_distances_and_directions_are_those_of_the_globe(corpus):
    world = corpus.world
    london, paris = row_of(corpus, "London"), row_of(corpus, "Paris")
    assert world.km[london, paris] == pytest.approx(344, abs=2)
    assert world.direction(london, paris) == "south-east"
    assert world.direction(paris, london) == "north-west"


def test_a_rhumb_line_keeps_its_direction():
    assert bearing(40, -74, 40, -4) == pytest.approx(90)
    assert bearing(0, 10, 60, 10) == pytest.approx(0)
    # New York to London: 5,794 km on 78 degrees is the textbook answer
    assert bearing(40.71, -74.01, 51.51, -0.13) == pytest.approx(78, abs=0.6)


def test_directions_cross_the_antimeridian():
    assert bearing(0, 179, 0, -179) == pytest.approx(90)
    assert bearing(0, -179, 0, 179) == pytest.approx(270)


def test_stated_directions_and_distances_are_true(corpus):
    rng, world = np.random.default_rng(2), corpus.world
    for _ in range(500):
        text = corpus.geography.directions(rng)
        for fact in text.told:
            assert world.direction(fact.a, fact.b) in text.text
            km = world.km[fact.a, fact.b]
            assert rounded_km(km) >= 10
            assert km < 10 or abs(rounded_km(km) - km) <= (5 if km < 200 else 50 if km < 2000 else 500)


def test_neighbours_are_the_nearest_seen_cities(corpus):
    world = corpus.world
    for row in (0, 100, 1999):
        km = world.km[row].copy()
        km[row] = np.inf
        km[~world.cities["seen"].to_numpy()] = np.inf
        assert set(world.neighbours[row]) == set(np.argsort(km)[:8])


def test_unit_vectors_give_great_circle_distances():
    a, b = unit_xyz(np.array([90.0, 0.0]), np.array([10.0, 50.0]))
    assert np.arccos(a @ b) * EARTH_KM == pytest.approx(np.pi / 2 * EARTH_KM)


def test_the_split_of_a_city_does_not_depend_on_the_others():
    few, many = choose_cities(400), choose_cities(2000)
    both = few.merge(many, on="geonameid", suffixes=("_few", "_many"))
    assert len(both) > 300
    assert (both["seen_few"] == both["seen_many"]).all()


@pytest.mark.parametrize("kind", ["object", "string[python]", "string[pyarrow]"])
def test_the_cities_do_not_depend_on_how_pandas_holds_strings(kind, monkeypatch):
    """Engines of regular expressions differ in what a letter is, and with it the cities that texts are about."""
    from interp.atlas import world as module

    table = module.city_table()
    monkeypatch.setattr(module, "city_table", lambda: table.astype({"name": kind}))
    chosen = module.choose_cities(300)
    assert chosen["geonameid"].tolist() == default_world(300).cities["geonameid"].tolist()
    assert all(name.isascii() for name in chosen["name"])
