from __future__ import annotations

import warnings
from dataclasses import fields

import numpy as np
import pytest
from scipy import sparse

from interp.errors import InvalidInput
from interp.stats.autocorrelation import moran_i
from interp.stats.moran_graph import MoranGraph
from interp.stats.seeds import permutation_indices

FORMATS = {"dense": np.asarray, "csc": sparse.csc_array, "csr": sparse.csr_matrix, "float32": lambda x: x.astype("f4")}


def esda_moran(x, W, monkeypatch=None, draws=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import esda
        from libpysal.weights import WSP, WSP2W

        w = WSP2W(WSP(sparse.csr_matrix(W)), silence_warnings=True)
        if draws is None:
            return esda.Moran(x, w, transformation="O", permutations=0)
        rows = iter(draws)
        monkeypatch.setattr(np.random, "permutation", lambda z: z[next(rows)])
        return esda.Moran(x, w, transformation="O", permutations=len(draws))


@pytest.mark.parametrize("form", FORMATS)
def test_i_and_its_variance_equal_esda(small_graph, mixed_features, form):
    result = moran_i(FORMATS[form](mixed_features), small_graph, permutations=0)
    for f in range(mixed_features.shape[1]):
        oracle = esda_moran(
            FORMATS[form](mixed_features)[:, f] if form == "float32" else mixed_features[:, f], small_graph
        )
        tolerance = 1e-6 if form == "float32" else 1e-10
        np.testing.assert_allclose(result.I[f], oracle.I, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(result.null_sd[f] ** 2, oracle.VI_rand, rtol=max(tolerance, 1e-9))
        np.testing.assert_allclose(result.expected[f], oracle.EI, rtol=1e-12)


def test_i_equals_esda_with_uneven_weights_and_islands(uneven_graph):
    X = np.random.default_rng(0).normal(size=(120, 5))
    result = moran_i(X, uneven_graph, permutations=0)
    for f in range(5):
        oracle = esda_moran(X[:, f], uneven_graph)
        np.testing.assert_allclose([result.I[f], result.null_sd[f] ** 2], [oracle.I, oracle.VI_rand], rtol=1e-9)


@pytest.mark.parametrize("form", ["dense", "csc"])
def test_counts_equal_esda_under_the_same_rearrangements(small_graph, mixed_features, form, monkeypatch):
    draws = permutation_indices(300, 199, seed=11)
    result = moran_i(FORMATS[form](mixed_features), small_graph, permutations=199, seed=11)
    for f in range(mixed_features.shape[1]):
        oracle = esda_moran(mixed_features[:, f], small_graph, monkeypatch, draws)
        tie = 1e-7 * result.null_sd[f]
        assert result.at_least[f] == (oracle.sim >= oracle.I - tie).sum()
        assert result.at_most[f] == (oracle.sim <= oracle.I + tie).sum()
        if (
            np.ptp(oracle.sim) > 0 and (np.abs(oracle.sim - oracle.I) > tie).all()
        ):  # esda's own p: no ties, smaller tail
            smaller = min(result.at_least[f], 199 - result.at_least[f])
            assert (1 + smaller) / 200 == pytest.approx(oracle.p_sim, rel=1e-12)


def test_same_column_gives_the_same_numbers_dense_and_sparse(small_graph, mixed_features):
    dense, csc = (moran_i(FORMATS[form](mixed_features), small_graph, permutations=99) for form in ("dense", "csc"))
    for name in ("I", "null_sd", "skew", "p_perm", "p_analytic", "at_least", "at_most", "n_active"):
        np.testing.assert_array_equal(getattr(dense, name), getattr(csc, name))


def rows_of(result, ids):
    return [
        getattr(result, f.name)[ids].tobytes()
        for f in fields(result)
        if isinstance(getattr(result, f.name), np.ndarray)
    ]


@pytest.mark.parametrize("form", ["dense", "csc"])
@pytest.mark.parametrize("pick", [[3], [9], [11, 2, 8, 0], list(range(11, -1, -1))], ids=str)
def test_a_feature_has_the_same_bytes_in_any_company(small_graph, mixed_features, form, pick):
    X = FORMATS[form](mixed_features)
    whole = moran_i(X, small_graph, permutations=99, max_permutations=999)
    assert rows_of(moran_i(X[:, pick], small_graph, permutations=99, max_permutations=999), slice(None)) == rows_of(
        whole, pick
    )


def test_more_than_one_block_of_features_changes_nothing(small_graph):
    X = np.random.default_rng(5).normal(size=(300, 150))
    whole = moran_i(X, small_graph, permutations=19)
    alone = [moran_i(X[:, [f]], small_graph, permutations=19) for f in (0, 63, 64, 149)]
    assert [rows_of(a, slice(None)) for a in alone] == [rows_of(whole, [f]) for f in (0, 63, 64, 149)]


def test_permutations_in_small_batches_give_the_same_counts(small_graph, mixed_features, monkeypatch):
    whole = moran_i(mixed_features, small_graph, permutations=99)
    monkeypatch.setattr("interp.stats.autocorrelation._PERMUTED_PLACES", 300 * 7)
    assert rows_of(moran_i(mixed_features, small_graph, permutations=99), slice(None)) == rows_of(whole, slice(None))


def test_inputs_are_not_changed(small_graph, mixed_features):
    X, csc, W = mixed_features.copy(), sparse.csc_array(mixed_features), small_graph.copy()
    csc.data[3] = 0.0  # an explicit zero stays where the caller put it
    before = csc.data.copy()
    moran_i(X, W, permutations=9)
    moran_i(csc, W, permutations=9)
    np.testing.assert_array_equal(X, mixed_features)
    np.testing.assert_array_equal(csc.data, before)
    assert (small_graph != W).nnz == 0


def test_an_explicit_zero_is_a_zero(small_graph, mixed_features):
    csc = sparse.csc_array(mixed_features)
    padded = csc.copy()
    padded.data[padded.indptr[8]] = 0.0
    plain = mixed_features.copy()
    plain[csc.indices[csc.indptr[8]], 8] = 0.0
    assert rows_of(moran_i(padded, small_graph, permutations=9), slice(None)) == rows_of(
        moran_i(plain, small_graph, permutations=9), slice(None)
    )


@pytest.mark.parametrize("form", ["dense", "csc"])
def test_features_that_cannot_be_tested_get_a_reason_and_no_p(small_graph, form):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 7))
    X[:, 1] = 4.2
    X[:, 2] = 0.0
    X[7, 3] = np.nan
    X[7, 4] = np.inf
    X[:, 5] = np.eye(300)[:9].sum(axis=0)  # fires on nine places
    X[:, 6] = 1.0 - np.eye(300)[:9].sum(axis=0) * rng.random()  # silent on nine places
    result = moran_i(FORMATS[form](X), small_graph, permutations=19, alternative="two-sided")
    assert result.status.tolist() == ["ok", "constant", "constant", "nan", "nan", "too_rare", "too_rare"]
    for name in ("I", "z", "p_perm", "p_analytic", "expected"):
        assert np.isnan(getattr(result, name)[1:]).all()
        assert np.isfinite(getattr(result, name)[0])
    assert (result.n_perm[1:] == 0).all()


