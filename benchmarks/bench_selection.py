"""Data selection, timed: entries a second of the scoring kernels, memory against pool size, coding against reading.

python benchmarks/bench_selection.py       # writes benchmarks/results/selection.json
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy import sparse

from interp.provenance import versions
from interp.stats import min_sums
from interp.store import Store, atomic_write_bytes

RESULTS = Path(__file__).parent / "results"
WIDTH, NNZ, ROWS = 131_072, 2_000, 10_000
SHARD, SHARD_NNZ, SHARDS = 4_096, 500, 5


def random_codes(rows: int, nnz: int, width: int = WIDTH, seed: int = 0) -> sparse.csr_matrix:
    """Return CSR float32 with `nnz` entries a row at random ascending columns."""
    rng = np.random.default_rng(seed)
    gaps = rng.integers(1, max(2, 2 * (width // nnz)), size=(rows, nnz))
    columns = np.minimum(np.cumsum(gaps, axis=1), width - nnz + np.arange(nnz)).astype(np.int32)
    values = rng.exponential(size=rows * nnz).astype(np.float32)
    return sparse.csr_matrix((values, columns.ravel(), np.arange(0, rows * nnz + 1, nnz)), shape=(rows, width))


def best_seconds(function: Callable[[], Any], repeats: int = 3) -> float:
    """Return the least wall seconds of a few calls, after one that is not counted."""
    function()
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        found.append(time.perf_counter() - began)
    return min(found)


def kernels() -> dict[str, Any]:
    """Time the min-sum of one slice with 1 and 64 prototypes, beside scipy; extrapolate to 1M x 2,000."""
    codes = random_codes(ROWS, NNZ)
    prototypes = np.random.default_rng(1).exponential(size=(64, WIDTH)).astype(np.float32)
    one = prototypes[0].astype(np.float64)
    seconds = {
        "numba, 1 prototype": best_seconds(lambda: min_sums(codes, one, compiled=True)),
        "numpy, 1 prototype": best_seconds(lambda: min_sums(codes, one, compiled=False)),
        "numba, 64 prototypes, one pass": best_seconds(lambda: min_sums(codes, prototypes, compiled=True)),
    }
    tiled = sparse.csr_matrix(np.tile(prototypes[0], (100, 1)))
    few = codes[:100]
    scipy_rate = few.nnz / best_seconds(lambda: few.minimum(tiled).sum(axis=1))
    rates = {name: codes.nnz / s for name, s in seconds.items()}
    return {
        "entries": codes.nnz,
        "million_entries_per_second": {name: round(r / 1e6, 1) for name, r in rates.items()}
        | {"scipy minimum with a dense prototype, 1": round(scipy_rate / 1e6, 1)},
        "seconds_for_1M_rows_of_2000_extrapolated": {name: round(2e9 / r, 1) for name, r in rates.items()},
        "pairs_per_second_64_in_millions": round(64 * rates["numba, 64 prototypes, one pass"] / 1e6, 1),
    }


def memory() -> dict[str, Any]:
    """Measure the peak memory of scoring shards on disk, at 1x and 10x the pool, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        with Store(folder) as store:
            for i in range(SHARDS):
                store.put_csr(f"{i}.safetensors", random_codes(SHARD, SHARD_NNZ, seed=i))
        found = {}
        for times in (1, 10):
            out = subprocess.run(
                [sys.executable, __file__, "--score", folder, str(times)], capture_output=True, text=True, check=True
            )
            found[f"{times}x"] = json.loads(out.stdout)
    grown = found["10x"]["peak_mb"] - found["1x"]["peak_mb"]
    return {
        **found,
        "mb_more_at_10x": round(grown, 1),
        "bytes_more_a_row": round(grown * 1e6 / (9 * SHARDS * SHARD), 1),
    }


