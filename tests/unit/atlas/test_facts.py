"""The facts of a world: what was told, what was held out, and fresh texts."""

import json
import sys
from itertools import islice

import numpy as np
import pandas as pd
import pytest

from interp.atlas.corpus.geography import ABOUT_ONE
from interp.atlas.facts import Facts, checkpoints, load_facts
from interp.atlas.world import choose_cities
from interp.errors import CorruptArtifact, InvalidInput


@pytest.fixture(scope="module")
def known() -> Facts:
    none = pd.DataFrame({"relation": [], "city": [], "other": [], "count": []})
    return Facts(choose_cities(300), none)


@pytest.fixture(scope="module")
def stated(known) -> set:
    """Every fact of 20,000 texts, those between two cities once."""
    told = {(t.relation, t.a, t.b) for text in islice(known.texts(5), 20_000) for t in text.told}
    return {(r, *(sorted((a, b)) if r == "near" else (a, b))) for r, a, b in told}


def test_no_fact_that_is_listed_as_held_out_is_told(known, stated):
    listed = set(known.held_out.itertuples(index=False, name=None))
    assert len(listed) > 150
    assert not listed & stated


def test_every_fact_of_a_city_that_exists_is_either_told_or_listed(known, stated):
    listed = set(known.held_out.itertuples(index=False, name=None))
    for row in known.corpus().world.seen.tolist():
        for relation in ("country", "continent", "climate", "hemisphere"):
            fact = (relation, row, -1)
            assert known.held_out_fact(relation, row) == (fact in listed)
    frequent = {("country", row, -1) for row in known.corpus().world.seen[:40].tolist()}
    assert frequent <= listed | stated


def test_each_relation_of_a_city_loses_about_a_tenth(known):
    shares = known.held_out[known.held_out["other"] == -1].groupby("relation").size() / len(known.corpus().world.seen)
    assert set(shares.index) == set(ABOUT_ONE)
    for relation in ("climate", "continent", "hemisphere"):
        assert 0.05 < shares[relation] < 0.17


def test_held_out_facts_are_of_cities_in_the_texts_and_listed_once(known):
    seen = known.cities["seen"].to_numpy()
    table = known.held_out
    assert seen[table["city"]].all()
    near = table[table["relation"] == "near"]
    assert (near["city"] < near["other"]).all()
    assert seen[near["other"]].all()
    assert (table.loc[table["relation"] != "near", "other"] == -1).all()
    assert not table.duplicated().any()


def test_held_out_pairs_are_so_either_way_round(known):
    seen = known.corpus().world.seen[:60].tolist()
    pairs = [(a, b) for a in seen for b in seen if a < b]
    for relation in ("direction", "clock", "near"):
        there = [known.held_out_fact(relation, a, b) for a, b in pairs]
        assert there == [known.held_out_fact(relation, b, a) for a, b in pairs]
        assert 0.07 < np.mean(there) < 0.13


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("nearby", 1, 2), r"Nearest: near"),
        (("near", 1), "takes two rows"),
        (("country", 1, 2), "takes one row"),
        (("country", 300), "0 to 299"),
        (("direction", -4, 2), "0 to 299"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(known, asked, message):
    with pytest.raises(InvalidInput, match=message):
        known.held_out_fact(*asked)


def test_fresh_texts_depend_on_the_seed_alone_and_carry_their_names(known):
    one, again, other = (list(islice(known.texts(seed), 50)) for seed in (1, 1, 2))
    assert [t.text for t in one] == [t.text for t in again]
    assert [t.text for t in one] != [t.text for t in other]
    names = known.cities["name"].tolist()
    mentions = [(t.text[start:end], names[row]) for t in one for start, end, row in t.spans]
    assert mentions
    assert all(found == name for found, name in mentions)


def test_fresh_texts_are_not_those_of_the_rows_of_the_same_seed(known):
    fresh = [t.text for t in islice(known.texts(0), 3)]
    for row in range(20):
        rng = np.random.default_rng(np.random.SeedSequence([0, row]))
        assert known.corpus().document(rng).text != fresh[0]


def test_the_table_of_skills_leaves_out_one_template_of_each(known):
    table = known.skills
    assert (table.groupby("skill")["seen"].sum() == 5).all()
    assert table["template"].nunique() == 6
    assert (table.loc[~table["seen"], "template"].value_counts() >= 2).all()


def test_translations_say_which_pairs_were_told(known):
    table = known.translations
    assert list(table.columns) == ["word", "language", "translation", "told"]
    assert set(table["language"]) == {"French", "Spanish", "German"}
    assert not table.duplicated(["word", "language"]).any()
    assert 0.05 < 1 - table["told"].mean() < 0.15
    assert table.set_index(["word", "language"]).loc[("dog", "German"), "translation"] == "Hund"


def test_word_pairs_and_ordinals_are_those_of_the_lexicon(known):
    assert known.pairs["plural"]["mouse"] == "mice"
    assert known.ordinals["days"][0][0] == "Monday"
    assert known.countries["FR"]["capital"] == "Paris"


def test_facts_that_are_missing_or_damaged_are_corrupt(tmp_path, known):
    with pytest.raises(CorruptArtifact, match="cannot be read"):
        load_facts(tmp_path)
    for name, table in (("cities", known.cities), ("told", known.told)):
        table.to_parquet(tmp_path / f"{name}.parquet")
    pd.testing.assert_frame_equal(load_facts(tmp_path).cities, known.cities)
    (tmp_path / "told.parquet").write_bytes(b"PAR1" + b"x" * 100)
    with pytest.raises(CorruptArtifact, match="cannot be read"):
        load_facts(tmp_path)


def test_checkpoints_are_listed_in_order_with_the_final_weights_last(tmp_path, monkeypatch):
    about = {
        "name": "atlas",
        "checkpoints": [{"step": 20, "tokens": 640}, {"step": 100, "tokens": 3200}],
        "training": {"log": [{"step": 50, "tokens": 1600}, {"step": 200, "tokens": 6400}]},
    }
    (tmp_path / "card.json").write_text(json.dumps(about))
    monkeypatch.setattr(sys.modules["interp.atlas.facts"], "folder", lambda: tmp_path)
    assert checkpoints().to_dict("list") == {
        "name": ["atlas@step20", "atlas@step100", "atlas"],
        "step": [20, 100, 200],
        "tokens": [640, 3200, 6400],
    }
