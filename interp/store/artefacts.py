"""Store: the folder of a run, and the only code that writes artefacts."""

from __future__ import annotations

import logging
import os
import stat
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.errors import CorruptArtifact, InvalidInput, RunLocked, UnknownName, nearest
from interp.store import lock
from interp.store.atomic import (
    TEMPORARY_PREFIX,
    make_folders,
    publish,
    remove_leftovers,
    require_content,
    resource_errors,
    sync,
    temporary_file,
    write_and_sync,
)
from interp.store.formats import FORMATS, BadBytes, kind_of
from interp.store.hashing import sha256_bytes, sha256_file
from interp.store.keys import Key, changed_parts, plain
from interp.store.manifest import (
    Entry,
    ManifestWriter,
    apply,
    is_manifest_name,
    manifest_name,
    manifest_paths,
    read_manifests,
)
from interp.store.names import safe_path

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

About = Mapping[str, Any] | None  # provenance: plain data that the manifest keeps beside the entry
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    """Whether an artefact can be used: `status` is "done", "stale", "missing" or "corrupt"; `reason` says why not."""

    status: str
    reason: str = ""
    changed: tuple[str, ...] = ()


class Store:
    """A folder of artefacts with a manifest that says of each what it is, its sha256 and what it was made from.

    A name counts only when the manifest lists it and its file has the recorded length and sha256.
    Use it in a `with` block, or call `close()`: a writer holds the folder's lock until then.

    Args:
        root: the folder.
        create: make the folder if it is missing.
        readonly: take no lock and write nothing; many readers may work beside one writer.
        rank: the number of this process in a run of several; each rank keeps a manifest of its own.

    Raises:
        InvalidInput: `root` is a file, or is missing and may not be created.
        RunLocked: another process writes to it.
        CorruptArtifact: a manifest is not what was written, or (readonly) there is none.
        ResourceExhausted: no space or no permission.
    """

    def __init__(
        self, root: str | Path, *, create: bool = True, readonly: bool = False, rank: int | None = None
    ) -> None:
        if rank is not None and not 0 <= rank < 100_000:
            raise InvalidInput(f"rank is {rank}; expected a whole number from 0 to 99,999.")
        self.root = _folder(Path(root), create=create and not readonly)
        self.readonly, self.rank = readonly, rank
        self._pid, self._guard = os.getpid(), threading.RLock()
        self._writer: ManifestWriter | None = None
        handles: list[int] = []
        self._release = weakref.finalize(self, lock.release, handles)
        try:
            if not readonly:
                self._open_for_writing(handles)
            self.reload()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r}, {len(self._entries)} artefacts{', readonly' if self.readonly else ''})"

    def close(self) -> None:
        """Give the lock back; reading goes on working."""
        self._writer = None
        self._release()

    def reload(self) -> None:
        """Read the manifests again, to see what other processes have finished meanwhile.

        Raises:
            CorruptArtifact: a manifest is damaged, or there is none.
        """
        if self.readonly and not manifest_paths(self.root):
            raise CorruptArtifact(
                f"{self.root} has no {manifest_name(None)}: it is no store, or its manifest was deleted. Without it "
                f"no file in the folder can be checked. Restore it from a copy, or compute the results anew."
            )
        records = read_manifests(self.root)
        self._entries: dict[str, list[Entry]] = {}
        for record in records:
            apply(self._entries, record)
        self._seq = max((record.seq for record in records), default=0)

    # Writing

    def put_arrays(
        self, name: str, arrays: Mapping[str, np.ndarray], *, key: Key | None = None, provenance: About = None
    ) -> Entry:
        """Write named dense arrays to `name` (".safetensors")."""
        return self._put("arrays", name, arrays, key, provenance)

    def put_csr(self, name: str, matrix: Any, *, key: Key | None = None, provenance: About = None) -> Entry:
        """Write a scipy CSR matrix to `name` (".safetensors"), sorted, one entry a cell."""
        return self._put("csr", name, matrix, key, provenance)

    def put_table(self, name: str, frame: pd.DataFrame, *, key: Key | None = None, provenance: About = None) -> Entry:
        """Write a table to `name` (".parquet"); it will load exactly equal."""
        return self._put("table", name, frame, key, provenance)

    def put_json(self, name: str, value: Any, *, key: Key | None = None, provenance: About = None) -> Entry:
        """Write plain data to `name` (".json") as canonical JSON."""
        return self._put("json", name, value, key, provenance)

    def put_bytes(self, name: str, data: bytes, *, key: Key | None = None, provenance: About = None) -> Entry:
        """Write bytes to `name` (any suffix: a figure, a page)."""
        return self._put("file", name, data, key, provenance)

    def put(self, name: str, value: Any, *, key: Key | None = None, provenance: About = None) -> Entry:
        """Write `value` in the format that its type and the suffix of `name` call for."""
        return self._put(kind_of(name, value), name, value, key, provenance)

    def put_file(
        self, name: str, write: Callable[[Path], object], *, key: Key | None = None, provenance: About = None
    ) -> Entry:
        """Let `write(path)` make the file of `name` (path has the same suffix), then record it.

        Raises:
            InvalidInput: `write` wrote nothing to the path.
            ResourceExhausted: no space or no permission; an earlier file stays whole.
        """
        target = self._target(name, "file")
        with resource_errors(target, None), temporary_file(target) as temporary:
            write(temporary)
            require_content(temporary, target)
            sync(temporary)
            n_bytes, sha256 = temporary.stat().st_size, sha256_file(temporary)
            entry = Entry(name, "file", sha256, n_bytes, {}, key, _checked(provenance))
            self._commit(entry, temporary, target)
        return entry

    def clear(self) -> None:
        """Forget and remove every recorded artefact; files that no manifest lists stay.

        Raises:
            InvalidInput: the store was opened for reading, or as one rank of several.
        """
        self._require_writer()
        if self.rank is not None:
            raise InvalidInput(f"Rank {self.rank} may not clear {self.root} for all. Open it with Store(root).")
        paths = [safe_path(self.root, name) for name in self._entries]
        with self._guard, resource_errors(self.root, None):
            self._record("clear", None)
            for path in paths:
                path.unlink(missing_ok=True)

    def _put(self, kind: str, name: str, value: Any, key: Key | None, provenance: About) -> Entry:
        target = self._target(name, kind)
        data, contents = FORMATS[kind].encode(value)
        entry = Entry(name, kind, sha256_bytes(data), len(data), contents, key, _checked(provenance))
        if self._entries.get(name) == [entry] and self.state(name).status == "done":
            return entry  # the very same is there: a run that changes nothing writes nothing
        with resource_errors(target, len(data)), temporary_file(target) as temporary:
            write_and_sync(temporary, data)
            self._commit(entry, temporary, target)
        return entry

    def _require_writer(self) -> ManifestWriter:
        if self._writer is None:
            raise InvalidInput(f"{self.root} was opened for reading (or closed). Open it with Store(root) to write.")
        if os.getpid() != self._pid:
            raise RunLocked(
                f"This Store belongs to process {self._pid}, and process {os.getpid()} was forked from it. "
                f"Open Store(root, rank=...) in each process."
            )
        return self._writer

    def _target(self, name: str, kind: str) -> Path:
        self._require_writer()
        suffix = FORMATS[kind].suffix
        if not str(name).endswith(suffix):
            raise InvalidInput(f"{name!r} is to hold {kind}; expected a name ending in {suffix}.")
        target = safe_path(self.root, name)
        with resource_errors(target, None):
            make_folders(target.parent)
        return target

    def _commit(self, entry: Entry, temporary: Path, target: Path) -> None:
        with self._guard:
            if entry.name in self._entries:  # from here on either file is the right one
                self._record("begin", entry)
            publish(temporary, target)
            self._record("put", entry)

    def _record(self, op: str, entry: Entry | None) -> None:
        self._seq += 1
        apply(self._entries, self._require_writer().append(op, self._seq, entry))

    def _open_for_writing(self, handles: list[int]) -> None:
        with resource_errors(self.root / lock.LOCK_NAME, None):
            handles += lock.acquire(self.root, self.rank)
            for folder, _, _ in os.walk(self.root):
                for gone in remove_leftovers(Path(folder)):
                    log.info("removed %s, left by a writer that was killed", gone)
            self._writer = ManifestWriter(self.root, self.rank)
            handles.append(self._writer.handle)

    # Reading

    def get(self, name: str) -> Any:
        """Return what was written under `name`, after checking length, sha256 and format.

        Raises:
            UnknownName: nothing of that name; gives the nearest.
            CorruptArtifact: the file is not what was written, or is there without a record.
        """
        entry, data = self._read(name)
        try:
            return FORMATS[entry.kind].decode(data, entry.contents)
        except (BadBytes, KeyError, TypeError, ValueError, IndexError) as error:  # a manifest may come from anyone too
            raise CorruptArtifact(f"{self.root / name} is no {entry.kind}: {error}. {_REMEDY}") from error

    def entry(self, name: str) -> Entry:
        """Return what the manifest knows of `name`, for the file that is really there (it is hashed).

        Raises:
            UnknownName, CorruptArtifact: see `get`.
        """
        return self._settle(name, sha256_file)

    def path(self, name: str) -> Path:
        """Return the path of `name` for other programs, after checking length and sha256.

        Raises:
            UnknownName, CorruptArtifact: see `get`.
        """
        self.entry(name)
        return safe_path(self.root, name)

    def names(self, kind: str | None = None) -> list[str]:
        """Return the recorded names, sorted; of one kind ("arrays", "csr", "table", "json", "file") if given."""
        return sorted(name for name, found in self._entries.items() if kind in (None, found[0].kind))

    def state(self, name: str, key: Key | None = None) -> State:
        """Return whether `name` is done for `key` (None: made from whatever); existence is never enough."""
        path = safe_path(self.root, name)
        if name not in self._entries:
            return State("missing", "a file without a record (interrupted)" if path.exists() else "never written")
        if not path.exists():
            return State("missing", "recorded, but the file is gone")
        try:
            entry = self.entry(name)
        except CorruptArtifact as error:
            return State("corrupt", str(error))
        changed = () if key is None else tuple(changed_parts(entry.key, key))
        return State("stale", "; ".join(changed), changed) if changed else State("done")

    def status(self, keys: Mapping[str, Key] | None = None) -> pd.DataFrame:
        """Return one row a name: name, kind, bytes, state, reason. `keys` tells stale from done for its names.

        Names in `keys` that were never written count as missing; files that no manifest lists as "unrecorded".
        """
        import pandas as pd

        wanted = dict(keys or {})
        rows = []
        for name in sorted({*self._entries, *wanted}):
            found = self._entries.get(name)
            state = self.state(name, wanted.get(name))
            kind, size = (found[0].kind, found[0].n_bytes) if found else ("", 0)
            rows.append((name, kind, size, state.status, state.reason))
        for name in self._unrecorded():
            rows.append((name, "", (self.root / name).stat().st_size, "unrecorded", "no manifest lists this file"))
        return pd.DataFrame(rows, columns=["name", "kind", "bytes", "state", "reason"])

    def _read(self, name: str) -> tuple[Entry, bytes]:
        read: list[bytes] = []

        def load(path: Path) -> str:
            read[:] = [path.read_bytes()]  # the bytes that are hashed are the bytes that are decoded
            return sha256_bytes(read[0])

        entry = self._settle(name, load)
        return entry, read[0]

    def _settle(self, name: str, hash_of: Callable[[Path], str]) -> Entry:
        """Return the entry that the file of `name` matches; look again while another process is replacing it."""
        path = safe_path(self.root, name)
        while True:
            found = self._entries.get(name)
            if not found:
                raise self._no_record(name, path)
            try:
                about = path.stat()
                if not stat.S_ISREG(about.st_mode):
                    raise CorruptArtifact(f"{path} is no ordinary file. {_REMEDY}")
                n_bytes = about.st_size
                known = any(entry.n_bytes == n_bytes for entry in found)
                sha256 = hash_of(path) if known else "(not read: wrong length)"
            except OSError as error:
                raise CorruptArtifact(f"{path} cannot be read: {error.strerror}. {_REMEDY}") from error
            for entry in found:
                if (entry.n_bytes, entry.sha256) == (n_bytes, sha256):
                    return entry
            self.reload()
            if self._entries.get(name) == found:
                expected = " or ".join(f"{e.n_bytes:,} bytes with sha256 {e.sha256[:16]}" for e in found)
                raise CorruptArtifact(
                    f"{path} is not what was written: expected {expected}, found {n_bytes:,} bytes with sha256 "
                    f"{sha256[:24]}. {_REMEDY}"
                )

    def _no_record(self, name: str, path: Path) -> Exception:
        if path.exists():
            return CorruptArtifact(
                f"{path} exists, but no manifest of {self.root} lists it: its write was interrupted, or the "
                f"manifest lost its end. {_REMEDY}"
            )
        close = ", ".join(nearest(name, self.names())) or "(the store is empty)"
        return UnknownName(f"No artefact {name!r} in {self.root}. Nearest: {close}. List all: Store.names().")

    def _unrecorded(self) -> Iterator[str]:
        for folder, subfolders, files in os.walk(self.root):
            here = Path(folder)
            nested = [s for s in subfolders if s.startswith(TEMPORARY_PREFIX) or manifest_paths(here / s)]
            subfolders[:] = sorted(set(subfolders) - set(nested))  # a store inside a store answers for itself
            for file in sorted(files):
                name = (here / file).relative_to(self.root).as_posix()
                if name not in self._entries and not file.startswith(".") and not is_manifest_name(name):
                    yield name


_REMEDY = "Delete the file and run the same command again (only what is damaged is redone), or restore it from a copy."


def _folder(path: Path, *, create: bool) -> Path:
    with resource_errors(path, None):
        if path.exists() and not path.is_dir():
            raise InvalidInput(f"{path} is a file; a store is a folder. Give the folder, or another name.")
        if not path.exists() and not create:
            raise InvalidInput(f"There is no folder {path}. Check the path, or run what writes it first.")
        make_folders(path)
        return path.resolve()


def _checked(provenance: About) -> dict[str, Any]:
    return plain(dict(provenance or {}), "provenance")
