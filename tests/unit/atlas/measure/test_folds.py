"""Folds that never split what they hold out."""

from __future__ import annotations

import numpy as np
import pytest

from interp.atlas.measure.folds import cells, group_folds, random_folds
from interp.errors import InvalidInput


def test_cells_are_squares_of_ten_degrees():
    lat = np.array([0.0, 9.99, 10.0, -0.01, 90.0, -90.0, 89.9, 0.0, 0.0])
    lon = np.array([0.0, 9.99, 0.0, 0.0, 180.0, -180.0, 179.9, -10.0, -10.01])
    found = cells(lat, lon)
    assert found[0] == found[1]
    assert found[4] == found[6]  # the pole and the antimeridian belong to the last cells
    assert len(set(found.tolist())) == 7
    assert (found.min(), found.max()) == (0, 18 * 36 - 1)


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_split_and_folds_are_about_equal(seed):
    groups = np.random.default_rng(seed).choice([f"c{i}" for i in range(60)], size=900)
    folds = group_folds(groups, seed=seed)
    for group in set(groups):
        assert len(set(folds[groups == group])) == 1
    sizes = np.bincount(folds)
    assert len(sizes) == 10
    assert sizes.max() - sizes.min() <= np.unique(groups, return_counts=True)[1].max()


def test_random_folds_are_equal_up_to_one_and_depend_on_the_seed():
    folds = random_folds(103, seed=0)
    assert sorted(np.bincount(folds)) == [10] * 7 + [11] * 3
    np.testing.assert_array_equal(folds, random_folds(103, seed=0))
    assert (folds != random_folds(103, seed=1)).any()
    assert np.abs(np.corrcoef(folds, np.arange(103))[0, 1]) < 0.3  # the largest cities are not in one fold


def test_there_are_no_more_folds_than_groups():
    assert set(group_folds(["a", "b", "a", "c"], seed=0)) == {0, 1, 2}


def test_one_group_cannot_be_held_out():
    with pytest.raises(InvalidInput, match="at least 2"):
        group_folds(["a", "a"], seed=0)
