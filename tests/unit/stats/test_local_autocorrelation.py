from __future__ import annotations

import warnings
from itertools import permutations

import numpy as np
import pytest
from scipy import sparse

from interp.errors import InvalidInput
from interp.stats.autocorrelation import moran_i
from interp.stats.corrections import benjamini_hochberg
from interp.stats.local_autocorrelation import QUADRANTS, local_moran_i


def esda_local(x, W):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import esda
        from libpysal.weights import WSP, WSP2W

        w = WSP2W(WSP(sparse.csr_matrix(W)), silence_warnings=True)
        return esda.Moran_Local(x, w, transformation="O", permutations=0)


def test_local_i_and_quadrants_equal_esda(small_graph, mixed_features):
    result = local_moran_i(mixed_features, small_graph, permutations=9)
    for f in range(mixed_features.shape[1]):
        oracle = esda_local(mixed_features[:, f], small_graph)
        np.testing.assert_allclose(result.Is[:, f], oracle.Is, rtol=1e-10, atol=1e-12)
        np.testing.assert_array_equal(result.quadrant[:, f], oracle.q)


def test_local_i_sums_to_the_global_one(small_graph, mixed_features):
    local = local_moran_i(mixed_features, small_graph, permutations=9)
    total = local.Is.sum(axis=0) / 299 * 300 / small_graph.sum()
    np.testing.assert_allclose(total, moran_i(mixed_features, small_graph, permutations=0).I, rtol=1e-10)


def every_lag(z, i, weights):
    """All ordered choices of neighbours for place i, enumerated."""
    others = np.delete(z, i)
    return np.array([np.dot(weights, c) for c in permutations(others, len(weights))])


@pytest.mark.parametrize("even", [True, False])
def test_p_equals_enumeration_of_all_neighbourhoods(even):
    rng = np.random.default_rng(0)
    n, k = 9, 3
    dense = np.zeros((n, n))
    for i in range(n):
        others = rng.choice(np.delete(np.arange(n), i), k if i else 2, replace=False)
        dense[i, np.sort(others)] = 1.0 if even else rng.random(others.size)
    x = rng.integers(0, 4, n).astype(float) + np.arange(n) / 100
    result = local_moran_i(x[:, None], sparse.csr_array(dense), permutations=20_000, min_active=0)
    z = (x - x.mean()) / x.std()
    for i in range(n):
        neighbours = np.flatnonzero(dense[i])
        lags = every_lag(z, i, dense[i, neighbours])
        observed = dense[i, neighbours] @ z[neighbours]
        exact = min(1.0, 2 * min((lags >= observed - 1e-9).mean(), (lags <= observed + 1e-9).mean()))
        assert result.p[i, 0] == pytest.approx(exact, abs=0.03)


def test_draws_that_contain_the_place_are_left_out(small_graph, mixed_features):
    result = local_moran_i(mixed_features[:, :1], small_graph, permutations=2000)
    kept = result.n_perm[:, 0] / 2000
    np.testing.assert_allclose(kept.mean(), 1 - 6 / 300, atol=1e-3)
    assert (kept < 1).any()


def test_equal_and_unequal_weights_take_the_same_decision(small_graph, mixed_features):
    """Weights that differ in the twelfth digit go the slow way and must give the same p."""
    nudged = small_graph.copy()
    nudged.data = nudged.data * (1 + 1e-11 * np.arange(nudged.nnz))
    plain = local_moran_i(mixed_features, small_graph, permutations=500)
    slow = local_moran_i(mixed_features, nudged, permutations=500)
    np.testing.assert_allclose(slow.p, plain.p, atol=1e-12)


