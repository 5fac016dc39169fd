from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from esda_oracle import equal_p, esda_run, esda_weights
from scipy import sparse
from spatial_fields import knn, points, smooth_fields

from interp.errors import InvalidInput
from interp.stats.autocorrelation import moran_i
from interp.stats.bivariate import bivariate_moran_i, lee_l_i, spectral_basis
from interp.stats.seeds import permutation_indices, sign_draws


@pytest.fixture(scope="module")
def covariates():
    rng = np.random.default_rng(8)
    return np.column_stack([rng.normal(size=300), rng.lognormal(size=300)])


@pytest.mark.parametrize("form", [np.asarray, sparse.csc_array])
def test_i_and_counts_equal_esda_under_the_same_rearrangements(
    small_graph, mixed_features, covariates, form, monkeypatch
):
    import esda

    draws = permutation_indices(300, 99, seed=4)
    test = bivariate_moran_i(
        form(mixed_features), covariates, small_graph, null="permutation", permutations=99, seed=4
    ).test
    w = esda_weights(small_graph)
    for f in range(12):
        for c in range(2):
            x, y = mixed_features[:, f], covariates[:, c]
            oracle = esda_run(
                lambda p, x=x, y=y: esda.Moran_BV(x, y, w, transformation="O", permutations=p), monkeypatch, draws
            )
            np.testing.assert_allclose(test.statistic[f, c], oracle.I, rtol=1e-10, atol=1e-12)
            equal_p(oracle.sim, oracle.I, oracle.p_sim, test.at_least[f, c], 1e-7 * test.null_sd[f, c])


def test_moments_equal_all_rearrangements_of_seven_places():
    rng = np.random.default_rng(0)
    dense = rng.random((7, 7)) * (rng.random((7, 7)) < 0.6)
    np.fill_diagonal(dense, 0)
    x, y = rng.lognormal(size=(2, 7))
    zx, zy = ((v - v.mean()) / v.std() for v in (x, y))
    every = np.array([zx @ dense @ v / dense.sum() for v in map(np.array, permutations(zy))])
    test = bivariate_moran_i(
        x[:, None], y[:, None], sparse.csr_array(dense), null="permutation", permutations=0, min_active=0
    ).test
    np.testing.assert_allclose([test.null_mean[0, 0], every.mean()], 0, atol=1e-12)
    np.testing.assert_allclose(test.null_sd[0, 0], every.std(), rtol=1e-10)
    np.testing.assert_allclose(test.skew[0, 0], (every**3).mean() / every.std() ** 3, rtol=1e-9)


def test_against_itself_it_is_morans_i(small_graph, mixed_features):
    test = bivariate_moran_i(mixed_features, mixed_features, small_graph, null="permutation", permutations=0).test
    own = moran_i(mixed_features, small_graph, permutations=0).I
    np.testing.assert_allclose(np.diag(test.statistic), own, rtol=1e-10)


def test_signs_keep_variance_and_moran_of_the_covariate(small_graph, covariates):
    basis = spectral_basis(small_graph)
    y = covariates[:, 0] - covariates[:, 0].mean()
    turned = (y @ basis * sign_draws(300, 20, seed=1)) @ basis.T
    np.testing.assert_allclose(turned.mean(axis=1), 0, atol=1e-10)
    np.testing.assert_allclose((turned**2).sum(axis=1), (y**2).sum(), rtol=1e-10)
    i = moran_i(np.column_stack([y, turned.T]), small_graph, permutations=0).I
    np.testing.assert_allclose(i[1:], i[0], rtol=1e-9)


def test_spectral_sd_equals_all_signs():
    rng = np.random.default_rng(3)
    dense = rng.random((9, 9)) * (rng.random((9, 9)) < 0.6)
    np.fill_diagonal(dense, 0)
    W = sparse.csr_array(dense)
    x, y = rng.normal(size=(2, 9))
    basis = spectral_basis(W)
    zx, zy = ((v - v.mean()) / v.std() for v in (x, y))
    parts = (zx @ dense / dense.sum()) @ basis * (zy @ basis)
    every = np.array([np.dot(parts, s) for s in product([-1, 1], repeat=9)])
    result = bivariate_moran_i(x[:, None], y[:, None], W, null="spectral", permutations=0, min_active=0)
    np.testing.assert_allclose(result.test.null_sd[0, 0], every.std(), rtol=1e-9)
    np.testing.assert_allclose(result.test.statistic[0, 0], parts.sum(), rtol=1e-9)


def test_independent_smooth_fields_fool_the_permutation_null_and_not_the_spectral_one():
    xyz = points(300)
    W = knn(xyz, 8)
    fields = smooth_fields(xyz, 0.3, 60, seed=5)
    X, V = fields[:, :40], fields[:, 40:]
    naive, kept = (
        bivariate_moran_i(X, V, W, null=null, permutations=199).test.p_perm <= 0.05
        for null in ("permutation", "spectral")
    )
    assert naive.mean() > 0.35  # 800 pairs that share features and covariates
    assert 0.02 < kept.mean() < 0.085


def test_noise_against_a_smooth_covariate_fools_the_permutation_null_too():
    xyz = points(300)
    W = knn(xyz, 8)
    noise, V = np.random.default_rng(2).normal(size=(300, 400)), smooth_fields(xyz, 0.3, 1, seed=5)
    p = {n: bivariate_moran_i(noise, V, W, null=n, permutations=199).test.p_perm for n in ("permutation", "spectral")}
    assert (p["permutation"] <= 0.05).mean() > 0.2
    assert 0.02 < (p["spectral"] <= 0.05).mean() < 0.085


