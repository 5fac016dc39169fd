from __future__ import annotations

import numpy as np
import pytest

from interp.errors import InvalidInput
from interp.stats.corrections import benjamini_hochberg, min_p


def test_benjamini_hochberg_equals_the_published_example():
    # Benjamini & Hochberg 1995, section 3.2: four of fifteen pass at .05
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
        0.7590,
        1.0,
    ]
    q = benjamini_hochberg(np.array(p))
    assert (q <= 0.05).sum() == 4
    np.testing.assert_allclose(q[:4], [0.0015, 0.003, 0.0095, 0.035625], rtol=1e-12)


def test_benjamini_hochberg_does_not_count_missing_tests():
    q = benjamini_hochberg(np.array([0.01, np.nan, 0.04, np.nan]))
    np.testing.assert_allclose(q, [0.02, np.nan, 0.04, np.nan])


def test_under_any_dependence_it_equals_statsmodels():
    from statsmodels.stats.multitest import multipletests

    p = np.random.default_rng(0).random(200) ** 3
    q = benjamini_hochberg(np.append(p, np.nan), dependence="any")
    np.testing.assert_allclose(q[:-1], multipletests(p, method="fdr_by")[1], rtol=1e-12)
    assert np.isnan(q[-1])


def test_benjamini_hochberg_keeps_the_order_of_the_tests():
    p = np.random.default_rng(0).random(50)
    order = np.random.default_rng(1).permutation(50)
    np.testing.assert_array_equal(benjamini_hochberg(p)[order], benjamini_hochberg(p[order]))


@pytest.mark.parametrize("p", [np.array([]), np.array([np.nan])])
def test_benjamini_hochberg_of_no_tests_is_no_q(p):
    assert np.isnan(benjamini_hochberg(p)).all()


@pytest.mark.parametrize("bad", [-0.1, 1.5, np.inf])
def test_a_p_value_outside_zero_to_one_is_refused(bad):
    with pytest.raises(InvalidInput, match=r"\[0, 1\]"):
        benjamini_hochberg(np.array([0.5, bad]))


def test_min_p_of_one_test_counts_permutations_at_least_as_small():
    null = np.array([[0.01], [0.5], [0.02], [0.9]])
    np.testing.assert_allclose(min_p(np.array([0.02]), null), [3 / 5])


def test_min_p_of_copies_of_one_test_costs_nothing():
    rng = np.random.default_rng(0)
    null = np.repeat(rng.random((199, 1)), 20, axis=1)
    np.testing.assert_allclose(min_p(np.full(20, 0.01), null), min_p(np.full(1, 0.01), null[:, :1])[0])


def test_min_p_holds_the_family_wise_error_rate():
    rng = np.random.default_rng(0)
    rejections = 0
    for _ in range(400):
        p = rng.random((100, 10))
        rejections += bool((min_p(p[0], p[1:]) <= 0.05).any())
    assert 8 <= rejections <= 34  # binomial(400, .05), 99.9 %


def test_min_p_leaves_missing_tests_out():
    adjusted = min_p(np.array([np.nan, 0.5]), np.array([[0.0, 0.6], [0.0, 0.7]]))
    np.testing.assert_allclose(adjusted, [np.nan, 1 / 3])


def test_min_p_refuses_shapes_that_do_not_fit():
    with pytest.raises(InvalidInput, match="min_p needs"):
        min_p(np.array([0.1, 0.2]), np.ones((5, 3)))
