from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse
from spatial_fields import points, smooth_fields

from interp.errors import InvalidInput
from interp.stats.geary import geary_c
from interp.stats.seeds import permutation_indices
from interp.stats.variogram import variogram_gamma

EDGES = np.array([0.0, 0.1, 0.2, 0.4, 0.8, 1.6])
RANGE = 0.2  # correlation exp(-angle / RANGE)


@pytest.fixture(scope="module")
def xyz():
    return points(400)


@pytest.fixture(scope="module")
def bands(xyz):
    angle = np.arccos(np.clip(xyz @ xyz.T, -1, 1))
    np.fill_diagonal(angle, 9)
    return [
        sparse.csr_array(((angle > a) & (angle <= b)).astype(float))
        for a, b in pairwise(EDGES)
    ]  # fmt: skip


def by_hand(x: np.ndarray, band) -> float:
    i, j = sparse.triu(band, 1).nonzero()
    return float(((x[i] - x[j]) ** 2).sum() / (2 * i.size))


@pytest.fixture(scope="module")
def X(xyz):
    rng = np.random.default_rng(0)
    rare = np.zeros((400, 1))
    rare[rng.choice(400, 12, replace=False)] = rng.lognormal(size=(12, 1))
    return np.hstack([smooth_fields(xyz, RANGE, 2, seed=1) * 3 + 7, rng.normal(size=(400, 2)), rare])


def test_gamma_is_the_mean_half_square_of_pairs(X, bands):
    result = variogram_gamma(X, bands, permutations=19)
    for b, band in enumerate(bands):
        hand = [by_hand(x, band) for x in X.T]
        np.testing.assert_allclose(result.gamma[b] * result.variance, hand, rtol=1e-9)
    assert result.n_pairs.tolist() == [band.nnz // 2 for band in bands]


def test_sd_and_p_are_those_of_gearys_c_of_the_band(X, bands):
    result = variogram_gamma(X, bands, permutations=99, alternative="greater")
    for b, band in enumerate(bands):
        c = geary_c(X, band, permutations=99)
        np.testing.assert_allclose(result.gamma[b], c.statistic, rtol=1e-9)
        np.testing.assert_allclose(result.null_sd[b], c.null_sd, rtol=1e-9)
        np.testing.assert_array_equal(result.p[b], c.p_perm)


def test_the_envelope_holds_what_the_same_permutations_give(X, bands):
    result = variogram_gamma(X, bands, permutations=49, level=0.8, seed=3)
    dealt = [by_hand(X[row, 0], bands[2]) / X[:, 0].var(ddof=1) for row in permutation_indices(400, 49, seed=3)]
    np.testing.assert_allclose([result.low[2, 0], result.high[2, 0]], np.quantile(dealt, [0.1, 0.9]), rtol=1e-9)


def test_fields_of_a_known_range_have_its_variogram(xyz, bands):
    fields = smooth_fields(xyz, RANGE, 60, seed=5)
    result = variogram_gamma(fields, bands, permutations=19)
    angle = np.arccos(np.clip(xyz @ xyz.T, -1, 1))
    for b, band in enumerate(bands):
        i, j = sparse.triu(band, 1).nonzero()
        expected = (1 - np.exp(-angle[i, j] / RANGE)).mean()
        found = (result.gamma[b] * result.variance).mean()
        assert abs(found - expected) < 0.05, (b, found, expected)


def test_noise_lies_outside_its_envelope_as_often_as_stated(bands):
    noise = np.random.default_rng(2).normal(size=(400, 300))
    result = variogram_gamma(noise, bands[1:3], permutations=199, level=0.9)
    outside = (result.gamma < result.low) | (result.gamma > result.high)
    assert 40 <= outside.sum() <= 85  # of 600; 60 expected
    assert 15 <= (result.p <= 0.05).sum() <= 48


def test_both_engines_and_any_company_agree(X, bands):
    whole = variogram_gamma(X, bands, permutations=49)
    plain = variogram_gamma(sparse.csc_array(X), bands, permutations=49, engine="numpy")
    part = variogram_gamma(X[:, [4, 1]], bands, permutations=49)
    np.testing.assert_array_equal(whole.p, plain.p)
    np.testing.assert_array_equal(whole.p[:, [4, 1]], part.p)
    np.testing.assert_allclose(whole.gamma, plain.gamma, rtol=1e-11)


def test_what_cannot_be_measured_says_why(X, bands):
    empty = sparse.csr_array((400, 400))
    result = variogram_gamma(np.column_stack([X[:, 0], np.ones(400)]), [bands[0], empty], permutations=9)
    assert result.status.tolist() == [["ok", "constant"], ["no_pairs", "constant"]]
    assert np.isnan(result.gamma[:, 1]).all()
    assert np.isnan(result.p[1]).all()
    for options in ({"level": 1.0}, {"permutations": 0}):
        with pytest.raises(InvalidInput, match="need a band"):
            variogram_gamma(X, bands, **options)
