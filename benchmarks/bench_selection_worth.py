"""Is data selection worth it on the bundled model? Every method and control, random, oracle, tuned at equal tokens.

Run with one thread: OMP_NUM_THREADS=1 python benchmarks/bench_selection_worth.py
Pool: 17 skills in 5 templates each (6 samples a cell, a fifth with wrong answers, a third behind a short story) and
240 other texts, drawn anew for each seed. Target: 16 examples of one skill in one template. The final weights and the
SAE of layer 2 (one of three seeds) select; the checkpoint of step 92, which has learnt no skill yet, is tuned on
3 % of the pool's tokens. The learning rate is chosen on three other skills. Default 3 skills x 5 seeds, about 9 CPU
minutes; --full: 8 skills x 5 seeds. Trainings are kept in --work, so that a killed run goes on. Writes
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

from analyses.data_selection.finetuning import Tuning
from analyses.data_selection.worth import worth_of
from analyses.data_selection.worth_methods import NAMES, SAE_METHODS, StandardMethods
from analyses.data_selection.worth_runs import Runs, measure_runs
from analyses.data_selection.worth_skills import FORM, skill_pool
from interp.atlas.facts import facts
from interp.models import load_model
from interp.sae import load_sae
from interp.store import atomic_write_bytes

RESULTS = Path(__file__).parent / "results" / "selection_worth.json"
TASKS = ("plural", "last", "continent of", "count", "direction", "opposite", "language of", "first letter")
LR_TASKS = ("past tense", "repeat", "previous")
RATES = (1e-4, 3e-4)
SAES = ("resid_post.2", "resid_post.2-seed1", "resid_post.2-seed2")
DECILES = ("mona", "residual cosine", "gradient cosine", "oracle")
AGAINST = ("mona", "random sae", "residual cosine")
LR_SEED = 1000
SETTINGS: dict[str, Any] = {"budget": "3% tokens", "random_draws": 2}
POOL: dict[str, Any] = {"per_cell": 6, "n_documents": 240, "n_examples": 16, "n_held_out": 32}


def tuning(lr: float) -> Tuning:
    """Return how copies are tuned."""
    return Tuning(tokens=1024, batch_tokens=128, lr=lr, loss="answer", template=FORM)


def choose_rate(trainee: Any, work: Path) -> tuple[float, dict[str, float]]:
    """Return the rate of the lowest loss (mean of oracle and random) on skills that are no targets, and the losses."""
    pool, targets = skill_pool(facts().corpus(), LR_TASKS, seed=LR_SEED, **POOL)
    losses = {}
    for lr in RATES:
        runs = measure_runs(pool, targets, {}, trainee, seed=LR_SEED, tuning=tuning(lr), budget=SETTINGS["budget"],
                            random_draws=1, out=work / f"rate-{lr:g}")  # fmt: skip
        found = runs.losses[runs.losses["measure"].str.startswith("loss")]
        losses[f"{lr:g}"] = float(found[found["method"].isin(["oracle", "random"])]["value"].mean())
    return min(RATES, key=lambda lr: losses[f"{lr:g}"]), losses


def one_seed(seed: int, tasks: tuple[str, ...], lr: float, models: Any, work: Path, deciles: tuple[str, ...]) -> Runs:
    """Return the runs of one seed: a pool, targets and an SAE of its own."""
    pool, targets = skill_pool(facts().corpus(), tasks, seed=seed, **POOL)
    selector, trainee = models
    sae = load_sae(f"atlas/{SAES[seed % len(SAES)]}")
    made = StandardMethods(
        pool, selector, sae, trainee=trainee, template=FORM, out=work / f"codes-{seed}", seed=seed
    ).methods()
    return measure_runs(
        pool, targets, made, trainee, seed=seed, tuning=tuning(lr), deciles=deciles, out=work / f"runs-{seed}",
        **SETTINGS,
    )  # fmt: skip


def summary(notes: Sequence[str], contrasts: pd.DataFrame) -> list[str]:
    """Return the outcome in sentences, the lost comparisons among them."""
    lines = list(notes)
    for measure in dict.fromkeys(contrasts["measure"]):
        sign = 1 if measure == "relevant" else -1
        for reference, others in (("mona", [n for n in NAMES if n not in SAE_METHODS]), ("random sae", SAE_METHODS)):
            mine = contrasts["method"].isin(others) & (contrasts["reference"] == reference)
            rows = contrasts[mine & (contrasts["measure"] == measure)]
            clear, gain = rows["q"] <= 0.05, sign * rows["difference"]
            lines.append(
                f"{measure}: better than {reference}: {_named(rows[clear & (gain > 0)])}; not shown to differ from it: "
                f"{_named(rows[~clear])}; worse: {_named(rows[clear & (gain < 0)])}."
            )
    return lines


def _named(rows: pd.DataFrame) -> str:
    return ", ".join(rows["method"]) or "none"


def write(out: Path, parts: list[Runs], done: dict[str, Any]) -> None:
    """Write what there is so far."""
    result = worth_of(Runs.joined(parts), against=AGAINST, about=done["settings"])
    tables = {"verdicts": result.table, **{k: v for k, v in result.tables.items() if k != "decile_runs"}}
    record = {**done, "summary": summary(result.notes, result.tables["contrasts"])}
    record |= {name: _records(table) for name, table in tables.items()}
    record["decile_means"] = _records(decile_means(result.tables.get("decile_runs")))
    atomic_write_bytes(out, (json.dumps(record, indent=1) + "\n").encode())
    print("\n".join(record["summary"]), flush=True)


def decile_means(deciles: pd.DataFrame | None) -> pd.DataFrame:
    """Return the mean loss of each decile over tasks and seeds."""
    if deciles is None:
        return pd.DataFrame()
    return deciles.groupby(["method", "measure", "bin"], sort=False)["value"].mean().reset_index()


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    rounded = table.apply(lambda column: column.round(6) if column.dtype.kind == "f" else column)
    return json.loads(rounded.to_json(orient="records"))


def main() -> None:
    """Run, or go on with, the experiment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--full", action="store_true", help="8 skills x 5 seeds, deciles of every seed")
    parser.add_argument("--skills", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("runs/selection_worth"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    tasks, seeds = (TASKS, range(5)) if args.full else (TASKS[: args.skills], range(args.seeds))
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    began = time.process_time()
    models = load_model("atlas"), load_model("atlas@step92")
    lr, losses = choose_rate(models[1], args.work)
    settings = {
        "skills": list(tasks), "lr": lr, "lr_losses": losses, "lr_skills": list(LR_TASKS),
        "selector": "atlas", "trainee": "atlas@step92", "saes": list(SAES), "tokens": tuning(lr).tokens,
        "batch_tokens": tuning(lr).batch_tokens, "loss": "answer", "methods": list(NAMES), "pool": POOL, **SETTINGS,
    }  # fmt: skip
    parts: list[Runs] = []
    for seed in seeds:
        deciles = DECILES if args.full or seed == 0 else ()
        parts.append(one_seed(seed, tasks, lr, models, args.work, deciles))
        settings["seeds"] = list(seeds)[: len(parts)]
        write(args.out, parts, about(settings, began, f"{len(parts)} of {len(seeds)} seeds"))


def about(settings: dict[str, Any], began: float, done: str) -> dict[str, Any]:
    """Return settings, machine and progress."""
    return {
        "settings": settings, "done": done, "cpu_seconds_of_this_call": round(time.process_time() - began, 1),
        "machine": {"processor": platform.machine(), "threads": torch.get_num_threads()},
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy", "scipy")},
    }  # fmt: skip


if __name__ == "__main__":
    main()
