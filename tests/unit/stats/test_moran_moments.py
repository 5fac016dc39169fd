from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy import sparse

from interp.stats.autocorrelation import moran_i


def every_i(dense: np.ndarray, x: np.ndarray) -> np.ndarray:
    z = x - x.mean()
    arrangements = z[np.array(list(permutations(range(x.size))))]
    return x.size / dense.sum() * np.einsum("pi,ij,pj->p", arrangements, dense, arrangements) / (z @ z)


@pytest.mark.parametrize("n", [4, 5, 6, 7])
@pytest.mark.parametrize("kind", ["normal", "skewed", "one active", "two values"])
def test_moments_equal_all_rearrangements(n, kind):
    rng = np.random.default_rng(n)
    dense = rng.random((n, n)) * (rng.random((n, n)) < 0.6)
    np.fill_diagonal(dense, 0)
    x = {
        "normal": rng.normal(size=n),
        "skewed": rng.lognormal(sigma=2, size=n),
        "one active": np.eye(n)[0] * 3.0,
        "two values": (np.arange(n) < 2) * 1.0,
    }[kind]
    all_i = every_i(dense, x)
    result = moran_i(x[:, None], sparse.csr_array(dense), min_active=0, permutations=0)
    deviations = all_i - all_i.mean()
    np.testing.assert_allclose(result.I[0], all_i[0], rtol=1e-12)
    np.testing.assert_allclose(result.expected[0], all_i.mean(), rtol=1e-10)
    np.testing.assert_allclose(result.null_sd[0], deviations.std(), rtol=1e-10)
    np.testing.assert_allclose(result.skew[0], (deviations**3).mean() / deviations.std() ** 3, rtol=1e-8, atol=1e-9)


def test_skew_equals_many_permutations_on_a_real_graph(small_graph, mixed_features):
    exact = moran_i(mixed_features, small_graph, permutations=0, min_active=5)
    z = mixed_features - mixed_features.mean(axis=0)
    rng = np.random.default_rng(0)
    sims = []
    for _ in range(4000):
        dealt = z[rng.permutation(300)]
        sims.append((dealt * (small_graph @ dealt)).sum(axis=0) / (z * z).sum(axis=0))
    sims = np.array(sims)
    deviations = sims - sims.mean(axis=0)
    np.testing.assert_allclose(exact.null_sd, deviations.std(axis=0), rtol=0.1)
    np.testing.assert_allclose(
        exact.skew, (deviations**3).mean(axis=0) / deviations.std(axis=0) ** 3, rtol=0.35, atol=0.2
    )


def test_weights_that_join_all_places_alike_have_no_null():
    dense = np.ones((12, 12)) - np.eye(12)
    result = moran_i(np.random.default_rng(0).normal(size=(12, 1)), sparse.csr_array(dense), permutations=99)
    assert result.status[0] == "constant_null"
    assert np.isnan([result.p_perm[0], result.p_analytic[0]]).all()
