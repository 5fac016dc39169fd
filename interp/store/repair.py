"""Keeping what is intact when a manifest was damaged."""

from __future__ import annotations

from pathlib import Path

from interp.errors import InvalidInput
from interp.store import lock
from interp.store.artefacts import Store
from interp.store.atomic import atomic_write_bytes
from interp.store.manifest import manifest_paths, salvage


def repair(root: str | Path) -> dict[str, list[int]]:
    """Drop the damaged lines of a store's manifests; return {manifest name: line numbers given up}.

    What the lost lines described counts as never written and is computed again by the next run; what
    the kept lines describe is still checked by length and sha256 whenever it is read.

    Raises:
        InvalidInput: no store at `root`.
        RunLocked: a writer is at work.
    """
    folder = Path(root)
    if not manifest_paths(folder):
        raise InvalidInput(f"{folder} holds no manifest, so there is nothing to repair.")
    handles = lock.acquire(folder, None)
    lost: dict[str, list[int]] = {}
    try:
        for path in manifest_paths(folder):
            data, numbers = salvage(path)
            if numbers:
                atomic_write_bytes(path, data)
                lost[path.name] = numbers
    finally:
        lock.release(handles)
    with Store(folder):  # cuts a torn end off, and proves that the folder opens again
        return lost
