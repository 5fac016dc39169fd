from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from analyses.geospatial.moran import local_moran, moran
from analyses.geospatial.small_p import min_p_moran
from analyses.geospatial.weights import spatial_weights
from interp.errors import InvalidInput
from interp.stats.corrections import benjamini_hochberg

N = 240


@pytest.fixture(scope="module")
def places() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(-60, 70, N), rng.uniform(-180, 180, N)
    return pd.DataFrame({"name": [f"p{i}" for i in range(N)], "lat": lat, "lon": lon})


@pytest.fixture(scope="module")
def weights(places):
    return spatial_weights(places, k=6)


@pytest.fixture(scope="module")
def X(places) -> np.ndarray:
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(N, 6))
    smooth = np.sin(np.radians(places["lat"].to_numpy()) * 2)[:, None] + 0.3 * rng.normal(size=(N, 2))
    rare = np.zeros((N, 1))
    rare[:3] = 1
    return np.hstack([smooth, noise, rare, np.full((N, 1), 7.0)])


def test_table_has_the_promised_columns(X, weights):
    table = moran(X, weights, permutations=99)
    assert (
        list(table.columns)
        == (
            "feature I I_scaled expected null_sd skew z p_analytic p_perm p p_source q n n_active density n_perm seed "
            "alternative null n_tests correction status"
        ).split()
    )
    assert table["feature"].tolist() == list(range(10))
    assert (table["n"] == N).all()
    assert table["density"].tolist()[-2:] == [3 / N, 1.0]


def test_planted_fields_pass_and_noise_does_not(X, weights):
    table = moran(X, weights)
    assert (table["q"][:2] < 1e-6).all()
    assert (table["p_source"][:2] == "pearson3").all()
    assert (table["q"][2:8] > 0.05).all()


def test_q_counts_the_tested_rows_alone(X, weights):
    table = moran(X, weights, permutations=99)
    assert table["status"].tolist()[-2:] == ["too_rare", "constant"]
    assert table[["p", "q", "I"]][-2:].isna().all(axis=None)
    assert (table["n_tests"] == 8).all()
    np.testing.assert_array_equal(table["q"][:8], benjamini_hochberg(table["p"][:8].to_numpy()))


def test_randomisation_null_draws_nothing(X, weights):
    table = moran(X, weights, null="randomisation")
    assert (table["n_perm"] == 0).all()
    assert table["p_perm"].isna().all()
    np.testing.assert_array_equal(table["p"], table["p_analytic"])


def test_permutation_null_reports_the_counted_p(X, weights):
    table = moran(X, weights, null="permutation", permutations=199)
    np.testing.assert_array_equal(table["p"], table["p_perm"])
    assert table["p"][:2].tolist() == [1 / 200] * 2
    assert table["p_source"].tolist() == ["permutation"] * 8 + ["", ""]


def test_auto_null_prefers_resolved_counts(X, weights):
    table = moran(X, weights, permutations=499)
    resolved = table["p_perm"] * 500 - 1 >= 10 - 1e-9
    assert resolved.sum() >= 4
    np.testing.assert_array_equal(table["p"][resolved], table["p_perm"][resolved])
    assert (table["p_source"][resolved] == "permutation").all()


def test_stratified_null_removes_what_the_groups_explain(places, weights):
    north = (places["lat"] > 0).to_numpy()
    x = (north + 0.5 * np.random.default_rng(1).normal(size=N))[:, None]
    free = moran(x, weights)
    within = moran(x, weights, null="stratified", groups=north)
    assert free["p"][0] < 1e-6
    assert within["p"][0] > 0.05
    assert within["p_source"][0] == "stratified_permutation"
    assert np.isnan(within["p_analytic"][0])
    assert within["expected"][0] > 0.1


def test_names_come_from_the_frame_or_the_argument(X, weights):
    frame = pd.DataFrame(X, columns=[f"latent {i}" for i in range(10)])
    assert moran(frame, weights, permutations=9)["feature"].tolist() == list(frame.columns)
    assert moran(sparse.csc_array(X), weights, permutations=9, names=range(5, 15))["feature"].tolist() == list(
        range(5, 15)
    )


def test_a_shard_gives_the_same_rows(X, weights):
    whole = moran(X, weights, permutations=99)
    shards = [moran(X[:, part], weights, permutations=99, names=part) for part in ([7, 0, 2], [9, 1, 3, 5, 4, 8, 6])]
    merged = pd.concat(shards).sort_values("feature", ignore_index=True)
    columns = [c for c in whole.columns if c not in ("q", "n_tests")]
    pd.testing.assert_frame_equal(merged[columns], whole[columns], check_exact=True)


def test_weights_may_come_from_libpysal_or_scipy(X, weights):
    expected = moran(X, weights, permutations=19)
    pd.testing.assert_frame_equal(moran(X, weights.csr, permutations=19), expected)
    pd.testing.assert_frame_equal(moran(X, weights.to_graph(), permutations=19), expected)


