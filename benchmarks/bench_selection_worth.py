"""Is data selection worth it on the bundled model? Every method and control, random, oracle, tuned at equal tokens.

Run with one thread: OMP_NUM_THREADS=1 python benchmarks/bench_selection_worth.py
Pool: 17 skills in 5 templates each (6 samples a cell, a fifth with wrong answers, a third behind a short story) and
240 other texts, drawn anew for each seed. Target: 16 examples of one skill in one template. The final weights and the
SAE of layer 2 (one of three seeds) select; the checkpoint of step 92, which has learnt no skill yet, is tuned on
3 % of the pool's tokens.

What is chosen is chosen on other skills than what is reported: the learning rate on three that are no targets
(LR_SKILLS), and the variant of the published score on three more (DEVELOPMENT; bench_selection_variants.py, which runs
first, names it and its rival without an SAE). Reported are the five of HELD_OUT; tables of the three are kept apart.
About 25 CPU minutes. Trainings are kept in --work, so that a killed run goes on. Writes
benchmarks/results/selection_worth.json after every seed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from analyses.data_selection.coders import random_sae
from analyses.data_selection.finetuning import Tuning
from analyses.data_selection.method_names import CODE_METHODS, CONTROLS, NAMES
from analyses.data_selection.methods import StandardMethods
from analyses.data_selection.worth import worth_of
from analyses.data_selection.worth_runs import Runs, measure_runs
from analyses.data_selection.worth_skills import FORM, skill_pool
from interp.atlas.facts import facts
from interp.models import load_model
from interp.sae import load_sae
from interp.store import atomic_write_bytes

RESULTS = Path(__file__).parent / "results" / "selection_worth.json"
VARIANTS = Path(__file__).parent / "results" / "selection_variants.json"
TASKS = ("plural", "last", "continent of", "count", "direction", "opposite", "language of", "first letter")
DEVELOPMENT, HELD_OUT = TASKS[:3], TASKS[3:]
LR_SKILLS, LR_SEEDS = ("past tense", "repeat", "previous"), (1000, 1001, 1002)
RATES = (1e-5, 3e-5, 1e-4, 3e-4)
SAES = ("resid_post.2", "resid_post.2-seed1", "resid_post.2-seed2")
VARIANT, RANDOM_VARIANT, DENSE_VARIANT = "variant", "variant-random-sae", "variant-no-sae"
DECILES, DECILE_SEEDS = ("mona", VARIANT, "gradient"), (0,)
AGAINST = ("mona", "random-sae", VARIANT)
BUDGET = "3% tokens"
SETTINGS: dict[str, Any] = {"budget": BUDGET, "random_draws": 2}
POOL: dict[str, Any] = {"per_cell": 6, "n_documents": 240, "n_examples": 16, "n_held_out": 32}


def tuning(lr: float) -> Tuning:
    """Return how copies are tuned."""
    return Tuning(tokens=1024, batch_tokens=128, lr=lr, loss="answer", template=FORM)


def choose_rate(trainee: Any, work: Path) -> tuple[float, dict[str, float]]:
    """Return the rate of the lowest loss (mean of oracle and random) on skills that are no targets, and the losses."""
    losses: dict[str, float] = {}
    for lr in RATES:
        found = []
        for seed in LR_SEEDS:
            pool, targets = skill_pool(facts().corpus(), LR_SKILLS, seed=seed, **POOL)
            runs = measure_runs(pool, targets, {}, trainee, seed=seed, tuning=tuning(lr), budget=BUDGET,
                                random_draws=1, out=work / f"rate-{lr:g}-{seed}")  # fmt: skip
            found.append(runs.losses[runs.losses["measure"].str.startswith("loss")])
        table: Any = pd.concat(found)
        losses[f"{lr:g}"] = float(table[table["method"].isin(["oracle", "random"])]["value"].mean())
    return min(RATES, key=lambda lr: losses[f"{lr:g}"]), losses


def one_seed(seed: int, lr: float, models: Any, work: Path, chosen: dict[str, Any]) -> dict[str, Runs]:
    """Return the runs of one seed, of the skills of development and of the others: a pool and an SAE of its own."""
    pool, targets = skill_pool(facts().corpus(), TASKS, seed=seed, **POOL)
    selector, trainee = models
    sae = load_sae(f"atlas/{SAES[seed % len(SAES)]}")
    made = StandardMethods(
        pool, selector, sae, trainee=trainee, template=FORM, out=work / f"codes-{seed}", seed=seed
    ).methods()
    out: dict[str, Runs] = {}
    for name, tasks in (("development", DEVELOPMENT), ("held out", HELD_OUT)):
        mine = {task: targets[task] for task in tasks}
        more = variant_methods(pool, selector, mine, chosen, seed, work / f"codes-{seed}")
        deciles = DECILES if name == "held out" and seed in DECILE_SEEDS else ()
        out[name] = measure_runs(
            pool, mine, {**made, **more}, trainee, seed=seed, tuning=tuning(lr), deciles=deciles,
            out=work / f"runs-{seed}", **SETTINGS,
        )  # fmt: skip
    return out


def variant_methods(
    pool: Any, selector: Any, targets: Any, chosen: dict[str, Any], seed: int, work: Path
) -> dict[str, Any]:
    """Return the chosen variant, the same with random directions for latents, and its rival without an SAE."""
    from bench_selection_variants import one_score

    def method(which: dict[str, Any], what: str) -> Any:
        sae = load_sae(f"atlas/{SAES[seed % len(SAES)] if which['site'] == 'resid_post.2' else which['site']}")
        coder = random_sae(sae, seed) if what == RANDOM_VARIANT else sae
        methods = StandardMethods(
            pool, selector, coder, template=FORM, seed=seed, tokens=which["tokens"], out=work / what
        )

        def scores(target: Any, seed: int) -> Any:
            others = [list(other.examples) for other in targets.values() if other is not target]
            return one_score(which["score"], methods, list(target.examples), others, seed)

        return scores

    of = {VARIANT: chosen["sae"], RANDOM_VARIANT: chosen["sae"], DENSE_VARIANT: chosen["dense"]}
    return {name: method(which, name) for name, which in of.items()}


def summary(notes: Sequence[str], contrasts: pd.DataFrame) -> list[str]:
    """Return the outcome in sentences, the lost comparisons among them."""
    codes = (*CODE_METHODS, VARIANT)
    asked = {
        "mona": ["adjusted", "random-sae", *(name for name in NAMES if name not in (*CODE_METHODS, *CONTROLS))],
        "random-sae": [name for name in codes if name != VARIANT],
        VARIANT: ["mona", RANDOM_VARIANT, DENSE_VARIANT, "gradient", "bm25"],
    }
    lines = list(notes)
    for measure in dict.fromkeys(contrasts["measure"]):
        sign = 1 if measure == "relevant" else -1
        for reference, others in asked.items():
            mine = contrasts["method"].isin(others) & (contrasts["reference"] == reference)
            rows: Any = contrasts[mine & (contrasts["measure"] == measure)]
            clear, gain = rows["q"] <= 0.05, sign * rows["difference"]
            lines.append(
                f"{measure}: better than {reference}: {_named(rows[clear & (gain > 0)])}; not shown to differ from it: "
                f"{_named(rows[~clear])}; worse: {_named(rows[clear & (gain < 0)])}."
            )
    return lines


def _named(rows: pd.DataFrame) -> str:
    return ", ".join(rows["method"]) or "none"


def write(out: Path, parts: list[dict[str, Runs]], done: dict[str, Any]) -> None:
    """Write what there is so far."""
    developed, result = (
        worth_of(Runs.joined([part[name] for part in parts]), against=AGAINST, about=done["settings"])
        for name in ("development", "held out")
    )
    tables = {"verdicts": result.table, **{k: v for k, v in result.tables.items() if k not in ("runs", "decile_runs")}}
    record = {**done, "summary": summary(result.notes, result.tables["contrasts"])}
    record |= {name: _records(table) for name, table in tables.items()}
    record["decile_means"] = _records(decile_means(result.tables.get("decile_runs")))
    record["runs"] = losses_by_seed(result.tables["runs"])
    record["development"] = {name: _records(table) for name, table in
                             (("verdicts", developed.table), ("picks", developed.tables["picks"]))}  # fmt: skip
    atomic_write_bytes(out, (json.dumps(record, indent=1) + "\n").encode())
    print("\n".join(record["summary"]), flush=True)


def losses_by_seed(runs: pd.DataFrame) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Return method -> measure -> task -> the value of each seed, draws averaged."""
    out: dict[str, dict[str, dict[str, list[float]]]] = {}
    groups: Any = runs.groupby(["method", "measure", "task", "seed"], sort=False)
    for (method, measure, task, _), value in groups["value"].mean().items():
        out.setdefault(method, {}).setdefault(measure, {}).setdefault(task, []).append(round(float(value), 5))
    return out


