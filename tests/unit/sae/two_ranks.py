"""What a group of processes trains, written to files for test_sae_ranks.py to compare.

One process imports torch and forks the members of each group: `two_ranks.py FOLDER`. Of every architecture the
members write weights, moments, state and history at the end; groups that are killed half-way and started again write
the same under "resumed". Messages of refusals are written to refused-RANK.json.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from sae_planted import plant
from safetensors.numpy import save_file

from interp.errors import InterpError
from interp.sae.settings import make_settings
from interp.sae.spec import make_spec
from interp.sae.train import train_sae
from interp.sae.trainer import Trainer

WORLD = 2
OPTIONS = {
    "topk": {"k": 3},
    "gba": {"l0_budget": 6.0, "lowest": 0.004, "period": 5},
    "batchtopk": {"k": 3},
    "matryoshka": {"k": 3, "prefixes": (96, 128)},
    "relu": {"l1": 3.0},
    "gated": {"l1": 5.0},
    "jumprelu": {"l0": 1.0, "bandwidth": 0.5, "threshold": 0.5},
    "matching_pursuit": {"max_iterations": 3, "stop_at": 0.1},
}
SETTINGS = {"seed": 0, "steps": 40, "batch_size": 64, "buffer": 1024, "lr": 3e-3, "dead_after": 640, "log_every": 5}
SETTINGS |= {"checkpoint_every": 4}
PLANTED = plant(s=2, rows=8000).activations


def group(folder: Path, member: Callable[[int], Any], *, stop: Callable[[], bool] | None = None) -> None:
    """Fork the members of a group, each a call of `member` with its rank; kill all once `stop` says so."""
    meeting = folder / f"meeting-{time.monotonic_ns()}"
    children = []
    for rank in range(WORLD):
        pid = os.fork()
        if pid == 0:
            try:
                dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=WORLD)
                member(rank)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(pid)
    while stop is not None and not stop():
        time.sleep(0.001)
    for pid in children if stop is not None else []:
        os.kill(pid, signal.SIGKILL)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    if stop is None and any(codes):
        raise RuntimeError("a member failed; see above")


def trained(arch: str, checkpoints: Path | None) -> dict[str, np.ndarray]:
    """Train, or go on; return all that the run ends with."""
    trainer = Trainer(make_spec(arch=arch, d_in=32, d_sae=128, values=OPTIONS[arch]), make_settings(**SETTINGS))
    trainer.open(PLANTED, checkpoints)
    trainer.run(progress=False, log=None)
    learner = trainer.learner
    out = {f"weights.{name}": value for name, value in learner.weights.items()}
    out |= {f"state.{name}": value for name, value in learner.state.items()}
    for name, value in learner.weights.items():
        out |= {f"adam.{name}.{key}": moment for key, moment in trainer._optimizer.state[value].items()}
    rows = [list(row.values()) for row in trainer.history]
    arrays = {name: np.ascontiguousarray(value.numpy()) for name, value in out.items()}
    return arrays | {"history": np.array(rows, dtype=np.float64)}


def all_archs(folder: Path, rank: int) -> None:
    for arch in OPTIONS:
        save_file(trained(arch, None), folder / f"{arch}-{rank}.safetensors")


def resumed(folder: Path, rank: int, archs: tuple[str, ...] = ("topk", "gba")) -> None:
    for arch in archs:
        save_file(trained(arch, folder / f"checkpoints-{arch}"), folder / f"{arch}-resumed-{rank}.safetensors")


def refusals(folder: Path, rank: int) -> None:
    if rank == 0:  # a checkpoint of two that the other process does not see
        os.rename(folder / "checkpoints-topk", folder / "own-0")
    dist.barrier()
    args = {"arch": "topk", "k": 3, "d_in": 32, "d_sae": 128, "progress": False}
    said = []
    for change, checkpoints in (({"batch_size": 63}, None), ({}, folder / "alone"), ({}, folder / f"own-{rank}")):
        try:
            train_sae(PLANTED, checkpoint_dir=checkpoints, **args, **(SETTINGS | change))
        except InterpError as error:
            said.append(str(error))
    (folder / f"refused-{rank}.json").write_text(json.dumps(said))


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    args = {"arch": "topk", "k": 3, "d_in": 32, "d_sae": 128, "progress": False}
    train_sae(PLANTED, checkpoint_dir=folder / "alone", **args, **SETTINGS)  # by one process
    group(folder, lambda rank: all_archs(folder, rank))
    for arch in ("topk", "gba"):  # killed once in each
        stop = (folder / f"checkpoints-{arch}" / "step_000000020").exists
        group(folder, lambda rank: resumed(folder, rank), stop=stop)
    names = sorted(path.name for path in (folder / "checkpoints-gba").glob("step_*"))
    (folder / "left.json").write_text(json.dumps(names))
    group(folder, lambda rank: (resumed(folder, rank), refusals(folder, rank)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
