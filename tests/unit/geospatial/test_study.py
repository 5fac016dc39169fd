"""The tests of the study on made-up activations: what is planted is found, what is not is not."""

import numpy as np
import pandas as pd
import pytest
from geo_small import make_places
from scipy import sparse

from analyses.geospatial.activations import PlaceActivations
from analyses.geospatial.moran import moran
from analyses.geospatial.study import (
    LATENT,
    NEURON,
    SHUFFLED,
    TESTED,
    TRAINED,
    UNDECIDED,
    UNTESTED,
    StudyConfig,
    condition_tests,
    country_labels,
    feature_tests,
    feature_values,
    local_tests,
    shuffle_places,
    summarise,
    top_features,
    top_places,
)
from analyses.geospatial.weights import spatial_weights
from interp.errors import InvalidInput

CONFIG = StudyConfig()
N, FIELDS, NOISE = 300, 8, 200


@pytest.fixture(scope="module")
def world():
    """300 places, their weights, and 210 features: 8 fields, 200 noises at 10 % of places, 1 constant, 1 rare."""
    rng = np.random.default_rng(5)
    places = make_places(N, seed=5)
    xyz = np.column_stack([np.sin(np.radians(places["lat"])), np.cos(np.radians(places["lon"])), places["lon"] / 180])
    fields = np.maximum(xyz @ rng.standard_normal((3, FIELDS)) + 0.3 * rng.standard_normal((N, FIELDS)), 0)
    noise = rng.lognormal(size=(N, NOISE)) * (rng.random((N, NOISE)) < 0.1)
    rare = np.zeros((N, 2))
    rare[:9, 1] = 1.0
    X = np.hstack([fields, noise, rare]).astype(np.float32)
    return places, spatial_weights(places, k=8), X


@pytest.fixture(scope="module")
def acts(world):
    X = world[2]
    return PlaceActivations(sparse.csr_matrix(X), X[:, ::-1].copy(), np.ones(N, dtype=np.int64))


@pytest.fixture(scope="module")
def tests(world, acts):
    """All conditions but the twin, as the study runs them."""
    places, W, _ = world
    countries, _ = country_labels(places)
    parts = [condition_tests(c, acts, W, CONFIG, countries=countries) for c in (TRAINED, SHUFFLED)]
    return pd.concat(parts, ignore_index=True)


def part(tests, condition, unit):
    return tests[(tests["condition"] == condition) & (tests["unit"] == unit)].reset_index(drop=True)


def test_planted_fields_are_found_and_noise_is_not(tests):
    q = part(tests, TRAINED, LATENT)["q"]
    assert (q[:FIELDS] < 0.05).all()
    assert (q[FIELDS : FIELDS + NOISE] < 0.05).mean() <= 0.01


def test_shuffled_places_find_nothing(tests):
    for unit in (LATENT, NEURON):
        q = part(tests, SHUFFLED, unit)["q"].dropna()
        assert len(q) == FIELDS + NOISE
        assert (q < 0.05).mean() <= 0.01


def test_features_keep_their_numbers_whatever_unit_they_are(tests):
    latents, neurons = part(tests, TRAINED, LATENT), part(tests, TRAINED, NEURON)
    assert latents["feature"].tolist() == neurons["feature"].tolist() == list(range(FIELDS + NOISE + 2))
    np.testing.assert_allclose(latents["I"], neurons["I"][::-1], rtol=1e-9)
    assert latents["status"].tolist() == neurons["status"][::-1].tolist()


def test_q_is_corrected_within_one_condition_and_unit(tests):
    from statsmodels.stats.multitest import multipletests

    for (condition, _), group in tests.groupby(["condition", "unit"]):
        for suffix in ("", "_within_country") if condition == TRAINED else ("",):
            ok = group[group[f"p{suffix}"].notna()]
            expected = multipletests(ok[f"p{suffix}"], method="fdr_bh")[1]
            np.testing.assert_allclose(ok[f"q{suffix}"], expected, rtol=1e-9)


def test_constant_and_rare_features_have_no_p_and_are_never_on_top(tests):
    latents = part(tests, TRAINED, LATENT).set_index("feature")
    assert latents.loc[[FIELDS + NOISE, FIELDS + NOISE + 1], "status"].tolist() == ["constant", "too_rare"]
    for column in ("p", "q", "p_within_country", "q_within_country"):
        assert latents.loc[FIELDS + NOISE :, column].isna().all()
    assert not {FIELDS + NOISE, FIELDS + NOISE + 1} & set(top_features(tests, CONFIG, unit=LATENT, n=999))


