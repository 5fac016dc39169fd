from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse, special
from spatial_fields import knn, points, smooth_fields

from interp.errors import InvalidInput
from interp.stats.autocorrelation import moran_i
from interp.stats.min_p_moran import min_p_moran_i

N = 200


@pytest.fixture(scope="module")
def W():
    return knn(points(N), 6)


def correlated(rng: np.random.Generator, shared: float) -> np.ndarray:
    """Forty features over the same noise, some of them rare."""
    common = rng.normal(size=(N, 3)) @ rng.normal(size=(3, 40))
    X = shared * common / np.sqrt(3) + np.sqrt(1 - shared**2) * rng.normal(size=(N, 40))
    X[:, :15] = np.where(X[:, :15] > np.quantile(X[:, :15], 0.93, axis=0), np.exp(X[:, :15]), 0.0)
    return X


@pytest.mark.parametrize("shared", [0.0, 0.97])
def test_the_family_wise_error_rate_holds_for_correlated_features(W, shared):
    rng = np.random.default_rng(5)
    runs = 300
    wrong = sum(
        (min_p_moran_i(correlated(rng, shared), W, permutations=99).p_adjusted <= 0.05).any() for _ in range(runs)
    )
    counts = np.arange(runs + 1.0)
    cdf = special.bdtr(counts, runs, 0.05)
    inside = counts[(cdf >= 0.005) & (cdf <= 0.995)]
    assert inside[0] <= wrong <= inside[-1] + 1


def test_min_p_finds_what_counted_p_cannot(W):
    noise = np.random.default_rng(1).normal(size=(N, 296))
    X = np.hstack([smooth_fields(points(N), 0.4, 4, seed=0), noise])
    result = min_p_moran_i(X, W, permutations=199)
    assert (result.p_adjusted[:4] == 1 / 200).all()
    assert (result.p_adjusted[4:] > 0.05).all()
    np.testing.assert_array_equal(result.p, moran_i(X, W, permutations=0).p_analytic)


def test_min_p_is_the_same_sparse_and_leaves_out_what_cannot_be_tested(W):
    Y = correlated(np.random.default_rng(9), 0.5)
    Y[:, 20], Y[3, 21] = 1.0, np.nan
    dense, csc = (min_p_moran_i(form(Y), W, permutations=49) for form in (np.asarray, sparse.csc_array))
    np.testing.assert_array_equal(dense.p_adjusted, csc.p_adjusted)
    assert np.flatnonzero(np.isnan(dense.p_adjusted)).tolist() == [20, 21]
    with pytest.raises(InvalidInput, match="permutations"):
        min_p_moran_i(Y, W, permutations=0)