def test_a_real_link_is_found_under_the_spectral_null():
    xyz = points(300)
    W = knn(xyz, 8)
    fields = smooth_fields(xyz, 0.15, 40, seed=6)
    X = fields[:, :20] + 0.5 * np.random.default_rng(7).normal(size=(300, 20))
    p = bivariate_moran_i(X, fields[:, :20], W, null="spectral", permutations=199).test.p_perm
    assert (np.diag(p) <= 0.05).all()


@pytest.mark.parametrize("null", ["permutation", "spectral"])
def test_a_feature_has_the_same_counts_in_any_company(small_graph, mixed_features, covariates, null):
    whole = bivariate_moran_i(mixed_features, covariates, small_graph, null=null, permutations=49).test
    part = bivariate_moran_i(
        mixed_features[:, [8, 3]], covariates[:, [1]], small_graph, null=null, permutations=49
    ).test
    for name in ("statistic", "at_least", "at_most", "p_perm"):
        expected = getattr(whole, name)[[8, 3]][:, [1]]
        np.testing.assert_allclose(getattr(part, name), expected, rtol=1e-13)


def test_untestable_rows_and_covariates_say_why(small_graph, covariates):
    X = np.random.default_rng(0).normal(size=(300, 3))
    X[:, 1] = 1.0
    V = np.column_stack([covariates[:, 0], np.full(300, 2.0), covariates[:, 0]])
    V[4, 2] = np.nan
    test = bivariate_moran_i(X, V, small_graph, null="permutation", permutations=9).test
    assert test.status.tolist() == [
        ["ok", "covariate_constant", "covariate_nan"],
        ["constant"] * 3,
        ["ok", "covariate_constant", "covariate_nan"],
    ]
    assert np.isnan(test.p_perm[test.status != "ok"]).all()
    with pytest.raises(InvalidInput, match="spectral"):
        bivariate_moran_i(X, V, small_graph, null="spectrum")
    with pytest.raises(InvalidInput, match="same"):
        bivariate_moran_i(X, V[:9], small_graph, null="permutation")
    with pytest.raises(InvalidInput, match="basis"):
        bivariate_moran_i(X, V, small_graph, null="spectral", basis=np.eye(4))
    with pytest.raises(InvalidInput, match="too many"):
        spectral_basis(sparse.csr_array(([1.0], ([0], [1])), shape=(7000, 7000)))


def test_lees_l_equals_esda(uneven_graph, small_graph, mixed_features, covariates):
    import esda

    for W in (small_graph, uneven_graph):
        n = W.shape[0]
        X, V = mixed_features[:n, :8], covariates[:n]
        test = lee_l_i(X, V, W, null="permutation", permutations=0, min_active=0).test
        for f, c in product(range(8), range(2)):
            oracle = esda.Spatial_Pearson(connectivity=sparse.csr_matrix(W), permutations=0)
            oracle.fit(X[:, [f]], V[:, [c]])
            np.testing.assert_allclose(test.statistic[f, c], oracle.association_[0, 1], rtol=1e-9, atol=1e-12)


def test_lees_l_is_symmetric_and_of_itself_between_0_and_1(small_graph, mixed_features):
    own = lee_l_i(mixed_features, mixed_features, small_graph, null="permutation", permutations=0).test.statistic
    np.testing.assert_allclose(own, own.T, rtol=1e-9, atol=1e-12)
    assert ((np.diag(own) > 0) & (np.diag(own) < 1)).all()


@pytest.mark.parametrize("null", ["permutation", "spectral"])
def test_counts_of_lees_l_follow_from_its_formula(small_graph, mixed_features, covariates, null):
    X = mixed_features[:, :3]
    test = lee_l_i(X, covariates, small_graph, null=null, permutations=49, seed=2).test
    zx, zy = ((v - v.mean(axis=0)) / v.std(axis=0) for v in (X, covariates))
    if null == "permutation":
        dealt = [zy[row] for row in permutation_indices(300, 49, seed=2)]
    else:
        basis = spectral_basis(small_graph)
        dealt = [basis @ (s[:, None] * (basis.T @ zy)) for s in sign_draws(300, 49, seed=2)]
    total = float((np.asarray(small_graph.sum(axis=1)) ** 2).sum())
    every = np.array([(small_graph @ zx).T @ (small_graph @ d) / total for d in dealt])
    tie = 1e-7 * test.null_sd
    np.testing.assert_array_equal(test.at_least, (every >= test.statistic - tie).sum(axis=0))
    if null == "permutation":
        many = [zy[row] for row in permutation_indices(300, 4000, seed=2)]
        spread = np.std([(small_graph @ zx).T @ (small_graph @ d) / total for d in many], axis=0)
        np.testing.assert_allclose(test.null_sd, spread, rtol=0.05)


def test_lees_l_finds_a_shared_field_and_not_independent_ones():
    xyz = points(300, seed=1)
    fields, W = smooth_fields(xyz, 0.3, 12, seed=3), knn(xyz, 6)
    shared = fields[:, :2] + 0.3 * np.random.default_rng(0).normal(size=(300, 2))
    found = lee_l_i(shared, fields[:, :2], W, null="spectral", permutations=199).test.p_perm
    assert (np.diag(found) == 0.01).all()
    apart = lee_l_i(fields[:, 2:7], fields[:, 7:], W, null="spectral", permutations=199).test.p_perm
    assert (apart <= 0.05).sum() <= 5  # of 25
