"""Paired differences and verdicts against scipy, statsmodels and planted losses."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analyses.data_selection.worth import decile_test, worth_of
from analyses.data_selection.worth_runs import Runs
from analyses.data_selection.worth_verdicts import compare, holm, judge, mean_interval

TASKS, SEEDS = ("a", "b", "c"), (0, 1, 2)


def runs_of(effects, *, measure="loss, x", noise=0.01, seed=0):
    """Return losses around a level of each task, lowered by the effect of each method; random has three draws."""
    rng = np.random.default_rng(seed)
    rows = []
    for task, level in zip(TASKS, (1.0, 2.0, 5.0), strict=True):
        for s in SEEDS:
            for method, effect in {"random": 0.0, **effects}.items():
                for draw in range(3 if method == "random" else 1):
                    value = level + effect + noise * rng.standard_normal()
                    rows.append((method, task, s, draw, measure, value))
    return pd.DataFrame(rows, columns=["method", "task", "seed", "draw", "measure", "value"])


def verdicts(runs):
    return judge(runs).set_index("method")["verdict"].to_dict()


def test_differences_are_those_of_a_paired_t_test():
    runs = runs_of({"m": -0.1}, noise=0.2)
    mean = runs.groupby(["method", "task", "seed"])["value"].mean().unstack("method")
    expected = stats.ttest_rel(mean["m"], mean["random"])
    row = compare(runs).iloc[0]
    interval = expected.confidence_interval()
    np.testing.assert_allclose(
        [row["difference"], row["p"], row["ci_low"], row["ci_high"]],
        [(mean["m"] - mean["random"]).mean(), expected.pvalue, interval.low, interval.high],
        rtol=1e-10,
    )
    assert row["n"] == 9
    assert row["status"] == "ok"


def test_holm_is_that_of_statsmodels_and_leaves_out_what_is_no_test():
    p = np.array([0.04, np.nan, 0.001, 0.03, 0.03, 0.9])
    expected = multipletests(p[~np.isnan(p)], method="holm")[1]
    np.testing.assert_allclose(holm(p)[~np.isnan(p)], expected, rtol=1e-12)
    assert np.isnan(holm(p)[1])
    assert len(holm(np.array([]))) == 0


def test_each_verdict_is_given_where_it_is_planted():
    found = verdicts(runs_of({"oracle": -0.5, "untouched model": 0.2, "good": -0.3, "same": 0.0, "bad": 0.3}))
    assert found == {
        "oracle": "reference", "untouched model": "reference", "good": "better than random",
        "same": "no gain over random", "bad": "worse than random",
    }  # fmt: skip


def test_without_a_better_oracle_nothing_is_claimed():
    for oracle in (0.0, 0.4):
        found = verdicts(runs_of({"oracle": oracle, "good": -0.3, "same": 0.0}))
        assert found["good"] == found["same"] == "no power"
    runs = runs_of({"good": -0.3})
    assert verdicts(runs) == {"good": "no power"}  # no oracle at all


def test_an_oracle_that_would_not_pass_as_one_of_many_methods_proves_no_absence():
    noisy = {f"m{i}": 0.0 for i in range(19)}
    runs = runs_of({"oracle": -0.5, "clear": -3.0, **noisy}, noise=0.1)
    oracle = (runs["method"] == "oracle").to_numpy()
    runs.loc[oracle, "value"] += 0.45 * stats.zscore(np.arange(9.0))  # t of about 3
    table = judge(runs).set_index("method")
    assert 0.05 / 20 < table.loc["oracle", "p"] < 0.05
    assert table.loc["clear", "verdict"] == "better than random"
    assert set(table.loc[list(noisy), "verdict"]) == {"no power"}


def test_the_share_of_relevant_rows_is_better_when_larger():
    runs = runs_of({"oracle": 0.5, "good": 0.3, "bad": -0.3}, measure="relevant")
    assert verdicts(runs) == {"oracle": "reference", "good": "better than random", "bad": "worse than random"}
    assert judge(runs).set_index("method").loc["good", "tasks_better"] == "3 of 3"


def test_one_gain_in_many_draws_of_the_null_is_not_called_better():
    rng = np.random.default_rng(1)
    wrong = 0
    for trial in range(40):
        nulls = {f"m{i}": 0.0 for i in range(6)}
        found = verdicts(runs_of({"oracle": -1.0, **nulls}, noise=0.1, seed=int(rng.integers(2**31)) + trial))
        wrong += any(found[name] != "no gain over random" for name in nulls)
    assert wrong <= 8  # 5 % of 40, with room: P(Binomial(40, .05) > 8) < .001


@pytest.mark.parametrize(
    ("values", "status"), [([1.0, 2.0], "too few pairs"), ([1.0] * 4, "constant"), ([np.nan] * 5, "too few pairs")]
)
def test_what_cannot_be_tested_has_a_status_and_no_p(values, status):
    found = mean_interval(np.array(values))
    assert found["status"] == status
    assert np.isnan(found["p"])


def test_one_seed_and_task_gives_no_verdict_on_methods():
    runs = runs_of({"oracle": -0.5, "good": -0.3})
    table = judge(runs[(runs["task"] == "a") & (runs["seed"] == 0)])
    assert set(table["status"]) == {"too few pairs"}
    assert table["p"].isna().all()
    assert table.set_index("method").loc["good", "verdict"] == "no power"


def deciles_of(slope, noise, seed=0):
    rng = np.random.default_rng(seed)
    rows = [
        ("m", task, s, b, "loss, x", slope * b + noise * rng.standard_normal())
        for task in TASKS for s in SEEDS for b in range(1, 11)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["method", "task", "seed", "bin", "measure", "value"])


def test_deciles_rank_a_score_that_orders_losses_and_none_that_does_not():
    good = decile_test(deciles_of(1.0, 0.5)).iloc[0]
    assert good["rho"] > 0.9
    assert good["ci_low"] > 0.8
    assert good["n"] == 9
    null = decile_test(deciles_of(0.0, 1.0)).iloc[0]
    assert null["ci_low"] < 0 < null["ci_high"]
    assert null["p"] > 0.05
    table = deciles_of(1.0, 2.0)
    rhos = [stats.spearmanr(part["bin"], part["value"])[0] for _, part in table.groupby(["task", "seed"])]
    np.testing.assert_allclose(decile_test(table).iloc[0]["rho"], np.mean(rhos), rtol=1e-12)


def test_result_says_the_verdicts_in_its_notes_and_survives_saving(tmp_path):
    runs = runs_of({"oracle": -0.5, "untouched model": 0.2, "good": -0.3, "same": 0.0})
    picks = runs[runs["method"] == "good"].assign(n_picked=5, rho_length=0.1).drop(columns=["measure", "value"])
    result = worth_of(Runs(runs, picks, deciles_of(1.0, 0.5)), against=("good",))
    assert "better than random: good; no gain over random: same" in result.summary()
    assert "untouched model +0.2" in result.summary()
    contrasts = result.tables["contrasts"].set_index("method")
    assert contrasts.loc["same", "difference"] == pytest.approx(0.3, abs=0.02)
    assert contrasts.loc["same", "q"] >= contrasts.loc["same", "p"]
    axes = result.plot().axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["oracle", "good", "same", "untouched model"]
    gains = axes.lines[0].get_xdata()
    np.testing.assert_allclose(gains, [0.5, 0.3, 0.0, -0.2], atol=0.02)
    loaded = type(result).load(result.save(tmp_path / "worth"))
    pd.testing.assert_frame_equal(loaded.table, result.table)
