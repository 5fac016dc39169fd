"""Results that are kept: equal arguments give the same array, others their own, and none can be changed."""

import numpy as np
import pytest

from interp.stats.recent import keep_recent
from interp.stats.seeds import permutation_indices


@pytest.fixture
def doubled():
    calls = []

    @keep_recent(2)
    def double(x: np.ndarray, *, by: int = 2) -> np.ndarray:
        calls.append(by)
        return x * by if x.dtype != object else np.arange(len(x)) * by

    return double, calls


def test_equal_contents_are_computed_once_whatever_object_holds_them(doubled):
    double, calls = doubled
    first = double(np.arange(3.0))
    assert double(np.arange(3.0)) is first
    assert calls == [2]
    double(np.arange(3.0), by=3)
    double(np.arange(3))  # another dtype
    double(np.arange(3.0).reshape(1, 3))  # another shape
    assert calls == [2, 3, 2, 2]


def test_only_the_last_few_are_kept(doubled):
    double, calls = doubled
    for value in (1.0, 2.0, 3.0, 1.0):
        double(np.array([value]))
    assert len(calls) == 4


def test_labels_are_told_apart_by_what_they_say(doubled):
    double, calls = doubled
    double(np.array(["a", "b"], dtype=object))
    double(np.array(["a", "c"], dtype=object))
    double(np.array(["a", "b"], dtype=object))
    assert len(calls) == 2


def test_a_changed_argument_is_computed_anew_and_results_cannot_be_changed(doubled):
    double, _ = doubled
    x = np.arange(3.0)
    double(x)
    x[0] = 5
    assert double(x)[0] == 10
    with pytest.raises(ValueError, match="read-only"):
        double(x)[0] = 1


def test_permutations_are_kept_by_seed_count_and_groups():
    groups = np.repeat([0, 1], 5)
    one = permutation_indices(10, 4, seed=3, groups=groups)
    assert permutation_indices(10, 4, seed=3, groups=groups.copy()) is one
    assert (permutation_indices(10, 4, seed=4, groups=groups) != one).any()
    np.testing.assert_array_equal(permutation_indices(10, 2, seed=3, start=2, groups=groups), one[2:])
