from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse
from spatial_fields import points, smooth_fields

from interp.errors import InvalidInput
from interp.stats.autocorrelation import moran_i
from interp.stats.correlogram import correlogram_i

N = 250


@pytest.fixture(scope="module")
def bands():
    xyz = points(N)
    angle = np.arccos(np.clip(xyz @ xyz.T, -1, 1))
    np.fill_diagonal(angle, 9)
    edges = [0, 0.15, 0.4, 0.8, 1.5]
    return [sparse.csr_array(((a < angle) & (angle <= b)).astype(float)) for a, b in pairwise(edges)]


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    rare = np.zeros((N, 2))
    rare[rng.choice(N, 12), 0] = rng.lognormal(size=12)
    rare[:3, 1] = 1
    return np.hstack([smooth_fields(points(N), 0.3, 2, seed=1), rng.normal(size=(N, 2)), rare, np.ones((N, 1))])


@pytest.mark.parametrize("engine", ["numba", "numpy"])
@pytest.mark.parametrize("form", [np.asarray, sparse.csc_array])
def test_each_band_is_morans_i_with_the_same_permutations(bands, X, engine, form):
    result = correlogram_i(form(X), bands, permutations=99, seed=3, engine=engine, alternative="greater")
    for b, W in enumerate(bands):
        one = moran_i(X, W, permutations=99, seed=3)
        np.testing.assert_allclose(result.I[b], one.I, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(result.null_sd[b], one.null_sd, rtol=1e-10)
        np.testing.assert_array_equal(result.p[b], one.p_perm)
        assert result.status[b].tolist() == one.status.tolist()


def test_the_envelope_holds_its_share_of_noise(bands):
    noise = np.random.default_rng(5).normal(size=(N, 150))
    result = correlogram_i(noise, bands, permutations=199, level=0.9)
    outside = (result.low > result.I) | (result.high < result.I)
    assert 0.06 < outside.mean() < 0.14
    assert ((result.p <= 0.1).mean(axis=1) < 0.17).all()


def test_a_smooth_field_is_high_near_and_falls_with_distance(bands, X):
    result = correlogram_i(X, bands, permutations=199)
    assert (result.I[0, :2] > result.high[0, :2]).all()
    assert (result.I[0, :2] > result.I[2, :2]).all()


def test_pairs_islands_and_empty_bands_are_counted(bands, X):
    result = correlogram_i(X, [*bands, sparse.csr_array((N, N))], permutations=9)
    assert result.n_pairs.tolist() == [W.nnz // 2 for W in bands] + [0]
    assert result.n_islands[0] == (np.diff(bands[0].indptr) == 0).sum()
    assert result.n_islands[-1] == N
    assert result.status[-1].tolist() == ["no_pairs"] * 5 + ["too_rare", "constant"]
    assert np.isnan(result.p[-1]).all()


def test_what_does_not_fit_is_refused(bands, X):
    for call in (
        lambda: correlogram_i(X, []),
        lambda: correlogram_i(X, bands, permutations=0),
        lambda: correlogram_i(X[:5], bands),
        lambda: correlogram_i(X, [np.eye(N)]),
        lambda: correlogram_i(X, [sparse.eye_array(N)]),
    ):
        with pytest.raises(InvalidInput):
            call()
