"""What the timed trainers share: the job they are given, and a clock that reads time and memory of a training loop.

Imports neither this project nor a peer: it runs under either's Python.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

DEAD_BIAS = -10.0
"""Encoder bias of a latent made dead; pre-activations of the data stay within about 6."""
LONG_AGO = 10**9


@dataclass
class Job:
    """What every trainer is asked to do; the fields come as JSON."""

    data: str
    d_sae: int
    k: int
    batch_size: int
    buffer: int
    warmup: int
    steps: int
    n_dead: int
    threads: int
    device: str
    rows: Tensor = field(init=False)

    def __post_init__(self) -> None:
        torch.set_num_threads(self.threads)
        self.rows = torch.from_numpy(np.load(self.data))

    @property
    def total(self) -> int:
        """Steps in all, those that warm up too."""
        return self.warmup + self.steps

    def batches(self) -> Iterator[Tensor]:
        """Yield batches [batch_size, d_in] in the order of the file, again and again."""
        while True:
            yield from self.rows.split(self.batch_size)


class Clock:
    """Seconds of the steps behind the warm-up, and how far memory rose above where it was when the clock was made."""

    def __init__(self, job: Job) -> None:
        self._job, self._times = job, {}
        gc.collect()
        if job.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # or the run would live in what loading has left
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of loading
        self._before = _resident("VmRSS")

    def tick(self, done: int) -> None:
        """Say that so many steps are done; only the end of the warm-up and of the run are read."""
        if done in (self._job.warmup, self._job.total) and done not in self._times:
            if self._job.device == "cuda":
                torch.cuda.synchronize()
            self._times[done] = (time.perf_counter(), time.process_time())

    def write(self, *, packages: tuple[str, ...], n_dead: int, called: str) -> None:
        """Put the result where the command line says."""
        job = self._job
        (wall, cpu), (wall_end, cpu_end) = self._times[job.warmup], self._times[job.total]
        out: dict[str, Any] = {
            "wall_seconds_a_step": (wall_end - wall) / job.steps,
            "cpu_seconds_a_step": (cpu_end - cpu) / job.steps,
            "peak_growth_mb": (_resident("VmHWM") - self._before) / 1e6,
            "n_dead": n_dead,
            "called": called,
            "versions": {name: version(name) for name in ("torch", *packages)},
        }
        if job.device == "cuda":
            out["gpu"], out["peak_gpu_mb"] = torch.cuda.get_device_name(), torch.cuda.max_memory_allocated() / 1e6
        Path(sys.argv[2]).write_text(json.dumps(out))


def job() -> Job:
    """Return the job of the command line: JSON, then the file for the result."""
    return Job(**json.loads(sys.argv[1]))


def _resident(name: str) -> int:
    """Return VmRSS (now) or VmHWM (peak) of this process in bytes; Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
