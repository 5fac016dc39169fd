"""Attribution by source, factored, beside the public dense formula: CPU seconds of one thread, and peak memory.

Run with one thread: OMP_NUM_THREADS=1 python benchmarks/bench_attribution.py
8 rows of 128 tokens, 12 heads of 64, 16 latents. The dense formula (Kissane et al. 2024; SAEDashboard) lays out every
head's weighted value by destination and source before it meets the encoder; the factored one meets it first. Memory is
the rise of the peak of a process of its own. Writes benchmarks/results/attribution.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from interp.attribution import Attention, Encoder, batch_attribution_by_source, event_attribution

RESULTS = Path(__file__).parent / "results" / "attribution.json"
ROWS, POS, HEADS, WIDTH, LATENTS, EVENTS = 8, 128, 12, 64, 16, 160
TARGET = {"speed": 20, "memory": 50, "difference": 1e-5}


def inputs(rows: int) -> tuple[Attention, Encoder]:
    """Return random attention of a layer and a random encoder, the same every time."""
    rng = torch.Generator().manual_seed(0)
    scores = torch.randn(rows, HEADS, POS, POS, generator=rng)
    hidden = torch.ones(POS, POS, dtype=torch.bool).triu(1)
    pattern = scores.masked_fill(hidden, -torch.inf).softmax(dim=-1)
    v = torch.randn(rows, POS, HEADS, WIDTH, generator=rng)
    W = torch.randn(HEADS, WIDTH, LATENTS, generator=rng) / (HEADS * WIDTH) ** 0.5
    z = torch.einsum("nhqs,nshd->nqhd", pattern, v)
    return Attention(pattern, v, z), Encoder(W, torch.zeros(LATENTS), False)


def dense(attention: Attention, encoder: Encoder) -> torch.Tensor:
    """Return the attribution [row, query_pos, source_pos, latent] by the public formula."""
    n = len(attention.v)
    values = attention.v.reshape(n, 1, POS, HEADS * WIDTH)
    weights = attention.pattern.permute(0, 2, 3, 1).repeat_interleave(WIDTH, dim=-1)
    return (weights * values) @ encoder.W.flatten(0, 1)


def factored(attention: Attention, encoder: Encoder) -> torch.Tensor:
    """Return the same by the factored formula, at every destination."""
    return batch_attribution_by_source(attention, encoder, torch.arange(LATENTS))


def at_events(attention: Attention, encoder: Encoder) -> torch.Tensor:
    """Return it by source and head, at chosen destinations alone."""
    return event_attribution(attention, encoder, *events(len(attention.v)))


def events(rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return row, position and latent of chosen destinations: ten for each latent."""
    rng = np.random.default_rng(0)
    return tuple(torch.from_numpy(rng.integers(n, size=EVENTS)) for n in (rows, POS, LATENTS))  # type: ignore[return-value]


WAYS: dict[str, Callable[[Attention, Encoder], torch.Tensor]] = {
    "dense": dense, "factored": factored, "at events": at_events,
}  # fmt: skip


def cpu_seconds(way: str, given: tuple[Attention, Encoder], repeats: int) -> list[float]:
    """Return the CPU seconds of each of `repeats` calls, after one that is not counted."""
    out = []
    for i in range(repeats + 1):
        start = time.process_time()
        WAYS[way](*given)
        if i:
            out.append(time.process_time() - start)
    return out


def peak_bytes(way: str, rows: int) -> int:
    """Return the rise of the peak of a new process that makes one call, less that of its inputs."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (way, rows))


def _peak(way: str, rows: int) -> int:
    torch.set_num_threads(1)
    given = inputs(rows)
    small = (Attention(*(x[:1] for x in (given[0].pattern, given[0].v, given[0].z))), given[1])
    WAYS["factored"](*small)  # load what a first call loads
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew here
    WAYS[way](*given)
    return _status("VmHWM") - before


def _status(name: str) -> int:
    """Return a figure of this process in bytes. The peak of getrusage would be that of the parent too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def measure(rows: int, repeats: int) -> dict[str, Any]:
    """Return seconds, bytes, ratios and differences."""
    torch.set_num_threads(1)
    given = inputs(rows)
    seconds = {way: cpu_seconds(way, given, repeats) for way in WAYS}
    whole = dense(*given)
    row, pos, latent = events(rows)
    chosen = at_events(*given).sum(dim=2)
    scale = float(whole.abs().max())
    difference = {
        "factored": float((factored(*given) - whole).abs().max()) / scale,
        "at events": float((chosen - whole[row, pos, :, latent]).abs().max()) / scale,
    }
    memory = {way: peak_bytes(way, rows) for way in WAYS}
    best = {way: float(np.median(times)) for way, times in seconds.items()}
    return {
        "seconds": best,
        "seconds_all": seconds,
        "peak_bytes": memory,
        "result_bytes": {"every destination": whole.numel() * 4, "at events": EVENTS * POS * HEADS * 4},
        "speed": {way: best["dense"] / best[way] for way in ("factored", "at events")},
        "memory": {way: memory["dense"] / max(memory[way], 1) for way in ("factored", "at events")},
        "difference": difference,
    }


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    shape = {"rows": args.rows, "pos": POS, "heads": HEADS, "d_head": WIDTH, "latents": LATENTS, "events": EVENTS}
    about = {
        "what": "attribution by source, CPU seconds (median) of one thread and peak memory, beside the dense formula",
        **shape, "repeats": args.repeats, "target": TARGET, **measure(args.rows, args.repeats),
        "machine": {"system": platform.machine(), "cores": os.cpu_count(), "torch": version("torch")},
    }  # fmt: skip
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(about, indent=1) + "\n")
    for way in ("factored", "at events"):
        print(f"{way}: {about['speed'][way]:.0f}x faster, {about['memory'][way]:.0f}x less memory, "
              f"largest difference {about['difference'][way]:.1e}")  # fmt: skip


if __name__ == "__main__":
    main()
