from __future__ import annotations

import numpy as np
import pytest

from interp.errors import InvalidInput
from interp.stats.seeds import check_seed, permutation_indices, subset_indices


def test_permutations_do_not_depend_on_how_they_are_batched():
    whole = permutation_indices(40, 20, seed=7)
    parts = [permutation_indices(40, 5, seed=7, start=start) for start in (0, 5, 10, 15)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_every_row_is_a_permutation():
    np.testing.assert_array_equal(np.sort(permutation_indices(31, 9, seed=0), axis=1), np.tile(np.arange(31), (9, 1)))


def test_permutations_differ_between_seeds_and_numbers():
    rows = np.concatenate([permutation_indices(50, 30, seed=s) for s in (0, 1)])
    assert len({row.tobytes() for row in rows}) == 60


def test_stratified_permutations_stay_in_their_group():
    groups = np.array([2, 0, 1, 1, 0, 2, 2, 1, 0, 0])
    for row in permutation_indices(10, 50, seed=3, groups=groups):
        np.testing.assert_array_equal(groups[row], groups)
        np.testing.assert_array_equal(np.sort(row), np.arange(10))


def test_stratified_permutations_reach_every_place_of_a_group_equally():
    groups = np.array([0, 1, 0, 1, 0])
    rows = permutation_indices(5, 3000, seed=0, groups=groups)
    share = np.array([(rows[:, 0] == i).mean() for i in (0, 2, 4)])
    np.testing.assert_allclose(share, 1 / 3, atol=0.035)


def test_subsets_have_no_repeats_and_cover_all_places():
    subsets = subset_indices(12, 4, 600, seed=0)
    assert all(len(set(row)) == 4 for row in subsets.tolist())
    np.testing.assert_allclose(np.bincount(subsets[:, 0], minlength=12) / 600, 1 / 12, atol=0.045)


@pytest.mark.parametrize("seed", [-1, 1.5, None, True, "0"])
def test_a_seed_that_is_no_count_is_refused(seed):
    with pytest.raises(InvalidInput, match="seed"):
        check_seed(seed)
