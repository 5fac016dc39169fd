"""A training run put away whole, so that it can go on to the same bits: safetensors and JSON, nothing pickled."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from interp.errors import InvalidInput
from interp.sae.folder import read_folder
from interp.store import write_folder

KEEP = 2
"""Checkpoints kept in a folder: the newest, and the one before it."""
_NAME = re.compile(r"step_(\d{9})")
_UNSAID = {"run": {"world": 1}, "settings": {"precision": "float32"}}
"""What a checkpoint means that was written before it was said."""


@dataclass(frozen=True)
class Checkpoint:
    """What a training run needs to go on.

    identity: config and settings, which have to be the same on resuming; state: counters, generators, history;
    tensors: weights, optimiser moments, vectors in the buffer; on the CPU when they are read back.
    """

    step: int
    identity: dict[str, Any]
    state: dict[str, Any]
    tensors: dict[str, Tensor]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint as `folder/step_000000500`, whole or not at all, and drop all but the newest two."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step_{checkpoint.step:09d}"
    about = {"step": checkpoint.step, "identity": checkpoint.identity, "state": checkpoint.state}
    files = {
        "checkpoint.json": json.dumps(about, indent=1).encode(),
        "checkpoint.safetensors": save({name: t.cpu().contiguous() for name, t in checkpoint.tensors.items()}),
    }
    write_folder(path, files, overwrite=True)
    for old in _all(folder)[:-KEEP]:
        shutil.rmtree(old)
    return path


def load_latest(folder: Path, identity: dict[str, Any]) -> Checkpoint | None:
    """Return the newest checkpoint in `folder`, or None where there is none.

    Raises:
        InvalidInput: it is of a run with another config or other settings; each difference is named.
        CorruptArtifact: its files are not the bytes that were written.
    """
    found = _all(folder)
    if not found:
        return None
    files = read_folder(found[-1])
    about = json.loads(files["checkpoint.json"])
    saved = {part: _UNSAID.get(part, {}) | about["identity"].get(part, {}) for part in identity}
    _same_identity(saved, identity, found[-1])
    return Checkpoint(about["step"], about["identity"], about["state"], load(files["checkpoint.safetensors"]))


def _all(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name) and path.is_dir())


def _same_identity(saved: dict[str, Any], now: dict[str, Any], path: Path) -> None:
    changed = [
        f"{name} was {saved[part].get(name)!r}, now {value!r}"
        for part in now
        for name, value in now[part].items()
        if saved[part].get(name) != value
    ]
    if changed:
        raise InvalidInput(
            f"the checkpoint {path.name} belongs to another run: {'; '.join(changed)}. Use those values to go on, or "
            "another folder to start anew."
        )
