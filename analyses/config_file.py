"""`interp run --config run.toml`: the options of a run as a file, and the file of a run's options."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from analyses.job import RunConfig
from interp.errors import InvalidInput, nearest

_OUT = "out"  # where to, which is no part of what is computed
_HEAD = "# interp run --config FILE; an option on the command line wins over the file"
_TYPES: dict[str, tuple[type, str]] = {
    "analyses": (list, "a list of names"),
    "k": (int, "a whole number"),
    "permutations": (int, "a whole number"),
    "seed": (int, "a whole number"),
    "survey": (bool, "true or false"),
}  # all others are text


def read_config(path: str | Path) -> dict[str, Any]:
    """Return the options that a TOML file gives: fields of `RunConfig`, and `out`.

    Raises:
        InvalidInput: no such file, no TOML, an unknown name (the nearest are given) or a value of another type.
    """
    file = Path(path)
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read ({error.strerror}); --config expects a TOML file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file} is no TOML: {error}. Begin with one: interp run --write-config {file}") from None
    valid = [*(f.name for f in fields(RunConfig)), _OUT]
    for name, value in given.items():
        if name not in valid:
            near = ", ".join(nearest(name, valid))
            raise InvalidInput(f"{file}: there is no option {name!r}. Nearest: {near}. All: {', '.join(valid)}.")
        kind, words = _TYPES.get(name, (str, "text"))
        texts = name != "analyses" or not isinstance(value, list) or all(isinstance(v, str) for v in value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)) or not texts:
            raise InvalidInput(f"{file}: {name} = {value!r}; expected {words}.")
    return given


def join_options(file: Mapping[str, Any], flags: Mapping[str, Any]) -> tuple[RunConfig, Path]:
    """Return the configuration and the folder of a run; a flag wins over the file, the file over the default.

    Args:
        file: from `read_config`. flags: by the same names; what is None, or no analyses, was not given.
    """
    given = {name: value for name, value in flags.items() if value is not None and value != ()}
    options = {**file, **given}
    out = options.pop(_OUT, None)
    if "analyses" in options:
        options["analyses"] = tuple(options["analyses"])
    config = RunConfig(**options)
    return config, Path(out) if out is not None else Path("runs") / Path(config.model).name


def config_text(config: RunConfig, out: Path) -> str:
    """Return the TOML text that `read_config` and `join_options` turn into the same run; what is None is a comment."""
    options = {**config.to_dict(), _OUT: str(out)}
    return "\n".join([_HEAD, *(_line(name, value) for name, value in options.items()), ""])


def _line(name: str, value: Any) -> str:
    if value is None:
        return f'# {name} = "..."'
    # a JSON text, number, list or truth value is also one of TOML, but for the control character DEL
    return f"{name} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")
