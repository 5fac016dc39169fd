"""Folders of files that belong together and are read, not extended: the bundled model, SAEs.

`manifest.json` lists every file with length and sha256, and carries the sha256 of itself.
"""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from interp.errors import CorruptArtifact, InvalidInput
from interp.store.atomic import (
    make_folders,
    remove_leftovers,
    require_content,
    resource_errors,
    sync,
    temporary_folder,
    write_and_sync,
)
from interp.store.hashing import sha256_bytes, sha256_file
from interp.store.keys import canonical_json, plain
from interp.store.names import safe_path

MANIFEST = "manifest.json"
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


def write_folder(
    path: str | Path,
    files: Mapping[str, bytes | Callable[[Path], object]],
    *,
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a folder of files with its `manifest.json`, all of it or nothing; return the manifest.

    Args:
        path: the folder; its parent is made if missing.
        files: name inside the folder -> bytes, or a function that writes the file at the path it is given.
        provenance: plain data, kept in the manifest.
        overwrite: replace a folder that this function wrote before; nothing else is ever replaced.

    Raises:
        InvalidInput: no files, a name that leads out, or a folder that exists and may not be replaced.
        ResourceExhausted: no space or no permission; an earlier folder stays whole.
    """
    target = Path(path)
    if not files or MANIFEST in files:
        raise InvalidInput(f"{target} needs at least one file, and none may be called {MANIFEST}; got {sorted(files)}.")
    may_replace = overwrite and (target / MANIFEST).exists()
    require_replaceable(target, {MANIFEST, *read_manifest(target)["files"]} if may_replace else set())
    with resource_errors(target, None):
        make_folders(target.parent)
        remove_leftovers(target.parent)
        with temporary_folder(target) as staged:
            listed = {name: _write_one(staged.resolve(), name, content) for name, content in sorted(files.items())}
            manifest = _sealed({"files": listed, "format": 1, "provenance": plain(dict(provenance or {}))})
            _create(staged / MANIFEST, canonical_json(manifest).encode("ascii"))
            replace_folder(staged, target)
    return manifest


def verify_folder(path: str | Path) -> dict[str, Any]:
    """Check every file of a folder against its manifest and return the manifest; unlisted files are ignored.

    Raises:
        CorruptArtifact: the manifest is missing or damaged, or a file is missing, cut or altered; names it.
    """
    root = Path(path)
    manifest = read_manifest(root)
    for name, expected in manifest["files"].items():
        file = safe_path(root.resolve(), name)
        if not file.is_file():
            raise CorruptArtifact(f"{file} is missing, and {root / MANIFEST} lists it. {_REMEDY}")
        found = {"bytes": file.stat().st_size, "sha256": "(not read: wrong length)"}
        if found["bytes"] == expected["bytes"]:
            found["sha256"] = sha256_file(file)
        if found != expected:
            raise CorruptArtifact(f"{file} is not what was written: expected {expected}, found {found}. {_REMEDY}")
    return manifest


def read_manifest(root: Path) -> dict[str, Any]:
    """Return the manifest of a folder, checked against its own sha256 (the files are not read).

    Raises:
        CorruptArtifact: it is missing or damaged.
    """
    path = root / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        body = {name: manifest[name] for name in ("files", "format", "provenance")}
        if manifest != _sealed(body):
            raise ValueError("its sha256 does not fit its contents")
    except OSError as error:
        raise CorruptArtifact(f"{path} cannot be read: {error.strerror}. {_REMEDY}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptArtifact(f"{path} is damaged: {error}. {_REMEDY}") from error
    if manifest["format"] != 1:
        raise InvalidInput(f"{path} has format {manifest['format']!r}; this version reads format 1.")
    return manifest


def require_replaceable(target: Path, own_files: set[str]) -> None:
    """Refuse to replace a folder with files in it that are not listed as its own, or anything but a folder."""
    if not target.exists():
        return
    if not target.is_dir():
        raise InvalidInput(f"{target} is a file; expected a folder or a free name.")
    there = {p.relative_to(target).as_posix() for p in target.rglob("*") if not p.is_dir()}
    foreign = sorted(there - own_files)
    if foreign:
        raise InvalidInput(
            f"{target} exists and holds {', '.join(foreign[:3])}{' ...' if len(foreign) > 3 else ''}, which would be "
            f"lost. Choose a free name, pass overwrite=True for a folder written here before, or move the files away."
        )


def replace_folder(staged: Path, target: Path) -> None:
    """Put the finished folder `staged` at `target`; an earlier folder ends up at `staged`, for the caller to remove.

    Where the system can exchange two names at once, no moment exists without a whole folder at `target`.
    Elsewhere the earlier one first gets the suffix ".earlier"; a kill between leaves it there, whole.
    """
    for folder in sorted((p for p in staged.rglob("*") if p.is_dir()), reverse=True):
        sync(folder)
    sync(staged)
    if not target.exists():
        os.rename(staged, target)
    elif not _exchange(staged, target):
        aside = target.with_name(f"{target.name}.earlier")
        os.rename(target, aside)
        try:
            os.rename(staged, target)
        except BaseException:
            os.rename(aside, target)
            raise
        os.rename(aside, staged)
    sync(target.parent)


def _exchange(one: Path, other: Path) -> bool:
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    return rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), ctypes.c_uint(_RENAME_EXCHANGE)) == 0


def _write_one(staged: Path, name: str, content: bytes | Callable[[Path], object]) -> dict[str, Any]:
    path = safe_path(staged, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        _create(path, content)
        return {"bytes": len(content), "sha256": sha256_bytes(content)}
    content(path)
    require_content(path, path)
    sync(path)
    return {"bytes": path.stat().st_size, "sha256": sha256_file(path)}


def _create(path: Path, data: bytes) -> None:
    path.touch()
    write_and_sync(path, data)


def _sealed(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"sha256": sha256_bytes(canonical_json(body).encode("ascii"))}


_REMEDY = "Restore the folder from where it came (reinstall, or copy it again)."