def test_the_summary_counts_what_the_table_holds(tests):
    summary = summarise(tests, CONFIG).set_index(["condition", "unit"])
    for (condition, unit), group in tests.groupby(["condition", "unit"]):
        row = summary.loc[(condition, unit)]
        tested = group[group["q"].notna()]
        passed = tested["q"] < 0.05
        assert (row["n_features"], row["n_tested"], row["n_significant"]) == (len(group), len(tested), passed.sum())
        assert row["share_significant"] == passed.sum() / len(tested)
        assert row["max_I"] == tested["I"].max()
        assert row["n_I_above_0.3"] == (tested["I"] > 0.3).sum()
        if condition == TRAINED:
            assert row["n_within_country"] == (passed & (tested["q_within_country"] < 0.05)).sum() > 0
            assert row["within_country"] == TESTED
        else:
            assert np.isnan(row["n_within_country"])
            assert row["within_country"] == UNTESTED


def blocks_of_countries():
    """400 places in 8 countries, each a patch of its own, and a feature that copies the country."""
    rng = np.random.default_rng(2)
    country = np.repeat(np.arange(8), 50)
    places = pd.DataFrame(
        {
            "name": [f"p{i}" for i in range(400)],
            "lat": 10.0 * (country % 2) + rng.uniform(-3, 3, 400),
            "lon": 20.0 * (country // 2) + rng.uniform(-3, 3, 400),
            "country": [f"C{c}" for c in country],
        }
    )
    level = np.array([0, 3, 1, 2, 4, 0, 2, 5], dtype=float)[country]
    local = np.where(places["lat"] % 10 > 5, 1.0, 0.0)  # south of the middle of its country: any country
    noisy_copies = level[:, None] + 0.2 * rng.standard_normal((400, 20))
    return places, np.column_stack([level, noisy_copies, local])


def test_a_feature_that_only_knows_the_country_fails_within_countries():
    places, X = blocks_of_countries()
    table = feature_tests(X, spatial_weights(places, k=6), CONFIG, countries=country_labels(places)[0])
    assert (table["q"] < 1e-6).all()
    assert table.loc[0, "status_within_country"] == "constant_within_groups"
    assert np.isnan(table.loc[0, "p_within_country"])
    assert (table.loc[1:20, "q_within_country"] > 0.05).all()
    assert table.loc[21, "p_within_country"] == 1 / 1000


def test_the_columns_within_countries_belong_to_their_rows():
    places, X = blocks_of_countries()
    W, countries = spatial_weights(places, k=6), country_labels(places)[0]
    table = feature_tests(X, W, CONFIG, countries=countries)
    alone = moran(X[:, [21]], W, null="stratified", groups=countries)
    assert table.loc[21, "p_within_country"] == alone.loc[0, "p"]
    assert table.loc[21, "expected_within_country"] == alone.loc[0, "expected"]
    assert len(table) == X.shape[1]


def family(p_within, *, permutations=199, q=0.01):
    p = np.asarray(p_within, dtype=float)
    frame = pd.DataFrame({"condition": TRAINED, "unit": LATENT, "feature": range(len(p)), "I": 0.5, "n": 100})
    from interp.stats.corrections import benjamini_hochberg

    frame = frame.assign(status="ok", q=q, status_within_country="ok", p_within_country=p)
    frame["q_within_country"] = benjamini_hochberg(p)
    return summarise(frame, StudyConfig(permutations=permutations)).iloc[0]


def test_a_floor_of_the_permutations_is_not_reported_as_none_within_countries():
    row = family([1 / 200, *np.linspace(0.02, 1, 99)])  # the floor times 100 tests is 0.5: nothing could pass
    assert row["within_country"] == UNDECIDED
    assert np.isnan(row["n_within_country"])


def test_many_features_at_the_floor_pass_together():
    row = family([1 / 200] * 20 + [0.9] * 80)
    assert (row["within_country"], row["n_within_country"]) == (TESTED, 20)


def test_a_clear_failure_within_countries_is_a_count_of_zero():
    row = family(np.linspace(0.02, 1, 100))
    assert (row["within_country"], row["n_within_country"]) == (TESTED, 0)


def test_features_that_are_not_significant_leave_nothing_undecided():
    row = family([1 / 200, *np.linspace(0.02, 1, 99)], q=0.9)
    assert (row["within_country"], row["n_within_country"]) == (TESTED, 0)


def test_country_copies_alone_count_as_zero_within_countries():
    row = family([np.nan] * 5)
    assert (row["within_country"], row["n_within_country"]) == (TESTED, 0)


@pytest.mark.parametrize(
    ("countries", "why"),
    [
        (None, "no country"),
        (["A", "B", None, "A"], "1 of 4 places have no country"),
        (["A", " ", float("nan"), "A"], "2 of 4 places have no country"),
        (["A", "A", "A", "A"], "one country"),
        (["A", "B", "C", "D"], "no two places share"),
    ],
)
def test_without_usable_countries_there_is_no_test_within_them(countries, why):
    frame = pd.DataFrame({"name": list("abcd")})
    labels, said = country_labels(frame if countries is None else frame.assign(country=countries))
    assert labels is None
    assert why in said


def test_country_labels_follow_the_rows():
    frame = pd.DataFrame({"country": ["B", "A ", "B"]}, index=[7, 3, 5])
    labels, said = country_labels(frame)
    assert labels.tolist() == ["B", "A", "B"]
    assert "2 countries" in said


def test_shuffling_moves_whole_places_and_every_one(world):
    X = world[2]
    shuffled = shuffle_places(X, 0)
    np.testing.assert_array_equal(shuffle_places(sparse.csr_matrix(X), 0).toarray(), shuffled)
    assert sorted(map(bytes, shuffled)) == sorted(map(bytes, X))
    assert (shuffled != X).any(axis=1).mean() > 0.9
    assert (shuffle_places(X, 1) != shuffled).any()


def test_top_features_are_significant_ordered_by_I_and_ties_by_number():
    frame = pd.DataFrame(
        {
            "condition": [TRAINED] * 6 + [SHUFFLED],
            "unit": LATENT,
            "feature": [9, 4, 1, 2, 3, 5, 6],
            "I": [0.5, 0.5, 0.9, 0.7, 0.99, np.nan, 1.0],
            "q": [0.01, 0.01, 0.02, 0.051, np.nan, np.nan, 0.001],
            "status": ["ok", "ok", "ok", "ok", "too_rare", "constant", "ok"],
        }
    )
    assert top_features(frame, CONFIG, unit=LATENT) == [1, 4, 9]
    assert top_features(frame, CONFIG, unit=LATENT, n=2) == [1, 4]
    assert top_features(frame, CONFIG, unit=NEURON) == []


def test_top_places_are_those_of_the_rows_even_where_labels_say_otherwise():
    places = pd.DataFrame({"name": list("abcd"), "country": list("WXYZ")}, index=[3, 2, 1, 0])
    values = feature_values(np.array([[0.0, 1], [5, 1], [0, 3], [7, 1]]), [0, 1])
    top = top_places(values, places, n=3)
    assert top["feature"].tolist() == [0, 0, 1, 1, 1]
    assert top["name"].tolist() == ["d", "b", "c", "a", "b"]  # a place at 0 is not listed; ties in order
    assert top["country"].tolist() == ["Z", "X", "Y", "W", "X"]
    assert top["rank"].tolist() == [1, 2, 1, 2, 3]
    assert top["value"].tolist() == [7, 5, 3, 1, 1]


def test_values_of_chosen_features_are_those_columns_sparse_or_dense(world):
    X = world[2]
    for form in (X, sparse.csr_matrix(X)):
        values = feature_values(form, [7, 2])
        assert list(values.columns) == ["7", "2"]
        np.testing.assert_array_equal(values.to_numpy(), X[:, [7, 2]].astype(np.float64))


def test_no_feature_gives_empty_tables_that_can_be_stored(world, tmp_path):
    from interp.store import Store

    values = feature_values(sparse.csr_matrix(world[2]), [])
    tables = {"values": values, "places": top_places(values, world[0]), "local": local_tests(values, world[1], CONFIG)}
    with Store(tmp_path) as store:
        for name, table in tables.items():
            store.put(f"{name}.parquet", table)
            assert len(store.get(f"{name}.parquet")) == 0


def test_local_clusters_use_the_min_active_of_the_study(world):
    places, W, _ = world
    x = np.zeros((N, 1))
    x[np.argsort(places["lon"].to_numpy())[:6]] = 1.0
    values = feature_values(x, [0])
    assert (local_tests(values, W, CONFIG)["cluster"] == "no test").all()
    few = local_tests(values, W, StudyConfig(permutations=199, min_active=5))
    assert (few["status"] != "too_rare").all()
    assert few["place"].tolist() == list(range(N))


@pytest.mark.parametrize("q_cut", [0, 1, -0.1, 5])
def test_a_rate_that_is_none_is_refused(q_cut):
    with pytest.raises(InvalidInput, match="q_cut"):
        StudyConfig(q_cut=q_cut)
