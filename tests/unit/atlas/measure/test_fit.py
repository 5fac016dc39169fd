"""R², distances and their intervals, against formulas, scikit-learn and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import r2_score

from interp.atlas.measure.fit import great_circle_km, r2, resample


def test_distances_are_those_of_the_haversine_formula():
    rng = np.random.default_rng(0)
    a, b = (np.column_stack([rng.uniform(-90, 90, 500), rng.uniform(-180, 180, 500)]) for _ in range(2))
    (la, lo), (lb, lp) = np.radians(a.T), np.radians(b.T)
    h = np.sin((la - lb) / 2) ** 2 + np.cos(la) * np.cos(lb) * np.sin((lo - lp) / 2) ** 2
    np.testing.assert_allclose(great_circle_km(a, b), 2 * 6371.0088 * np.arcsin(np.sqrt(h)), rtol=1e-6)


def test_known_distances():
    paris, london, quito = [48.8566, 2.3522], [51.5074, -0.1278], [0.0, 179.0]
    assert great_circle_km([paris], [london])[0] == pytest.approx(344, abs=1)
    assert great_circle_km([quito], [[0.0, -179.0]])[0] == pytest.approx(2 * 111.2, abs=0.3)  # over the antimeridian


def test_a_guess_beyond_the_pole_or_round_the_earth_is_a_place():
    assert great_circle_km([[90.0, 0.0]], [[130.0, 50.0]])[0] == pytest.approx(0, abs=1e-3)
    assert great_circle_km([[10.0, 20.0]], [[10.0, 380.0]])[0] == pytest.approx(0, abs=1e-3)


def test_r2_is_that_of_sklearn_and_not_defined_without_spread():
    rng = np.random.default_rng(0)
    y = rng.standard_normal(200) + 30
    guess = y + rng.standard_normal(200)
    assert r2(y, guess) == pytest.approx(r2_score(y, guess), rel=1e-10)
    assert r2(y, y) == 1.0
    assert r2(y, np.full(200, y.mean())) == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(r2(np.ones(5), np.zeros(5)))
    assert np.isnan(r2(np.empty(0), np.empty(0)))


def test_intervals_are_those_of_a_bootstrap_that_copies_whole_blocks():
    rng = np.random.default_rng(1)
    block = rng.integers(15, size=80) * 7  # labels with gaps
    y = rng.standard_normal(80) + block / 10
    guess = y + rng.standard_normal(80)
    draws = resample(block, seed=3, n_boot=200)
    labels = np.unique(block)
    found, medians = [], []
    for times in draws.times.astype(int):
        rows = np.concatenate([np.flatnonzero(block == label) for label in np.repeat(labels, times)])
        found.append(r2_score(y[rows], guess[rows]))
        medians.append(np.sort(np.abs(y - guess)[rows])[(len(rows) + 1) // 2 - 1])
    assert (draws.times.sum(axis=1) == len(labels)).all()
    np.testing.assert_allclose(draws.r2_interval(y, guess), np.percentile(found, [2.5, 97.5]), rtol=1e-10)
    np.testing.assert_allclose(
        draws.median_interval(np.abs(y - guess)), np.percentile(medians, [2.5, 97.5]), rtol=1e-12
    )


def test_draws_depend_on_the_seed_alone():
    block = np.arange(50) % 9
    np.testing.assert_array_equal(resample(block, seed=0).times, resample(block, seed=0).times)
    assert (resample(block, seed=0).times != resample(block, seed=1).times).any()


def test_the_interval_covers_the_truth_where_blocks_are_alike_and_the_plain_one_does_not():
    rng = np.random.default_rng(0)
    block = np.repeat(np.arange(80), 10)
    truth = 1 - (1 + 0.25) / (4 + 1)  # variance of the error over that of y
    covered = plain = 0
    for i in range(300):
        own, shared, error = rng.normal(0, 1, 800), rng.normal(0, 2, 80)[block], rng.normal(0, 1, 80)[block]
        y = own + shared
        guess = y + error + rng.normal(0, 0.5, 800)
        low, high = resample(block, seed=i, n_boot=300).r2_interval(y, guess)
        covered += low <= truth <= high
        low, high = resample(np.arange(800), seed=i, n_boot=300).r2_interval(y, guess)
        plain += low <= truth <= high
    assert 0.9 <= covered / 300 <= 0.98
    assert plain / 300 < 0.75
