"""Data selection, timed: scoring kernels, memory against pool size, coding against the bare forward pass, shards.

python benchmarks/bench_selection.py       # writes benchmarks/results/selection.json
"""

from __future__ import annotations

import json
import os
import platform
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
# what is freed goes back to the system at once, so that the peak is of what is held and not of what malloc keeps
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
SHARD, SHARD_NNZ, SHARDS = 4_096, 500, 5


def random_codes(rows: int, nnz: int, width: int = WIDTH, seed: int = 0) -> sparse.csr_matrix:
    """Return CSR float32 with `nnz` entries a row at random ascending columns."""
    rng = np.random.default_rng(seed)
    gaps = rng.integers(1, max(2, 2 * (width // nnz)), size=(rows, nnz))
    columns = np.minimum(np.cumsum(gaps, axis=1), width - nnz + np.arange(nnz)).astype(np.int32)
    values = rng.exponential(size=rows * nnz).astype(np.float32)
    return sparse.csr_matrix((values, columns.ravel(), np.arange(0, rows * nnz + 1, nnz)), shape=(rows, width))


def best_seconds(function: Callable[[], Any], repeats: int = 3) -> float:
    """Return the least CPU seconds of a few calls, after one that is not counted.

    All runs on one thread, so these are the seconds of the clock where nobody else is on the machine.
    """
    return interleaved({"": function}, repeats)[""]


def interleaved(tasks: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Return the least CPU seconds of each task, called in turn, so that what slows the machine slows all."""
    for task in tasks.values():
        task()
    found: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            began = time.process_time()
            task()
            found[name].append(time.process_time() - began)
    return {name: min(seconds) for name, seconds in found.items()}


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
    """Measure the peak memory of scoring and of coding at 1x and 10x the pool, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        with Store(folder) as store:
            for i in range(SHARDS):
                store.put_csr(f"{i}.safetensors", random_codes(SHARD, SHARD_NNZ, seed=i))
        return {
            "scoring shards of 16 MB": at_1x_and_10x("--score", folder),
            "coding in shards of 500 rows": at_1x_and_10x("--code", folder),
        }


def at_1x_and_10x(what: str, folder: str) -> dict[str, Any]:
    """Return what this script prints when it is run for 1x and 10x the pool, and what is more at 10x."""
    found = {}
    for times in (1, 10):
        command = [sys.executable, __file__, what, folder, str(times)]
        out = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **GIVE_BACK})
        found[f"{times}x"] = json.loads(out.stdout)
    grown, rows = (found["10x"][name] - found["1x"][name] for name in ("peak_mb", "rows"))
    return {**found, "mb_more_at_10x": round(grown, 1), "bytes_more_a_row": round(grown * 1e6 / rows, 1)}


def measured(task: Callable[[], Any]) -> dict[str, float]:
    """Run a task and return its seconds and the highest resident memory of this process meanwhile."""
    Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark back
    began = time.perf_counter()
    task()
    seconds = time.perf_counter() - began
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1e3
    return {"peak_mb": round(peak, 1), "seconds": round(seconds, 2)}


def code_texts(folder: str, times: int) -> None:
    """Code 1,000 texts so many times over, and print peak memory and seconds."""
    from dataclasses import replace

    from analyses.data_selection import encode_pool

    model, sae, samples = atlas_pool(1_000)
    encode_pool(samples[:50], model, sae)
    many = [replace(s, id=f"{i}:{s.number}") for i in range(times) for s in samples]
    found = measured(lambda: encode_pool(many, model, sae, out=Path(folder, f"x{times}"), shard_rows=500))
    print(json.dumps({"rows": len(many), **found}))


def score_shards(folder: str, times: int) -> None:
    """Score a pool whose shards are the stored ones, over and over, and print peak memory and seconds."""
    from dataclasses import replace
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
    score(replace(pool, rows=rows[:SHARD], shards=shards[:1], lengths=pool.lengths[:1]), target)
    print(json.dumps({"rows": len(pool), **measured(lambda: score(pool, target))}))


def coding() -> dict[str, Any]:
    """Time coding a pool beside the bare forward pass on the same batches, on the bundled model.

    The bare pass is what nobody can do without: the blocks up to the layer that the SAE reads, on token ids that are
    given, in the same length-bucketed batches; no later block, no logits, no SAE.
    """
    import torch

    from analyses.data_selection import TokenChoice, encode_pool
    from analyses.data_selection.coders import SaeCoder
    from analyses.data_selection.encoding import Encoding, _run
    from analyses.data_selection.token_windows import find_windows
    from interp.batches import with_tokens
    from interp.capturing import run_batches
    from interp.models import find_site
    from interp.sae.screen import screen_of

    torch.set_num_threads(1)
    model, sae, samples = atlas_pool()
    encoded: Any = find_windows(model, samples, TokenChoice()).encoded
    site = find_site(model, "resid_post.2")

    def bare() -> None:
        request = with_tokens(model, encoded, [site], pool="none", dtype="float32", batch_tokens=8192,
                              include_special=False)  # fmt: skip
        for _ in run_batches(request):
            pass

    least = interleaved({
        "bare": bare,
        "tokens": lambda: find_windows(model, samples, TokenChoice()),
        "coded": lambda: _run(encoded, model, SaeCoder(sae), Encoding(residual=False)),
        "whole": lambda: encode_pool(samples, model, sae),
    }, 5)  # fmt: skip
    n = len(encoded.ids)
    return {
        "model": "atlas, resid_post.2, SAE of 2,048 latents, k = 16, one thread",
        "screened_in_16_bit": screen_of(sae, torch.ones(1, sae.config.d_in)) is not None,
        "tokens": n,
        "tokens_per_cpu_second": {
            "forward pass to the layer": round(n / least["bare"]),
            "forward pass, SAE and pooling": round(n / least["coded"]),
            "tokenising and choosing tokens": round(n / least["tokens"]),
            "encode_pool (tokenising, mean activations and tables too)": round(n / least["whole"]),
        },
        "coding_over_forward": round(least["coded"] / least["bare"], 2),
        "encode_pool_over_forward_and_tokenising": round(least["whole"] / (least["bare"] + least["tokens"]), 2),
        "encode_pool_over_forward": round(least["whole"] / least["bare"], 2),
    }


def atlas_pool(n: int = 3_000) -> tuple[Any, Any, Any]:
    """Return the bundled model, an SAE of it and n texts of its training language."""
    import interp
    from analyses.data_selection import read_samples
    from interp.sae import load_sae

    texts = interp.atlas.facts().texts(11)
    samples = read_samples([{"text": next(texts).text} for _ in range(n)]).samples
    return interp.load_model("atlas"), load_sae("atlas/resid_post.2"), samples


def shards() -> dict[str, Any]:
    """Measure what the shards of a pool take on the disk, and how fast they are read, checked and scored from there."""
    from analyses.data_selection import encode_pool, mona_scores

    model, sae, samples = atlas_pool()
    with tempfile.TemporaryDirectory() as folder:
        coded = encode_pool(samples, model, sae, out=folder, shard_rows=1_000)
        entries = int(coded.rows["n_features"].sum())
        size = {part: sum(f.stat().st_size for f in Path(folder, part).iterdir()) for part in ("codes", "rows", "sums")}
        with Store(folder, readonly=True) as store:
            names = [name for name in store.names() if name.startswith("codes/")]
            seconds = best_seconds(lambda: [store.get(name) for name in names])
    held = encode_pool(samples, model, sae)
    scoring = best_seconds(lambda: mona_scores(held, held.mean))
    with tempfile.TemporaryDirectory() as folder:
        encode_pool(samples, model, sae, out=folder, shard_rows=1_000, residual=False)
        sums = sum(f.stat().st_size for f in Path(folder, "sums").iterdir())
    return {
        "rows": len(coded), "entries_a_row": round(entries / len(coded), 1),
        "bytes_an_entry": round(size["codes"] / entries, 2),
        "bytes_a_row_of_the_table": round(size["rows"] / len(coded), 1),
        "bytes_a_row_of_mean_activations": round((size["sums"] - sums) / len(coded), 1),
        "million_entries_read_and_checked_per_cpu_second": round(entries / seconds / 1e6, 1),
        "million_entries_scored_per_cpu_second": round(entries / scoring / 1e6, 1),
    }  # fmt: skip


def cut_rows(picks: int = 150) -> dict[str, Any]:
    """Count the rows that have to be coded whole again to certify a pick from the largest entries of each row."""
    import numpy as np
    import pandas as pd

    from analyses.data_selection import encode_pool, read_samples, score
    from analyses.data_selection.coded_pool import CodedPool
    from analyses.data_selection.pooled_codes import cut_to_largest
    from analyses.data_selection.relevance import ranked
    from analyses.data_selection.study import _straddling

    model, sae, samples = atlas_pool()
    whole, matrix = encode_pool(samples, model, sae), encode_pool(samples, model, sae).matrix()
    target = encode_pool(read_samples([{"text": s.text} for s in samples if "climate" in s.text][:16]), model, sae)
    found: dict[str, Any] = {"rows": len(whole), "picks": picks, "again": {}}
    for top in (64, 96, 128, 192):
        codes, dropped = cut_to_largest(matrix, top)
        pool = CodedPool(whole.rows.assign(dropped=dropped), whole.listed, whole.total, None,
                         (lambda codes=codes: codes,), whole.lengths, {})  # fmt: skip
        for method in ("mona", "background"):
            exact = score(whole, target, method=method, background=whole.mean)["score"].to_numpy()
            again = {}
            for name, at_once in (("all at once", len(whole)), ("best first", 75)):
                table, n = score(pool, target, method=method, background=whole.mean), 0
                while True:
                    chosen = (table["rank"] <= picks).to_numpy()
                    rows = _straddling({"": table}, pd.DataFrame({"task": "", "selected": chosen}))[:at_once]
                    if not len(rows):
                        break
                    table.loc[rows, ["score", "lower", "upper"]] = np.repeat(exact[rows, None], 3, axis=1)
                    table, n = ranked(table), n + len(rows)
                again[name] = n
            found["again"][f"{top} entries kept, {method}"] = again
    return found


def arithmetic() -> dict[str, Any]:
    """Return multiplications a token of the SAE's encoder, and of the blocks below it."""
    import re

    import interp
    from interp.sae import load_sae

    config = load_sae("atlas/resid_post.2").config
    weights = interp.load_model("atlas").bridge.original_model.named_parameters()
    blocks = sum(p.numel() for name, p in weights if re.search(r"\.layers\.[012]\.|\.h\.[012]\.", name) and p.ndim == 2)
    return {
        "sae_encoder": config.d_in * config.d_sae, "three_blocks": blocks,
        "ratio_if_all_products_are_in_float32": round(1 + config.d_in * config.d_sae / max(1, blocks), 2),
    }  # fmt: skip


def main() -> None:
    """Measure everything and write the results."""
    results = {
        "what": "data selection: scoring sparse codes, memory, and coding a pool",
        "scoring": kernels(),
        "memory": memory(),
        "coding": {**coding(), "multiplications_a_token": arithmetic()},
        "shards": shards(),
        "coded_again_of_cut_rows": cut_rows(),
        "machine": {"cores": os.cpu_count(), "machine": platform.machine(), "load": round(os.getloadavg()[0], 1)},
        "versions": {k: v for k, v in versions().items() if k != "commit"},
    }
    atomic_write_bytes(RESULTS / "selection.json", (json.dumps(results, indent=2) + "\n").encode())
    print(json.dumps({k: v for k, v in results.items() if k not in ("machine", "versions")}, indent=2))


if __name__ == "__main__":
    if sys.argv[1:2] in (["--score"], ["--code"]):
        (score_shards if sys.argv[1] == "--score" else code_texts)(sys.argv[2], int(sys.argv[3]))
    else:
        main()
