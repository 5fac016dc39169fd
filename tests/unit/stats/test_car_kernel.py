from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy import sparse, special
from spatial_fields import knn, points

from interp.errors import InvalidInput
from interp.stats.autocorrelation import moran_i
from interp.stats.bivariate import spectral_basis
from interp.stats.car_kernel import car_kernel, car_q

N = 200


@pytest.fixture(scope="module")
def W():
    return knn(points(N), 6)


@pytest.fixture(scope="module")
def K(W):
    return car_kernel(W)


def test_the_kernel_is_positive_where_morans_weights_are_not(W, K):
    values = np.linalg.eigvalsh(K)
    assert values[0] > -1e-10  # the constant alone has 0
    assert values[1] > 0.4
    symmetric = ((W + W.T) / 2).toarray()
    assert np.linalg.eigvalsh(symmetric)[0] < -0.2
    root = np.sqrt(symmetric.sum(axis=1))
    plain = np.linalg.inv(np.eye(N) - 0.9 * symmetric / root[:, None] / root)
    M = np.eye(N) - 1 / N
    np.testing.assert_allclose(K, M @ plain @ M, atol=1e-9)


def test_moments_equal_all_rearrangements_of_seven_places():
    rng = np.random.default_rng(0)
    dense = rng.random((7, 7)) * (rng.random((7, 7)) < 0.6)
    np.fill_diagonal(dense, 0)
    kernel = car_kernel(sparse.csr_array(dense), rho=0.8)
    x = rng.lognormal(size=7)
    z = (x - x.mean()) / x.std()
    every = np.array([6 / (7 * np.trace(kernel)) * v @ kernel @ v for v in map(np.array, permutations(z))])
    result = car_q(x[:, None], kernel, permutations=0, min_active=0)
    np.testing.assert_allclose([result.null_mean[0], result.null_sd[0]], [every.mean(), every.std()], rtol=1e-10)
    np.testing.assert_allclose(result.statistic[0], every[0], rtol=1e-10)


def cancelling(W: sparse.csr_array, count: int, seed: int) -> np.ndarray:
    """A smooth and an alternating eigenvector of W, mixed so that their z'Wz is 0, and as much noise again."""
    basis = spectral_basis(W)
    weights = ((W + W.T) / 2).toarray()
    value = np.einsum("ij,ik,kj->j", basis, weights, basis)
    rng = np.random.default_rng(seed)
    out = np.empty((len(basis), count))
    for f in range(count):
        low, high = rng.choice(20), len(basis) - 1 - rng.choice(8)  # eigenvalues ascend
        share = -value[low] / (value[high] - value[low])  # of the smooth one, in variance
        signal = np.sqrt(share) * basis[:, high] + np.sqrt(1 - share) * basis[:, low]
        out[:, f] = np.sqrt(len(basis)) * signal + rng.normal(size=len(basis))
    return out


def test_a_pattern_that_cancels_in_moran_is_found(W, K):
    X = cancelling(W, 100, seed=1)
    moran = moran_i(X, W, permutations=199, alternative="two-sided").p_perm
    assert (moran <= 0.05).mean() < 0.25
    assert (car_q(X, K, permutations=199).p_perm <= 0.05).mean() > 0.75


def test_smooth_fields_are_found(W, K):
    X = W @ (W @ np.random.default_rng(2).normal(size=(N, 10)))
    result = car_q(X, K, permutations=199)
    assert (result.p_perm == 1 / 200).all()
    assert (result.statistic > 1.5).all()


@pytest.mark.parametrize("n_active", [None, 10, 40])
def test_noise_is_rejected_at_the_nominal_rate(K, n_active):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(N, 600))
    if n_active is not None:
        X = np.where(np.argsort(np.argsort(X, axis=0), axis=0) < n_active, np.exp(X), 0.0)
    p = car_q(sparse.csc_array(X), K, permutations=199).p_perm
    for alpha in (0.05, 0.01):
        cdf = special.bdtr(np.arange(601.0), 600, alpha)
        inside = np.flatnonzero((cdf >= 0.005) & (cdf <= 0.995))
        assert inside[0] <= (p <= alpha).sum() <= inside[-1] + 1


def test_sparse_and_dense_paths_agree(K):
    X = np.zeros((N, 3))
    rng = np.random.default_rng(4)
    for f, active in enumerate((7, 7, 30)):
        X[rng.choice(N, active, replace=False), f] = rng.lognormal(size=active)
    result = car_q(X, K, permutations=49, min_active=0)
    z = (X - X.mean(axis=0)) / X.std(axis=0)
    expected = (N - 1) / (N * np.trace(K)) * np.einsum("if,ij,jf->f", z, K, z)
    np.testing.assert_allclose(result.statistic, expected, rtol=1e-10)
    same = car_q(sparse.csr_array(X), K, permutations=49, min_active=0)
    np.testing.assert_array_equal(result.at_least, same.at_least)
    alone = car_q(X[:, [1]], K, permutations=49, min_active=0)
    assert alone.at_least[0] == result.at_least[1]


def test_what_does_not_fit_is_refused(W, K):
    X = np.random.default_rng(0).normal(size=(N, 2))
    for call in (
        lambda: car_kernel(W, rho=1.0),
        lambda: car_kernel(-W),
        lambda: car_q(X, np.eye(N)),
        lambda: car_q(X, K[:, :9]),
        lambda: car_q(X[:9], K),
    ):
        with pytest.raises(InvalidInput):
            call()
    assert car_q(np.ones((N, 1)), K, permutations=9).status.tolist() == ["constant"]
