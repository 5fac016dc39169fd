"""Does this unit mean one thing or several? Audits of neurons, heads and latents, and the scores around them.

Each public name is imported when it is first used, so that a score on arrays does not cost the imports of a model.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analyses.polysemanticity.alikeness import monosemanticity_score
    from analyses.polysemanticity.concept_trees import feature_monosemanticity_score
    from analyses.polysemanticity.concepts import AuditConfig, PairView, concept_clusters
    from analyses.polysemanticity.disentanglement import InfoMEC, infomec
    from analyses.polysemanticity.domain_masks import (
        domain_means,
        knowledge_exclusivity,
        leading_units,
        mask_specificity,
        masking_matrix,
    )
    from analyses.polysemanticity.judging import EmbeddingJudge, detection_score, intruder_test
    from analyses.polysemanticity.neuron_experts import emergent_experts, expert_fidelity, route_experts
    from analyses.polysemanticity.power import audit_sensitivity
    from analyses.polysemanticity.run import polysemanticity_study
    from analyses.polysemanticity.sampling import sample_activation_intervals, top_examples
    from analyses.polysemanticity.shared_space import feature_capacity, interference_matrix, neuron_latent_map
    from analyses.polysemanticity.study import StudyConfig
    from analyses.polysemanticity.unit_audits import audit_heads, audit_latents, audit_neurons
    from analyses.polysemanticity.unit_statistics import (
        logit_weight_moments,
        sparsity_statistics,
        vocabulary_concentration,
    )
    from analyses.polysemanticity.verdicts import audit_units

_MODULES = {
    "alikeness": ("monosemanticity_score",),
    "concept_trees": ("feature_monosemanticity_score",),
    "concepts": ("AuditConfig", "PairView", "concept_clusters"),
    "disentanglement": ("InfoMEC", "infomec"),
    "domain_masks": (
        "domain_means", "knowledge_exclusivity", "leading_units", "mask_specificity", "masking_matrix",
    ),
    "judging": ("EmbeddingJudge", "detection_score", "intruder_test"),
    "neuron_experts": ("emergent_experts", "expert_fidelity", "route_experts"),
    "power": ("audit_sensitivity",),
    "run": ("polysemanticity_study",),
    "sampling": ("sample_activation_intervals", "top_examples"),
    "shared_space": ("feature_capacity", "interference_matrix", "neuron_latent_map"),
    "study": ("StudyConfig",),
    "unit_audits": ("audit_heads", "audit_latents", "audit_neurons"),
    "unit_statistics": ("logit_weight_moments", "sparsity_statistics", "vocabulary_concentration"),
    "verdicts": ("audit_units",),
}  # fmt: skip
_HOME = {name: f"analyses.polysemanticity.{module}" for module, names in _MODULES.items() for name in names}

__all__ = [
    "AuditConfig",
    "EmbeddingJudge",
    "InfoMEC",
    "PairView",
    "StudyConfig",
    "audit_heads",
    "audit_latents",
    "audit_neurons",
    "audit_sensitivity",
    "audit_units",
    "concept_clusters",
    "detection_score",
    "domain_means",
    "emergent_experts",
    "expert_fidelity",
    "feature_capacity",
    "feature_monosemanticity_score",
    "infomec",
    "interference_matrix",
    "intruder_test",
    "knowledge_exclusivity",
    "leading_units",
    "logit_weight_moments",
    "mask_specificity",
    "masking_matrix",
    "monosemanticity_score",
    "neuron_latent_map",
    "polysemanticity_study",
    "route_experts",
    "sample_activation_intervals",
    "sparsity_statistics",
    "top_examples",
    "vocabulary_concentration",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return __all__
