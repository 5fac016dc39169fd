from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from esda_oracle import equal_p, esda_run, esda_weights
from scipy import sparse

from interp.errors import InvalidInput
from interp.stats.getis_ord import getis_ord_g, getis_ord_local
from interp.stats.local_autocorrelation import local_moran_i
from interp.stats.seeds import permutation_indices

FORMS = {"dense": np.asarray, "csc": sparse.csc_array}


@pytest.fixture(scope="module")
def binary_graph(small_graph):
    return sparse.csr_array((np.ones(small_graph.nnz), small_graph.indices, small_graph.indptr), small_graph.shape)


@pytest.fixture(scope="module")
def positive(mixed_features):
    return np.abs(mixed_features)


@pytest.mark.parametrize("form", FORMS)
def test_g_and_its_moments_equal_esda(binary_graph, positive, form):
    import esda

    result = getis_ord_g(FORMS[form](positive), binary_graph, permutations=0)
    w = esda_weights(binary_graph)
    for f in range(positive.shape[1]):
        oracle = esda_run(lambda p, f=f: esda.G(positive[:, f], w, permutations=p))
        np.testing.assert_allclose(result.statistic[f], oracle.G, rtol=1e-10)
        np.testing.assert_allclose(result.null_mean[f], oracle.EG, rtol=1e-12)
        np.testing.assert_allclose(result.null_sd[f] ** 2, oracle.VG, rtol=1e-8, atol=1e-16)  # theirs cancels


def test_variance_of_g_equals_all_rearrangements_of_seven_places():
    rng = np.random.default_rng(0)
    dense = rng.random((7, 7)) * (rng.random((7, 7)) < 0.6)
    np.fill_diagonal(dense, 0)
    x = rng.lognormal(size=7)
    every = [y @ dense @ y / (x.sum() ** 2 - (x**2).sum()) for y in map(np.array, permutations(x))]
    result = getis_ord_g(x[:, None], sparse.csr_array(dense), permutations=0, min_active=0)
    np.testing.assert_allclose([result.null_mean[0], result.null_sd[0]], [np.mean(every), np.std(every)], rtol=1e-10)


def test_counts_of_g_equal_esda_under_the_same_rearrangements(binary_graph, positive, monkeypatch):
    import esda

    draws = permutation_indices(300, 99, seed=2)
    result = getis_ord_g(positive, binary_graph, permutations=99, seed=2)
    w = esda_weights(binary_graph)
    for f in range(positive.shape[1]):
        oracle = esda_run(lambda p, f=f: esda.G(positive[:, f], w, permutations=p), monkeypatch, draws)
        equal_p(oracle.sim, oracle.G, oracle.p_sim, result.at_least[f], 1e-7 * result.null_sd[f])


def test_a_feature_with_negative_values_is_not_tested(binary_graph, positive):
    X = positive.copy()
    X[3, 0] = -0.1
    for form in FORMS.values():
        result = getis_ord_g(form(X), binary_graph, permutations=9)
        assert result.status.tolist() == ["negative"] + ["ok"] * 11
        assert np.isnan(result.p_perm[0])


@pytest.mark.parametrize("star", [True, False])
def test_local_z_equals_esda_on_binary_weights(binary_graph, positive, star):
    import esda

    result = getis_ord_local(positive, binary_graph, star=star, permutations=9)
    w = esda_weights(binary_graph, binary=True)
    for f in range(positive.shape[1]):
        oracle = esda_run(lambda p, f=f: esda.G_Local(positive[:, f], w, transform="B", star=star, permutations=p))
        np.testing.assert_allclose(result.z[:, f], oracle.Zs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("star", [True, False])
def test_local_z_is_standard_over_random_neighbours(star):
    """Draw the neighbours of one place at random, weights uneven: z has mean 0 and variance 1."""
    rng = np.random.default_rng(0)
    x, weight = rng.lognormal(size=8), np.array([0.5, 0.2, 1.3])
    scores = []
    for chosen in permutations(range(1, 8), 3):
        dense = np.zeros((8, 8))
        dense[0, list(chosen)] = weight
        scores.append(getis_ord_local(x[:, None], sparse.csr_array(dense), star=star, permutations=1, min_active=0).z)
    here = np.array(scores)[:, 0, 0]
    if star:  # its null deals all places, the own one too, so one place's draws need not be centred
        assert np.isfinite(here).all()
    else:
        np.testing.assert_allclose([here.mean(), here.std()], [0, 1], atol=1e-9)


def test_row_standardised_weights_give_the_same_z(small_graph, binary_graph, positive):
    for star in (True, False):
        one, two = (getis_ord_local(positive, w, star=star, permutations=9).z for w in (small_graph, binary_graph))
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-9)


def test_local_p_is_that_of_the_neighbours_lag(small_graph, positive):
    moran, g = (f(positive, small_graph, permutations=499) for f in (local_moran_i, getis_ord_local))
    both = (moran.status == "ok") & (g.status == "ok")
    np.testing.assert_array_equal(moran.p[both], g.p[both])


def test_a_silent_feature_lights_up_no_more_places_than_chance(small_graph):
    rng = np.random.default_rng(0)
    X = np.zeros((300, 40))
    for f in range(40):
        X[rng.choice(300, 12, replace=False), f] = 1.0
    result = getis_ord_local(X, small_graph, permutations=999, alternative="greater")
    assert (result.p <= 0.01).mean() <= 0.012


def test_hot_places_are_hot_and_islands_have_no_score(uneven_graph):
    x = np.zeros(120)
    x[np.arange(0, 60, 3)] = 1 + np.arange(20)
    result = getis_ord_local(x[:, None], uneven_graph, permutations=99)
    assert result.status[5, 0] == result.status[60, 0] == "island"
    assert np.isnan(result.z[[5, 60], 0]).all()
    with pytest.raises(InvalidInput, match="permutations"):
        getis_ord_local(x[:, None], uneven_graph, permutations=0)
