"""Writing a file so that a reader meets the old bytes or the new ones, and nothing in between.

Temporary file in the same folder -> write -> fsync -> os.replace -> fsync of the folder. A temporary
file carries a lock for as long as its writer lives, so what a killed writer left can be told from
what another one is writing now, on any machine that shares the folder's locks and without trusting pids.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from interp.errors import InvalidInput, ResourceExhausted

TEMPORARY_PREFIX = ".interp-tmp-"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
_NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}
_BAD_PLACE = {errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTEMPTY, errno.EINVAL, errno.ELOOP}


def atomic_write_bytes(path: str | Path, data: bytes) -> None:
    """Put `data` at `path`, whole or not at all; an earlier file stays until the new one is on the disk.

    Raises:
        ResourceExhausted: no space or no permission; the earlier file is untouched.
        InvalidInput: the folder does not exist, or `path` is a folder.
    """
    target = Path(path)
    with resource_errors(target, len(data)), temporary_file(target) as temporary:
        write_and_sync(temporary, data)
        publish(temporary, target)


def atomic_write_file(path: str | Path, write: Callable[[Path], object]) -> None:
    """Let `write(temporary_path)` make the file, then put it at `path`, whole or not at all.

    The temporary path ends like `path`, so writers that look at the suffix behave as usual.

    Raises:
        ResourceExhausted: no space or no permission; the earlier file is untouched.
        InvalidInput: the folder does not exist, or `write` wrote nothing.
    """
    target = Path(path)
    with resource_errors(target, None), temporary_file(target) as temporary:
        write(temporary)
        require_content(temporary, target)
        sync(temporary)
        publish(temporary, target)


@contextlib.contextmanager
def temporary_file(target: Path) -> Iterator[Path]:
    """Give an empty, locked temporary file beside `target`; remove it unless it was published."""
    path, handle = _create_locked(target)
    try:
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):  # published: it bears its own name now
            path.unlink()
        os.close(handle)


@contextlib.contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """Give an empty, locked temporary folder beside `target`; remove it unless it was moved away."""
    path = target.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}"
    path.mkdir()
    handle = os.open(path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    path.mkdir(exist_ok=True)  # a cleaning writer may have taken it between creation and lock
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(handle)


def write_and_sync(path: Path, data: bytes | memoryview) -> None:
    """Write all of `data` to the existing file `path` and wait until the disk has it."""
    with open(path, "r+b", buffering=0) as file:
        view = memoryview(data)
        while len(view):
            view = view[file.write(view) :]
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Wait until the disk has the file or folder `path` (a folder: its list of names)."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def publish(temporary: Path, target: Path) -> None:
    """Give the finished temporary file its name and wait until the folder has recorded it."""
    os.replace(temporary, target)
    sync(target.parent)


def make_folders(folder: Path) -> None:
    """Create `folder` and its missing parents, each recorded by its own parent on the disk."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)  # another rank may have been first
        sync(path.parent)


def remove_leftovers(folder: Path) -> list[Path]:
    """Remove temporary files and folders of writers that no longer live; return what was removed."""
    removed = []
    for path in sorted(folder.glob(f"{TEMPORARY_PREFIX}*")):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # no link, no waiting at a pipe
        except OSError:  # gone meanwhile, or not ours to read: not ours to remove either
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # its writer lives
            continue
        else:
            _remove(path)
            removed.append(path)
        finally:
            os.close(handle)
    return removed


@contextlib.contextmanager
def resource_errors(path: Path, n_bytes: int | None) -> Iterator[None]:
    """Turn "no space", "no permission" and "no such place" while writing `path` into named errors."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise ResourceExhausted(_no_room(path, n_bytes, error)) from error
        if error.errno in _NO_PERMISSION:
            raise ResourceExhausted(
                f"Cannot write {path}: {error.strerror}. Nothing was changed. Expected a folder that this "
                f"user may write to; choose another folder or ask for the permission."
            ) from error
        if error.errno in _BAD_PLACE or isinstance(error, FileNotFoundError):
            raise InvalidInput(
                f"Cannot write {path}: {error.strerror} ({error.filename}). Expected a file name inside an "
                f"existing folder; create the folder or choose another name."
            ) from error
        raise


def require_content(temporary: Path, target: Path) -> None:
    """Refuse a writer that left the temporary file empty (it wrote somewhere else, or not at all)."""
    if not temporary.is_file() or temporary.stat().st_size == 0:
        raise InvalidInput(f"The writer of {target} wrote nothing to the path it was given. Write to that path.")


def _no_room(path: Path, n_bytes: int | None, error: OSError) -> str:
    needed = "an unknown number of" if n_bytes is None else f"{n_bytes:,}"
    folder = next((p for p in (path.parent, *path.parents) if p.exists()), Path("/"))
    try:
        free = f"{shutil.disk_usage(folder).free:,}"
    except OSError:
        free = "an unknown number of"
    return (
        f"Cannot write {path}: {error.strerror}. Needed {needed} bytes, {free} bytes are free on that disk "
        f"(a quota or `ulimit -f` may allow less). An earlier file of that name is untouched. Free some "
        f"space and run the same command again: it goes on from here."
    )


def _create_locked(target: Path) -> tuple[Path, int]:
    suffix = target.suffix if len(target.suffix) <= 20 else ""
    while True:
        path = target.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}{suffix}"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # else a cleaning writer took it between creation and lock
            return path, handle
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
