"""Training of a TopK SAE, ours beside SAELens, sparsify and a dense loop of twenty lines: vectors a second, memory.

    python benchmarks/bench_sae_training.py [--peers-python PATH] [--device cuda]

PATH is a Python that has sae-lens and eai-sparsify, which are no dependencies of this project; without it only ours
and the dense loop are timed, and the record holds no figure of a peer. A record is made whole, never added to: it has
one part for each device, and a run replaces its device's part.

Every run is a process of its own that loads the same activations, trains a few steps to warm up and is timed over the
next. The trainers take turns within a round, and the ratios are those within a round, so a machine that is busy for a
while favours none. The machine is shared, so on a CPU the figure is CPU seconds; wall seconds are recorded beside. Two
cases: no latent is dead, and a tenth of them are (made so by their encoder bias, the same ones in each), so that AuxK
works. Memory is how far the process rose above where it was with its imports and the activations loaded. Writes
benchmarks/results/sae_training.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "sae_training.json"
D_IN, D_SAE, K = 768, 16 * 768, 32
BATCH = 4096
"""SAELens' default; sparsify's is 32 sequences of 2,048, more than it can hold here, ours 1,024."""
TRAINERS = {
    "interp": ["run_ours.py"],
    "plain": ["run_plain.py"],
    "sae-lens": ["run_saelens.py"],
    "sae-lens, sparse activations": ["run_saelens.py", "sparse"],
    "sparsify": ["run_sparsify.py"],
    "sparsify, adam": ["run_sparsify.py", "adam"],
}
OURS = ("interp", "plain")
CASES = {"none dead": 0, "a tenth dead": D_SAE // 10}
TARGET = 1.5
"""Times the speed of sae-lens that was aimed at, on a CPU with no latent dead."""


def activations(n: int) -> np.ndarray:
    """Return float32 [n, D_IN] of mean square 1: 32 of 4,096 directions a row, and a little noise."""
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((4096, D_IN)).astype(np.float32)
    out = rng.standard_normal((n, D_IN)).astype(np.float32) * 0.1
    for _ in range(32):
        out += rng.exponential(1.0, (n, 1)).astype(np.float32) * directions[rng.integers(4096, size=n)]
    return out / np.sqrt(np.square(out).mean())


def timed(name: str, python: str, job: dict[str, Any]) -> dict[str, Any]:
    """Run one trainer once, in a process of its own."""
    script, *words = TRAINERS[name]
    threads = str(job["threads"])
    env = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"}
    env["PYTHONPATH"] = str(HERE.parent)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        command = [python, str(HERE / "peers" / script), json.dumps(job), str(out), *words]
        done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return json.loads(out.read_text())


def measured(pythons: dict[str, str], job: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Return the figures of every trainer, each the median of `rounds` runs."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in pythons}
    for number in range(rounds):
        for name in list(pythons)[:: 1 if number % 2 else -1]:
            runs[name].append(timed(name, pythons[name], job))
            print(f"{name:30s}{json.dumps(_figures(runs[name][-1]))}", flush=True)
    clock = "wall_seconds_a_step" if job["device"] == "cuda" else "cpu_seconds_a_step"
    return {name: summary(of, runs["interp"], clock, job["batch_size"]) for name, of in runs.items()}


def summary(runs: list[dict[str, Any]], ours: list[dict[str, Any]], clock: str, batch_size: int) -> dict[str, Any]:
    """Return the medians of one trainer, its time beside ours in the same round, and every run."""
    ratios = [run[clock] / our[clock] for run, our in zip(runs, ours, strict=True)]
    medians = {name: statistics.median(run[name] for run in runs) for name in _figures(runs[0])}
    return {
        **{name: runs[0][name] for name in ("called", "versions", "n_dead", "gpu") if name in runs[0]},
        **medians,
        "vectors_a_second": batch_size / medians[clock],
        "time_over_ours": statistics.median(ratios),
        "time_over_ours_lowest": min(ratios),
        "time_over_ours_highest": max(ratios),
        "runs": [_figures(run) for run in runs],
    }


def _figures(run: dict[str, Any]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in run.items() if isinstance(value, float)}


def machine(threads: int, gpu: str | None) -> dict[str, Any]:
    """Return what the figures depend on, and nothing that tells one machine from its twin."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.machine())
    out = {"cpu": cpu, "cores": os.cpu_count(), "threads": threads, "load": round(os.getloadavg()[0], 1)}
    return out | {"python": platform.python_version()} | ({} if gpu is None else {"gpu": gpu})


def main() -> None:
    """Time all that can be run here and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers-python", help="a Python that has sae-lens and eai-sparsify")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="timed; a multiple of 4, after which a mixing buffer is refilled")
    parser.add_argument("--warmup", type=int, help="steps before; by default 2 and 4, on CUDA 20 and 200")
    parser.add_argument("--trainers", nargs="*", choices=list(TRAINERS), help="beside interp; all by default")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    on_cpu = options.device == "cpu"
    job = {"d_sae": D_SAE, "k": K, "batch_size": BATCH, "buffer": 8 * BATCH, "device": options.device}
    job |= {"threads": options.threads, "warmup": options.warmup or (2 if on_cpu else 20)}
    job |= {"steps": options.steps or (4 if on_cpu else 200)}
    pythons = dict.fromkeys(OURS, sys.executable)
    if options.peers_python:
        pythons |= {name: options.peers_python for name in TRAINERS if name not in OURS}
    pythons = {n: p for n, p in pythons.items() if n == "interp" or n in (options.trainers or TRAINERS)}
    with tempfile.TemporaryDirectory() as folder:
        job["data"] = f"{folder}/activations.npy"
        np.save(job["data"], activations(16 * BATCH))
        cases = {case: measured(pythons, job | {"n_dead": n}, options.rounds) for case, n in CASES.items()}
    del job["data"]
    part = {
        "job": job | {"d_in": D_IN, "rounds": options.rounds},
        "machine": machine(options.threads, cases["none dead"]["interp"].get("gpu")),
        "cases": cases,
    }
    if "sae-lens" in pythons and on_cpu:
        ratio = cases["none dead"]["sae-lens"]["time_over_ours"]
        part |= {"target_over_saelens": TARGET, "met": ratio >= TARGET}
    record = json.loads(options.results.read_text()) if options.results.exists() else {}
    record[options.device] = part
    options.results.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