def test_ten_active_places_are_enough(small_graph):
    X = np.zeros((300, 1))
    X[::30] = 1.0
    assert moran_i(X, small_graph, permutations=9).status[0] == "ok"


@pytest.mark.parametrize("factor", [1e-200, 1e-30, 1e30, 1e200])
def test_scale_does_not_matter(small_graph, mixed_features, factor):
    plain, scaled = (moran_i(x, small_graph, permutations=19) for x in (mixed_features, mixed_features * factor))
    np.testing.assert_allclose(scaled.I, plain.I, rtol=1e-9)
    np.testing.assert_array_equal(scaled.at_least, plain.at_least)


def test_a_large_offset_does_not_drown_the_variation(small_graph):
    x = np.random.default_rng(0).integers(0, 100, size=(300, 1)).astype(float)
    plain, shifted = (moran_i(v, small_graph, permutations=0) for v in (x, x + 2.0**50))
    np.testing.assert_allclose(shifted.I, plain.I, rtol=1e-12)


def test_a_smooth_field_is_found_and_noise_is_not(small_graph):
    rng = np.random.default_rng(0)
    smooth = rng.normal(size=(300, 1))
    for _ in range(5):
        smooth = small_graph @ smooth
    result = moran_i(np.hstack([smooth, rng.normal(size=(300, 1))]), small_graph)
    assert result.I[0] > 0.7
    assert result.p_perm[0] == 0.001
    assert result.p_analytic[0] < 1e-20
    assert result.p_perm[1] > 0.05


def test_tails_are_complementary(small_graph, mixed_features):
    up, down, both = (
        moran_i(mixed_features, small_graph, permutations=99, alternative=a) for a in ("greater", "less", "two-sided")
    )
    np.testing.assert_array_equal(both.p_perm, np.minimum(1, 2 * np.minimum(up.p_perm, down.p_perm)))
    np.testing.assert_allclose(up.p_perm * 100 - 1, up.at_least, rtol=1e-12)
    np.testing.assert_allclose(down.p_perm * 100 - 1, down.at_most, rtol=1e-12)


def test_unresolved_features_go_on_and_resolved_ones_stop(small_graph):
    rng = np.random.default_rng(0)
    smooth = small_graph @ (small_graph @ rng.normal(size=(300, 1)))
    X = np.hstack([smooth, rng.normal(size=(300, 1))])
    result = moran_i(X, small_graph, permutations=99, max_permutations=5000)
    np.testing.assert_array_equal(result.n_perm, [5000, 99])
    assert result.p_perm[0] == 1 / 5001
    np.testing.assert_array_equal(result.at_least[1], moran_i(X, small_graph, permutations=99).at_least[1])


