"""One writer at a time in a folder, or one for each rank of a run; readers need no lock.

A writer without rank takes the folder's lock alone; ranks share it and take their own. The system
drops a lock with its process, so a killed writer never blocks the next one.
"""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

from interp.errors import RunLocked

LOCK_NAME = ".interp-lock"


def acquire(root: Path, rank: int | None) -> list[int]:
    """Lock `root` for writing and return the open file descriptors that hold the lock.

    Raises:
        RunLocked: another writer has it; the message names its process.
    """
    handles: list[int] = []
    try:
        handles.append(_open(root / LOCK_NAME))
        if not _try(handles[-1], fcntl.LOCK_EX if rank is None else fcntl.LOCK_SH):
            raise RunLocked(_message(root))
        if rank is not None:
            handles.append(_open(_rank_lock(root, rank)))
            if not _try(handles[-1], fcntl.LOCK_EX):
                holder = _read(handles[-1])
                raise RunLocked(f"Rank {rank} of {root} is being written by {holder}. Give each process its own rank.")
        _sign(handles[-1])
    except BaseException:
        release(handles)
        raise
    return handles


def release(handles: list[int]) -> None:
    """Close the descriptors that hold a lock and empty the list."""
    while handles:
        os.close(handles.pop())


def _rank_lock(root: Path, rank: int) -> Path:
    return root / f"{LOCK_NAME}.rank{rank:05d}"


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)  # what a link names is not ours


def _try(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(handle: int) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)


def _read(handle: int) -> str:
    return os.pread(handle, 200, 0).decode("utf-8", "replace") or "a process that has not signed yet"


def _message(root: Path) -> str:
    holders = [text for path in sorted(root.glob(f"{LOCK_NAME}.rank*")) if (text := _holder(path))]
    if not holders:  # no rank lives, so the one that holds the folder's own lock is a lone writer
        handle = _open(root / LOCK_NAME)
        holders = [_read(handle)]
        os.close(handle)
    mine = any(text.startswith(f"process {os.getpid()} ") for text in holders)
    advice = (
        "That is this very process: close the other Store (or use it in a `with` block)"
        if mine
        else "Wait for it, end it, or choose another folder"
    )
    return (
        f"{root} is being written by {', '.join(holders)}; only one writer at a time is allowed. {advice}. "
        f"Reading needs no lock: Store(root, readonly=True)."
    )


def _holder(path: Path) -> str | None:
    handle = _open(path)
    try:
        return None if _try(handle, fcntl.LOCK_SH) else _read(handle)
    finally:
        os.close(handle)
