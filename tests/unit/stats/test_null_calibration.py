"""Under the null, rejections at alpha are what alpha says; under a planted field they are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse, special

from interp.stats.autocorrelation import moran_i
from interp.stats.corrections import benjamini_hochberg
from interp.stats.pvalues import resolve_p

N_NULL = 1500


def band(alpha: float, n: int) -> tuple[int, int]:
    """The middle 99 % of Binomial(n, alpha)."""
    counts = np.arange(n + 1)
    cdf = special.bdtr(counts.astype(float), n, alpha)
    return int(counts[cdf >= 0.005][0]), int(counts[cdf >= 0.995][0])


def null_features(n_active: int | None, seed: int) -> np.ndarray | sparse.csc_array:
    rng = np.random.default_rng(seed)
    if n_active is None:
        return rng.normal(size=(300, N_NULL))
    X = np.zeros((300, N_NULL))
    for f in range(N_NULL):
        X[rng.choice(300, n_active, replace=False), f] = rng.lognormal(size=n_active)
    return sparse.csc_array(X)


@pytest.mark.parametrize("n_active", [None, 11, 30], ids=["dense", "11 active", "30 active"])
@pytest.mark.parametrize("alternative", ["greater", "two-sided"])
def test_rejections_of_noise_are_at_the_nominal_rate(small_graph, n_active, alternative):
    r = moran_i(null_features(n_active, seed=4), small_graph, permutations=499, alternative=alternative)
    p, _ = resolve_p(r.p_analytic, r.at_least, r.at_most, r.n_perm, r.skew, alternative=alternative)
    for alpha in (0.05, 0.01):
        low, high = band(alpha, N_NULL)
        assert (r.p_perm <= alpha).sum() <= high
        assert (p <= alpha).sum() <= high
        if n_active is None or alternative == "greater":  # with many ties two tails are conservative
            assert (p <= alpha).sum() >= low


def test_pearson3_is_calibrated_where_the_normal_tail_is_not(small_graph):
    r = moran_i(null_features(11, seed=9), small_graph, permutations=0)
    low, high = band(0.01, N_NULL)
    assert low <= (r.p_analytic <= 0.01).sum() <= high
    assert (special.ndtr(-r.z) <= 0.01).sum() > 1.5 * high


def test_planted_features_are_found_among_many_and_few_others_are(small_graph):
    """Thirty planted in 1,500: a floor of .002 could reject none, the resolved p must find them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, N_NULL))
    X[:, :30] = small_graph @ (small_graph @ rng.normal(size=(300, 30)))
    r = moran_i(X, small_graph, permutations=499)
    p, source = resolve_p(r.p_analytic, r.at_least, r.at_most, r.n_perm, r.skew)
    found = benjamini_hochberg(p) <= 0.05
    assert found[:30].sum() >= 29
    assert found[30:].sum() <= 6
    assert (source[:30] == "pearson3").sum() >= 29
    assert (benjamini_hochberg(r.p_perm) <= 0.05)[:30].sum() <= found[:30].sum()
