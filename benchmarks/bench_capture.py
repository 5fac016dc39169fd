"""Capture beside the bare forward pass to the same layer, and beside run_with_cache.

    python benchmarks/bench_capture.py [--quick]       # -> benchmarks/results/capture.json

The texts, batches and masks are the same for every way. Ways alternate within a round, and the figure is the
median over rounds of the ratio within a round, so a machine that is busy for a while does not favour one of them.
`capture` is timed whole: tokenisation, pooling and the copy to numpy included. Each memory figure is how much
higher than before the run the resident size got, in a process of its own.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import gc
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from interp import load_model
from interp.batches import plan_batches
from interp.capturing import capture
from interp.models import Model
from interp.testing import tiny_module, tiny_tokenizer
from interp.tokens import encode

RESULTS = Path(__file__).parent / "results" / "capture.json"
MODELS = ("atlas", "llama-12x768", "gpt2-12x768")
Ways = dict[str, Callable[[], object]]


def model_of(name: str) -> Model:
    """Return the bundled model, or a random one of 12 layers and width 768."""
    if name == "atlas":
        return load_model("atlas", device="cpu")
    sizes = {
        "vocab_size": 4096,
        "hidden_size": 768,
        "intermediate_size": 3072 if name.startswith("gpt2") else 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_key_value_heads": 12,
        "max_position_embeddings": 512,
    }
    module = tiny_module(name.split("-")[0], sizes)
    return load_model(module, bos="always", tokenizer=tiny_tokenizer())


def texts_of(n_texts: int) -> list[str]:
    """Return texts of about 20 to 60 tokens."""
    rng = np.random.default_rng(0)
    words = ["Paris", "London", "Berlin", "is", "in", "the", "city", "of", "France", "and", "to", "from"]
    return [" " + " ".join(rng.choice(words, size=rng.integers(20, 60))) for _ in range(n_texts)]


def ways_of(model: Model, texts: list[str], layer: int, *, plain: Callable[..., object] | None = None) -> Ways:
    """Return what is compared; each reads, or could read, resid_post of `layer`."""
    encoded = encode(model, texts, bos="always")
    batches = [
        (torch.from_numpy(encoded.pad(encoded.ids, rows, 0)), torch.from_numpy(encoded.mask(rows)).long())
        for rows in plan_batches(encoded.lengths, 8192)
    ]
    hook = f"blocks.{layer}.hook_resid_post"

    def each(forward: Callable[[torch.Tensor, torch.Tensor], object]) -> Callable[[], object]:
        def run() -> None:
            with torch.no_grad():
                for ids, mask in batches:
                    forward(ids, mask)

        return run

    bridge = model.bridge
    return {
        "hf_sliced": each(plain or model.run),
        "bridge_stop_at_layer": each(
            lambda ids, mask: bridge(ids, attention_mask=mask, stop_at_layer=layer + 1, return_type=None)
        ),
        "capture_last": lambda: capture(model, texts, f"resid_post.{layer}"),
        "capture_mean": lambda: capture(model, texts, f"resid_post.{layer}", pool="mean"),
        "capture_tokens": lambda: capture(model, texts, f"resid_post.{layer}", pool="none"),
        "run_with_cache_one_hook": each(
            lambda ids, mask: bridge.run_with_cache(ids, attention_mask=mask, names_filter=[hook])
        ),
        "run_with_cache_all": each(lambda ids, mask: bridge.run_with_cache(ids, attention_mask=mask)),
    }


def plain_forward(model: Model, layer: int) -> Callable[[torch.Tensor, torch.Tensor], object]:
    """Return the forward of the plain Hugging Face module (no hooks, eager attention), cut after block `layer`."""
    kind = type(model.bridge.original_model)
    config = copy.deepcopy(model.config)
    config._attn_implementation = "eager"
    # Random weights of the same shapes: the time is the same, and the bridge has taken the original apart.
    base = kind(config).eval().base_model
    name = "layers" if hasattr(base, "layers") else "h"
    setattr(base, name, getattr(base, name)[: layer + 1])
    return lambda ids, mask: base(input_ids=ids, attention_mask=mask, use_cache=False)


def seconds(function: Callable[[], object]) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def time_ways(name: str, n_texts: int, rounds: int) -> dict[str, Any]:
    """Return tokens a second of each way and its time relative to the plain module in the same round."""
    model, texts = model_of(name), texts_of(n_texts)
    layer = model.n_layers // 2
    ways = ways_of(model, texts, layer, plain=plain_forward(model, layer))
    n_tokens = int(encode(model, texts, bos="always").starts[-1])
    times: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):  # the first round warms up
        order = list(ways) if number % 2 else list(ways)[::-1]
        measured = {way: seconds(ways[way]) for way in order}
        if number:
            for way, value in measured.items():
                times[way].append(value)
    base = times["hf_sliced"]
    return {
        "layer": layer,
        "n_texts": n_texts,
        "n_tokens": n_tokens,
        "rounds": rounds,
        "ways": {
            way: {
                "tokens_per_second": round(n_tokens / statistics.median(values)),
                "time_over_hf_sliced": round(statistics.median(v / b for v, b in zip(values, base, strict=True)), 3),
            }
            for way, values in times.items()
        },
    }


def peak_memory(name: str, n_texts: int, way: str) -> int:
    """Return by how many bytes one run of `way` raises the resident size at its peak; call it in a fresh process."""
    model = model_of(name)
    ways_of(model, texts_of(2), model.n_layers // 2)[way]()
    run = ways_of(model, texts_of(n_texts), model.n_layers // 2)[way]
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # or the run would live in what loading has left
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of loading the model
    before = resident_bytes("VmRSS")
    run()
    return resident_bytes("VmHWM") - before


def resident_bytes(field: str) -> int:
    """Return VmRSS (now) or VmHWM (peak) of this process in bytes; Linux."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"no {field} in /proc/self/status; this benchmark needs Linux.")


def memory_of(name: str, n_texts: int) -> dict[str, float]:
    """Return the growth of the peak of each way in MB, each measured in a process of its own."""
    out = {}
    for way in ("capture_last", "capture_tokens", "run_with_cache_one_hook", "run_with_cache_all"):
        command = [sys.executable, __file__, "--child", name, str(n_texts), way]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        out[way] = round(int(done.stdout.splitlines()[-1]) / 1e6, 1)
    return out


def main() -> None:
    """Run the benchmark and write its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few texts and rounds")
    parser.add_argument("--child", nargs=3, metavar=("MODEL", "N_TEXTS", "WAY"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.child:
        name, n_texts, way = args.child
        print(peak_memory(name, int(n_texts), way))
        return
    results: dict[str, Any] = {
        "machine": {"cpu": platform.processor() or platform.machine(), "threads": torch.get_num_threads()},
        "versions": {p: version(p) for p in ("torch", "transformers", "transformer-lens")},
        "models": {},
    }
    for name in MODELS:
        n_texts, rounds = (8, 2) if args.quick else ((400, 9) if name == "atlas" else (24, 5))
        results["models"][name] = time_ways(name, n_texts, rounds)
        results["models"][name]["peak_memory_growth_mb"] = memory_of(name, n_texts)
        print(name, json.dumps(results["models"][name], indent=1))
    if not args.quick:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
