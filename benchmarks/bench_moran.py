"""Every latent of a large SAE at once: 24,576 features over 5,000 places, beside a loop over esda.

Run with one thread a library: OMP_NUM_THREADS=1 python benchmarks/bench_moran.py
All of ours is measured whole, in CPU seconds (user and system) of one thread. esda takes its turns before and after in
the same process, on 50 features, and is scaled; of its W and its Graph, the faster one counts. Peak memory is that of a
fresh process that makes the input and runs one case. Writes benchmarks/results/moran.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from analyses.geospatial.weights import SpatialWeights, spatial_weights
from interp.stats.autocorrelation import MoranResult, moran_i
from interp.stats.local_autocorrelation import local_moran_i

RESULTS = Path(__file__).parent / "results" / "moran.json"
N_PLACES, K, PERMUTATIONS, DENSITY, BLOCK = 5000, 8, 999, 0.01, 512
KINDS = {"dense": None, "1 % dense": DENSITY}
TARGETS = {
    ("moran", "dense"): 35,
    ("moran", "1 % dense"): 100,
    ("local", "dense"): 200,
    ("local", "1 % dense"): 200,
    ("moments", "dense"): 1000,
    ("moments", "1 % dense"): 1000,
}
MEMORY_GB = 2.0


def cpu_seconds(call: Callable[[], Any]) -> float:
    """Return the CPU time of one call, in seconds."""
    start = time.process_time()
    call()
    return time.process_time() - start


def places() -> pd.DataFrame:
    """Return 5,000 random places on the sphere."""
    rng = np.random.default_rng(0)
    lat, lon = np.degrees(np.arcsin(rng.uniform(-1, 1, N_PLACES))), rng.uniform(-180, 180, N_PLACES)
    return pd.DataFrame({"lat": lat, "lon": lon})


def features(places: pd.DataFrame, n_features: int, *, sparse_at: float | None, seed: int) -> Any:
    """Return places x features: a smooth bump and noise, dense, or only its top share `sparse_at`."""
    rng = np.random.default_rng(seed)
    lat, lon = np.radians(places["lat"].to_numpy()), np.radians(places["lon"].to_numpy())
    xyz = np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    centres = rng.normal(size=(3, n_features))
    X = xyz @ (centres / np.linalg.norm(centres, axis=0)) + rng.normal(size=(len(places), n_features))
    if sparse_at is None:
        return X.astype(np.float32)
    return sparse.csc_array(np.where(np.quantile(X, 1 - sparse_at, axis=0) < X, X - X.min(), 0.0))


def input_of(kind: str, n_features: int) -> Any:
    """Return places x features, a float32 array or a csc array, made block by block."""
    cities, density = places(), KINDS[kind]
    starts = range(0, n_features, BLOCK)
    made = (features(cities, min(BLOCK, n_features - at), sparse_at=density, seed=at) for at in starts)
    if density is not None:
        return sparse.csc_array(sparse.hstack(list(made), format="csc"))
    X = np.empty((N_PLACES, n_features), dtype=np.float32)
    for at, block in zip(starts, made, strict=True):
        X[:, at : at + block.shape[1]] = block
    return X


def run_local(X: Any, weights: SpatialWeights) -> None:
    """Test every place of every feature, some features at a time; the maps are not kept."""
    for at in range(0, X.shape[1], BLOCK):
        local_moran_i(X[:, at : at + BLOCK], weights.csr, permutations=PERMUTATIONS)


def ours(case: str, X: Any, weights: SpatialWeights) -> MoranResult | None:
    """Run one case on all features."""
    if case == "local":
        return run_local(X, weights)
    return moran_i(X, weights.csr, permutations=PERMUTATIONS if case == "moran" else 0)


def esda_seconds(columns: np.ndarray, w: Any, case: str, keep: bool = True) -> float:
    """Return CPU seconds a feature of esda's class for the case, called once a feature."""
    import esda

    permutations = 0 if case == "moments" else PERMUTATIONS

    def loop() -> None:
        for x in columns.T:
            if case == "local":
                esda.Moran_Local(x, w, permutations=permutations, keep_simulations=keep)
            else:
                esda.Moran(x, w, permutations=permutations)

    return cpu_seconds(loop) / columns.shape[1]


