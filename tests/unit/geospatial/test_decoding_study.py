"""The study of a model's layers: its conditions, its choice of a site, its units, and what is drawn from it."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from geo_small import make_places
from geo_worlds import make_world, planted, xyz_of

from analyses.geospatial import decode_run
from analyses.geospatial.decode_baselines import COUNTRY, NGRAMS, TOKENS, name_ngrams, principal, token_counts
from analyses.geospatial.decode_run import decoding_study, unmentioned_cities
from analyses.geospatial.decode_tables import BASELINE, CHOSEN, EMBED, MEAN, RANDOM, TRAINED, choose_sites, fold_numbers
from analyses.geospatial.decode_view import decoding_figures, decoding_sentences
from analyses.geospatial.decoding import decode_all, great_circle_km, make_task
from analyses.geospatial.decoding_folds import place_schemes
from analyses.geospatial.prompts import make_prompts
from interp.capturing import capture
from interp.errors import InvalidInput, UnknownSite
from interp.result import Result
from interp.stats.ridge import ridge_path
from interp.store import Store

QUICK = {"permutations": 5, "n_boot": 50, "n_folds": 4, "buffer_km": 300.0}


@pytest.fixture(scope="module")
def places():
    return make_places(90).assign(continent=lambda p: np.where(p["lon"] > 0, "east", "west"))


@pytest.fixture(scope="module")
def held_out():
    return make_places(20, seed=9).drop(columns="country")


@pytest.fixture(scope="module")
def decoded(small, places, held_out):
    return decoding_study(small.model, places, held_out=held_out, twin=small.twin, pool="mean", **QUICK)


def test_every_condition_has_a_row_under_every_scheme(decoded):
    sites = [EMBED, "resid_post.0", "resid_post.1"]
    pairs = {(c, s) for c in (TRAINED, RANDOM) for s in [*sites, CHOSEN]}
    pairs |= {(BASELINE, s) for s in (NGRAMS, TOKENS, COUNTRY, MEAN)}
    assert list(dict.fromkeys(decoded.table["scheme"])) == [
        "block", "buffered", "country", "continent", "given", "random",
    ]  # fmt: skip
    for _, part in decoded.table.groupby("scheme"):
        assert len(part) == len(pairs)
        assert set(zip(part["condition"], part["site"], strict=True)) == pairs
    failed = decoded.table["status"] != "ok"
    assert set(decoded.table.loc[failed, "scheme"]) == {"continent"}
    tested = ~failed & (decoded.table["site"] != MEAN)
    assert (decoded.table["p"].notna() == tested).all()
    assert (decoded.table.loc[tested, "q"] >= decoded.table.loc[tested, "p"] - 1e-12).all()


def test_spelling_that_knows_the_hemisphere_is_found_in_model_and_baselines(decoded):
    random = decoded.table[decoded.table["scheme"] == "random"].set_index(["condition", "site"])
    for pair in ((TRAINED, EMBED), (TRAINED, CHOSEN), (BASELINE, NGRAMS), (BASELINE, TOKENS)):
        assert random.loc[pair, "r2"] > 0.15, pair
    assert abs(random.loc[(BASELINE, MEAN), "r2"]) < 0.1


def test_held_out_places_are_judged_by_a_probe_on_all_the_others(small, places, held_out, decoded):
    row = decoded.table.set_index(["scheme", "condition", "site"]).loc[("given", TRAINED, "resid_post.1")]
    both = pd.concat([places, held_out], ignore_index=True)
    prompts = make_prompts(both)
    acts = capture(small.model, prompts.texts, "resid_post.1", pool="mean", spans=prompts.spans)
    x, y = np.asarray(acts["resid_post.1"], np.float64), xyz_of(both)
    guess = ridge_path(x[:90], y[:90], [row["alpha"]]).predict(x[90:])[0]
    assert row["n"] == 20
    assert row["median_km"] == pytest.approx(np.median(great_circle_km(guess, y[90:])), rel=1e-4)


def test_the_site_is_chosen_without_the_fold_that_it_is_judged_on():
    world = make_world(12, 8)
    (scheme,) = place_schemes(world, ["country"], n_folds=4)
    task = make_task(scheme, world, permutations=5, n_boot=0, seed=0)
    good, bad = planted(world), np.random.default_rng(0).standard_normal((len(world), 12))
    found = {
        (TRAINED, site): decode_all(x, [task]) for site, x in ((EMBED, good), ("z.0", bad), ("resid_post.0", good))
    }
    chosen, taken = choose_sites(found, [task])
    assert taken[["site", "n_folds"]].to_numpy().tolist() == [["resid_post.0", 4]]
    one = chosen[TRAINED, CHOSEN]["country"]
    np.testing.assert_array_equal(one.guesses, found[TRAINED, "resid_post.0"]["country"].guesses)
    both = [found[TRAINED, site]["country"].skill for site in ("z.0", "resid_post.0")]
    np.testing.assert_array_equal(one.skill, np.max(both, axis=0))
    # two sites that each know some places: each fold takes the one that did better on the other folds
    inner = [np.array([1.0, 3.0, 1.0, 3.0]), np.full(4, 2.0)]
    found = {
        (TRAINED, site): {"country": dataclasses.replace(decode["country"], inner_error=error)}
        for (site, decode), error in zip(
            (("a", found[TRAINED, "z.0"]), ("b", found[TRAINED, EMBED])), inner, strict=True
        )
    }
    one, folds = choose_sites(found, [task])[0][TRAINED, CHOSEN]["country"], fold_numbers(scheme)
    for fold, site in enumerate("abab"):
        own = found[TRAINED, site]["country"].guesses[folds == fold]
        np.testing.assert_array_equal(one.guesses[folds == fold], own)


def test_a_killed_study_goes_on_and_gives_the_same(small, places, tmp_path, monkeypatch, fixed_commit):
    options = {"twin": small.twin, "sites": ["resid_post.1"], "cv": ["block", "random"], **QUICK}
    whole = decoding_study(small.model, places, **options)
    real, done = decode_run.decode_all, []

    def killed(x, tasks):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(x.shape)
        return real(x, tasks)

    with Store(tmp_path / "run") as store:
        monkeypatch.setattr(decode_run, "decode_all", killed)
        with pytest.raises(KeyboardInterrupt):
            decoding_study(small.model, places, store=store, **options)
        monkeypatch.setattr(decode_run, "decode_all", lambda x, tasks: done.append(x.shape) or real(x, tasks))
        again = decoding_study(small.model, places, store=store, **options)
        assert len(done) == 7  # two sites of two models, three baselines, none of them twice
        monkeypatch.setattr(decode_run, "decode_all", None)
        monkeypatch.setattr(decode_run, "capture", None)
        third = decoding_study(small.model, places, store=store, **options)
    for result in (again, third):
        pd.testing.assert_frame_equal(result.table, whole.table)
        assert result.provenance == whole.provenance


def test_a_result_is_saved_with_all_its_tables(decoded, tmp_path):
    decoded.save(tmp_path / "result")
    loaded = Result.load(tmp_path / "result")
    pd.testing.assert_frame_equal(loaded.table, decoded.table)
    assert set(loaded.tables) == {"predictions", "sites"}
    assert loaded.plot() is not None


def test_what_is_drawn_is_what_the_table_says(decoded):
    figures = decoding_figures(decoded)
    assert list(figures) == ["decoding_layers", "decoding_schemes", "decoding_map"]
    table = decoded.table[(decoded.table["status"] == "ok") & (decoded.table["condition"] == TRAINED)]
    upper = figures["decoding_layers"].axes[0]
    rows = table[(table["scheme"] == "block") & (table["site"] != CHOSEN)]
    np.testing.assert_allclose(upper.get_lines()[0].get_ydata(), rows["median_km"])
    assert [t.get_text() for t in upper.get_xticklabels()] == ["emb.", "0", "1"]
    chosen = table[table["site"] == CHOSEN]
    np.testing.assert_allclose(figures["decoding_schemes"].axes[0].get_lines()[0].get_xdata(), chosen["median_km"])
    (km,) = chosen.loc[chosen["scheme"] == "block", "median_km"]
    headline, null = decoding_sentences(decoded)
    assert f"median error of {km:,.0f} km" in headline
    assert headline.index("blocks of 10°") < headline.index("random folds")
    assert "random weights" in null
    assert "5 shuffles" in null


def test_nothing_to_decode_is_said(small, places):
    result = decoding_study(small.model, places[["name", "lat", "lon"]], twin=small.twin, cv=["country"], **QUICK)
    assert set(result.table["status"]) == {"no country known"}
    assert decoding_sentences(result)[0] == "The position of places could not be tested."
    assert decoding_figures(result) == {}


def test_a_template_that_tells_the_country_is_marked(small, places):
    options = {"twin": small.twin, "sites": [], "cv": ["random"], **QUICK}
    result = decoding_study(small.model, places, template="{name}, {country}", **options)
    assert result.provenance["gives_region"]
    assert "may stand in the prompt" in result.notes[0]


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"pool": "max"}, InvalidInput, "'last' or 'mean'"),
        ({"sites": ["resid_post.7"]}, UnknownSite, r"resid_post\.7"),
        ({"template": "city"}, InvalidInput, "exactly once"),
        ({"cv": ["given"]}, InvalidInput, "belong together"),
    ],
)
def test_bad_input_is_refused_by_name(small, places, change, error, match):
    with pytest.raises(error, match=match):
        decoding_study(small.model, places, twin=small.twin, **{**QUICK, **change})


def test_n_grams_and_tokens_are_counted_in_the_name_alone(small):
    places = pd.DataFrame({"name": ["Zuzka", "Bobbob", "Oslo"]})
    alone, within = (token_counts(small.model, make_prompts(places, t)).toarray() for t in ("{name}", "{name} is it"))
    n_tokens = [len(small.model.tokenizer(name, add_special_tokens=False)["input_ids"]) for name in places["name"]]
    np.testing.assert_array_equal(alone.sum(axis=1), n_tokens)
    np.testing.assert_array_equal(alone, within)
    grams = name_ngrams(["Paris", "Parma", "Oslo"])
    assert grams[0] @ grams[1] > grams[0] @ grams[2]


def test_principal_scores_keep_the_products_of_rows():
    counts = np.random.default_rng(0).poisson(1.0, (40, 8)) @ np.random.default_rng(1).poisson(1.0, (8, 60))
    scores = principal(counts, seed=0, k=8)
    assert scores.shape == (40, 8)
    np.testing.assert_allclose(scores @ scores.T, counts @ counts.T, rtol=1e-6, atol=1e-6)


def test_cities_that_no_text_mentions_are_there():
    cities = unmentioned_cities()
    assert len(cities) == 166
    assert {"Shanghai"} <= set(cities["name"])
