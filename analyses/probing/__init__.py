"""What can be read out of each layer? Probes with their nulls, controls and baselines in the same row.

Each public name is imported when it is first used, so that a table does not cost the imports of a model.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analyses.probing.causal import causal_check
    from analyses.probing.command import probe_command
    from analyses.probing.compute import ProbeConfig
    from analyses.probing.concatenated import concat_probe
    from analyses.probing.conllu import MalformedConllu, Sentence, Word, read_conllu
    from analyses.probing.measures import control_task, erase, mdl, variance_explained
    from analyses.probing.run import probe, probe_layers
    from analyses.probing.sparse import probe_features, sparse_probe
    from analyses.probing.structural import CodeTree, code_tree, code_vectors, structural_probe
    from analyses.probing.study import readout_study
    from analyses.probing.words import probe_words, word_labels, word_matrix

_HOME = {
    "CodeTree": "analyses.probing.structural",
    "MalformedConllu": "analyses.probing.conllu",
    "ProbeConfig": "analyses.probing.compute",
    "Sentence": "analyses.probing.conllu",
    "Word": "analyses.probing.conllu",
    "causal_check": "analyses.probing.causal",
    "code_tree": "analyses.probing.structural",
    "code_vectors": "analyses.probing.structural",
    "concat_probe": "analyses.probing.concatenated",
    "control_task": "analyses.probing.measures",
    "erase": "analyses.probing.measures",
    "mdl": "analyses.probing.measures",
    "probe": "analyses.probing.run",
    "probe_command": "analyses.probing.command",
    "probe_features": "analyses.probing.sparse",
    "probe_layers": "analyses.probing.run",
    "probe_words": "analyses.probing.words",
    "read_conllu": "analyses.probing.conllu",
    "readout_study": "analyses.probing.study",
    "sparse_probe": "analyses.probing.sparse",
    "structural_probe": "analyses.probing.structural",
    "variance_explained": "analyses.probing.measures",
    "word_labels": "analyses.probing.words",
    "word_matrix": "analyses.probing.words",
}

__all__ = [
    "CodeTree",
    "MalformedConllu",
    "ProbeConfig",
    "Sentence",
    "Word",
    "causal_check",
    "code_tree",
    "code_vectors",
    "concat_probe",
    "control_task",
    "erase",
    "mdl",
    "probe",
    "probe_command",
    "probe_features",
    "probe_layers",
    "probe_words",
    "read_conllu",
    "readout_study",
    "sparse_probe",
    "structural_probe",
    "variance_explained",
    "word_labels",
    "word_matrix",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return __all__
