"""The tests of the study on made-up activations: what is planted is found, what is not is not."""

import numpy as np
import pandas as pd
import pytest
from geo_small import make_places
from scipy import sparse

from analyses.geospatial.confounds import place_covariates
from analyses.geospatial.study import (
    LATENT,
    NEURON,
    SHUFFLED,
    TRAINED,
    WITHIN,
    StudyConfig,
    condition_tests,
    country_labels,
    feature_tests,
    feature_values,
    local_tests,
    neighbour_summary,
    reach,
    shuffle_places,
    summarise,
    top_features,
    top_places,
)
from analyses.geospatial.verdicts import BY_COUNTRY, GEOGRAPHIC, UNTESTED, Context
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


def context_of(places):
    return Context(country_labels(places)[0], place_covariates(places))


@pytest.fixture(scope="module")
def tests(world):
    """All conditions but the twin, as the study runs them."""
    places, W, X = world
    units = {LATENT: sparse.csr_matrix(X), NEURON: X[:, ::-1].copy()}
    others = {16: spatial_weights(places, k=16)}
    parts = [
        condition_tests(c, units, W, CONFIG, context_of(places), others=others) for c in (TRAINED, SHUFFLED, WITHIN)
    ]
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

    for _, group in tests.groupby(["condition", "unit"]):
        for suffix in ("", "_geographic"):
            ok = group[group[f"p{suffix}"].notna()]
            assert len(ok) == FIELDS + NOISE
            expected = multipletests(ok[f"p{suffix}"], method="fdr_bh")[1]
            np.testing.assert_allclose(ok[f"q{suffix}"], expected, rtol=1e-9)


def test_constant_and_rare_features_have_no_p_and_are_never_on_top(tests):
    latents = part(tests, TRAINED, LATENT).set_index("feature")
    assert latents.loc[[FIELDS + NOISE, FIELDS + NOISE + 1], "status"].tolist() == ["constant", "too_rare"]
    for column in ("p", "q", "p_within_country", "p_residual", "p_geographic", "q_geographic"):
        assert latents.loc[FIELDS + NOISE :, column].isna().all()
    assert (latents.loc[FIELDS + NOISE :, "verdict"] == UNTESTED).all()
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
        verdicts = ("n_geographic", "n_by_country", "n_by_name", "n_undecided")
        assert sum(row[v] for v in verdicts) == passed.sum()
        assert row["n_geographic"] == (tested["q_geographic"] < 0.05).sum()
        assert row["share_geographic"] == row["n_geographic"] / len(tested)
    assert summary.loc[(TRAINED, LATENT), "n_geographic"] >= FIELDS
    assert summary.loc[(SHUFFLED, LATENT), "n_geographic"] == 0


def test_other_numbers_of_neighbours_stand_beside(world, tests):
    from analyses.geospatial.moran import moran

    places, _, X = world
    own = part(tests, TRAINED, LATENT)
    at_16 = moran(sparse.csr_matrix(X), spatial_weights(places, k=16), null="randomisation")
    np.testing.assert_allclose(own["I_k16"], at_16["I"])
    np.testing.assert_allclose(own["q_k16"], at_16["q"])
    table = neighbour_summary(tests, CONFIG).set_index(["condition", "unit", "k"])
    assert table.loc[(TRAINED, LATENT, 8), "spearman_with_study"] == 1
    assert table.loc[(TRAINED, LATENT, 16), "n_significant"] == (at_16["q"] < 0.05).sum()
    assert table.loc[(TRAINED, LATENT, 16), "spearman_with_study"] == pytest.approx(
        own["I"].corr(own["I_k16"], method="spearman")
    )


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


def test_a_feature_that_only_knows_the_country_is_explained_by_it():
    places, X = blocks_of_countries()
    table = feature_tests(X, spatial_weights(places, k=6), CONFIG, context_of(places))
    assert (table["q"] < 1e-6).all()
    assert (table.loc[:20, "verdict"] == BY_COUNTRY).all()
    assert np.isnan(table.loc[0, "p_within_country"])
    assert table.loc[21, "verdict"] == GEOGRAPHIC


def test_shuffling_within_countries_keeps_what_the_country_gives():
    places, X = blocks_of_countries()
    table = condition_tests(WITHIN, {LATENT: X}, spatial_weights(places, k=6), CONFIG, context_of(places))
    assert (table["q"].head(21) < 1e-6).all()
    assert not (table["verdict"] == GEOGRAPHIC).any()
    labels = places["country"].to_numpy(object)
    moved = shuffle_places(X, 0, groups=labels)
    assert (moved[:, 0] == X[:, 0]).all()
    assert (moved[:, 1] != X[:, 1]).mean() > 0.9
    for country in set(labels):
        assert sorted(moved[labels == country, 1]) == sorted(X[labels == country, 1])


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


def test_top_features_are_geographic_first_then_by_I_and_ties_by_number():
    frame = pd.DataFrame(
        {
            "condition": [TRAINED] * 6 + [SHUFFLED],
            "unit": LATENT,
            "feature": [9, 4, 1, 2, 3, 5, 6],
            "I": [0.5, 0.5, 0.9, 0.7, 0.99, np.nan, 1.0],
            "q": [0.01, 0.01, 0.02, 0.051, np.nan, np.nan, 0.001],
            "status": ["ok", "ok", "ok", "ok", "too_rare", "constant", "ok"],
            "verdict": [GEOGRAPHIC, GEOGRAPHIC, BY_COUNTRY, GEOGRAPHIC, UNTESTED, UNTESTED, GEOGRAPHIC],
        }
    )
    assert top_features(frame, CONFIG, unit=LATENT) == [4, 9, 1]
    assert top_features(frame, CONFIG, unit=LATENT, n=2) == [4, 9]
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
    places, W, _ = world
    tables = {
        "values": values,
        "places": top_places(values, places),
        "local": local_tests(values, W, CONFIG),
        "reach": reach(values, places, CONFIG),
    }
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


@pytest.mark.parametrize(
    "choice", [{"q_cut": 0}, {"q_cut": 5}, {"over": "text"}, {"pool": "sum"}, {"neighbours": (0,)}]
)
def test_a_choice_that_is_none_is_refused(choice):
    with pytest.raises(InvalidInput, match=next(iter(choice))):
        StudyConfig(**choice)
