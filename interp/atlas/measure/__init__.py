"""What the bundled model can do: one module a kind of measurement, each figure beside its controls."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Return the name from the single module that the others of this package replace one by one."""
    from interp.atlas.measure import old

    return getattr(old, name)
