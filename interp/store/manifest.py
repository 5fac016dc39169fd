"""The list of what a folder holds: JSON lines that are only ever appended.

Why lines and not one file that is replaced: a run of thousands of units appends one line a unit
instead of writing the whole list again, and each rank appends to a list of its own.

Each line starts with 16 hex digits of sha256(previous digits + payload), a chain: a changed, missing,
moved or repeated line breaks it and is reported. A last line without its newline is what a killed
writer leaves; it is ignored, and cut off by the next writer. Replacing a name takes two lines: "begin"
before the new file is put in place and "put" after it. Wherever the writer dies, the file on the
disk is the one that a line describes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interp.errors import CorruptArtifact, InvalidInput
from interp.store.atomic import sync
from interp.store.keys import Key, canonical_json, key_from_parts

_SEED = b"0" * 16
_NAME = re.compile(r"manifest(?:\.rank(\d{5}))?\.jsonl")
FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """What the manifest knows of one artefact.

    `contents` holds the shapes and dtypes (arrays, CSR) or columns (tables); `sha256` is of the file.
    """

    name: str
    kind: str
    sha256: str
    n_bytes: int
    contents: dict[str, Any] = field(default_factory=dict)
    key: Key | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """One line: `op` is "open", "begin", "put" or "clear"; `seq` orders lines over all manifests of a folder."""

    op: str
    seq: int
    rank: int
    entry: Entry | None = None


def manifest_name(rank: int | None) -> str:
    """Return the file name of a writer's manifest."""
    return "manifest.jsonl" if rank is None else f"manifest.rank{rank:05d}.jsonl"


def manifest_paths(root: Path) -> list[Path]:
    """Return all manifests of a folder, in order of rank."""
    return sorted(path for path in root.glob("manifest*.jsonl") if _NAME.fullmatch(path.name))


def is_manifest_name(name: str) -> bool:
    """Return whether a file name at the root of a store is reserved for a manifest."""
    return _NAME.fullmatch(name) is not None


class ManifestWriter:
    """Appends to one manifest; holds it open and knows where its last good line ends."""

    def __init__(self, root: Path, rank: int | None) -> None:
        self.path = root / manifest_name(rank)
        self.rank = -1 if rank is None else rank
        is_new = not self.path.exists()
        self.handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            self._recover()
            if is_new:
                sync(root)
            if self._size == 0:
                self.append("open", 0)
        except BaseException:
            os.close(self.handle)
            raise

    def append(self, op: str, seq: int, entry: Entry | None = None) -> Record:
        """Add one line and wait until the disk has it; on failure the file is cut back to what it was."""
        if os.fstat(self.handle).st_size != self._size:  # an interrupt fell between a write and its bookkeeping
            self._recover()
        payload = _payload(op, seq, entry)
        check = _check(self._last, payload)
        line = check + b" " + payload + b"\n"
        try:
            written = os.pwrite(self.handle, line, self._size)
            if written != len(line):
                written += os.pwrite(self.handle, line[written:], self._size + written)
            os.fsync(self.handle)
        except OSError:
            os.ftruncate(self.handle, self._size)
            raise
        self._last, self._size = check, self._size + len(line)
        return Record(op, seq, self.rank, entry)

    def _recover(self) -> None:
        data = os.pread(self.handle, os.fstat(self.handle).st_size, 0)
        _, self._last, self._size = _parse(data, self.path)
        if self._size != len(data):
            os.ftruncate(self.handle, self._size)
            os.fsync(self.handle)


def read_manifests(root: Path) -> list[Record]:
    """Return the records of all manifests of `root`, oldest first.

    Raises:
        CorruptArtifact: a complete line is not what was written; names file and line.
    """
    records: list[Record] = []
    for path in manifest_paths(root):
        records += _parse(path.read_bytes(), path)[0]
    return sorted(records, key=lambda record: (record.seq, record.rank))


def apply(found: dict[str, list[Entry]], record: Record) -> None:
    """Bring `found` up to date with one more record.

    `found` holds for each name the entries that its file may match, newest first: the last put, and before
    it a begin whose put has not been seen.
    """
    if record.op == "clear":
        found.clear()
    elif record.op == "put" and record.entry is not None:
        found[record.entry.name] = [record.entry]
    elif record.op == "begin" and record.entry is not None:
        found.setdefault(record.entry.name, []).insert(0, record.entry)


def salvage(path: Path) -> tuple[bytes, list[int]]:
    """Return the good lines of a damaged manifest, chained anew, and the numbers of the lines given up."""
    good: list[bytes] = []
    lost: list[int] = []
    last = _SEED
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        check, _, payload = line.partition(b" ")
        if check == _check(last, payload):
            good.append(payload)
        else:
            lost.append(number)
        last = check
    out, last = [], _SEED
    for payload in good:
        last = _check(last, payload)
        out.append(last + b" " + payload + b"\n")
    return b"".join(out), lost


def _payload(op: str, seq: int, entry: Entry | None) -> bytes:
    line: dict[str, Any] = {"op": op, "seq": seq}
    if entry is None:
        return canonical_json(line | {"format": FORMAT}).encode("ascii")
    body = {name: getattr(entry, name) for name in ("name", "kind", "sha256", "n_bytes", "contents", "provenance")}
    body["key"] = None if entry.key is None else entry.key.parts()
    return canonical_json(line | {"entry": body}, where="entry").encode("ascii")


def _check(last: bytes, payload: bytes) -> bytes:
    return hashlib.sha256(last + payload).hexdigest()[:16].encode("ascii")


def _parse(data: bytes, path: Path) -> tuple[list[Record], bytes, int]:
    """Return the records, the digits of the last good line and the length of all good lines."""
    match = _NAME.fullmatch(path.name)
    rank = int(match[1]) if match and match[1] else -1
    records: list[Record] = []
    last, size = _SEED, 0
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):  # what follows the last newline is torn
        check, _, payload = line.partition(b" ")
        if check != _check(last, payload):
            raise CorruptArtifact(
                f"Line {number} of {path} is not what was written: expected a line whose check digits follow "
                f"from the line before, found {line[:40]!r}. Nothing in this folder can be trusted to be "
                f"complete. Restore the file from a copy, or keep what is intact with "
                f"interp.store.repair({str(path.parent)!r}) and run again: the rest is computed anew."
            )
        records.append(_record(payload, rank, path))
        last, size = check, size + len(line) + 1
    return records, last, size


def _record(payload: bytes, rank: int, path: Path) -> Record:
    try:
        line = json.loads(payload)
        if "entry" in line:
            return Record(line["op"], line["seq"], rank, _entry(line["entry"]))
        if line["format"] == FORMAT:
            return Record(line["op"], line["seq"], rank)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CorruptArtifact(
            f"{path} has a line that no version of this package wrote ({error}): {payload[:60]!r}."
        ) from error
    raise InvalidInput(f"{path} has format {line['format']!r}; this version reads format {FORMAT}.")


def _entry(body: dict[str, Any]) -> Entry:
    key = None if body["key"] is None else key_from_parts(body["key"])
    entry = Entry(**{name: part for name, part in body.items() if name != "key"}, key=key)
    expected = {"name": str, "kind": str, "sha256": str, "n_bytes": int, "contents": dict, "provenance": dict}
    for name, kind in expected.items():
        if not isinstance(getattr(entry, name), kind):
            raise TypeError(f"{name} is no {kind.__name__}")
    return entry
