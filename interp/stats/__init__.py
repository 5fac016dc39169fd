"""Numeric kernels on arrays alone: no model, no file, no plot.

Each public name is imported when it is first used, so that one kernel does not cost the imports of all.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.stats.autocorrelation import MoranResult, moran_i
    from interp.stats.corrections import benjamini_hochberg, min_p
    from interp.stats.local_autocorrelation import LocalMoranResult, local_moran_i
    from interp.stats.moran_graph import MoranGraph
    from interp.stats.pvalues import pearson3_p, permutation_p, resolve_p
    from interp.stats.ridge import leave_group_out, leave_one_out, ridge_path
    from interp.stats.ridge_stream import RidgeGram
    from interp.stats.seeds import permutation_indices

_HOME = {
    "LocalMoranResult": "interp.stats.local_autocorrelation",
    "MoranGraph": "interp.stats.moran_graph",
    "MoranResult": "interp.stats.autocorrelation",
    "RidgeGram": "interp.stats.ridge_stream",
    "benjamini_hochberg": "interp.stats.corrections",
    "leave_group_out": "interp.stats.ridge",
    "leave_one_out": "interp.stats.ridge",
    "local_moran_i": "interp.stats.local_autocorrelation",
    "min_p": "interp.stats.corrections",
    "moran_i": "interp.stats.autocorrelation",
    "pearson3_p": "interp.stats.pvalues",
    "permutation_indices": "interp.stats.seeds",
    "permutation_p": "interp.stats.pvalues",
    "resolve_p": "interp.stats.pvalues",
    "ridge_path": "interp.stats.ridge",
}

__all__ = [
    "LocalMoranResult",
    "MoranGraph",
    "MoranResult",
    "RidgeGram",
    "benjamini_hochberg",
    "leave_group_out",
    "leave_one_out",
    "local_moran_i",
    "min_p",
    "moran_i",
    "pearson3_p",
    "permutation_indices",
    "permutation_p",
    "resolve_p",
    "ridge_path",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return __all__
