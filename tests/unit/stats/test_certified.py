from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from spatial_fields import knn, points, smooth_fields

from interp.errors import InvalidInput
from interp.stats.autocorrelation import moran_i
from interp.stats.certified import _clopper_pearson, certified_moran_i

N = 200


@pytest.fixture(scope="module")
def W():
    return knn(points(N), 6)


@pytest.fixture(scope="module")
def X():
    """Four smooth fields, then 296 of noise."""
    noise = np.random.default_rng(1).normal(size=(N, 296))
    return np.hstack([smooth_fields(points(N), 0.4, 4, seed=0), noise])


@pytest.fixture(scope="module")
def certified(X, W):
    return certified_moran_i(X, W, permutations=199, max_permutations=19_999)


def test_certain_features_are_rejected_below_the_floor_of_the_first_round(certified):
    """Four among 300 need p below .00067; 199 permutations end at .005."""
    assert (certified.decision[:4] == "rejected").all()
    assert (certified.p[:4] < 0.0006).all()
    assert (certified.p_high[:4] < 0.05 * 4 / 300 + 1e-3).all()
    assert (certified.q[:4] <= 0.05).all()


def test_most_features_stop_after_the_first_round(certified):
    assert (certified.decision[4:] == "kept").mean() > 0.95
    assert np.median(certified.n_perm[4:]) == 199
    assert certified.n_perm.sum() < 300 * 19_999 / 4


def test_counts_are_those_of_the_feature_alone(X, W, certified):
    for f in (0, int(np.argmax(certified.n_perm[4:])) + 4, 299):
        alone = moran_i(X[:, [f]], W, permutations=int(certified.n_perm[f]))
        assert certified.p[f] == alone.p_perm[0]


def test_the_same_call_gives_the_same_numbers_dense_and_sparse(X, W, certified):
    again = certified_moran_i(sparse.csr_array(X), W, permutations=199, max_permutations=19_999)
    np.testing.assert_array_equal(again.p, certified.p)
    np.testing.assert_array_equal(again.decision, certified.decision)


def test_limits_cover_the_true_p():
    rng = np.random.default_rng(0)
    for true in (0.002, 0.03, 0.5):
        count = rng.binomial(499, true, 4000)
        low, high = _clopper_pearson(count, np.full(4000, 499), 0.05)
        assert ((low <= true) & (true <= high)).mean() >= 0.95
    low, high = _clopper_pearson(np.array([0, 99]), np.array([99, 99]), 0.1)
    np.testing.assert_allclose([low[0], high[0]], [0, 1 - 0.05 ** (1 / 99)], rtol=1e-10)
    np.testing.assert_allclose([low[1], high[1]], [0.05 ** (1 / 99), 1], rtol=1e-10)


@pytest.mark.parametrize("alternative", ["less", "two-sided"])
def test_other_tails_and_untestable_features(W, X, alternative):
    Y = np.column_stack([X[:, :10], np.ones(N)])
    result = certified_moran_i(Y, W, permutations=99, max_permutations=999, alternative=alternative)
    assert result.status[-1] == "constant"
    assert result.decision[-1] == ""
    assert np.isnan(result.p[-1])
    assert (result.p_low[:10] <= result.p[:10]).all()
    assert (result.decision[:4] == ("kept" if alternative == "less" else "rejected")).all()
    with pytest.raises(InvalidInput, match="q_cut"):
        certified_moran_i(Y, W, q_cut=1.5)
