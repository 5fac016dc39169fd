"""The text generator: seeded, true to the map, and silent about the cities held out."""

import numpy as np
import pytest

from interp.atlas import lexicon
from interp.atlas.corpus import MIXTURE, Corpus, Text
from interp.atlas.world import EARTH_KM, World, bearing, choose_cities, default_world, unit_xyz


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus(default_world())


@pytest.fixture(scope="module")
def texts(corpus) -> list[Text]:
    return [corpus.document(3, number) for number in range(3000)]


def row_of(corpus: Corpus, name: str) -> int:
    return corpus.geography.names.index(name)


def test_a_document_depends_on_seed_and_number_alone(corpus, texts):
    assert [corpus.document(3, n).text for n in (2999, 17)] == [texts[2999].text, texts[17].text]
    assert corpus.document(4, 17).text != texts[17].text


def test_spans_cover_the_names_of_the_cities(corpus, texts):
    spans = [(t.text[start:end], corpus.geography.names[row]) for t in texts for start, end, row in t.spans]
    assert len(spans) > 3000
    assert all(text == name for text, name in spans)


def test_held_out_cities_are_never_mentioned(corpus, texts):
    seen = corpus.world.cities["seen"].to_numpy()
    assert 0.05 < (~seen).mean() < 0.15
    assert all(seen[row] for t in texts for _, _, row in t.spans)


def test_no_coordinate_is_written(corpus, texts):
    cities = corpus.world.cities
    for t in texts:
        for _, _, row in t.spans:
            assert f"{cities['lat'].iat[row]:.1f}" not in t.text


def test_shares_of_kinds_follow_the_mixture(texts):
    kinds = [t.kind.split("/")[0] for t in texts]
    for kind, share in MIXTURE.items():
        assert kinds.count(kind) / len(kinds) == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / len(kinds)))


def test_distances_and_directions_are_those_of_the_globe(corpus):
    world = corpus.world
    london, paris = row_of(corpus, "London"), row_of(corpus, "Paris")
    assert world.km[london, paris] == pytest.approx(344, abs=2)
    assert world.direction(london, paris) == "south-east"
    assert world.direction(paris, london) == "north-west"


def test_directions_cross_the_antimeridian():
    assert bearing(0, 179, 0, -179) == pytest.approx(90)
    assert bearing(0, -179, 0, 179) == pytest.approx(270)


def test_neighbours_are_the_nearest_seen_cities(corpus):
    world = corpus.world
    for row in (0, 100, 1199):
        km = world.km[row].copy()
        km[row] = np.inf
        km[~world.cities["seen"].to_numpy()] = np.inf
        assert set(world.neighbours[row]) == set(np.argsort(km)[:8])


def test_unit_vectors_give_great_circle_distances():
    a, b = unit_xyz(np.array([90.0, 0.0]), np.array([10.0, 50.0]))
    assert np.arccos(a @ b) * EARTH_KM == pytest.approx(np.pi / 2 * EARTH_KM)


def test_the_split_of_a_city_does_not_depend_on_the_others():
    few, many = choose_cities(400), choose_cities(1200)
    both = few.merge(many, on="geonameid", suffixes=("_few", "_many"))
    assert len(both) > 300
    assert (both["seen_few"] == both["seen_many"]).all()


def test_told_relations_point_at_cities_of_the_text(texts):
    for t in texts:
        mentioned = {row for _, _, row in t.spans}
        assert all(city in mentioned and (other == -1 or other in mentioned) for _, city, other in t.told)


@pytest.mark.parametrize("skill", ["country of", "capital of", "next", "translate", "count", "opposite"])
def test_a_task_states_its_question_and_answer(corpus, skill):
    text = corpus.tasks.document(np.random.default_rng(0), skill).text
    assert text.startswith("Question: ")
    assert "Answer: " in text


def test_ordinal_classes_are_what_they_say():
    assert lexicon.ORDINALS["roman numerals"][0][:6] == ["I", "II", "III", "IV", "V", "VI"]
    assert lexicon.ORDINALS["number words"][0][20] == "twenty-one"
    assert len(lexicon.ORDINALS["months"][0]) == 12
    assert all(len(set(members)) == len(members) for members, _ in lexicon.ORDINALS.values())


def test_a_small_world_stands_alone():
    world = World(choose_cities(60))
    assert Corpus(world).document(0, 1).text
