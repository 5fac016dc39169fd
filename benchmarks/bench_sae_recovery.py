"""How much of a known dictionary does each SAE architecture find? Flat, Zipf, tree and forest, three seeds each.

Run with one thread a row: OMP_NUM_THREADS=1 python benchmarks/bench_sae_recovery.py [--jobs 8]
Writes benchmarks/results/sae_recovery.json (or --results) after every row; a row that is there with the same recipe is
not run again, so it can be stopped and started. --data, --recipes, --seeds and --resonance choose what to run. Each
row says which machine it was run on: CPU seconds are comparable only within one.

Every row: recall and precision at cosine .9, MMCS, MCC (Hungarian, over n), uniqueness, recall by frequency quartile,
F1 of firing, absorption (tree, forest), FVU, L0 and dead latents, all on 20,000 held-out rows, with what random
directions score; CPU seconds of the training. The settings of GBA and Matching Pursuit are those they were published
or found to work with, those of the others are a small range, every value of which is shown: nothing here is the best
of a search on the truth.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from interp.sae.coder import SAE
from interp.sae.restarts import train_restarts
from interp.sae.synthetic import (
    FAMILIES,
    Synthetic,
    absorption,
    firing_f1,
    recovery,
    summarise_absorption,
)
from interp.sae.train import train_sae

RESULTS = Path(__file__).parent / "results" / "sae_recovery.json"
HELD_OUT = 20_000
WIDTH = {"flat": 512, "zipf": 512, "tree": 20, "forest": 320}
RUN = {name: {"steps": 1500, "batch_size": 512, "lr": 3e-3} for name in ("flat", "zipf", "forest")}
RUN["tree"] = {"steps": 6000, "batch_size": 200, "lr": 3e-3}
K = {"flat": (3, 6, 12), "zipf": (3, 6, 12), "tree": (1, 2, 3), "forest": (3, 6, 12)}
GBA = {
    "flat": {"highest": 0.02, "lowest": 0.004, "n_groups": 4},
    "zipf": {"highest": 0.02, "lowest": 0.004, "n_groups": 4},
    "tree": {"highest": 0.2, "lowest": 0.04, "n_groups": 4},
    "forest": {"highest": 0.06, "lowest": 0.008, "n_groups": 4},
}
PURSUIT = {
    "flat": {"max_iterations": 5, "stop_at": 0.03},
    "zipf": {"max_iterations": 5, "stop_at": 0.03},
    "tree": {"max_iterations": 3, "stop_at": 0.03},
    "forest": {"max_iterations": 6, "stop_at": 0.03},
}
PENALTIES: dict[str, list[dict[str, float]]] = {
    "relu": [{"l1": value} for value in (1.0, 3.0, 6.0)],
    "gated": [{"l1": value} for value in (2.0, 5.0)],
    "jumprelu": [{"l0": value, "bandwidth": 0.5, "threshold": 0.5} for value in (0.5, 1.0)],
}
RESONANCE = (0.25, 0.33, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 6.0, 12.0)


def recipes(data: str) -> dict[str, dict[str, Any]]:
    """Return what is trained on a family of data: name -> arch, options and settings."""
    run = RUN[data]
    out: dict[str, dict[str, Any]] = {}
    for arch in ("topk", "batchtopk", "matryoshka"):
        for k in K[data]:
            out[f"{arch} k={k}"] = {"arch": arch, "options": {"k": k}, **run}
    out["gba"] = {"arch": "gba", "options": GBA[data], **run}
    pursuit = {"arch": "matching_pursuit", "options": {**PURSUIT[data], "bias": False}, **run, "lr": 1e-2}
    out["matching_pursuit"] = pursuit
    if data == "tree":
        out["matching_pursuit x3"] = {**pursuit, "restarts": 3}
    for arch, strengths in PENALTIES.items():
        for options in strengths:
            name, value = next(iter(options.items()))
            out[f"{arch} {name}={value:g}"] = {"arch": arch, "options": options, **run}
    return out


def trained(data: Synthetic, recipe: dict[str, Any], width: int, seed: int) -> tuple[SAE, float]:
    """Train by a recipe; return the SAE and the CPU seconds it took."""
    size = recipe["batch_size"]
    args = {
        "arch": recipe["arch"],
        "d_in": data.d,
        "d_sae": width,
        "seed": seed,
        "progress": False,
        **recipe["options"],
    }
    args |= {"steps": recipe["steps"], "batch_size": size, "lr": recipe["lr"], "buffer": 32 * size}
    stream, start = data.stream(rows=8 * size), time.process_time()
    if "restarts" in recipe:
        # rows of another draw than those that judge the result
        chosen_on = data.batch(1_000_000, rows=5000).activations
        sae, _ = train_restarts(stream, restarts=recipe["restarts"], held_out=chosen_on, **args)
    else:
        sae, _ = train_sae(stream, **args)
    return sae, time.process_time() - start


def measured(sae: SAE, data: Synthetic) -> dict[str, Any]:
    """Return every figure of one SAE on held-out rows."""
    held = data.held_out(HELD_OUT)
    x = torch.from_numpy(held.activations)
    latents = sae.encode(x)
    alive = (latents > 0).any(dim=0).numpy() & (sae.W_dec.norm(dim=1) > 0).numpy()
    found = sae.W_dec.numpy()
    table = recovery(found, data.dictionary, seed=0, probability=data.probability, alive=alive)
    null = table.set_index("metric")["null_mean"]
    out = {row["metric"]: row["value"] for row in table.to_dict("records")}
    out |= {"null mmcs": null["mmcs"], "null mcc": null["mcc"], "null recall": null["recall"]}
    f1 = firing_f1(latents[:, alive], held.codes, found=found[alive], truth=data.dictionary, seed=0, n_null=1)
    out |= dict(zip(f1["metric"], f1["value"], strict=True))
    variance = (x - x.mean(dim=0)).double().square().sum()
    out["fvu"] = float((sae(x) - x).double().square().sum() / variance)
    out["l0"] = float((latents > 0).sum(dim=1).double().mean())
    out["dead share"] = float(1 - alive.mean())
    if (data.parent >= 0).any():
        near = (data.dictionary @ found[alive].T / np.linalg.norm(found[alive], axis=1)).max(axis=1) > 0.9
        out |= {"recall, parents": near[data.parent < 0].mean(), "recall, children": near[data.parent >= 0].mean()}
        absorbed = absorption(
            latents[:, alive], held.codes, found=found[alive], truth=data.dictionary, parent=data.parent
        )
        out |= {f"absorption {name}": value for name, value in summarise_absorption(absorbed).items()}
    return {name: None if not np.isfinite(value) else float(value) for name, value in out.items()}


def machine() -> dict[str, Any]:
    """Return what the CPU seconds depend on, and nothing that tells one machine from its twin."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if "model name" in line), model)
    return {
        "cpu": model,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "scipy")},
    }