def compare(case: str, X: Any, weights: SpatialWeights, forms: dict[str, Any], n_esda: int) -> dict[str, Any]:
    """Time both: half of esda's features, all of ours, the other half."""
    first = X[:, :n_esda]
    columns = first.toarray() if sparse.issparse(first) else first.astype(np.float64)
    halves, theirs = np.array_split(columns, 2, axis=1), {name: [] for name in forms}
    without, mine = [], 0.0
    for turn, half in enumerate(halves):
        for name, w in forms.items():
            theirs[name].append(esda_seconds(half, w, case))
        if case == "local":
            without.append(min(esda_seconds(half, w, case, keep=False) for w in forms.values()))
        if turn == 0:
            mine = cpu_seconds(lambda: ours(case, X, weights))
    by_form = {name: float(np.mean(seconds)) for name, seconds in theirs.items()}
    esda, each = min(by_form.values()), mine / X.shape[1]
    row: dict[str, Any] = {
        "n_features": X.shape[1],
        "permutations": 0 if case == "moments" else PERMUTATIONS,
        "seconds": mine,
        "seconds_per_feature": each,
        "n_features_esda": n_esda,
        "esda_seconds_per_feature": by_form,
        "esda_seconds_scaled_to_all": esda * X.shape[1],
        "ratio": esda / each,
    }
    if without:
        row["ratio_to_keep_simulations_false"] = float(np.mean(without)) / each
    return row


def precision(X: np.ndarray, weights: SpatialWeights) -> dict[str, Any]:
    """Compare float32 input and float32 permutations with float64 throughout, on some dense features."""
    X64 = np.random.default_rng(5).normal(scale=1e-9, size=X.shape) + X  # what a float32 cannot hold
    found, seconds = {}, {}
    runs: dict[str, Callable[[], MoranResult]] = {
        "float32 input": lambda: moran_i(X64.astype(np.float32), weights.csr, permutations=PERMUTATIONS),
        "float64 input": lambda: moran_i(X64, weights.csr, permutations=PERMUTATIONS),
        "float64 throughout (scipy)": lambda: moran_i(X64, weights.csr, permutations=PERMUTATIONS, engine="numpy"),
    }
    for name, run in runs.items():
        seconds[name] = cpu_seconds(lambda name=name, run=run: found.update({name: run()})) / X.shape[1]
    single, double, plain = found.values()
    return {
        "n_features": X.shape[1],
        "max_abs_I_difference_of_float32_input": float(np.abs(single.I - double.I).max()),
        "seconds_per_feature": seconds,
        "counts_equal_to_float64_throughout": bool((double.at_least == plain.at_least).all()),
        "note": "I and its moments are float64 whatever the input; permutations run in float32 and every comparison "
        "that float32 cannot decide is done again in float64",
    }


def agreement(X: Any, whole: MoranResult, weights: SpatialWeights, w: Any) -> dict[str, Any]:
    """Check the whole run against esda's I, and against other chunks and another order of the same features."""
    import esda

    ids = np.random.default_rng(3).choice(X.shape[1], 96, replace=False)
    again = [moran_i(X[:, part], weights.csr, permutations=PERMUTATIONS) for part in np.array_split(ids, 3)]
    columns = X[:, ids[:16]].toarray() if sparse.issparse(X) else X[:, ids[:16]].astype(np.float64)
    theirs = np.array([esda.Moran(x, w, permutations=0).I for x in columns.T])
    return {
        "max_abs_I_difference_to_esda": float(np.abs(theirs - whole.I[ids[:16]]).max()),
        "p_identical_in_other_chunks_and_order": bool(
            (np.concatenate([r.p_perm for r in again]) == whole.p_perm[ids]).all()
        ),
    }


