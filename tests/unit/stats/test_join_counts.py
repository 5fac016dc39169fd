from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from esda_oracle import esda_run, esda_weights
from scipy import sparse

from interp.errors import InvalidInput
from interp.stats.join_counts import count_joins
from interp.stats.seeds import permutation_indices


@pytest.fixture(scope="module")
def pairs(small_graph):
    """Binary and symmetric."""
    joined = (small_graph + small_graph.T) > 0
    return sparse.csr_array(joined.astype(np.float64))


@pytest.fixture(scope="module")
def firing():
    rng = np.random.default_rng(0)
    return (rng.random((300, 9)) < np.linspace(0.04, 0.9, 9)).astype(float)


def test_counts_and_draws_equal_esda(pairs, firing, monkeypatch):
    import esda

    draws = permutation_indices(300, 99, seed=5)
    w = esda_weights(pairs)
    for form in (np.asarray, sparse.csc_array):
        result = count_joins(form(firing), pairs, permutations=99, seed=5, min_active=0)
        for f in range(firing.shape[1]):
            x = firing[:, f].astype(int)
            oracle = esda_run(lambda p, x=x: esda.Join_Counts(x, w, permutations=p), monkeypatch, draws)
            ours = [r.statistic[f] for r in (result.bb, result.bw, result.ww)]
            np.testing.assert_allclose(ours, [oracle.bb, oracle.bw, oracle.ww], rtol=1e-10, atol=1e-9)
            assert result.bb.p_perm[f] == pytest.approx(oracle.p_sim_bb, rel=1e-12)
            assert result.bw.at_least[f] + 1 == pytest.approx(oracle.p_sim_bw * 100, rel=1e-12)


def test_moments_equal_all_choices_of_firing_places():
    rng = np.random.default_rng(1)
    dense = rng.random((9, 9)) * (rng.random((9, 9)) < 0.5)
    np.fill_diagonal(dense, 0)
    x = np.zeros(9)
    x[:4] = 1
    result = count_joins(x[:, None], sparse.csr_array(dense), permutations=0, min_active=0)
    every = {"bb": [], "bw": [], "ww": []}
    for chosen in combinations(range(9), 4):
        y = np.isin(np.arange(9), chosen).astype(float)
        every["bb"].append(y @ dense @ y / 2)
        every["ww"].append((1 - y) @ dense @ (1 - y) / 2)
        every["bw"].append((dense * (y[:, None] - y) ** 2).sum() / 2)
    for name, values in every.items():
        ours, values = getattr(result, name), np.array(values)
        np.testing.assert_allclose([ours.null_mean[0], ours.null_sd[0]], [values.mean(), values.std()], rtol=1e-10)
        if name != "bw":
            third = ((values - values.mean()) ** 3).mean() / values.std() ** 3
            np.testing.assert_allclose(ours.skew[0], third, rtol=1e-9)


def test_the_three_counts_add_up_to_all_joins(pairs, firing):
    result = count_joins(firing, pairs, permutations=0, min_active=0)
    total = result.bb.statistic + result.bw.statistic + result.ww.statistic
    np.testing.assert_allclose(total, pairs.sum() / 2, rtol=1e-12)


def test_a_threshold_says_what_fires(pairs):
    values = np.random.default_rng(2).random((300, 3))
    cut = count_joins(values, pairs, threshold=0.7, permutations=9)
    same = count_joins((values > 0.7).astype(float), pairs, permutations=9)
    np.testing.assert_array_equal(cut.bb.statistic, same.bb.statistic)
    np.testing.assert_array_equal(cut.bb.n_active, (values > 0.7).sum(axis=0))
    with pytest.raises(InvalidInput, match="threshold"):
        count_joins(sparse.csc_array(values), pairs, threshold=-1.0)


def test_clustered_firing_has_many_bb_and_few_bw(pairs):
    near = np.zeros(300)
    seed = pairs[[0]].toarray().ravel()
    near[(pairs @ seed + seed) > 0] = 1
    result = count_joins(near[:, None], pairs, permutations=199)
    assert result.bb.p_perm[0] == result.bw.p_perm[0] == 1 / 200
    assert result.bb.p_analytic[0] < 1e-4


def test_what_cannot_be_tested_says_why(pairs):
    X = np.zeros((300, 4))
    X[:5, 1] = 1
    X[:100, 2] = 1
    X[4, 2] = np.nan
    X[:100, 3] = 3.0
    for form in (np.asarray, sparse.csc_array):
        result = count_joins(form(X), pairs, permutations=9)
        assert result.bb.status.tolist() == ["constant", "too_rare", "nan", "ok"]
        assert np.isnan(result.bw.p_perm[:3]).all()
