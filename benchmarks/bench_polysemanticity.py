"""Monosemanticity score beside the loop over pairs, and what an audit of a unit costs, in CPU seconds of one thread.

Run with one thread a library: OMP_NUM_THREADS=1 python benchmarks/bench_polysemanticity.py
Both compute the same numbers (the largest difference is kept); the loop is that of Pach et al. 2025, over n (n - 1) / 2
pairs in Python, with all units at once in each step. Writes benchmarks/results/polysemanticity.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analyses.polysemanticity import AuditConfig, audit_units, monosemanticity_score
from analyses.polysemanticity.concepts import ReadView
from analyses.polysemanticity.example_views import context_words, word_vectors
from interp.testing import PlantedUnits, concept_units
from interp.testing.planted_units import REGIMES

RESULTS = Path(__file__).parent / "results" / "polysemanticity.json"
N_EXAMPLES, N_UNITS, WIDTH = 2000, 256, 64
TARGET = 100


def cpu_seconds(call: Callable[..., Any], *args: Any, **options: Any) -> tuple[float, Any]:
    """Return the CPU time of one call, in seconds, and what it returned."""
    start = time.process_time()
    found = call(*args, **options)
    return time.process_time() - start, found


def pair_loop(activations: np.ndarray, embeddings: np.ndarray) -> np.ndarray:
    """Return the score of each unit from a loop over pairs."""
    a = (activations - activations.min(axis=0)) / (activations.max(axis=0) - activations.min(axis=0))
    e = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    above, below = np.zeros(a.shape[1]), np.zeros(a.shape[1])
    for n in range(len(a)):
        for m in range(n):
            weight = a[n] * a[m]
            above += weight * float(e[n] @ e[m])
            below += weight
    return above / below


def score_case(n: int, repeats: int, seed: int) -> dict[str, float]:
    """Time both on random activations of n examples."""
    rng = np.random.default_rng(seed)
    a, e = np.maximum(rng.normal(size=(n, N_UNITS)), 0), rng.normal(size=(n, WIDTH)) + 0.3
    slow, theirs = cpu_seconds(pair_loop, a, e)
    runs = [cpu_seconds(monosemanticity_score, a, e, centre=False) for _ in range(repeats)]
    fast = statistics.median(seconds for seconds, _ in runs)
    difference = float(np.abs(runs[0][1]["ms"].to_numpy() - theirs).max())
    return {"n_examples": n, "n_units": N_UNITS, "loop_s": slow, "ours_s": fast, "speedup": slow / fast,
            "largest_difference": difference}  # fmt: skip


class Written:
    """What was written to planted units, as a view: two parts share the words of every concept between them."""

    def __init__(self, made: PlantedUnits) -> None:
        self.made = made

    def __len__(self) -> int:
        return len(self.made.activations)

    def read(self, examples: Any, rows: Any) -> ReadView:
        rows = {unit: np.unique(found) for unit, found in rows.items()}
        vectors = {unit: self.made.written(unit, found, by="word") for unit, found in rows.items()}
        return ReadView(rows, vectors, pd.DataFrame({"unit": list(rows)}))


def audit_case(strengths: Any, rates: Any, n_boot: int, seeds: int, *, upstream: bool) -> dict[str, Any]:
    """Time audits of planted units in two views, or three, and count how many verdicts are right.

    The third view splits every unit by what wrote it, one concept or several.
    """
    seconds, right, false_alarms, n, n_one = 0.0, 0, 0, 0, 0
    for seed in range(seeds):
        made = concept_units(strengths=strengths, rates=rates, seed=seed)
        ids = made.ids.ravel()
        words = context_words(ids, made.text_index, window=15, both_sides=True)
        views: dict[str, Any] = {"token": ids, "context": word_vectors(words, seed=0)}
        rule: dict[str, Any] = {}
        if upstream:
            rule = {"decisive": ("token", "context", "upstream"), "unifying": ("token", "context")}
            views["upstream"] = Written(made)
        options = {"text_index": made.text_index, "config": AuditConfig(n_boot=n_boot), **rule}
        spent, result = cpu_seconds(audit_units, made.activations, views, **options)
        verdict, one = result.table["verdict"].to_numpy(), made.n_concepts == 1
        seconds, n, n_one = seconds + spent, n + len(verdict), n_one + int(one.sum())
        right += int(np.where(one, verdict == "monosemantic", verdict == "polysemantic").sum())
        false_alarms += int((verdict[one] == "polysemantic").sum())
    return {"strengths": strengths, "rates": rates, "upstream": upstream, "n_units": n, "accuracy": right / n,
            "n_one_concept": n_one, "false_polysemantic": false_alarms, "n_boot": n_boot,
            "seconds_a_unit": seconds / n}  # fmt: skip


def main() -> None:
    """Run all cases and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    score = score_case(N_EXAMPLES, options.repeats, 0)
    audits = [
        audit_case(*regime, 10, options.seeds, upstream=upstream) for upstream in (False, True) for regime in REGIMES
    ]
    about = {"python": platform.python_version(), "machine": platform.machine(),
             "threads": os.environ.get("OMP_NUM_THREADS"), "numpy": version("numpy")}  # fmt: skip
    target = {"speedup": TARGET, "accuracy": 0.95, "false_polysemantic_share": 0.05}
    found = {"about": about, "target": target, "monosemanticity_score": score, "audits": audits}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
