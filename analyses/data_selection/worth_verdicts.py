"""From the losses of many short trainings to a verdict: paired differences, intervals, Holm, and power."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

REFERENCE, ORACLE, BASE = "random", "oracle", "untouched model"
ALPHA = 0.05
LARGER_IS_BETTER = ("relevant",)
"""Measures that are no losses: the share of the pick that is relevant."""
BETTER, WORSE, NO_GAIN, NO_POWER = "better than random", "worse than random", "no gain over random", "no power"


def compare(runs: pd.DataFrame, reference: str = REFERENCE, methods: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the paired difference of each method to a reference, for each measure.

    A pair is one task and seed; draws of a method there are averaged first. Student's t over the pairs: interval of
    95 %, p two-sided. The pairs are taken as independent, so the interval is about these tasks; `tasks_better` says in
    how many tasks of how many the mean difference is for the better.

    Args:
        runs: one row a run: method, task, seed, draw, measure, value.
        methods: default all but the reference, in order of appearance.

    Returns:
        method, reference, measure, value (mean), reference_value, difference, ci_low, ci_high, p, n (pairs),
        tasks_better, status ("ok", "too few pairs", "constant").
    """
    means: Any = runs.groupby(["measure", "method", "task", "seed"], sort=False)["value"].mean()
    names = list(dict.fromkeys(runs["method"])) if methods is None else list(methods)
    rows = []
    for measure in dict.fromkeys(runs["measure"]):
        table = means.loc[measure].unstack("method")
        for method in names:
            if method == reference or method not in table or reference not in table:
                continue
            pairs = table[[method, reference]].dropna()
            rows.append({"method": method, "reference": reference, "measure": measure, **_paired(pairs, str(measure))})
    return pd.DataFrame(rows)


def judge(runs: pd.DataFrame) -> pd.DataFrame:
    """Return `compare` with random, with q and a verdict for each method and measure.

    q is p after Holm over the methods of one measure (oracle and untouched model are not among them). Verdicts:
    "better than random" or "worse than random" where q <= 0.05. Else "no gain over random" if the oracle, judged as
    the best of as many methods (p <= 0.05 / methods), is better than random; if not, "no power", because a perfect
    method would not have been found either. Where the oracle has p > 0.05, "no power" for all. "reference" for oracle
    and untouched model; the status where there is no test. `evidence` says it in numbers.
    """
    table = compare(runs)
    table["q"], table["verdict"], table["evidence"] = np.nan, "", ""
    groups: Any = table.groupby("measure", sort=False)
    for measure, part in groups:
        sign = 1 if measure in LARGER_IS_BETTER else -1
        judged = ~part["method"].isin([ORACLE, BASE])
        q: Any = pd.Series(np.nan, index=part.index)
        q[judged] = holm(part.loc[judged, "p"].to_numpy())
        oracle = part[part["method"] == ORACLE]
        levels = (ALPHA, ALPHA / max(1, int(judged.sum())))
        some, full = (bool(len(oracle)) and _is_better(oracle.iloc[0], sign, level) for level in levels)
        for row in part.index:
            table.loc[row, "q"] = q[row]
            table.loc[row, "verdict"] = (
                _verdict(part.loc[row], q[row], sign, some, full) if judged[row] else "reference"
            )
            table.loc[row, "evidence"] = _evidence(part.loc[row], oracle)
    return table


def holm(p: np.ndarray) -> np.ndarray:
    """Return p-values adjusted after Holm (1979), float64 [test]; NaN is not a test."""
    out = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    scaled = p[order] * np.arange(len(order), 0, -1)
    out[order] = np.minimum(1.0, np.maximum.accumulate(scaled)) if len(order) else scaled
    return out


def mean_interval(values: np.ndarray) -> dict[str, object]:
    """Return mean, ci_low, ci_high (Student's t, 95 %), p that the mean is 0, n and status; NaN is left out."""
    x = np.asarray(values, dtype=np.float64)
    x = x[~np.isnan(x)]
    out: dict[str, object] = {"mean": float(x.mean()) if len(x) else np.nan, "ci_low": np.nan, "ci_high": np.nan}
    out |= {"p": np.nan, "n": len(x), "status": "ok"}
    if len(x) < 3:
        return out | {"status": "too few pairs"}
    error = float(x.std(ddof=1) / np.sqrt(len(x)))
    if error <= 1e-12 * max(1.0, abs(float(x.mean()))):
        return out | {"ci_low": out["mean"], "ci_high": out["mean"], "status": "constant"}
    half = float(stats.t.ppf(1 - ALPHA / 2, len(x) - 1)) * error
    p = float(2 * stats.t.sf(abs(float(x.mean())) / error, len(x) - 1))
    return out | {"ci_low": float(x.mean()) - half, "ci_high": float(x.mean()) + half, "p": p}


def _paired(pairs: pd.DataFrame, measure: str) -> dict[str, object]:
    method, reference = (pairs.iloc[:, i] for i in (0, 1))
    difference = method - reference
    found = mean_interval(difference.to_numpy())
    by_task = difference.groupby(level="task").mean()
    better = int((by_task > 0).sum() if measure in LARGER_IS_BETTER else (by_task < 0).sum())
    return {
        "value": float(method.mean()), "reference_value": float(reference.mean()), "difference": found.pop("mean"),
        **found, "tasks_better": f"{better} of {len(by_task)}",
    }  # fmt: skip


def _is_better(row: Any, sign: int, alpha: float) -> bool:
    clear = row["status"] == "constant" or (row["status"] == "ok" and row["p"] <= alpha)
    return bool(clear and sign * row["difference"] > 0)


def _verdict(row: Any, q: float, sign: int, some_power: bool, full_power: bool) -> str:
    if not some_power:
        return NO_POWER
    nothing = NO_GAIN if full_power else NO_POWER
    if row["status"] == "constant" and row["difference"] == 0:
        return nothing
    if row["status"] != "ok":
        return str(row["status"])
    if q > ALPHA:
        return nothing
    return BETTER if sign * row["difference"] > 0 else WORSE


def _evidence(row: Any, oracle: pd.DataFrame) -> str:
    text = f"{row['difference']:+.3f} ({row['ci_low']:+.3f} to {row['ci_high']:+.3f}) over {row['n']} pairs"
    text += f", {row['tasks_better']} tasks better"
    if len(oracle) and row["method"] != ORACLE:
        text += f"; oracle {oracle.iloc[0]['difference']:+.3f}"
    return text
