"""Probes on planted activations: a map, countries alone, spelling alone, and nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from interp.atlas.measure.fit import great_circle_km, r2
from interp.atlas.measure.folds import cells
from interp.atlas.measure.places import EVERY, FOLDS, NEVER, ONE, SEVERAL, Places, guess, places_of, spelling_features
from interp.atlas.measure.probes import COUNTRY, FITTED, SPELLING, country_guesses, figures, probe_rows, probe_table
from interp.atlas.measure.readings import READINGS
from interp.atlas.measure.rows import COLUMNS, card_table
from interp.testing import tiny_model

from .reciter import small_corpus

RANDOM, COUNTRIES, CELLS = FOLDS


def world(n=600, n_countries=60, seed=0):
    """Cities around the centres of countries that lie anywhere."""
    rng = np.random.default_rng(seed)
    country = rng.integers(n_countries, size=n)
    centres = np.column_stack([rng.uniform(-60, 60, n_countries), rng.uniform(-160, 160, n_countries)])
    degrees = centres[country] + rng.normal(0, 4, size=(n, 2))
    rows = rng.permutation(n)
    names = tuple("".join(rng.choice(list("abcdefghijklmnop"), size=7)) for _ in range(n))
    return Places(np.sort(rows[50:]), np.sort(rows[:50]), rng.random(n - 50) < 0.5, degrees, country, names, seed)


def scores(places, x, **options):
    """R² of latitude and longitude under each kind of folds."""
    y, found = places.degrees[places.seen], guess(places, x, **options)
    return {name: [r2(y[:, i], g[:, i]) for i in (0, 1)] for name, g in found.seen.items()}, found


def test_a_linear_map_is_found_under_every_kind_of_folds():
    places, rng = world(), np.random.default_rng(1)
    x = places.degrees @ rng.standard_normal((2, 40)) + 5 * rng.standard_normal((600, 40))
    found, guessed = scores(places, x)
    assert all(value > 0.97 for values in found.values() for value in values)
    assert great_circle_km(places.degrees[places.never], guessed.never).mean() < 500


def test_a_code_for_countries_passes_random_folds_alone():
    places, rng = world(), np.random.default_rng(1)
    x = rng.standard_normal((60, 40))[places.country] + 0.1 * rng.standard_normal((600, 40))
    found, _ = scores(places, x)
    assert min(found[RANDOM]) > 0.6
    assert max(found[COUNTRIES]) < 0.1
    assert max(found[CELLS]) < min(found[RANDOM]) - 0.2  # a country reaches into cells that are not held out


def test_noise_is_worth_nothing_under_every_kind_of_folds():
    places = world()
    found, _ = scores(places, np.random.default_rng(1).standard_normal((600, 200)))
    assert all(-0.15 < value < 0.05 for values in found.values() for value in values)


def test_no_country_and_no_cell_is_split_by_the_folds_that_hold_it_out():
    places = world()
    where = cells(*places.degrees[places.seen].T)
    for groups, name in ((places.country[places.seen], COUNTRIES), (where, CELLS)):
        for group in set(groups.tolist()):
            assert len(set(places.folds[name][groups == group])) == 1
    assert any(len(set(places.folds[RANDOM][where == cell])) > 1 for cell in set(where.tolist()))


def test_a_name_that_spells_its_place_is_read_by_the_spelling_control():
    places = world()
    ends = [f"{'nsew'[int(c) % 4]}{'abcdefghijklmno'[int(c) // 4]}q" for c in places.country]
    spelled = tuple(name + end for name, end in zip(places.names, ends, strict=True))
    found, _ = scores(places, spelling_features(spelled), each=False)
    plain, _ = scores(places, spelling_features(places.names), each=False)
    assert min(found[RANDOM]) > 0.5
    assert max(plain[RANDOM]) < 0.05


def test_spelling_features_keep_what_all_n_grams_tell_of_two_names():
    from sklearn.feature_extraction.text import HashingVectorizer

    names = [f"{a}{b}ville" for a in "abcdefgh" for b in ("or", "un")] + ["Paris", "Lima"]
    counts = HashingVectorizer(analyzer="char_wb", ngram_range=(2, 4), n_features=2**16).transform(names)
    features = spelling_features(names)
    np.testing.assert_allclose(features @ features.T, (counts @ counts.T).toarray(), atol=1e-10)


def test_the_country_control_is_the_mean_of_the_countrys_other_cities():
    places = world(n=3000)
    known = country_guesses(places)
    assert set(known.seen) == {RANDOM}
    y, country, folds = places.degrees[places.seen], places.country[places.seen], places.folds[RANDOM]
    for row in range(0, len(y), 97):
        others = (country == country[row]) & (folds != folds[row])
        np.testing.assert_allclose(known.seen[RANDOM][row], y[others].mean(0), atol=1.5)


def test_every_figure_stands_beside_its_controls_and_is_of_its_own_cities():
    places, rng = world(), np.random.default_rng(2)
    x = places.degrees @ rng.standard_normal((2, 20)) + 60 * rng.standard_normal((600, 20))
    real, random, spelled = guess(places, x), guess(places, rng.standard_normal((600, 5))), guess(places, x[:, :3])
    table = pd.DataFrame(figures(places, real, random, spelled, ("a prompt", "resid_post.1")))
    assert len(table) == 3 * (len(FOLDS) + 2 + 1)
    y, at = places.degrees[places.seen], table.set_index(["folds", "cities", "measure"])
    for folds, cities, keep in ((CELLS, EVERY, slice(None)), (RANDOM, ONE, places.one_token)):
        row = at.loc[(folds, cities, "R² of longitude")]
        expected = [r2(y[keep, 1], g.seen[folds][keep, 1]) for g in (real, random, spelled)]
        assert [row["value"], row["random_weights"], row["baseline"]] == pytest.approx(expected)
        assert row["ci_low"] < row["value"] < row["ci_high"]
        assert row["n"] == len(y[keep])
        assert row["baseline_name"] == SPELLING
    row = at.loc[(RANDOM, SEVERAL, "median error")]
    several = ~places.one_token
    assert row["value"] == np.median(great_circle_km(y[several], real.seen[RANDOM][several]))
    assert row["baseline"] == np.median(great_circle_km(y[several], real.constant[RANDOM][several]))
    never = at.loc[(FITTED, NEVER, "R² of latitude")]
    assert never["value"] == pytest.approx(r2(places.degrees[places.never][:, 0], real.never[:, 0]))
    assert never["n"] == 50


def test_cities_without_spread_have_a_reason_and_no_figure():
    places = world()
    flat = Places(places.seen, places.never, places.one_token, places.degrees * [0.0, 1.0], places.country,
                  places.names, 0)  # fmt: skip
    found = guess(flat, np.random.default_rng(0).standard_normal((600, 4)))
    table = pd.DataFrame(figures(flat, found, None, None, ("a", "b"))).set_index(["folds", "cities", "measure"])
    row = table.loc[(RANDOM, EVERY, "R² of latitude")]
    assert np.isnan([row["value"], row["ci_low"], row["random_weights"], row["baseline"]]).all()
    assert row["status"] == "no spread in the coordinate"
    assert table.loc[(RANDOM, EVERY, "R² of longitude")]["status"] == "ok"


def test_names_that_are_all_of_one_token_leave_an_empty_group_with_a_reason():
    places = world()
    whole = Places(places.seen, places.never[:0], np.ones(550, dtype=bool), places.degrees, places.country,
                   places.names, 0)  # fmt: skip
    found = guess(whole, np.random.default_rng(0).standard_normal((600, 4)))
    table = pd.DataFrame(figures(whole, found, None, None, ("a", "b")))
    assert NEVER not in set(table["cities"])
    several = table[table["cities"] == SEVERAL]
    assert several["value"].isna().all()
    assert (several["n"] == 0).all()
    assert "ok" not in set(several["status"])


@pytest.fixture(scope="module")
def table():
    return probe_table(tiny_model(n_ctx=128), tiny_model(seed=1, n_ctx=128), small_corpus(), seed=0,
                       readings=READINGS[:2])  # fmt: skip


def test_every_site_of_every_reading_is_probed(table):
    sites = table.groupby("reading", sort=False)["site"].unique().map(list).to_dict()
    assert sites == {
        SPELLING: [""], COUNTRY: [""], READINGS[0].label: ["embed", "resid_post.0", "resid_post.1"],
        READINGS[1].label: ["resid_post.0", "resid_post.1"],
    }  # fmt: skip
    assert set(table["n"]) >= {len(small_corpus().world.seen), 250 - len(small_corpus().world.seen)}


def test_the_card_shows_the_best_site_of_each_reading_under_every_kind_of_folds(table):
    rows = probe_rows(table)
    assert set(card_table(rows).columns) == set(COLUMNS)
    judged = table[(table["folds"] == RANDOM) & (table["cities"] == EVERY) & (table["measure"] != "median error")]
    for reading in READINGS[:2]:
        means = judged[judged["reading"] == reading.label].groupby("site")["value"].mean()
        shown = [row for row in rows if reading.label in row["group"]]
        assert {row["group"].split(", ")[1] for row in shown} == {means.idxmax()}
        assert len(shown) == 3 * (len(FOLDS) + 3)
    assert sum(SPELLING in row["group"] for row in rows) == 3 * (len(FOLDS) + 3)
    assert sum(COUNTRY in row["group"] for row in rows) == 3 * 3


def test_the_whole_table_depends_on_the_seed_alone(table):
    again = probe_table(tiny_model(n_ctx=128), tiny_model(seed=1, n_ctx=128), small_corpus(), seed=0,
                        readings=READINGS[:2])  # fmt: skip
    pd.testing.assert_frame_equal(table, again, rtol=1e-9)


def test_places_know_which_names_are_one_token():
    corpus = small_corpus()
    places = places_of(tiny_model(n_ctx=128), corpus, seed=0)
    names = np.array(places.names)[places.seen][places.one_token]
    assert set(names) == {"Paris", "London", "Berlin"} & set(np.array(places.names)[places.seen])
    assert len(names)
    np.testing.assert_array_equal(np.sort(np.concatenate([places.seen, places.never])), np.arange(250))
