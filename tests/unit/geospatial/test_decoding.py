"""Planted positions are found under every way of holding out, local memories and noise under none that is strict."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from geo_worlds import make_world, planted, waves, xyz_of
from scipy import sparse
from sklearn.linear_model import Ridge

from analyses.geospatial.decode_run import SCHEMES, geo_probe
from analyses.geospatial.decode_tables import FEATURES, MEAN
from analyses.geospatial.decoding import (
    ALPHAS,
    constant_guesses,
    decode_all,
    exchanged,
    great_circle_km,
    make_task,
    permutation_columns,
    proximity_error,
    score_guesses,
    to_degrees,
)
from analyses.geospatial.decoding_folds import place_schemes
from analyses.geospatial.weights import unit_vectors
from interp.errors import InvalidInput

QUICK = {"permutations": 19, "n_boot": 100, "buffer_km": 1000.0}


@pytest.fixture(scope="module")
def world():
    return make_world(30, 15)


def scores(x, places, **options):
    """Return the rows of the features by scheme."""
    table = geo_probe(x, places, **{**QUICK, **options}).table
    return table[table["condition"] == FEATURES].set_index("scheme")


def task_of(places, name, **options):
    (scheme,) = place_schemes(places, [name], **options)
    return make_task(scheme, places, permutations=19, n_boot=100, seed=0)


def test_london_is_344_km_from_paris():
    london_and_anchorage = unit_vectors([51.5074, 61.2181], [-0.1278, -149.9])
    paris_and_tokyo = unit_vectors([48.8566, 35.6762], [2.3522, 139.65])
    far = great_circle_km(london_and_anchorage, paris_and_tokyo)
    np.testing.assert_allclose(far, [343.6, 5564], atol=3)


def test_latitude_and_longitude_keep_their_places(world):
    predictions = geo_probe(planted(world, noise=1e-6), world, cv=["country"], **QUICK).tables["predictions"]
    np.testing.assert_allclose(predictions["lat_guess"], predictions["lat"], atol=0.1)
    np.testing.assert_allclose(predictions["lon_guess"], predictions["lon"], atol=1.0)
    assert (predictions["name"] == world["name"].to_numpy()[predictions["place"]]).all()
    lat, lon = to_degrees(3.0 * unit_vectors([10.0, -80.0], [170.0, -35.0]))
    np.testing.assert_allclose([*lat, *lon], [10.0, -80.0, 170.0, -35.0])


def test_the_antimeridian_is_no_border():
    rng = np.random.default_rng(0)
    places = pd.DataFrame({"lat": rng.uniform(-20, 20, 200), "lon": (rng.uniform(170, 190, 200) + 180) % 360 - 180})
    table = scores(planted(places, noise=0.01), places, cv=["block"], deg=5)
    assert table.loc["block", "mean_km"] < 100
    assert great_circle_km(unit_vectors([0], [179.5]), unit_vectors([0], [-179.5]))[0] == pytest.approx(111.2, abs=0.1)


def test_a_planted_map_is_found_under_every_scheme(world):
    table = scores(planted(world), world)
    assert list(table.index) == list(SCHEMES)
    assert (table["r2"] > 0.98).all()
    assert (table["leakage_gap"].drop("random").abs() < 0.01).all()
    assert (table["p"] == 0.05).all()
    assert (table["proximity_error"] < 0.02).all()
    assert (table["ci_low"] < table["median_km"]).all()
    assert (table["median_km"] < table["ci_high"]).all()


def test_noise_is_found_under_none():
    p, r2 = [], []
    for seed in range(16):
        places = make_world(15, 6, seed=seed)
        x = np.random.default_rng(seed).standard_normal((len(places), 6))
        table = scores(x, places, n_folds=5, n_boot=0, seed=seed)
        p += table["p"].dropna().tolist()
        r2.append(table["r2"])
    assert np.nanmean(r2) < 0
    assert np.nanmax(r2) < 0.15
    assert 0.4 < np.mean(p) < 0.65
    assert np.mean(np.array(p) < 0.11) < 0.2  # a level of .1


def test_a_memory_of_places_passes_random_folds_alone():
    world = make_world()
    table = scores(waves(world, 300, km=450, seed=1), world, cv=["buffered", "country", "random"], permutations=0)
    assert table.loc["random", "r2"] > 0.95
    assert table.loc["country", "r2"] <= 0
    assert table.loc["buffered", "r2"] <= 0
    assert table.loc["country", "leakage_gap"] > 0.9


def test_the_country_alone_passes_random_folds_alone(world):
    table = scores(pd.get_dummies(world["country"]).to_numpy(float), world)
    assert table.loc["random", "r2"] > 0.95
    assert table.loc["country", "r2"] <= 0
    assert table.loc["country", "p"] > 0.1


def test_two_smooth_fields_that_are_independent_part_with_a_buffer():
    rng = np.random.default_rng(0)
    places = pd.DataFrame({"lat": rng.uniform(-40, 40, 500), "lon": rng.uniform(-80, 80, 500)})
    found: dict[str, list] = {}
    for seed in range(1, 4):
        x, y = (waves(places, n, km=1000, seed=s) for n, s in ((100, seed), (3, 100 + seed)))
        for scheme in place_schemes(places, ["block", "buffered", "random"], deg=40, buffer_km=2000, n_folds=8):
            task = make_task(scheme, places, permutations=19, n_boot=0, seed=0)
            task = dataclasses.replace(task, y=y)
            decoded = decode_all(x, [task])[scheme.name]
            row = (score_guesses(decoded.guesses, task)["r2"], permutation_columns(decoded.skill)["p"])
            found.setdefault(scheme.name, []).append(row)
    r2, p = ({name: np.mean([row[i] for row in rows]) for name, rows in found.items()} for i in (0, 1))
    assert r2["random"] > 0.8
    assert r2["block"] < 0.3
    assert r2["buffered"] < 0.1
    assert p["random"] < 0.06
    assert p["buffered"] > 0.3


def test_guesses_are_those_of_refits_by_scikit_learn():
    rng = np.random.default_rng(0)
    places = pd.DataFrame({"lat": rng.uniform(-40, 40, 90), "lon": rng.uniform(-80, 80, 90)})
    x, y = planted(places, noise=0.5), xyz_of(places)
    task = task_of(places, "buffered", deg=20, buffer_km=500, n_folds=4)
    scheme, everyone = task.scheme, np.arange(len(places))
    penalties = ALPHAS * (np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2).mean()
    expected = np.empty_like(y)
    assert any(len(fold.left) > len(fold.scored) for fold in scheme.folds)

    def refit(out, rows, alpha):
        stay = np.setdiff1d(everyone, out)
        return Ridge(alpha=alpha, solver="svd").fit(x[stay], y[stay]).predict(x[rows])

    for fold in scheme.folds:
        error = np.zeros(len(penalties))
        for other in scheme.folds:
            rows = np.setdiff1d(other.scored, fold.left)
            if other is not fold and len(rows):
                out = np.concatenate([fold.left, other.left])
                error += [((refit(out, rows, alpha) - y[rows]) ** 2).sum() for alpha in penalties]
        expected[fold.scored] = refit(fold.left, fold.scored, penalties[error.argmin()])
    np.testing.assert_allclose(decode_all(x, [task])["buffered"].guesses, expected, rtol=0, atol=1e-8)


def test_proximity_error_counts_the_places_that_are_nearer(world):
    truth = xyz_of(world)[::7]
    guesses = np.random.default_rng(0).standard_normal(truth.shape)
    expected = []
    for i, guess in enumerate(guesses):
        km = great_circle_km(np.tile(guess, (len(truth), 1)), truth)
        expected.append((np.delete(km, i) < km[i]).mean())
    np.testing.assert_allclose(proximity_error(guesses, truth), expected)
    some = np.arange(0, len(truth), 3)
    np.testing.assert_allclose(proximity_error(guesses[some], truth, some), np.array(expected)[some])
    assert proximity_error(truth, truth).max() == 0


def test_scores_and_intervals_are_those_of_a_plain_loop(world):
    task = task_of(world, "country")
    truth = task.y[task.scheme.scored]
    guesses = truth + 0.2 * np.random.default_rng(0).standard_normal(truth.shape)
    found = score_guesses(guesses, task)
    km, draws = great_circle_km(guesses, truth), task.draws

    def r2(rows):
        return 1 - ((truth[rows] - guesses[rows]) ** 2).sum() / ((truth[rows] - truth[rows].mean(axis=0)) ** 2).sum()

    assert found["r2"] == pytest.approx(r2(np.arange(len(km))))
    assert found["median_km"] == pytest.approx(np.median(km))
    assert draws is not None
    resampled = [np.repeat(np.arange(len(km)), times[draws.block].astype(int)) for times in draws.times]
    for name, values in (
        ("r2_ci", [r2(rows) for rows in resampled]),
        ("mean_ci", [km[rows].mean() for rows in resampled]),
        ("ci", [np.sort(km[rows])[(len(rows) - 1) // 2] for rows in resampled]),
    ):
        expected = np.percentile(values, [2.5, 97.5])
        np.testing.assert_allclose([found[f"{name}_low"], found[f"{name}_high"]], expected, err_msg=name)


def test_the_constant_guess_is_the_mean_of_the_others(world):
    task = task_of(world, "country")
    table = geo_probe(planted(world), world, cv=["country"], **QUICK).table.set_index("condition")
    fold = task.scheme.folds[0]
    rest = np.setdiff1d(np.arange(len(world)), fold.left)
    np.testing.assert_allclose(constant_guesses(task.y, task.scheme)[fold.scored[0]], xyz_of(world)[rest].mean(axis=0))
    assert table.loc[MEAN, "r2"] < 0


def test_groups_are_exchanged_in_one_piece():
    groups = np.array([0, 1, 0, 2, 1, 2, 2])
    for order in exchanged(groups, 20, seed=0):
        assert sorted(order) == list(range(7))
        read = groups[order][np.argsort(groups, kind="stable")]
        assert (np.diff(read) != 0).sum() == 2


def test_given_places_are_judged_by_the_others_and_take_no_part_elsewhere(world):
    x, test = planted(world), np.arange(len(world)) % 5 == 0
    y = xyz_of(world)
    result = geo_probe(x, world, cv=["given", "random"], test=test, **QUICK)
    table = result.table[result.table["condition"] == FEATURES].set_index("scheme")
    assert table.loc["given", "n"] == test.sum()
    assert table.loc["given", "n_train"] == (~test).sum()
    assert table.loc["random", "n"] == (~test).sum()
    assert np.isnan(table.loc["given", "leakage_gap"])
    alpha = table.loc["given", "alpha"]
    guess = Ridge(alpha=alpha, solver="svd").fit(x[~test], y[~test]).predict(x[test])
    given = result.tables["predictions"].query("scheme == 'given'")
    np.testing.assert_array_equal(given["place"], np.flatnonzero(test))
    np.testing.assert_allclose(given["km"], great_circle_km(guess, y[test]), rtol=1e-7)


def test_sparse_features_are_as_dense_ones(world):
    x = np.maximum(planted(world), 0) * (np.arange(12) != 4)
    whole, sparse_ = (scores(v, world, cv=["country"], permutations=0) for v in (x, sparse.csr_matrix(x)))
    np.testing.assert_allclose(whole["r2"], sparse_["r2"], rtol=1e-6)


def test_more_features_than_places_are_no_trouble():
    places = make_world(8, 8)
    table = scores(planted(places, d=200), places, cv=["country", "random"], permutations=5)
    assert (table["r2"] > 0.95).all()


def test_what_cannot_be_done_has_a_status_and_no_number(world):
    one_country = world.assign(country="A", continent=None)
    table = scores(planted(world), one_country)
    assert table.loc["country", "status"] == "too few groups (1; at least 3)"
    assert table.loc["continent", "status"] == "too few groups (0; at least 3)"
    assert table.loc[["country", "continent"], ["r2", "median_km", "p", "q"]].isna().all(axis=None)
    bare = scores(planted(world), world[["lat", "lon"]])
    assert bare.loc["country", "status"] == "no country known"
    constant = scores(np.ones((len(world), 3)), world)
    assert (constant["status"] == "constant features").all()
    eaten = scores(planted(world), world, cv=["buffered"], buffer_km=20000.0)
    assert "places stay to fit on" in eaten.loc["buffered", "status"]
    assert scores(planted(world[:2]), world[:2], cv=["random"]).loc["random", "status"] == "too few places (2)"


def test_places_without_a_country_take_no_part_in_that_scheme(world):
    some = world.assign(country=world["country"].where(np.arange(len(world)) % 3 > 0))
    table = scores(planted(world), some, cv=["block", "country"])
    assert table.loc["country", "n"] == some["country"].notna().sum()
    assert table.loc["block", "n"] == len(world)


def test_continents_come_from_iso_codes():
    codes = ["FR", "DE", "JP", "CN", "BR", "AR", "XX"]
    places = pd.DataFrame({"lat": np.linspace(-50, 50, 70), "lon": np.linspace(-170, 170, 70), "country": codes * 10})
    (scheme,) = place_schemes(places, ["continent"])
    assert len(scheme.rows) == 60
    assert len(np.unique(scheme.groups)) == 3


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"cv": ["blok"]}, "Nearest: 'block'"),
        ({"cv": ["given"]}, "belong together"),
        ({"cv": ["given"], "test": [1, 0]}, "test is bool"),
        ({"deg": 0}, "0 < deg"),
        ({"alphas": [0.0]}, "above 0"),
        ({"seed": -1}, "seed is -1"),
        ({"baselines": {"short": np.ones((3, 2))}}, "short has shape"),
        ({"baselines": {FEATURES: np.ones((3, 2))}}, "may not be called"),
    ],
)
def test_bad_input_is_refused_by_name(world, change, match):
    with pytest.raises(InvalidInput, match=match):
        geo_probe(planted(world), world, **change)


def test_features_that_are_no_numbers_are_refused(world):
    x = planted(world)
    x[7, 2] = np.nan
    with pytest.raises(InvalidInput, match="NaN or infinity in 1 of its 450 rows, the first in row 7"):
        geo_probe(x, world)
