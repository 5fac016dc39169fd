"""Planted units: what they are said to be is what they are."""

import numpy as np
import pytest

from interp.errors import InvalidInput
from interp.testing import concept_units
from interp.testing.planted_units import N_COMMON, REGIMES


@pytest.mark.parametrize(("strengths", "rates"), REGIMES)
def test_each_unit_has_its_concepts_and_no_other(strengths, rates):
    made = concept_units((1, 3), strengths=strengths, rates=rates, per_count=3, n_texts=800, seed=1)
    for unit, k in enumerate(made.n_concepts):
        on = made.concept_of[:, unit] >= 0
        topics = made.topics[made.text_index[on]]
        assert len(np.unique(topics)) == k == made.concept_of[:, unit].max() + 1
        assert (made.ids.ravel()[on] >= N_COMMON).all()


def test_halving_strengths_halve_the_activations():
    made = concept_units((3,), strengths="halving", per_count=8, seed=0)
    means = [made.activations[made.concept_of == c].mean() for c in range(3)]
    assert np.allclose(np.array(means[1:]) / means[:-1], 0.5, rtol=0.06)


@pytest.mark.parametrize(("rates", "ratio"), [("concept", 3.0), ("unit", 1.0)])
def test_rates_say_what_is_held_equal(rates, ratio):
    made = concept_units((1, 3), rates=rates, per_count=10, seed=0)
    on = (made.concept_of >= 0).mean(axis=0)
    assert on[made.n_concepts == 3].mean() / on[made.n_concepts == 1].mean() == pytest.approx(ratio, rel=0.08)


def test_a_word_concept_is_one_word():
    made = concept_units((1,), kind="word", per_count=4, n_texts=400, seed=0)
    for unit in range(4):
        assert len(np.unique(made.ids.ravel()[made.concept_of[:, unit] >= 0])) == 1


@pytest.mark.parametrize("by", ["concept", "word"])
def test_what_was_written_sums_to_the_activation_and_has_its_author(by):
    made = concept_units((3,), per_count=1, n_texts=400, seed=0)
    rows = np.flatnonzero(made.concept_of[:, 0] >= 0)
    parts = made.written(0, rows, by=by)
    np.testing.assert_allclose(parts.sum(axis=1), made.activations[rows, 0], atol=1e-6)
    author = made.concept_of[rows, 0] if by == "concept" else made.ids.ravel()[rows] % 2
    np.testing.assert_array_equal(parts[np.arange(len(rows)), author], made.activations[rows, 0])
    assert (np.delete(parts[0, :3], author[0]) == 0).all()


def test_equal_seeds_equal_units():
    a, b, c = (concept_units((2,), per_count=2, n_texts=50, seed=s) for s in (3, 3, 4))
    assert np.array_equal(a.activations, b.activations)
    assert not np.array_equal(a.activations, c.activations)


@pytest.mark.parametrize("wrong", [{"strengths": "falling"}, {"kind": "verb"}, {"n_concepts": (0,)}])
def test_what_does_not_exist_is_refused(wrong):
    with pytest.raises(InvalidInput):
        concept_units(**{"n_concepts": (1,), "seed": 0, **wrong})
