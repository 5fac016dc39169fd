"""Probes of all layers beside scikit-learn, in one process, in CPU seconds of one thread.

Run with one thread a library: OMP_NUM_THREADS=1 python benchmarks/bench_probes.py
13 layers of 1,500 rows and 768 columns, 2 targets, 12 penalties. Leave-one-out beside RidgeCV, which does the same
exactly; leaving out each of 10 groups beside a Ridge for each group and penalty. The two take turns layer by layer, so
that what else the machine does falls on both. Writes benchmarks/results/probes.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from interp.stats.ridge import decompose, leave_group_out, leave_one_out

RESULTS = Path(__file__).parent / "results" / "probes.json"
N, D, TARGETS, GROUPS = 1500, 768, 2, 10
ALPHAS = np.logspace(-2, 5, 12)
TARGET = {"leave one out": 4, "leave a group out": 20}


def cpu_seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU time of one call, in seconds, and what it returned."""
    start = time.process_time()
    out = call()
    return time.process_time() - start, out


def layer(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return activations [n, d] of float32 with a spectrum that falls by four orders, and targets [n, 2]."""
    rng = np.random.default_rng(number)
    axes = np.linalg.qr(rng.standard_normal((D, D)))[0]
    x = (rng.standard_normal((N, D)) * np.logspace(1, -3, D)) @ axes.T + rng.standard_normal(D)
    y = x @ rng.standard_normal((D, TARGETS)) + rng.standard_normal((N, TARGETS))
    return x.astype(np.float32), y


def sklearn_loo(x: np.ndarray, y: np.ndarray) -> Any:
    """Return what RidgeCV finds by exact leave-one-out."""
    from sklearn.linear_model import RidgeCV

    return RidgeCV(alphas=ALPHAS, alpha_per_target=True, store_cv_results=True).fit(x, y)


def sklearn_groups(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the guesses [a, n, t] of a Ridge for each group and penalty."""
    from sklearn.linear_model import Ridge

    out = np.empty((len(ALPHAS), *y.shape))
    for group in np.unique(groups):
        test = groups == group
        for i, alpha in enumerate(ALPHAS):
            out[i, test] = Ridge(alpha=alpha).fit(x[~test], y[~test]).predict(x[test])
    return out


def both(x32: np.ndarray, y: np.ndarray, groups: np.ndarray, *, refit: bool) -> dict[str, float]:
    """Time both on one layer, and compare what they find; `refit`: also the refits of scikit-learn, the slow part."""
    x = x32.astype(np.float64)
    found: dict[str, float] = {}
    found["loo"], ours = cpu_seconds(lambda: leave_one_out(x, y, ALPHAS))
    found["loo_sklearn"], theirs = cpu_seconds(lambda: sklearn_loo(x, y))
    errors = theirs.cv_results_.transpose(2, 0, 1)  # squared errors [a, n, t]
    found["loo_difference"] = float(np.abs(ours.errors**2 - errors).max() / errors.max())
    found["groups"], whole = cpu_seconds(lambda: leave_group_out(x, y, groups, ALPHAS))
    if refit:
        found["groups_sklearn"], refits = cpu_seconds(lambda: sklearn_groups(x, y, groups))
        found["groups_difference"] = float(np.abs(whole.predictions - refits).max() / y.std())
    basis_seconds, basis = cpu_seconds(lambda: decompose(x32, dtype=np.float32))
    single = leave_group_out(basis, y, groups, ALPHAS)
    found["decompose_float32"], found["decompose_float64"] = basis_seconds, cpu_seconds(lambda: decompose(x))[0]
    off = np.abs(single.predictions - whole.predictions).max(axis=(1, 2)) / y.std()  # one a penalty
    found["float32_difference"], found["float32_difference_at_best"] = float(off.max()), float(off[whole.best].max())
    return found


def machine() -> dict[str, Any]:
    """Return what the figures depend on, and nothing that tells one machine from its twin."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        model = next(
            (line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line), model
        )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "threads": os.environ.get("OMP_NUM_THREADS", "not set"),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "scipy", "scikit-learn")},
    }


def main() -> None:
    """Run the comparison and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--layers", type=int, default=13)
    parser.add_argument("--refits", type=int, default=3, help="layers on which scikit-learn refits every group")
    options = parser.parse_args()
    groups = np.arange(N) % GROUPS
    both(*(part[:200] for part in layer(99)), groups[:200], refit=True)  # imports and first calls
    found = [both(*layer(i), groups, refit=i < options.refits) for i in range(options.layers)]
    refitted = [f for f in found if "groups_sklearn" in f]
    rows = {
        "leave one out": _row([f["loo"] for f in found], [f["loo_sklearn"] for f in found]),
        "leave a group out": _row([f["groups"] for f in refitted], [f["groups_sklearn"] for f in refitted]),
    }
    for name, row in rows.items():
        row.update(target=TARGET[name], met=row["ratio"] >= TARGET[name])
        ours, theirs = row["seconds_per_layer"], row["seconds_per_layer_sklearn"]
        print(f"{name:20s}{ours:7.2f} s, scikit-learn {theirs:7.2f} s: x{row['ratio']:.1f} (target x{row['target']})")
    largest = ("loo_difference", "groups_difference", "float32_difference", "float32_difference_at_best")
    decompose_seconds = {k: float(np.median([f[f"decompose_{k}"] for f in found])) for k in ("float32", "float64")}
    record = {
        "what": "CPU seconds of ridge probes, one decomposition a layer, beside scikit-learn; single thread",
        "n": N, "d": D, "targets": TARGETS, "alphas": ALPHAS.tolist(), "groups": GROUPS, "layers": options.layers,
        "differences": {name: max(f[name] for f in found if name in f) for name in largest},
        "differences_note": "largest over layers; squared errors relative to the largest, guesses in sd of the target",
        "decompose_seconds": decompose_seconds,
        "machine": machine(),
        "rows": rows,
    }  # fmt: skip
    print(json.dumps(record["differences"]), json.dumps(decompose_seconds))
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=2) + "\n")


def _row(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return {
        "n_layers": len(ours),
        "seconds": sum(ours),
        "seconds_per_layer": sum(ours) / len(ours),
        "seconds_per_layer_sklearn": sum(theirs) / len(theirs),
        "ratio": sum(theirs) / sum(ours),
        "ratio_lowest": min(ratios),
        "ratio_highest": max(ratios),
    }


if __name__ == "__main__":
    main()