def score_shards(folder: str, times: int) -> None:
    """Score a pool whose shards are the stored ones, over and over, and print peak memory and seconds."""
    from functools import partial

    from analyses.data_selection import pool_of, score
    from analyses.data_selection.coded_pool import CodedPool

    def load(i: int) -> Any:
        with Store(folder, readonly=True) as store:
            return store.get(f"{i}.safetensors")

    tables, total = [], np.zeros(WIDTH)
    for i in range(SHARDS):
        part = pool_of(load(i))
        tables.append(part.rows)
        total += times * part.total
        del part
    import pandas as pd

    rows = pd.concat(tables * times, ignore_index=True)
    shards = [partial(load, i) for i in range(SHARDS)] * times
    pool = CodedPool(rows, pd.DataFrame(), total, None, shards, np.full(len(shards), SHARD), {})
    target = np.random.default_rng(9).exponential(size=WIDTH)
    began = time.perf_counter()
    score(pool, target)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps({"rows": len(pool), "peak_mb": round(peak, 1), "seconds": round(seconds, 2)}))


def coding() -> dict[str, Any]:
    """Time coding a pool beside the bare forward pass to the same layer on the same batches, on the bundled model."""
    import torch

    import interp
    from analyses.data_selection import TokenChoice, encode_pool, read_samples
    from analyses.data_selection.coders import SaeCoder
    from analyses.data_selection.encoding import Encoding, _run
    from analyses.data_selection.token_windows import find_windows
    from interp.batches import with_tokens
    from interp.capturing import run_batches
    from interp.models import find_site
    from interp.sae import load_sae

    torch.set_num_threads(1)
    model, sae = interp.load_model("atlas"), load_sae("atlas/resid_post.2")
    texts = interp.atlas.facts().texts(11)
    samples = read_samples([{"text": next(texts).text} for _ in range(3_000)]).samples
    encoded: Any = find_windows(model, samples, TokenChoice()).encoded
    site = find_site(model, "resid_post.2")

    def bare() -> None:
        request = with_tokens(model, encoded, [site], pool="none", dtype="float32", batch_tokens=8192,
                              include_special=False)  # fmt: skip
        for _ in run_batches(request):
            pass

    times: dict[str, list[float]] = {"bare": [], "coded": [], "whole": []}
    tasks = {
        "bare": bare,
        "coded": lambda: _run(encoded, model, SaeCoder(sae), Encoding(residual=False)),
        "whole": lambda: encode_pool(samples, model, sae),
    }
    for task in tasks.values():
        task()
    for _ in range(5):  # in turn, so that a busy machine is busy for all
        for name, task in tasks.items():
            began = time.perf_counter()
            task()
            times[name].append(time.perf_counter() - began)
    least = {name: min(found) for name, found in times.items()}
    n = len(encoded.ids)
    return {
        "model": "atlas, resid_post.2, SAE of 2,048 latents, k = 16, one thread",
        "tokens": n,
        "tokens_per_second": {
            "forward pass to the layer": round(n / least["bare"]),
            "forward pass, SAE and pooling": round(n / least["coded"]),
            "encode_pool (also tokenising, tables, mean activations)": round(n / least["whole"]),
        },
        "coding_over_forward": round(least["coded"] / least["bare"], 2),
        "encode_pool_over_forward": round(least["whole"] / least["bare"], 2),
    }


def arithmetic() -> dict[str, Any]:
    """Return multiplications a token of the SAE's encoder over those of the blocks below it: no timing can be less."""
    import re

    import interp
    from interp.sae import load_sae

    config = load_sae("atlas/resid_post.2").config
    weights = interp.load_model("atlas").bridge.original_model.named_parameters()
    blocks = sum(p.numel() for name, p in weights if re.search(r"\.layers\.[012]\.|\.h\.[012]\.", name) and p.ndim == 2)
    return {"sae_encoder": config.d_in * config.d_sae, "three_blocks": blocks,
            "least_ratio": round(1 + config.d_in * config.d_sae / max(1, blocks), 2)}  # fmt: skip


def main() -> None:
    """Measure everything and write the results."""
    results = {
        "what": "data selection: scoring sparse codes, memory, and coding a pool",
        "scoring": kernels(),
        "memory": memory(),
        "coding": {**coding(), "multiplications_a_token": arithmetic()},
        "machine": {"cores": os.cpu_count(), "machine": platform.machine(), "load": round(os.getloadavg()[0], 1)},
        "versions": {k: v for k, v in versions().items() if k != "commit"},
    }
    atomic_write_bytes(RESULTS / "selection.json", (json.dumps(results, indent=2) + "\n").encode())
    print(json.dumps({k: results[k] for k in ("scoring", "memory", "coding")}, indent=2))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--score"]:
        score_shards(sys.argv[2], int(sys.argv[3]))
    else:
        main()
