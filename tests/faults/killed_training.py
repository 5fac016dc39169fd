"""A training run that is killed at random moments and resumed until it is done. Run by test_killed_training.py.

One process imports torch once and forks a child for every attempt, so that kills fall into the training, its
checkpoints and its resumption, not into imports. Prints as JSON: kills, finished runs, kills after which there was a
checkpoint to go on from, and finished runs whose weights or history are not, bit for bit, those of the run that was
left alone.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from interp.sae.train import train_sae
from interp.sae.trainer import Trainer

SIZE = {"d_in": 16, "d_sae": 64, "batch_size": 64, "buffer": 512, "steps": 60, "dead_after": 600, "seed": 0}
SIZE |= {"checkpoint_every": 4, "log_every": 7, "progress": False}
RUNS = (
    {"arch": "topk", "k": 3},
    {"arch": "gba", "lowest": 0.01, "highest": 0.05, "n_groups": 3, "period": 5},
    {"arch": "batchtopk", "k": 3},
    {"arch": "matching_pursuit", "max_iterations": 3},
)


def activations() -> np.ndarray:
    rng = np.random.default_rng(0)
    codes = rng.uniform(0.5, 1.5, (1500, 32)) * (rng.random((1500, 32)) < 0.06)
    return (codes @ rng.standard_normal((32, 16))).astype(np.float32)


def result(kind: int, x: np.ndarray, checkpoints: Path | None) -> dict[str, np.ndarray]:
    """Train, or go on; return weights and history as arrays."""
    sae, history = train_sae(x, checkpoint_dir=checkpoints, **RUNS[kind], **SIZE)
    return {name: w.numpy() for name, w in sae.weights().items()} | {"history": history.to_numpy(dtype=np.float64)}


def attempt(kind: int, x: np.ndarray, folder: Path, wait: float | None) -> bool:
    """Fork a child that trains in `folder`, kill it after `wait` seconds (None: never); return whether it was done."""
    pid = os.fork()
    if pid == 0:
        try:
            np.savez(folder / "result.npz", **result(kind, x, folder / "checkpoints"))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if wait is not None:
        time.sleep(wait)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError("the training failed by itself; see above")
    return not os.WIFSIGNALED(status)


def equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return set(one) == set(other) and all(np.array_equal(one[name], other[name]) for name in one)


def forget_moments() -> None:
    """Make a resumed run start Adam anew, as a careless trainer would. The counts must show it."""
    real = Trainer._restore

    def restore(self: Trainer, found) -> None:
        real(self, found)
        self._optimizer = self._adam()

    Trainer._restore = restore


def main(base: Path, kills: int, seed: int) -> dict[str, int]:
    torch.set_num_threads(1)
    # tqdm's own lock is shared by forks: one that was killed while it held the lock would stop all that come after it
    tqdm.set_lock(threading.RLock())
    tqdm.monitor_interval = 0
    rng, x = random.Random(seed), activations()
    expected, seconds = [], []
    for kind in range(len(RUNS)):
        expected.append(result(kind, x, base / f"first-{kind}"))  # also brings in what the children then have
        began = time.perf_counter()
        result(kind, x, base / f"second-{kind}")
        seconds.append(time.perf_counter() - began)
    counts = {"kills": 0, "finished": 0, "resumable": 0, "different": 0}
    while counts["kills"] < kills:
        kind = counts["finished"] % len(RUNS)
        folder = base / f"killed-{counts['finished']}"
        folder.mkdir()
        while not attempt(kind, x, folder, rng.uniform(0, seconds[kind]) if counts["kills"] < kills else None):
            counts["kills"] += 1
            counts["resumable"] += any((folder / "checkpoints").glob("step_*"))
        with np.load(folder / "result.npz") as found:
            counts["different"] += not equal(dict(found), expected[kind])
        counts["finished"] += 1
    return counts


if __name__ == "__main__":
    if "forget-moments" in sys.argv:
        forget_moments()
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
