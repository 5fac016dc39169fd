from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, special, stats

from interp.errors import InvalidInput
from interp.stats.pvalues import check_alternative, pearson3_p, permutation_p, resolve_p


def test_permutation_p_counts_the_observed_arrangement():
    np.testing.assert_allclose(permutation_p(np.array([0, 9, 99]), np.array([99, 90, 0]), 99), [0.01, 0.1, 1.0])


def test_two_sided_permutation_p_is_twice_the_smaller_tail_and_at_most_one():
    p = permutation_p(np.array([0, 60]), np.array([99, 60]), 99, alternative="two-sided")
    np.testing.assert_allclose(p, [0.02, 1.0])


def test_no_permutations_is_no_p():
    assert np.isnan(permutation_p(np.array([0]), np.array([0]), 0)).all()


@pytest.mark.parametrize("skew", [1e-5, 1e-3, 0.05, 0.5, 2.0, 9.0])
@pytest.mark.parametrize("t", [-0.1, 0.5, 2.0, 6.0, 12.0])
def test_pearson3_upper_tail_equals_the_integral_of_its_density(t, skew):
    k = 4 / skew**2

    def density(u: float) -> float:  # of the standardised variable, from the gamma density, in logs
        g = k + 2 * u / skew
        return (
            0.0
            if g <= 0
            else np.exp(special.xlogy(k - 1, g / k) + (k - 1) * np.log(k) - g - special.gammaln(k)) * 2 / skew
        )

    if skew < 0.05:  # the logs above cancel; third-order Edgeworth ratio is exact enough here
        expected = stats.norm.sf(t) + skew / 6 * (t**2 - 1) * stats.norm.pdf(t)
        rtol = 3 * skew * (1 + t**3) ** 2 * skew + 1e-7 if t < 6 else 0.3
        np.testing.assert_allclose(pearson3_p(np.array(t), np.array(skew)), expected, rtol=rtol)
        return
    expected = integrate.quad(density, t, t + 80, limit=500, points=[t + 1, t + 5])[0]
    np.testing.assert_allclose(pearson3_p(np.array(t), np.array(skew)), expected, rtol=2e-6, atol=1e-30)


def test_pearson3_with_no_skew_is_normal():
    t = np.linspace(-5, 8, 30)
    np.testing.assert_allclose(pearson3_p(t, np.zeros(30)), stats.norm.sf(t), rtol=1e-9)


def test_pearson3_lower_tail_mirrors_the_upper_one():
    np.testing.assert_allclose(
        pearson3_p(np.array(-3.0), np.array(-1.5), alternative="less"),
        pearson3_p(np.array(3.0), np.array(1.5)),
        rtol=1e-14,
    )


@pytest.mark.parametrize("alternative", ["greater", "less", "two-sided"])
def test_pearson3_never_returns_zero(alternative):
    t = np.array([-1e3, -60.0, -3.0, 3.0, 60.0, 1e3])
    for skew in (-5.0, -0.1, 0.0, 0.1, 5.0):
        p = pearson3_p(t, np.full(6, skew), alternative=alternative)
        assert ((p > 0) & (p <= 1)).all()


def test_pearson3_beyond_its_support_is_not_smaller_than_normal():
    # skew -1 ends the support at t = 2: a large I must stay significant, and no more than a normal null says
    np.testing.assert_allclose(pearson3_p(np.array(10.0), np.array(-1.0)), stats.norm.sf(10.0), rtol=1e-9)


def test_missing_statistics_have_no_p():
    assert np.isnan(pearson3_p(np.array([np.nan, 1.0]), np.array([0.1, np.nan]))).all()


def resolve(p, count, n_perm, skew=0.0, alternative="greater"):
    values = [np.atleast_1d(np.asarray(v, dtype=float)) for v in (p, count, n_perm - np.asarray(count), n_perm, skew)]
    chosen, source = resolve_p(*values, alternative=alternative)
    return chosen[0], source[0]


def test_ten_exceedances_resolve_the_p():
    assert resolve(0.004, 10, 999) == (11 / 1000, "permutation")


def test_few_exceedances_leave_the_p_to_the_tail():
    assert resolve(1e-7, 0, 999) == (1e-7, "pearson3")


def test_a_skewed_far_tail_is_called_approximate():
    assert resolve(1e-7, 0, 999, skew=3.0) == (1e-7, "pearson3_approximate")


def test_counts_veto_a_tail_that_is_far_too_small():
    assert resolve(1e-9, 5, 999) == (6 / 1000, "permutation")


def test_counts_veto_a_tail_that_is_far_too_large():
    assert resolve(0.2, 3, 999) == (4 / 1000, "permutation")


def test_without_permutations_the_tail_is_all_there_is():
    assert resolve(0.03, 0, 0) == (0.03, "pearson3")


def test_no_p_has_no_source():
    p, source = resolve(np.nan, 0, 0)
    assert np.isnan(p)
    assert source == ""


def test_an_unknown_alternative_names_the_nearest():
    with pytest.raises(InvalidInput, match="'two-sided'"):
        check_alternative("two_sided")