def test_i_scaled_is_one_for_the_smoothest_pattern(weights):
    dense = weights.csr.toarray()
    centre = np.eye(N) - 1 / N
    _, vectors = np.linalg.eigh(centre @ (dense + dense.T) / 2 @ centre)
    table = moran(vectors[:, [-1, -2]], weights, null="randomisation")
    np.testing.assert_allclose(table["I_scaled"][0], 1.0, rtol=1e-7)
    assert table["I_scaled"][1] < 1


def test_q_is_corrected_as_asked(X, weights):
    from statsmodels.stats.multitest import multipletests

    p = moran(X, weights)["p"].to_numpy()
    for correction, method in (("bh", "fdr_bh"), ("by", "fdr_by")):
        table = moran(X, weights, correction=correction)
        np.testing.assert_allclose(table["q"][:8], multipletests(p[:8], method=method)[1], rtol=1e-12)
        assert table["q"][8:].isna().all()
        assert set(table["correction"]) == {{"bh": "benjamini-hochberg", "by": "benjamini-yekutieli"}[correction]}


def test_min_p_is_that_of_its_own_table(X, weights):
    table, own = moran(X, weights, correction="minp", permutations=199), min_p_moran(X, weights, permutations=199)
    np.testing.assert_array_equal(table["q"], own["p_adjusted"])
    assert set(table["correction"]) == set(own["correction"]) == {"minP step-down"}
    assert (table["q"][:2] == 1 / 200).all()
    assert (table["q"][2:8] > 0.05).all()


BAD = {
    "null": ({"null": "randomization"}, "'randomisation'"),
    "groups without stratified": ({"groups": np.zeros(N)}, "go together"),
    "stratified without groups": ({"null": "stratified"}, "go together"),
    "no permutations": ({"null": "permutation", "permutations": 0}, "needs permutations"),
    "names": ({"names": ["a"]}, "names has 1 entries"),
    "correction": ({"correction": "bonferroni"}, r"\['bh', 'by', 'minp'\]"),
    "minp within groups": ({"correction": "minp", "null": "stratified", "groups": np.arange(N) % 2}, "use 'by'"),
}


@pytest.mark.parametrize("case", BAD)
def test_options_that_do_not_fit_are_refused(X, weights, case):
    options, message = BAD[case]
    with pytest.raises(InvalidInput, match=message):
        moran(X, weights, **options)


def test_local_table_labels_the_planted_hot_spot(places, weights):
    spot = ((places["lat"] > 20) & (places["lon"] > 90)).to_numpy()
    x = spot * 4.0 + np.random.default_rng(0).normal(size=N)
    table = local_moran(x[:, None], weights, names=["asia"], place_names=places["name"], permutations=1999)
    assert table["feature"].unique().tolist() == ["asia"]
    assert table["place"].tolist() == places["name"].tolist()
    hot = (table["cluster"] == "HH").to_numpy()
    assert hot[spot].mean() > 0.6
    assert hot[~spot].mean() < 0.05
    assert set(table["cluster"]) <= {"HH", "LL", "LH", "HL", "ns"}


def test_local_q_is_within_a_feature(X, weights):
    table = local_moran(X[:, :3], weights, permutations=199)
    for _, part in table.groupby("feature"):
        np.testing.assert_array_equal(part["q"], benjamini_hochberg(part["p"].to_numpy()))
        assert (part["n_tests"] == N).all()


def test_local_islands_are_drawn_as_islands(places):
    weights = spatial_weights(places, kind="band", km=500)
    table = local_moran(np.random.default_rng(0).normal(size=(N, 1)), weights, permutations=99)
    lonely = table.iloc[weights.islands]
    assert len(lonely) > 5
    assert (lonely["cluster"] == "island").all()
    assert lonely[["Is", "p", "q"]].isna().all(axis=None)
    assert table["n_tests"][0] == N - len(lonely)


def test_local_constant_feature_has_no_test(weights):
    table = local_moran(np.ones((N, 1)), weights, permutations=9)
    assert (table["cluster"] == "no test").all()
    assert (table["status"] == "constant").all()


@pytest.mark.parametrize(
    ("options", "message"), [({"alpha": 0}, "alpha=0"), ({"place_names": ["a"]}, "place_names has 1")]
)
def test_local_options_that_do_not_fit_are_refused(X, weights, options, message):
    with pytest.raises(InvalidInput, match=message):
        local_moran(X[:, :1], weights, **options)


def test_i_equals_esda_on_the_same_places(X, weights):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import esda

        oracle = [esda.Moran(X[:, f], weights.to_graph(), permutations=0).I for f in range(8)]
    np.testing.assert_allclose(moran(X, weights, null="randomisation")["I"][:8], oracle, rtol=1e-10)


def test_the_package_offers_the_function_and_not_the_module_of_its_name():
    import analyses.geospatial
    import analyses.geospatial.moran as module_or_function
    from analyses.geospatial import load_places

    assert analyses.geospatial.moran is moran
    assert callable(module_or_function)
    assert load_places.__module__ == "analyses.geospatial.places"
    with pytest.raises(AttributeError, match=r"it has: .*SpatialWeights"):
        analyses.geospatial.morans  # noqa: B018
