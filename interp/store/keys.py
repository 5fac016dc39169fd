"""Keys: what an artefact was made from, as one hash and as the parts that explain it.

A key is the sha256 of canonical JSON, never of a pickle and never of an object's id: what cannot be
written down cannot be compared, so it is refused by name instead of hashed at random.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any

import numpy as np

from interp.errors import InvalidInput

_ADVICE = {
    np.ndarray: "put its hash into `inputs`: sha256_array(x)",
    set: "pass a sorted list",
    frozenset: "pass a sorted list",
    bytes: "pass its sha256 as text",
}


def plain(value: Any, where: str = "value") -> Any:
    """Return `value` as plain JSON types, refusing whatever JSON could not give back.

    Dataclasses become their fields, tuples lists, enum members their value, paths posix text (a path
    names a place; what lies there belongs in `inputs` as a hash), numpy scalars Python scalars.

    Raises:
        InvalidInput: NaN or infinity, a key that is no text, or a type without a canonical form;
            names its path inside `value`.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return _finite(value, where)
    if isinstance(value, PurePath):
        return value.as_posix()
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return {_text_key(k, where): plain(v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
    advice = next((text for kind, text in _ADVICE.items() if isinstance(value, kind)), "pass text or numbers")
    raise InvalidInput(
        f"{where} is a {type(value).__name__}, which has no canonical JSON form. Expected None, bool, int, "
        f"float, str, path, enum, dataclass, list, tuple or mapping; {advice}."
    )


def canonical_json(value: Any, where: str = "value") -> str:
    """Return `value` as JSON text that is the same for equal values: sorted keys, floats by repr, ASCII.

    Raises:
        InvalidInput: see `plain`.
    """
    return json.dumps(plain(value, where), sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class Key:
    """What an artefact was made from: `digest` (sha256, 64 hex digits) and the parts behind it."""

    digest: str
    config: dict[str, Any]
    inputs: dict[str, Any]
    code_version: str

    def __str__(self) -> str:
        return self.digest

    def parts(self) -> dict[str, Any]:
        """Return the hashed parts as one plain dict."""
        return {"code_version": self.code_version, "config": self.config, "inputs": self.inputs}


def make_key(config: Any, inputs: Mapping[str, Any], *, code_version: str) -> Key:
    """Return the key of an artefact: sha256 over canonical JSON of config, inputs and code version.

    Args:
        config: a mapping or a (frozen) dataclass with every choice that changes the artefact.
        inputs: name -> sha256 (or another Key) of everything the artefact was computed from.
        code_version: a constant of the computing module, raised when its numbers change.

    Raises:
        InvalidInput: a value without a canonical form, named by its path ("config.layers[2]").

    >>> make_key({"k": 8}, {}, code_version="1") == make_key({"k": np.int64(8)}, {}, code_version="1")
    True
    """
    if not isinstance(code_version, str) or not code_version:
        raise InvalidInput(f"code_version is {code_version!r}; expected a text such as '1'. Use a module constant.")
    as_mapping = plain(config, "config")
    if not isinstance(as_mapping, dict):
        raise InvalidInput(f"config is a {type(config).__name__}; expected a mapping or a dataclass.")
    hashes = {name: str(v) if isinstance(v, Key) else v for name, v in inputs.items()}
    parts = {"code_version": code_version, "config": as_mapping, "inputs": plain(hashes, "inputs")}
    return _seal(parts)


def key_from_parts(parts: Mapping[str, Any]) -> Key:
    """Return the key whose `parts()` were recorded; the digest is computed again, never trusted."""
    return _seal({name: parts[name] for name in ("code_version", "config", "inputs")})


def changed_parts(old: Key | None, new: Key | None, *, limit: int = 5) -> list[str]:
    """Return one line a difference between two keys, such as "config.k: 8 -> 16" (at most `limit`)."""
    if old is None or new is None:
        return [] if old is new else [f"key: {_short(old)} -> {_short(new)}"]
    before, after = _leaves(old.parts(), ""), _leaves(new.parts(), "")
    lines = []
    for path in sorted(before.keys() | after.keys()):
        was, now = before.get(path, "(absent)"), after.get(path, "(absent)")
        if was != now:
            lines.append(f"{path}: {_shown(was)} -> {_shown(now)}")
    return lines if len(lines) <= limit else [*lines[:limit], f"and {len(lines) - limit} more"]


def _finite(value: float, where: str) -> float:
    if math.isfinite(value):
        return float(value)
    raise InvalidInput(f"{where} is {value!r}, which JSON cannot hold. Use None, with the reason beside it.")


def _text_key(key: Any, where: str) -> str:
    if isinstance(key, str):
        return key
    raise InvalidInput(
        f"{where} has the key {key!r} ({type(key).__name__}); expected text, because JSON would turn "
        f"1 and '1' into the same name. Write str(key) yourself."
    )


def _seal(parts: dict[str, Any]) -> Key:
    digest = hashlib.sha256(canonical_json(parts).encode("ascii")).hexdigest()
    return Key(digest, parts["config"], parts["inputs"], parts["code_version"])


def _leaves(value: Any, path: str) -> dict[str, str]:
    """Flatten nested JSON to {path: text}; text keeps the type apart (1 is not 1.0 is not "1")."""
    if isinstance(value, dict) and value:
        items = [(f"{path}.{name}" if path else name, v) for name, v in value.items()]
    elif isinstance(value, list) and value:
        items = [(f"{path}[{i}]", v) for i, v in enumerate(value)]
    else:
        text = json.dumps(value)
        return {path: text if len(text) <= 66 else _digest_of(text)}
    flat: dict[str, str] = {}
    for name, child in items:
        flat.update(_leaves(child, name))
    return flat


def _digest_of(text: str) -> str:
    return f"{text[:40]}... ({hashlib.sha256(text.encode()).hexdigest()[:8]})"


def _shown(text: str) -> str:
    """Return a sha256 by its first digits, which tell two apart, and any other text whole."""
    return f"{text[1:13]}..." if re.fullmatch(r'"[0-9a-f]{64}"', text) else text


def _short(key: Key | None) -> str:
    return "(none)" if key is None else key.digest[:12]
