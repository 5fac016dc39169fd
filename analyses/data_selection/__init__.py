"""Which training samples are relevant to this task? Scores of a pool against target examples, and what to pick.

Each public name is imported when it is first used, so that reading a file does not cost the imports of a model.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analyses.data_selection.coded_pool import CodedPool, pool_of
    from analyses.data_selection.contamination import decontaminate
    from analyses.data_selection.duplicates import near_duplicates
    from analyses.data_selection.encoding import Encoding, encode_pool
    from analyses.data_selection.picking import select
    from analyses.data_selection.reading import read_samples
    from analyses.data_selection.reasons import explain
    from analyses.data_selection.relevance import mona_scores, score, score_each
    from analyses.data_selection.samples import Sample, Samples

_HOME = {
    "CodedPool": "analyses.data_selection.coded_pool",
    "Encoding": "analyses.data_selection.encoding",
    "Sample": "analyses.data_selection.samples",
    "Samples": "analyses.data_selection.samples",
    "decontaminate": "analyses.data_selection.contamination",
    "encode_pool": "analyses.data_selection.encoding",
    "explain": "analyses.data_selection.reasons",
    "mona_scores": "analyses.data_selection.relevance",
    "near_duplicates": "analyses.data_selection.duplicates",
    "pool_of": "analyses.data_selection.coded_pool",
    "read_samples": "analyses.data_selection.reading",
    "score": "analyses.data_selection.relevance",
    "score_each": "analyses.data_selection.relevance",
    "select": "analyses.data_selection.picking",
}

__all__ = [
    "CodedPool",
    "Encoding",
    "Sample",
    "Samples",
    "decontaminate",
    "encode_pool",
    "explain",
    "mona_scores",
    "near_duplicates",
    "pool_of",
    "read_samples",
    "score",
    "score_each",
    "select",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return __all__