def decile_means(deciles: pd.DataFrame | None) -> pd.DataFrame:
    """Return the mean loss of each decile over tasks and seeds."""
    if deciles is None:
        return pd.DataFrame()
    groups: Any = deciles.groupby(["method", "measure", "bin"], sort=False)
    return groups["value"].mean().reset_index()


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    rounded = table.apply(lambda column: column.round(6) if column.dtype.kind == "f" else column)
    return json.loads(rounded.to_json(orient="records") or "[]")


def main() -> None:
    """Run, or go on with, the experiment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("runs/selection_worth"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    began = time.process_time()
    models = load_model("atlas"), load_model("atlas@step92")
    chosen = json.loads(VARIANTS.read_text())["chosen"]
    lr, losses = choose_rate(models[1], args.work)
    settings = {
        "skills": list(HELD_OUT), "development_skills": list(DEVELOPMENT), "variant": chosen, "lr": lr,
        "lr_losses": losses, "lr_skills": list(LR_SKILLS), "lr_seeds": list(LR_SEEDS), "selector": "atlas",
        "trainee": "atlas@step92", "saes": list(SAES), "tokens": tuning(lr).tokens,
        "batch_tokens": tuning(lr).batch_tokens, "loss": "answer", "methods": list(NAMES), "pool": POOL, **SETTINGS,
    }  # fmt: skip
    parts: list[dict[str, Runs]] = []
    for seed in range(args.seeds):
        parts.append(one_seed(seed, lr, models, args.work, chosen))
        settings["seeds"] = list(range(len(parts)))
        write(args.out, parts, about(settings, began, f"{len(parts)} of {args.seeds} seeds"))


def about(settings: dict[str, Any], began: float, done: str) -> dict[str, Any]:
    """Return settings, machine and progress."""
    return {
        "settings": settings, "done": done, "cpu_seconds_of_this_call": round(time.process_time() - began, 1),
        "machine": {"processor": platform.machine(), "threads": torch.get_num_threads()},
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy", "scipy")},
    }  # fmt: skip


if __name__ == "__main__":
    main()
