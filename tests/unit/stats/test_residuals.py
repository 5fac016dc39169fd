from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, special
from spatial_fields import knn, points, smooth_fields

from interp.errors import InvalidInput
from interp.stats.autocorrelation import moran_i
from interp.stats.residuals import covariate_basis, residual_moran_i, residualise
from interp.stats.seeds import permutation_indices

N = 300


@pytest.fixture(scope="module")
def W():
    return knn(points(N), 6)


@pytest.fixture(scope="module")
def Z():
    """Six 'countries' cut by longitude, a smooth covariate and one of noise."""
    xyz = points(N)
    country = np.digitize(np.arctan2(xyz[:, 1], xyz[:, 0]), np.linspace(-np.pi, np.pi, 7)[1:-1])
    return np.column_stack([np.eye(6)[country], smooth_fields(xyz, 0.5, 1, 3), np.random.default_rng(4).normal(size=N)])


@pytest.mark.parametrize("form", [np.asarray, sparse.csc_array])
def test_residuals_equal_least_squares(Z, mixed_features, form):
    parts = residualise(form(mixed_features), Z)
    design = np.column_stack([np.ones(N), Z])
    for f in range(12):
        x = mixed_features[:, f]
        fitted = design @ np.linalg.lstsq(design, x, rcond=None)[0]
        np.testing.assert_allclose(parts.values[:, f], x - fitted, atol=1e-9 * np.abs(x).max())
        expected = 1 - ((x - fitted) ** 2).sum() / ((x - x.mean()) ** 2).sum()
        np.testing.assert_allclose(parts.share_explained[f], expected, atol=1e-10)
    assert parts.rank == 7  # six countries are five beside the constant


def test_what_the_covariates_determine_is_called_explained(Z):
    X = np.column_stack([Z @ np.arange(8.0), np.ones(N), np.random.default_rng(0).normal(size=N)])
    parts = residualise(X, Z)
    assert parts.status.tolist() == ["explained", "constant", "ok"]
    assert np.isnan(parts.values[:, :2]).all()
    assert residual_moran_i(X, Z, knn(points(N), 6), permutations=9).status.tolist() == parts.status.tolist()


def test_without_covariates_it_is_moran(W, mixed_features):
    nothing = np.empty((N, 0))
    ours, plain = (
        residual_moran_i(mixed_features, nothing, W, permutations=99),
        moran_i(mixed_features, W, permutations=99),
    )
    np.testing.assert_allclose(ours.I, plain.I, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(ours.p, plain.p_perm)


def test_both_engines_agree(W, Z, mixed_features):
    one, two = (residual_moran_i(mixed_features, Z, W, permutations=49, engine=e) for e in ("numba", "numpy"))
    np.testing.assert_array_equal(one.p, two.p)
    np.testing.assert_allclose(one.I, two.I, rtol=1e-10)


def test_noise_on_top_of_the_covariates_is_rejected_at_the_nominal_rate(W, Z):
    """A plain Moran of the values rejects nearly all of them, and of the residuals too few."""
    rng = np.random.default_rng(1)
    X = Z @ rng.normal(size=(8, 500)) + rng.normal(size=(N, 500))
    p = residual_moran_i(X, Z, W, permutations=199).p
    counts = np.arange(501.0)
    inside = counts[(special.bdtr(counts, 500, 0.05) >= 0.005) & (special.bdtr(counts, 500, 0.05) <= 0.995)]
    assert inside[0] <= (p <= 0.05).sum() <= inside[-1] + 1
    assert (moran_i(X, W, permutations=0).p_analytic <= 0.05).mean() > 0.6
    naive = moran_i(residualise(X, Z).values, W, permutations=0)
    assert (naive.p_analytic <= 0.05).sum() < inside[0]


def test_a_field_beyond_the_covariates_is_found(W, Z):
    own = smooth_fields(points(N), 0.2, 20, seed=9)
    X = Z @ np.random.default_rng(2).normal(size=(8, 20)) + own
    assert (residual_moran_i(X, Z, W, permutations=199).p == 1 / 200).sum() >= 19


def test_features_of_one_group_need_exchange_inside_groups(W, Z):
    """Noise in one country and silence elsewhere: free exchange takes the spread for clustering, groups do not."""
    rng = np.random.default_rng(3)
    X = Z[:, [0]] * rng.lognormal(size=(N, 150))
    country = Z[:, :6].argmax(axis=1)
    free, within = (residual_moran_i(X, Z, W, permutations=199, groups=g).p for g in (None, country))
    assert (free <= 0.05).mean() > 0.12
    assert 0.01 < (within <= 0.05).mean() < 0.1


def test_exchange_inside_groups_equals_regressing_every_deal_on_all_covariates(W, Z, mixed_features):
    """Columns that are constant inside groups are not projected off each deal: the definition, deal by deal, agrees."""
    country = Z[:, :6].argmax(axis=1)
    ours = residual_moran_i(mixed_features, Z, W, permutations=19, groups=country, seed=5)
    basis, e = covariate_basis(Z, N), residualise(mixed_features, Z).values
    dense = W.toarray()
    dealt = []
    for row in permutation_indices(N, 19, seed=5, groups=country):
        again = e[row] - basis @ (basis.T @ e[row])
        dealt.append(N / dense.sum() * np.einsum("if,ij,jf->f", again, dense, again) / (again**2).sum(axis=0))
    np.testing.assert_allclose(ours.null_mean, np.mean(dealt, axis=0), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(ours.null_sd, np.std(dealt, axis=0), rtol=1e-8)


@pytest.mark.parametrize("form", [pd.DataFrame, np.ndarray.tolist])
def test_covariates_may_be_a_frame_or_lists(W, Z, mixed_features, form):
    ours, expected = (residual_moran_i(mixed_features, z, W, permutations=9) for z in (form(Z), Z))
    np.testing.assert_array_equal(ours.I, expected.I)
    np.testing.assert_array_equal(ours.p, expected.p)


def test_what_does_not_fit_is_refused(W, Z):
    X = np.random.default_rng(0).normal(size=(N, 2))
    for call in (
        lambda: residual_moran_i(X, Z, W, permutations=0),
        lambda: residual_moran_i(X, Z[:9], W),
        lambda: residual_moran_i(X, Z, W, groups=np.zeros(3)),
        lambda: residualise(X, np.full((N, 1), np.nan)),
        lambda: covariate_basis(np.eye(N), N),
    ):
        with pytest.raises(InvalidInput):
            call()