def test_going_on_equals_starting_with_more(small_graph):
    smooth = small_graph @ np.random.default_rng(0).normal(size=(300, 1))
    grown = moran_i(smooth, small_graph, permutations=99, max_permutations=999)
    assert rows_of(grown, slice(None)) == rows_of(moran_i(smooth, small_graph, permutations=999), slice(None))


def test_a_region_effect_passes_the_free_null_and_not_the_stratified_one(small_graph):
    rng = np.random.default_rng(0)
    field = rng.normal(size=300)
    for _ in range(20):
        field = small_graph @ field
    groups = np.digitize(field, np.quantile(field, [0.25, 0.5, 0.75]))
    X = (groups + rng.normal(size=300) * 0.7)[:, None]
    assert moran_i(X, small_graph).p_perm[0] == 0.001
    assert moran_i(X, small_graph, groups=groups).p_perm[0] > 0.05


def test_a_feature_constant_within_groups_has_no_stratified_p(small_graph):
    groups = np.repeat(["a", "b", "c"], 100)
    X = np.column_stack([np.repeat([0.0, 5.0, 1.0], 100), np.arange(300.0)])
    result = moran_i(X, small_graph, groups=groups, permutations=19)
    assert result.status.tolist() == ["constant_within_groups", "ok"]
    assert np.isnan(result.p_perm[0])
    assert np.isnan(result.p_analytic).all()


def test_stratified_expectation_comes_from_the_permutations(small_graph):
    groups = np.repeat([0, 1], 150)
    X = np.repeat([0.0, 9.0], 150)[:, None] + np.random.default_rng(0).normal(size=(300, 1))
    draws = permutation_indices(300, 199, seed=0, groups=groups)
    z = X[:, 0] - X.mean()
    sims = np.array([z[d] @ (small_graph @ z[d]) for d in draws]) / (z @ z)
    result = moran_i(X, small_graph, groups=groups, permutations=199)
    np.testing.assert_allclose([result.expected[0], result.null_sd[0]], [sims.mean(), sims.std()], rtol=1e-4)


BAD = {
    "rows": (lambda X, W: (X[:-1], W, {}), "299 places"),
    "one feature as a vector": (lambda X, W: (X[:, 0], W, {}), r"x\[:, None\]"),
    "text": (lambda X, W: (X.astype(str), W, {}), "real numbers"),
    "weights on the diagonal": (lambda X, W: (X, W + sparse.eye_array(300), {}), "themselves"),
    "dense weights": (lambda X, W: (X, W.toarray(), {}), "scipy sparse"),
    "no weights": (lambda X, W: (X, W * 0, {}), "no place has a neighbour"),
    "weights not finite": (lambda X, W: (X, W * np.nan, {}), "NaN"),
    "not square": (lambda X, W: (X, W[:, :-1], {}), "places x places"),
    "alternative": (lambda X, W: (X, W, {"alternative": "larger"}), "alternative='larger'"),
    "negative permutations": (lambda X, W: (X, W, {"permutations": -1}), "permutations=-1"),
    "max below first": (lambda X, W: (X, W, {"max_permutations": 5}), "max_permutations=5"),
    "groups of another length": (lambda X, W: (X, W, {"groups": np.zeros(3)}), "one label a place"),
    "missing group": (lambda X, W: (X, W, {"groups": [None] + ["a"] * 299}), "1 missing labels"),
    "groups of one": (lambda X, W: (X, W, {"groups": np.arange(300)}), "coarser"),
    "groups without permutations": (lambda X, W: (X, W, {"groups": np.zeros(300), "permutations": 0}), "stratified"),
    "engine": (lambda X, W: (X, W, {"engine": "gpu"}), "engine='gpu'"),
    "min_active": (lambda X, W: (X, W, {"min_active": -1}), "min_active is -1"),
    "seed": (lambda X, W: (X, W, {"seed": -1}), "seed is -1"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_computed_is_refused_by_name(small_graph, mixed_features, case):
    make, message = BAD[case]
    X, W, options = make(mixed_features, small_graph)
    with pytest.raises(InvalidInput, match=message):
        moran_i(X, W, **options)


def test_a_prepared_graph_gives_the_same_numbers(small_graph, mixed_features):
    prepared = moran_i(mixed_features, MoranGraph.from_weights(small_graph), permutations=19)
    assert rows_of(prepared, slice(None)) == rows_of(moran_i(mixed_features, small_graph, permutations=19), slice(None))


def test_no_features_is_an_empty_result(small_graph):
    assert moran_i(np.empty((300, 0)), small_graph).I.shape == (0,)
