"""Known dictionaries: each family fires by the law it states, and a batch depends on its number alone."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from interp.errors import InvalidInput
from interp.sae.synthetic import FAMILIES, correlated_data, flat_data, forest_data, tree_data, zipf_data

ROWS = 20_000


@pytest.mark.parametrize("family", FAMILIES)
def test_activations_are_codes_times_dictionary(family):
    data = FAMILIES[family](seed=0)
    draw = data.batch(0, rows=200)
    np.testing.assert_allclose(draw.activations, draw.codes @ data.dictionary, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(data.dictionary, axis=1), 1.0, rtol=1e-12)
    assert draw.codes.min() == 0.0


@pytest.mark.parametrize("family", FAMILIES)
def test_features_fire_as_often_as_stated(family):
    data = FAMILIES[family](seed=1)
    found = (data.held_out(ROWS).codes > 0).mean(axis=0)
    sd = np.sqrt(data.probability * (1 - data.probability) / ROWS)
    assert np.abs((found - data.probability) / sd).max() < 4.5  # of at most 256 features


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_is_a_function_of_seed_and_number(family):
    make = FAMILIES[family]
    resumed = next(make(seed=3).stream(rows=50)(7))
    whole = list(islice(make(seed=3).stream(rows=50)(0), 8))
    assert np.array_equal(resumed, whole[7])
    assert not np.array_equal(whole[6], whole[7])
    assert not np.array_equal(make(seed=4).batch(7, rows=50).activations, resumed)
    assert not np.array_equal(make(seed=3).held_out(50).activations, whole[0])


def test_flat_rows_have_exactly_s_features():
    assert set((flat_data(d=8, n=20, s=3, seed=0).batch(0, rows=500).codes > 0).sum(axis=1)) == {3}
    assert set((flat_data(d=8, n=20, s=20, seed=0).batch(0, rows=50).codes > 0).sum(axis=1)) == {20}


def test_zipf_probabilities_follow_the_exponent():
    data = zipf_data(seed=0)
    assert data.l0 == pytest.approx(3.0)
    assert data.probability[99] / data.probability[0] == pytest.approx(0.1)


def test_zipf_refuses_a_feature_that_is_always_on():
    with pytest.raises(InvalidInput, match="lower it"):
        zipf_data(n=10, l0=9.0, seed=0)


def test_correlated_features_fire_together_in_their_block_alone():
    data = correlated_data(n=64, l0=6.4, block=4, rho=0.5, seed=0)
    on = (data.held_out(100_000).codes > 0).astype(float)
    corr = np.corrcoef(on.T)
    same = np.kron(np.eye(16), np.ones((4, 4))).astype(bool)
    # P(both > z) at p = .1 and rho = .5 is .03239 (bivariate normal), so phi = (.03239 - .01) / .09
    assert corr[same & ~np.eye(64, dtype=bool)].mean() == pytest.approx((0.03239 - 0.01) / 0.09, abs=0.01)
    assert abs(corr[~same].mean()) < 0.002


def test_tree_has_one_parent_on_and_no_child_without_it():
    data = tree_data(seed=0)
    on = data.batch(0, rows=5000).codes > 0
    assert set(on[:, :11].sum(axis=1)) == {1}
    for child in range(11, 20):
        assert bool(on[on[:, child], data.parent[child]].all())
    assert on[:, 11:].sum(axis=1).max() == 1
    assert data.l0 == pytest.approx(1.36)


def test_tree_mixing_draws_siblings_together():
    cosines = tree_data(mixing=0.1, seed=0).dictionary
    cosines = cosines @ cosines.T
    # .9 e_i + .05 (e_j + e_k): cos = (2 * .9 * .05 + .05^2) / (.9^2 + 2 * .05^2)
    assert cosines[11, 12] == pytest.approx(0.0925 / 0.815)
    assert cosines[11, 0] == pytest.approx(0.0, abs=1e-12)
    plain = tree_data(mixing=0.0, seed=0).dictionary
    np.testing.assert_allclose(plain @ plain.T, np.eye(20), atol=1e-12)


def test_forest_children_fire_with_their_parent_and_are_orthogonal_to_it():
    data = forest_data(seed=0)
    on = data.batch(0, rows=5000).codes > 0
    assert set(on[:, :32].sum(axis=1)) == {2}
    children = np.flatnonzero(data.parent >= 0)
    assert not (on[:, children] & ~on[:, data.parent[children]]).any()
    above = data.dictionary[data.parent[children]]
    np.testing.assert_allclose((data.dictionary[children] * above).sum(axis=1), 0.0, atol=1e-12)
    assert data.l0 == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: flat_data(n=4, s=5, seed=0), "from 1 to 4"),
        (lambda: correlated_data(n=10, block=4, seed=0), "divide 10"),
        (lambda: tree_data(mixing=1.0, seed=0), "mixing"),
        (lambda: forest_data(active=40, seed=0), "from 1 to 32"),
        (lambda: flat_data(d=0, seed=0), "d from 1"),
        (lambda: flat_data(seed=0).batch(0, rows=0), "rows from 1"),
    ],
)
def test_families_that_cannot_be_are_refused(make, error):
    with pytest.raises(InvalidInput, match=error):
        make()


def test_every_public_name_of_the_package_is_there():
    import interp.sae

    assert interp.sae.synthetic.flat_data is flat_data
    assert all(getattr(interp.sae, name) is not None for name in interp.sae.__all__)
    assert set(dir(interp.sae)) == set(interp.sae.__all__)
