"""Small things whose right answer is known, made in memory: for tests, examples and checking a detector of one's own.

Nothing here is read from disk or a hub. Names load their module on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.testing.planted_attention import PlantedAttention, planted_layer
    from interp.testing.planted_units import PlantedUnits, concept_units
    from interp.testing.tiny import TokenizerStyle, tiny_model, tiny_module, tiny_tokenizer

_HOME = {
    "PlantedAttention": "planted_attention",
    "PlantedUnits": "planted_units",
    "concept_units": "planted_units",
    "planted_layer": "planted_attention",
    "TokenizerStyle": "tiny",
    "tiny_model": "tiny",
    "tiny_module": "tiny",
    "tiny_tokenizer": "tiny",
}

__all__ = [
    "PlantedAttention",
    "PlantedUnits",
    "TokenizerStyle",
    "concept_units",
    "planted_layer",
    "tiny_model",
    "tiny_module",
    "tiny_tokenizer",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(__all__)}.")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
