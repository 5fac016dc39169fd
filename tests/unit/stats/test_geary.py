from __future__ import annotations

from dataclasses import fields
from itertools import permutations

import numpy as np
import pytest
from esda_oracle import equal_p, esda_run, esda_weights
from scipy import sparse

from interp.errors import InvalidInput
from interp.stats.geary import geary_c
from interp.stats.seeds import permutation_indices

FORMS = {"dense": np.asarray, "csc": sparse.csc_array}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("engine", ["numba", "numpy"])
def test_c_and_its_variance_equal_esda(small_graph, mixed_features, form, engine):
    import esda

    result = geary_c(FORMS[form](mixed_features), small_graph, permutations=0, engine=engine)
    w = esda_weights(small_graph)
    for f in range(mixed_features.shape[1]):
        x = mixed_features[:, f]
        oracle = esda_run(lambda p, x=x: esda.Geary(x, w, transformation="O", permutations=p))
        np.testing.assert_allclose(result.statistic[f], oracle.C, rtol=1e-10)
        np.testing.assert_allclose(result.null_sd[f] ** 2, oracle.VC_rand, rtol=1e-10)
        assert result.null_mean[f] == oracle.EC


def test_c_equals_esda_with_uneven_weights_and_islands(uneven_graph):
    import esda

    X = np.random.default_rng(0).normal(size=(120, 4))
    result = geary_c(X, uneven_graph, permutations=0)
    w = esda_weights(uneven_graph)
    for f in range(4):
        oracle = esda_run(lambda p, f=f: esda.Geary(X[:, f], w, transformation="O", permutations=p))
        np.testing.assert_allclose(
            [result.statistic[f], result.null_sd[f] ** 2], [oracle.C, oracle.VC_rand], rtol=1e-10
        )


@pytest.mark.parametrize("form", FORMS)
def test_counts_equal_esda_under_the_same_rearrangements(small_graph, mixed_features, form, monkeypatch):
    import esda

    draws = permutation_indices(300, 199, seed=11)
    result = geary_c(FORMS[form](mixed_features), small_graph, permutations=199, seed=11)
    w = esda_weights(small_graph)
    for f in range(mixed_features.shape[1]):
        x = mixed_features[:, f]
        oracle = esda_run(lambda p, x=x: esda.Geary(x, w, transformation="O", permutations=p), monkeypatch, draws)
        equal_p(oracle.sim, oracle.C, oracle.p_sim, result.at_least[f], 1e-7 * result.null_sd[f])


def test_moments_equal_all_rearrangements_of_seven_places():
    rng = np.random.default_rng(0)
    dense = rng.random((7, 7)) * (rng.random((7, 7)) < 0.6)
    np.fill_diagonal(dense, 0)
    x = rng.lognormal(size=7)
    every = [
        6 / (2 * dense.sum()) * (dense * (y[:, None] - y) ** 2).sum() / ((x - x.mean()) ** 2).sum()
        for y in map(np.array, permutations(x))
    ]
    result = geary_c(x[:, None], sparse.csr_array(dense), permutations=0, min_active=0)
    np.testing.assert_allclose([result.null_mean[0], result.null_sd[0]], [np.mean(every), np.std(every)], rtol=1e-10)


def test_clustered_features_have_c_below_one_and_a_small_p(small_graph):
    rng = np.random.default_rng(1)
    smooth = small_graph @ (small_graph @ rng.normal(size=(300, 3)))
    X = np.hstack([smooth, rng.normal(size=(300, 5))])
    result = geary_c(X, small_graph, permutations=199)
    assert (result.statistic[:3] < 0.7).all()
    assert (result.p_perm[:3] == 1 / 200).all()
    assert (geary_c(X, small_graph, permutations=199, alternative="less").p_perm[:3] > 0.99).all()


def rows_of(result, ids):
    arrays = [getattr(result, f.name) for f in fields(result)]
    return [a[ids].tobytes() for a in arrays if isinstance(a, np.ndarray)]


@pytest.mark.parametrize("form", FORMS)
def test_a_feature_has_the_same_bytes_in_any_company(small_graph, mixed_features, form):
    X = FORMS[form](mixed_features)
    whole, pick = geary_c(X, small_graph, permutations=99), [11, 2, 8, 0]
    assert rows_of(geary_c(X[:, pick], small_graph, permutations=99), slice(None)) == rows_of(whole, pick)


def test_both_engines_give_the_same_counts(small_graph, mixed_features):
    one, two = (geary_c(mixed_features, small_graph, permutations=99, engine=e) for e in ("numba", "numpy"))
    np.testing.assert_array_equal(one.at_least, two.at_least)
    np.testing.assert_allclose(one.statistic, two.statistic, rtol=1e-12)


def test_untestable_features_have_a_reason_and_no_p(small_graph):
    X = np.random.default_rng(0).normal(size=(300, 4))
    X[:, 1], X[7, 2] = 4.2, np.nan
    X[:, 3] = np.arange(300) < 3
    before = X.copy()
    result = geary_c(X, small_graph, permutations=19)
    assert result.status.tolist() == ["ok", "constant", "nan", "too_rare"]
    assert np.isnan(result.p_perm[1:]).all()
    assert np.isnan(result.statistic[1:]).all()
    assert result.n_perm.tolist() == [19, 0, 0, 0]
    np.testing.assert_array_equal(X, before)


def test_what_does_not_fit_is_refused(small_graph):
    with pytest.raises(InvalidInput, match="same places"):
        geary_c(np.zeros((10, 2)), small_graph)
    with pytest.raises(InvalidInput, match="alternative"):
        geary_c(np.zeros((300, 2)), small_graph, alternative="up")
    with pytest.raises(InvalidInput, match="permutations"):
        geary_c(np.zeros((300, 2)), small_graph, permutations=-1)
    with pytest.raises(InvalidInput, match="memory"):
        geary_c(np.zeros((300, 2)), small_graph, permutations=10**9)
