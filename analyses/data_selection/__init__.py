"""Which training samples are relevant to this task? Scores of a pool against target examples, and what to pick.

Each public name is imported when it is first used, so that reading a file does not cost the imports of a model.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analyses.data_selection.audit import agreement, length_audit, pick_stability, shuffled_prototype
    from analyses.data_selection.certified_pick import CertifiedTop, certified_top
    from analyses.data_selection.chance_scores import length_matched, random_scores
    from analyses.data_selection.coded_pool import CodedPool, pool_of
    from analyses.data_selection.coders import NeuronCoder, neuron_coder, random_sae
    from analyses.data_selection.command import select_command
    from analyses.data_selection.contamination import decontaminate
    from analyses.data_selection.coverage import coverage_order
    from analyses.data_selection.dense_scores import cosine_each, cosine_scores, gradient_vectors, sample_vectors
    from analyses.data_selection.duplicates import exact_duplicates, near_duplicate_codes, near_duplicates
    from analyses.data_selection.encoding import Encoding, encode_pool
    from analyses.data_selection.finetuning import Tuning, finetune
    from analyses.data_selection.picking import select
    from analyses.data_selection.reading import read_samples
    from analyses.data_selection.reasons import edited, explain, feature_shift, firing_tokens, lacking
    from analyses.data_selection.relevance import mona_scores, score, score_each
    from analyses.data_selection.samples import Sample, Samples
    from analyses.data_selection.selection_config import SelectionConfig
    from analyses.data_selection.study import Selection, run_selection
    from analyses.data_selection.token_windows import TokenChoice
    from analyses.data_selection.word_scores import bm25_scores, dsir_scores, tfidf_scores
    from analyses.data_selection.worth import evaluate
    from analyses.data_selection.worth_methods import standard_methods
    from analyses.data_selection.worth_targets import Target, split_target

_HOME = {
    "CertifiedTop": "analyses.data_selection.certified_pick",
    "CodedPool": "analyses.data_selection.coded_pool",
    "Encoding": "analyses.data_selection.encoding",
    "NeuronCoder": "analyses.data_selection.coders",
    "Sample": "analyses.data_selection.samples",
    "Samples": "analyses.data_selection.samples",
    "Selection": "analyses.data_selection.study",
    "SelectionConfig": "analyses.data_selection.selection_config",
    "Target": "analyses.data_selection.worth_targets",
    "TokenChoice": "analyses.data_selection.token_windows",
    "Tuning": "analyses.data_selection.finetuning",
    "agreement": "analyses.data_selection.audit",
    "bm25_scores": "analyses.data_selection.word_scores",
    "certified_top": "analyses.data_selection.certified_pick",
    "cosine_each": "analyses.data_selection.dense_scores",
    "cosine_scores": "analyses.data_selection.dense_scores",
    "coverage_order": "analyses.data_selection.coverage",
    "decontaminate": "analyses.data_selection.contamination",
    "dsir_scores": "analyses.data_selection.word_scores",
    "edited": "analyses.data_selection.reasons",
    "encode_pool": "analyses.data_selection.encoding",
    "evaluate": "analyses.data_selection.worth",
    "exact_duplicates": "analyses.data_selection.duplicates",
    "explain": "analyses.data_selection.reasons",
    "feature_shift": "analyses.data_selection.reasons",
    "finetune": "analyses.data_selection.finetuning",
    "firing_tokens": "analyses.data_selection.reasons",
    "gradient_vectors": "analyses.data_selection.dense_scores",
    "lacking": "analyses.data_selection.reasons",
    "length_audit": "analyses.data_selection.audit",
    "length_matched": "analyses.data_selection.chance_scores",
    "mona_scores": "analyses.data_selection.relevance",
    "near_duplicate_codes": "analyses.data_selection.duplicates",
    "near_duplicates": "analyses.data_selection.duplicates",
    "neuron_coder": "analyses.data_selection.coders",
    "pick_stability": "analyses.data_selection.audit",
    "pool_of": "analyses.data_selection.coded_pool",
    "random_sae": "analyses.data_selection.coders",
    "random_scores": "analyses.data_selection.chance_scores",
    "read_samples": "analyses.data_selection.reading",
    "run_selection": "analyses.data_selection.study",
    "sample_vectors": "analyses.data_selection.dense_scores",
    "score": "analyses.data_selection.relevance",
    "score_each": "analyses.data_selection.relevance",
    "select": "analyses.data_selection.picking",
    "select_command": "analyses.data_selection.command",
    "shuffled_prototype": "analyses.data_selection.audit",
    "split_target": "analyses.data_selection.worth_targets",
    "standard_methods": "analyses.data_selection.worth_methods",
    "tfidf_scores": "analyses.data_selection.word_scores",
}

__all__ = [
    "CertifiedTop",
    "CodedPool",
    "Encoding",
    "NeuronCoder",
    "Sample",
    "Samples",
    "Selection",
    "SelectionConfig",
    "Target",
    "TokenChoice",
    "Tuning",
    "agreement",
    "bm25_scores",
    "certified_top",
    "cosine_each",
    "cosine_scores",
    "coverage_order",
    "decontaminate",
    "dsir_scores",
    "edited",
    "encode_pool",
    "evaluate",
    "exact_duplicates",
    "explain",
    "feature_shift",
    "finetune",
    "firing_tokens",
    "gradient_vectors",
    "lacking",
    "length_audit",
    "length_matched",
    "mona_scores",
    "near_duplicate_codes",
    "near_duplicates",
    "neuron_coder",
    "pick_stability",
    "pool_of",
    "random_sae",
    "random_scores",
    "read_samples",
    "run_selection",
    "sample_vectors",
    "score",
    "score_each",
    "select",
    "select_command",
    "shuffled_prototype",
    "split_target",
    "standard_methods",
    "tfidf_scores",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return __all__
