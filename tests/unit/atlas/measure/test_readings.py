"""What is read of the model for a city, against captures one prompt at a time."""

from __future__ import annotations

import numpy as np
import pytest

from interp.atlas.corpus import Geography
from interp.atlas.measure.readings import READINGS, Reading, hubs, read, sites_of
from interp.atlas.world import World, default_world
from interp.capturing import capture
from interp.testing import tiny_model

from .reciter import small_corpus

NAMES = ("Paris", "Lima", "Bogor", "Oslo")


@pytest.fixture(scope="module")
def model():
    return tiny_model(n_ctx=128)


def test_the_last_token_of_a_prompt_is_read(model):
    found = read(model, Reading("{name} is a city in", "last"), NAMES, [], ["resid_post.1"])["resid_post.1"]
    assert found.dtype == np.float64
    for name, mine in zip(NAMES, found, strict=True):
        alone = capture(model, [f"{name} is a city in"], "resid_post.1", pool="none")["resid_post.1"]
        np.testing.assert_allclose(mine, alone[-1], rtol=1e-4, atol=1e-5)


def test_a_name_is_the_mean_over_its_own_tokens(model):
    before = "Question: Where is"
    found = read(model, Reading(before + " {name} from {hub}?", "name"), NAMES, ["Lima"], ["resid_post.0"])
    for name, mine in zip(NAMES, found["resid_post.0"], strict=True):
        pieces = capture(model, [f"{before} {name} from Lima?"], "resid_post.0", pool="none")["resid_post.0"]
        text = f"{before} {name} from Lima?"
        places = model.tokenizer(text, return_offsets_mapping=True)["offset_mapping"][1:]  # behind BOS
        start = len(before) + 1
        own = [i for i, (a, b) in enumerate(places) if a < start + len(name) and b > start]
        assert 0 < len(own) < len(pieces)
        np.testing.assert_allclose(mine, pieces[own].mean(0), rtol=1e-4, atol=1e-5)


def test_a_prompt_with_hubs_is_the_mean_over_the_other_hubs(model):
    reading, site = Reading("{name} from {hub}?", "last"), "resid_post.1"
    found = read(model, reading, NAMES, ["Lima", "Oslo", "Quito"], [site])[site]

    def one(name, hub):
        return capture(model, [f"{name} from {hub}?"], site, pool="last")[site][0]

    paris = np.mean([one("Paris", hub) for hub in ("Lima", "Oslo", "Quito")], axis=0)
    lima = np.mean([one("Lima", hub) for hub in ("Oslo", "Quito")], axis=0)
    np.testing.assert_allclose(found[:2], [paris, lima], rtol=1e-4, atol=1e-5)


def test_what_follows_a_name_cannot_change_it(model):
    reading = Reading("{name} from {hub}?", "name")
    one, other = (read(model, reading, NAMES, [hub], ["resid_post.1"])["resid_post.1"] for hub in ("Lima", "Quito"))
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_the_embedding_is_read_of_the_bare_name_alone(model):
    layers = ["resid_post.0", "resid_post.1"]
    assert sites_of(model, READINGS[0]) == ["embed", *layers]
    assert [sites_of(model, reading) for reading in READINGS[1:]] == [layers] * 4


def test_hubs_are_large_seen_cities_of_different_continents():
    geo = small_corpus().geography
    found = hubs(geo)
    rows = [geo.names.index(name) for name in found]
    assert len({geo.country_of(row)["continent"] for row in rows}) == 3
    assert set(rows) <= set(geo.world.seen.tolist())
    assert rows[0] == geo.world.seen[0]  # the cities are in order of population


def test_a_world_of_one_continent_has_its_largest_cities_as_hubs():
    cities = default_world(400).cities
    asia = cities[cities["country"].isin(["CN", "IN", "JP"]) & cities["seen"]].reset_index(drop=True)
    assert hubs(Geography(World(asia))) == asia["name"].tolist()[:3]