def resident_mb(field: str) -> float:
    """Return the memory of this process now ("VmRSS") or at its peak ("VmHWM"), in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def memory_of(case: str, kind: str, n_features: int) -> dict[str, float]:
    """Return peak memory of a fresh process, in MB: over the input, and in all."""
    command = [sys.executable, __file__, "--memory-of", case, kind, "--features", str(n_features)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_memory(case: str, kind: str, n_features: int) -> None:
    """Run one case and print its memory."""
    weights = spatial_weights(places(), k=K)
    warm = input_of(kind, 64)
    ours(case, warm, weights)
    X = input_of(kind, n_features)
    size = (X.nbytes if isinstance(X, np.ndarray) else X.data.nbytes + X.indices.nbytes + X.indptr.nbytes) / 2**20
    before = resident_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of making the input
    ours(case, X, weights)
    peak = resident_mb("VmHWM")
    print(json.dumps({"input_mb": size, "growth_mb": peak - before, "peak_mb": peak}))


def machine() -> dict[str, Any]:
    """Return what the figures depend on, and nothing that tells one machine from its twin."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        model = next(
            (line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line), model
        )
    packages = ("numpy", "scipy", "numba", "esda", "libpysal")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "threads": os.environ.get("OMP_NUM_THREADS", "not set"),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--features", type=int, default=24_576)
    parser.add_argument("--esda-features", type=int, default=50)
    parser.add_argument("--memory-of", nargs=2, metavar=("CASE", "KIND"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.memory_of:
        case, kind = options.memory_of
        print_memory(case, kind, options.features)
    else:
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """Run the comparison and write the table."""
    warnings.simplefilter("ignore")
    weights = spatial_weights(places(), k=K)
    graph = weights.to_graph()
    w = graph.to_W()
    w.transform = "r"
    forms = {"W": w, "Graph": graph}
    rows, checks, numbers = [], {}, {}
    for kind in KINDS:
        X = input_of(kind, options.features)
        for case in ("moran", "local", "moments"):  # two small calls first: compiling is part of no figure
            ours(case, X[:, :64], weights)
            esda_seconds(np.random.default_rng(0).normal(size=(N_PLACES, 1)), graph, case)
            row = {"case": case, "kind": kind, **compare(case, X, weights, forms, options.esda_features)}
            row.update(target=TARGETS[case, kind], met=row["ratio"] >= TARGETS[case, kind])
            rows.append(row)
            print(case, kind, f"{row['seconds']:.1f} s, x{row['ratio']:.0f} (target x{row['target']})", flush=True)
        few = X[:, :256]
        whole = moran_i(X[:, :2048], weights.csr, permutations=PERMUTATIONS)
        checks[kind] = agreement(X[:, :2048], whole, weights, w)
        if kind == "dense":
            numbers = precision(few, weights)
        del X, few
    with_permutations = {r["kind"]: min(r["esda_seconds_per_feature"].values()) for r in rows if r["case"] == "moran"}
    for row in rows:
        if row["case"] == "moments":
            row["ratio_to_esda_with_999_permutations"] = with_permutations[row["kind"]] / row["seconds_per_feature"]
    for row in rows:
        row["memory"] = memory_of(row["case"], row["kind"], options.features)
        print(row["case"], row["kind"], row["memory"], flush=True)
    record = {
        "what": "24,576 features over 5,000 places in one call (local Moran: 512 features a call), CPU "
        "seconds of one thread; esda in a "
        "loop over some of them, in the same process, scaled; compiling left out on both sides",
        "n_places": N_PLACES,
        "k": K,
        "memory": "of a fresh process: peak resident size in all, and its growth over that before the call",
        "memory_target_mb": MEMORY_GB * 1000,
        "memory_met": all(row["memory"]["peak_mb"] * 2**20 < MEMORY_GB * 1e9 for row in rows),
        "machine": machine(),
        "rows": rows,
        "precision": numbers,
        "checks": checks,
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
