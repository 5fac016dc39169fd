"""What the bundled model can do: one module a kind of measurement, each figure beside its controls."""

from __future__ import annotations

import importlib
from typing import Any

_OLD = ("Question", "accuracies", "answered", "probe_rows", "questions")


def __getattr__(name: str) -> Any:
    """Return a name of the single module that the others of this package replace one by one."""
    if name in _OLD:
        return getattr(importlib.import_module("interp.atlas.measure.old"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}.")