def test_a_sparse_random_feature_does_not_light_up_the_map(small_graph):
    rng = np.random.default_rng(0)
    X = np.zeros((300, 60))
    for f in range(60):
        X[rng.choice(300, 10 + f % 3, replace=False), f] = rng.lognormal(size=10 + f % 3)
    result = local_moran_i(X, small_graph, permutations=999)
    assert (result.p <= 0.05).mean() <= 0.05
    assert (result.p <= 0.01).mean() <= 0.012
    q = np.column_stack([benjamini_hochberg(p) for p in result.p.T])
    assert ((q <= 0.05).any(axis=0)).sum() <= 8  # features with any place, of 60


def test_a_silent_place_among_silent_places_has_p_one(small_graph):
    x = np.zeros((300, 1))
    x[:10] = 1.0
    result = local_moran_i(x, small_graph, permutations=999)
    quiet = (x[:, 0] == 0) & (small_graph @ x[:, 0] == 0)
    assert quiet.sum() > 150
    assert (result.p[quiet, 0] == 1.0).all()


def test_dense_noise_is_rejected_at_the_nominal_rate(small_graph):
    X = np.random.default_rng(1).normal(size=(300, 40))
    result = local_moran_i(X, small_graph, permutations=999)
    assert (result.p <= 0.05).mean() == pytest.approx(0.05, abs=0.01)


def test_a_planted_hot_spot_is_found_where_it_is(small_graph):
    rng = np.random.default_rng(0)
    reach = sparse.eye_array(300, format="csr") + small_graph
    spot = (reach @ reach)[[0]].toarray()[0] > 0
    x = rng.normal(size=300) * 0.3 + spot * 3.0
    result = local_moran_i(x[:, None], small_graph, permutations=4999)
    found = (benjamini_hochberg(result.p[:, 0]) <= 0.05) & (result.quadrant[:, 0] == QUADRANTS.index("HH"))
    assert found[spot].mean() > 0.6
    assert found[~spot].mean() < 0.05


def test_islands_and_values_at_the_mean_have_no_p(uneven_graph):
    x = np.tile([-1.0, 0.0, 1.0], 40)[:, None]
    result = local_moran_i(x, uneven_graph, permutations=99)
    empty = np.diff(uneven_graph.indptr) == 0
    assert empty[[5, 60]].all()
    assert (result.status[empty, 0] == "island").all()
    assert (result.status[~empty & (x[:, 0] == 0), 0] == "at_mean").all()
    untested = result.status[:, 0] != "ok"
    assert np.isnan(result.p[untested, 0]).all()
    assert np.isnan(result.Is[untested, 0]).all()
    assert np.isfinite(result.p[~untested, 0]).all()


def test_untestable_features_have_no_local_p(small_graph):
    X = np.random.default_rng(0).normal(size=(300, 4))
    X[:, 1] = 1.0
    X[0, 2] = np.nan
    X[:, 3] = np.eye(300)[0]
    result = local_moran_i(X, small_graph, permutations=9)
    assert result.status[0].tolist() == ["ok", "constant", "nan", "too_rare"]
    assert np.isnan(result.p[:, 1:]).all()
    assert (result.quadrant[:, 1:] == 0).all()


def test_a_feature_has_the_same_local_p_in_any_company(small_graph, mixed_features):
    whole = local_moran_i(mixed_features, small_graph, permutations=99)
    part = local_moran_i(sparse.csc_array(mixed_features[:, [7, 2]]), small_graph, permutations=99)
    assert part.p.tobytes() == np.ascontiguousarray(whole.p[:, [7, 2]]).tobytes()


def test_a_place_joined_to_all_others_is_refused():
    dense = np.ones((12, 12)) - np.eye(12)
    with pytest.raises(InvalidInput, match="nothing is left to draw"):
        local_moran_i(np.random.default_rng(0).normal(size=(12, 1)), sparse.csr_array(dense))


@pytest.mark.parametrize(("change", "message"), [({"permutations": 0}, "permutations=0"), ({"seed": -1}, "seed is -1")])
def test_options_out_of_range_are_refused(small_graph, mixed_features, change, message):
    with pytest.raises(InvalidInput, match=message):
        local_moran_i(mixed_features, small_graph, **change)
