"""The rows of the card: intervals against statsmodels, scipy and simulation, and a reason for every NaN."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap
from statsmodels.stats.proportion import proportion_confint

from interp.atlas.measure.rows import COLUMNS, bootstrap_interval, card_table, effective_n, mean_row, share_row, wilson
from interp.errors import InvalidInput


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 40), (40, 40), (1, 7), (13, 200), (4999, 5000)])
def test_interval_of_a_share_is_the_wilson_interval_of_statsmodels(k, n):
    row = share_row("m", np.arange(n) < k, group="g", random=0.1, baseline=0.5, baseline_name="chance")
    low, high = proportion_confint(k, n, alpha=0.05, method="wilson")
    assert (row["value"], row["n"]) == (k / n, n)
    assert (row["ci_low"], row["ci_high"]) == (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))
    assert (row["random_weights"], row["baseline"], row["baseline_name"]) == (0.1, 0.5, "chance")
    assert 0 <= row["ci_low"] <= row["value"] <= row["ci_high"] <= 1
    assert row["status"] == "ok"


def test_controls_may_be_given_as_answers():
    row = share_row("m", np.ones(4, bool), random=np.array([1, 0, 0, 0], bool), baseline=np.array([1, 1, 0, 0], bool))
    assert (row["random_weights"], row["baseline"]) == (0.25, 0.5)


def test_answers_of_one_text_that_are_alike_count_once():
    units = np.repeat(np.arange(50), 6)
    right = np.repeat(np.arange(50) % 5 > 0, 6)
    assert effective_n(right, units) == pytest.approx(49, rel=1e-12)  # m - 1: the variance of 50 texts has 49 freedoms
    row = share_row("m", right, units=units)
    assert (row["n"], row["value"]) == (300, 0.8)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(wilson(0.8, 49), rel=1e-12)


def test_independent_answers_in_groups_count_nearly_whole():
    rng = np.random.default_rng(0)
    found = [effective_n(rng.random(2000) < 0.7, np.repeat(np.arange(500), 4)) for _ in range(50)]
    assert 1850 < np.mean(found) <= 2000


def test_answers_that_are_all_right_are_worth_one_a_text():
    units = np.repeat(np.arange(30), 10)
    row = share_row("m", np.ones(300, bool), units=units)
    assert row["ci_low"] == pytest.approx(proportion_confint(30, 30, method="wilson")[0], abs=1e-12)


def test_interval_by_text_covers_where_the_plain_one_does_not():
    rng = np.random.default_rng(1)
    units, covered, plain = np.repeat(np.arange(100), 8), 0, 0
    for _ in range(400):
        right = rng.random(800) < np.repeat(rng.beta(0.7, 0.3, size=100), 8)  # mean .7, texts differ
        low, high = (share_row("m", right, units=units)[k] for k in ("ci_low", "ci_high"))
        covered += low <= 0.7 <= high
        plain += wilson(right.mean(), 800)[0] <= 0.7 <= wilson(right.mean(), 800)[1]
    assert 0.92 <= covered / 400 <= 0.98
    assert plain / 400 < 0.8


def test_mean_weights_units_by_their_size():
    totals, sizes = np.array([2.0, 30.0, 4.0]), np.array([1.0, 10.0, 4.0])
    row = mean_row("m", totals, sizes=sizes, seed=0, unit="u", random=totals * 2, baseline=7.0, baseline_name="b")
    assert row["value"] == 36 / 15
    assert row["random_weights"] == 72 / 15
    assert (row["baseline"], row["baseline_name"], row["n"], row["unit"]) == (7.0, "b", 3, "u")
    assert row["ci_low"] < row["value"] < row["ci_high"]


def test_interval_of_a_mean_is_the_percentile_bootstrap_of_scipy():
    y = np.random.default_rng(3).exponential(size=200)
    low, high = bootstrap_interval(y, np.ones(200), seed=0, name="m", n_boot=40_000)
    theirs = bootstrap(
        (y,), np.mean, n_resamples=40_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert (low, high) == (pytest.approx(theirs.low, abs=0.005), pytest.approx(theirs.high, abs=0.005))


def test_interval_of_a_ratio_covers_the_true_ratio():
    rng, covered = np.random.default_rng(4), 0
    for seed in range(300):
        sizes = rng.integers(1, 30, size=80).astype(float)
        totals = sizes * rng.gamma(2.0, 0.5, size=80)  # one nat a token on average
        low, high = bootstrap_interval(totals, sizes, seed=seed, name="m", n_boot=400)
        covered += low <= 1.0 <= high
    assert 0.88 <= covered / 300 <= 0.98


def test_a_row_depends_on_its_name_and_seed_alone():
    y = np.random.default_rng(5).standard_normal(60)
    one = mean_row("m", y, seed=1, unit="u", group="a")
    again = mean_row("m", y, seed=1, unit="u", group="a")
    assert (one["value"], one["ci_low"], one["ci_high"]) == (again["value"], again["ci_low"], again["ci_high"])
    assert one["ci_low"] != mean_row("m", y, seed=2, unit="u", group="a")["ci_low"]
    assert one["ci_low"] != mean_row("m", y, seed=1, unit="u", group="b")["ci_low"]


@pytest.mark.parametrize(
    ("row", "status"),
    [
        (share_row("m", np.zeros(0, bool)), "no sample"),
        (mean_row("m", np.zeros(0), seed=0, unit="u"), "no sample"),
        (mean_row("m", np.array([1.0, np.nan]), seed=0, unit="u"), "not finite"),
        (mean_row("m", np.ones(2), sizes=np.zeros(2), seed=0, unit="u"), "no sample"),
    ],
    ids=["share of nothing", "mean of nothing", "a nan", "no size"],
)
def test_what_cannot_be_measured_is_nan_with_a_reason(row, status):
    assert np.isnan([row["value"], row["ci_low"], row["ci_high"]]).all()
    assert row["status"] == status


def test_one_unit_has_a_mean_and_no_interval():
    row = mean_row("m", np.array([3.0]), seed=0, unit="u")
    assert row["value"] == 3.0
    assert np.isnan([row["ci_low"], row["ci_high"]]).all()
    assert row["status"] == "one unit: no interval"


def test_the_table_of_the_card_has_one_schema():
    rows = [share_row("m", np.ones(3, bool), group="a"), mean_row("m", np.ones(3), group="b", seed=0, unit="u")]
    table = card_table(rows)
    assert list(table.columns) == list(COLUMNS)
    assert list(table["group"]) == ["a", "b"]
    with pytest.raises(InvalidInput, match="columns measure, group, value"):
        card_table([{**rows[0], "extra": 1}])
    with pytest.raises(InvalidInput, match=r"two rows of measure 'm', group 'a'"):
        card_table([*rows, rows[0]])
