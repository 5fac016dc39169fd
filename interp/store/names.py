"""Which names an artefact may have: relative, portable, and never a way out of the folder."""

from __future__ import annotations

from pathlib import Path

from interp.errors import InvalidInput
from interp.store.manifest import is_manifest_name

_LONGEST = 200


def safe_path(root: Path, name: str) -> Path:
    """Return the path of artefact `name` inside `root` (which must be resolved already).

    Raises:
        InvalidInput: the name is absolute, has ".." or hidden parts, control characters, backslashes or
            parts over 200 bytes, is reserved, or leads out of the folder through a symbolic link.
    """
    problem = _problem(name)
    if problem:
        raise InvalidInput(
            f"{name!r} cannot name an artefact: {problem}. Expected a relative path with forward slashes, "
            f"such as 'probing/layer_03.parquet'."
        )
    path = root / name
    try:
        end = path.resolve()
    except (OSError, RuntimeError) as error:  # links in a circle
        raise InvalidInput(f"{name!r} cannot be followed inside {root}: {error}. Remove the symbolic link.") from error
    if not end.is_relative_to(root):
        raise InvalidInput(
            f"{name!r} leads out of {root} through a symbolic link (to {end}). "
            f"Remove the link, or open the folder it points to as a store of its own."
        )
    return path


def _problem(name: object) -> str | None:
    if not isinstance(name, str) or not name:
        return "it is no text, or empty"
    if name.startswith("/"):
        return "it is absolute"
    if "\\" in name or any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in name):
        return "it has a backslash, a control character or half a surrogate pair"
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "it has an empty part, '.' or '..'"
    if any(part.startswith(".") for part in parts):
        return "a part starts with a dot, which is kept for the store's own files"
    if any(len(part.encode()) > _LONGEST for part in parts):
        return f"a part is over {_LONGEST} bytes long"
    if is_manifest_name(name):
        return "it is the name of a manifest"
    return None
