"""interp: measure what a transformer represents, with the null beside every number.

The public names of the instrument, assembled here and nowhere else. Each is imported when it is first
used, so that `import interp` costs milliseconds and torch is loaded only by what needs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Activations": "interp.capturing",
    "CorruptArtifact": "interp.errors",
    "HookNotFired": "interp.errors",
    "InterpError": "interp.errors",
    "InvalidInput": "interp.errors",
    "Latents": "interp.latents",
    "Model": "interp.models",
    "ModelMismatch": "interp.errors",
    "NonFinite": "interp.errors",
    "ResourceExhausted": "interp.errors",
    "Result": "interp.result",
    "RunLocked": "interp.errors",
    "SaeMismatch": "interp.errors",
    "Site": "interp.sites",
    "Store": "interp.store",
    "UnknownName": "interp.errors",
    "UnknownSite": "interp.errors",
    "capture": "interp.capturing",
    "load_model": "interp.models",
    "load_result": "interp.result",
    "load_sae": "interp.sae",
    "points": "interp.models",
    "show_tokens": "interp.tokens",
    "tokenize": "interp.tokens",
}
_MODULES = ("atlas", "plot", "sae", "stats", "testing")

__all__ = [
    "Activations",
    "CorruptArtifact",
    "HookNotFired",
    "InterpError",
    "InvalidInput",
    "Latents",
    "Model",
    "ModelMismatch",
    "NonFinite",
    "ResourceExhausted",
    "Result",
    "RunLocked",
    "SaeMismatch",
    "Site",
    "Store",
    "UnknownName",
    "UnknownSite",
    "__version__",
    "atlas",
    "capture",
    "load_model",
    "load_result",
    "load_sae",
    "plot",
    "points",
    "sae",
    "show_tokens",
    "stats",
    "testing",
    "tokenize",
]  # written out for type checkers; a test compares it with the tables above

if TYPE_CHECKING:
    from interp import atlas, plot, sae, stats, testing
    from interp.capturing import Activations, capture
    from interp.errors import (
        CorruptArtifact,
        HookNotFired,
        InterpError,
        InvalidInput,
        ModelMismatch,
        NonFinite,
        ResourceExhausted,
        RunLocked,
        SaeMismatch,
        UnknownName,
        UnknownSite,
    )
    from interp.latents import Latents
    from interp.models import Model, load_model, points
    from interp.result import Result, load_result
    from interp.sae import load_sae
    from interp.sites import Site
    from interp.store import Store
    from interp.tokens import show_tokens, tokenize


def __getattr__(name: str) -> Any:
    if name in _HOME:
        # kept, so that the second use costs nothing; no module here may have the name of a function: it would hide it
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"interp.{name}")
    raise AttributeError(f"module 'interp' has no attribute {name!r}; it has: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
