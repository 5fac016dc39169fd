"""Batched Moran's I beside a loop of esda.Moran, in one process, in CPU seconds of one thread.

Run with one thread a library: OMP_NUM_THREADS=1 python benchmarks/bench_moran.py
The two take turns, so that what else the machine does falls on both; each figure is a median. Writes
benchmarks/results/moran.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
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
from interp.stats.autocorrelation import moran_i

RESULTS = Path(__file__).parent / "results" / "moran.json"
N_PLACES, K, PERMUTATIONS, DENSITY = 5000, 8, 999, 0.01
TARGETS = {"dense": 25, "sparse": 60, "dense, no permutations": 300, "sparse, no permutations": 300}


def cpu_seconds(call: Callable[[], Any]) -> float:
    """Return the CPU time of one call, in seconds."""
    start = time.process_time()
    call()
    return time.process_time() - start


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


def compare(X: Any, weights: SpatialWeights, w: Any, permutations: int, repeats: int, n_esda: int) -> dict[str, float]:
    """Time both on X; esda on its first `n_esda` columns, in the form of weights it is fastest with."""
    import esda

    columns = X[:, :n_esda].toarray() if sparse.issparse(X) else X[:, :n_esda].astype(np.float64)
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(cpu_seconds(lambda: moran_i(X, weights.csr, permutations=permutations)) / X.shape[1])
        theirs.append(cpu_seconds(lambda: [esda.Moran(x, w, permutations=permutations) for x in columns.T]) / n_esda)
    mine, other = statistics.median(ours), statistics.median(theirs)
    return {
        "n_features": X.shape[1],
        "n_features_esda": n_esda,
        "permutations": permutations,
        "seconds_per_feature": mine,
        "seconds_per_feature_esda": other,
        "ratio": other / mine,
        "ratio_lowest": min(t / o for t, o in zip(theirs, ours, strict=True)),
        "ratio_highest": max(t / o for t, o in zip(theirs, ours, strict=True)),
    }


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
    """Run the comparison and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    lat, lon = np.degrees(np.arcsin(rng.uniform(-1, 1, N_PLACES))), rng.uniform(-180, 180, N_PLACES)
    places = pd.DataFrame({"lat": lat, "lon": lon})
    weights = spatial_weights(places, k=K)
    warnings.simplefilter("ignore")
    w = weights.to_graph().to_W()
    w.transform = "r"
    inputs = {"dense": None, "sparse": DENSITY}
    data = {name: features(places, options.features, sparse_at=at, seed=1) for name, at in inputs.items()}
    first = {name: cpu_seconds(lambda X=X: moran_i(X[:, :2], weights.csr, permutations=2)) for name, X in data.items()}
    rows = {}
    for name, X in data.items():
        rows[name] = compare(X, weights, w, PERMUTATIONS, options.repeats, n_esda=4)
        rows[f"{name}, no permutations"] = compare(X, weights, w, 0, options.repeats * 3, n_esda=8)
    for name, row in rows.items():
        row.update(target=TARGETS[name], met=row["ratio"] >= TARGETS[name])
        ours, theirs = row["seconds_per_feature"] * 1e3, row["seconds_per_feature_esda"] * 1e3
        print(f"{name:26s}{ours:9.4f} ms, esda{theirs:8.2f} ms: x{row['ratio']:.0f} (target x{row['target']})")
    record = {
        "what": "CPU seconds a feature, batched Moran's I beside esda.Moran, single thread, medians",
        "n_places": N_PLACES,
        "k": K,
        "density_of_sparse": DENSITY,
        "repeats": options.repeats,
        "first_call_seconds": first,
        "first_call_note": "loading or compiling the kernels; not part of the figures",
        "machine": machine(),
        "rows": rows,
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