class Job(NamedTuple):
    """One row to run: in which part of the record and under which key, on what data, by which recipe."""

    part: str
    key: str
    family: str
    recipe: dict[str, Any]
    seed: int


def chosen(options: argparse.Namespace) -> Iterator[Job]:
    """Yield the rows that the arguments ask for."""
    for family in options.data if options.resonance != "only" else []:
        for name, recipe in recipes(family).items():
            if options.recipes and name not in options.recipes:
                continue
            for seed in options.seeds:
                yield Job("rows", f"{name} | {family} | {seed}", family, recipe, seed)
    if options.resonance == "no":
        return
    frequency = FAMILIES["flat"](seed=0).probability[0]
    for ratio in RESONANCE:
        # one group whose ceiling is this multiple of the features' frequency
        band = {"highest": float(ratio * frequency), "lowest": float(ratio * frequency), "n_groups": 1}
        for seed in options.seeds:
            key = f"ceiling / frequency = {ratio} | flat | {seed}"
            yield Job("resonance", key, "flat", {"arch": "gba", "options": band, **RUN["flat"]}, seed)


def run_row(job: Job) -> dict[str, Any]:
    """Train and judge one SAE, on one thread."""
    torch.set_num_threads(1)
    data = FAMILIES[job.family](seed=job.seed)
    sae, seconds = trained(data, job.recipe, WIDTH[job.family], job.seed)
    row = {"recipe": job.recipe, "data": data.name, "seed": job.seed, "cpu_seconds": round(seconds, 1)}
    return row | {"machine": machine()} | measured(sae, data)


def finished(jobs: list[Job], n_jobs: int) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Yield each row as it is done, run here or by `n_jobs` processes."""
    if n_jobs == 1:
        yield from ((job, run_row(job)) for job in jobs)
        return
    pool = ProcessPoolExecutor(n_jobs, mp_context=get_context("spawn"))
    try:
        futures = {pool.submit(run_row, job): job for job in jobs}
        yield from ((futures[future], future.result()) for future in as_completed(futures))
    finally:
        pool.shutdown(cancel_futures=True)


def load(path: Path) -> dict[str, Any]:
    """Return the record so far, or an empty one."""
    if path.exists():
        return json.loads(path.read_text())
    return {"what": "recovery of known dictionaries, on 20,000 held-out rows", "rows": {}, "resonance": {}}


def put(record: dict[str, Any], path: Path) -> None:
    """Write the record, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    os.replace(part, path)


def show(key: str, row: dict[str, Any]) -> None:
    """Print the figures that say most."""
    shown = ("recall", "mcc", "fvu", "l0", "dead share", "recall, children", "absorption score")
    figures = "  ".join(f"{name} {row[name]:.3f}" for name in shown if row.get(name) is not None)
    print(f"{key:34s}{figures}  {row['cpu_seconds']:.0f} s", flush=True)


def main() -> None:
    """Run the rows that are chosen and missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", nargs="*", default=list(WIDTH), choices=list(WIDTH))
    parser.add_argument("--recipes", nargs="*", help="such as gba 'topk k=3'; all by default")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--resonance", choices=("also", "only", "no"), default="also")
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with one thread")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    record = load(options.results)
    jobs = [
        job
        for job in chosen(options)
        if record[job.part].get(job.key, {}).get("recipe") != json.loads(json.dumps(job.recipe))
    ]
    for job, row in finished(jobs, options.jobs):
        record[job.part][job.key] = row
        put(record, options.results)
        show(job.key, row)


if __name__ == "__main__":
    main()
