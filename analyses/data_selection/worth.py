"""Is a selection worth it? The same model, tuned on what each method picks, at equal cost; the answer can be no."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from analyses.data_selection.finetuning import Tuning
from analyses.data_selection.samples import Sample
from analyses.data_selection.worth_runs import CODE_VERSION, Runs, measure_runs
from analyses.data_selection.worth_targets import Method, Target
from analyses.data_selection.worth_verdicts import BASE, ORACLE, REFERENCE, compare, holm, judge, mean_interval
from interp.errors import InvalidInput
from interp.provenance import provenance
from interp.result import Result
from interp.store import make_key

if TYPE_CHECKING:
    from interp.models import Model


def evaluate(
    pool: Sequence[Sample],
    targets: Mapping[str, Target],
    methods: Mapping[str, Method],
    model: Model,
    *,
    budget: str | int | float = "5% tokens",
    tuning: Tuning | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    random_draws: int = 3,
    deciles: Sequence[str] = (),
    against: Sequence[str] = (),
    out: str | Path | None = None,
) -> Result:
    """Compare methods of selection by what a model learns from their picks.

    For each target, seed and method the best rows are picked under one budget, a copy of the model is tuned on them
    with the same tokens and steps, and its loss on held-out rows of the target is measured, beside the untouched
    model, random picks and an oracle.

    Args:
        pool: samples.
        targets: name -> target; see `split_target` where only examples are at hand.
        methods: name -> method; see `standard_methods`.
        model: what is tuned; it need not be what selected.
        budget: see `parse_budget`; in tokens, so that no method gains by picking long rows.
        seeds: of the order of training, the random picks and the methods that draw.
        random_draws: random picks of each target and seed; their mean is the reference.
        deciles: methods whose ranking is cut into ten, each tuned on: a score of relevance has losses that rise.
        against: methods that the others are also compared with.
        out: folder of the finished trainings; the same call goes on from there.

    Returns:
        Result of `worth_of`.

    Raises:
        InvalidInput: no target, a target without held-out rows, labels or scores of another length, or names twice.
    """
    plan = tuning or Tuning()
    parts = [
        measure_runs(pool, targets, methods, model, seed=seed, budget=budget, tuning=plan, random_draws=random_draws,
                     deciles=deciles, out=out)
        for seed in seeds
    ]  # fmt: skip
    if not parts:
        raise InvalidInput("there is no seed; give seeds=(0, 1, 2), for instance.")
    about = {"tuning": asdict(plan), "budget": str(budget), "random_draws": random_draws, "model": model.fingerprint}
    return worth_of(Runs.joined(parts), against=against, about=about)


def worth_of(runs: Runs, *, against: Sequence[str] = (), about: Mapping[str, Any] | None = None) -> Result:
    """Return verdicts of runs, of one pool or of several with the seed told apart.

    Returns:
        Result. table: `judge`, one row a method and measure. tables: "picks", means over tasks and seeds of what was
        picked; "contrasts", `compare` to each of `against` with q after Holm; "deciles", Spearman of decile and loss;
        "runs" and "decile_runs", every training.
    """
    table = judge(runs.losses)
    seeds = sorted({int(seed) for seed in runs.losses["seed"]})
    contrasts = [compare(_without(runs.losses, BASE, ORACLE), other) for other in against]
    tables = {
        "picks": _picks(runs.picks),
        "contrasts": _holm_by(pd.concat(contrasts, ignore_index=True)) if contrasts else pd.DataFrame(),
        "deciles": decile_test(runs.deciles),
        "runs": runs.losses,
        "decile_runs": runs.deciles,
    }
    config = {**dict(about or {}), "seeds": seeds, "against": list(against)}
    key = make_key(config, {}, code_version=CODE_VERSION)
    return Result(
        "data_selection.worth",
        table,
        tables={name: one for name, one in tables.items() if len(one)},
        provenance=provenance(key, seed=seeds[0]),
        view="analyses.data_selection.worth_view:plot",
        notes=tuple(_notes(table, runs)),
    )


def decile_test(deciles: pd.DataFrame) -> pd.DataFrame:
    """Return, for each method and measure, the mean over (task, seed) of Spearman's rho of decile and loss.

    Decile 1 has the best scores, so a score of relevance has rho > 0. Columns: method, measure, rho, ci_low, ci_high,
    p (that the mean is 0), n, status.
    """
    rows = []
    groups: Any = deciles.groupby(["method", "measure"], sort=False)
    for (method, measure), part in groups:
        rhos = [_rho(one) for _, one in part.groupby(["task", "seed"], sort=False)]
        found = mean_interval(np.array(rhos))
        rows.append({"method": method, "measure": measure, "rho": found.pop("mean"), **found})
    return pd.DataFrame(rows)


def _rho(part: pd.DataFrame) -> float:
    found: Any = spearmanr(part["bin"], part["value"]) if np.ptp(part["value"]) else None
    return np.nan if found is None else float(found.statistic)


def _picks(picks: pd.DataFrame) -> pd.DataFrame:
    """Return the mean and 95 % interval over (task, seed) of everything that is told of a pick."""
    rows = []
    values = [name for name in picks.columns if name not in ("method", "task", "seed", "draw")]
    for method, part in picks.groupby("method", sort=False):
        means: Any = part.groupby(["task", "seed"])[values].mean()
        for name in values:
            found = mean_interval(means[name].to_numpy())
            found.pop("p")
            rows.append({"method": method, "measure": name, "value": found.pop("mean"), **found})
    return pd.DataFrame(rows)


def _holm_by(table: pd.DataFrame) -> pd.DataFrame:
    q = table.groupby(["reference", "measure"], sort=False)["p"].transform(lambda p: holm(p.to_numpy()))
    return table.assign(q=q)


def _without(runs: pd.DataFrame, *methods: str) -> pd.DataFrame:
    kept: Any = runs[~runs["method"].isin(methods)]
    return kept


def _notes(table: pd.DataFrame, runs: Runs) -> list[str]:
    tasks, seeds = runs.losses["task"].nunique(), runs.losses["seed"].nunique()
    notes = [
        f"{tasks} tasks x {seeds} seeds; intervals are over these pairs, which are taken as independent, and speak of "
        "these tasks; q is p after Holm over the methods of a measure.",
    ]
    for measure, part in table.groupby("measure", sort=False):
        judged = part[part["verdict"] != "reference"]
        lines = [f"{verdict}: {', '.join(rows['method'])}" for verdict, rows in judged.groupby("verdict", sort=False)]
        base = part[part["method"] == BASE]
        if len(base):
            row = base.iloc[0]
            lines.append(f"untouched model {row['difference']:+.3f} to {REFERENCE}")
        notes.append(f"{measure}: {'; '.join(lines)}.")
    return notes
