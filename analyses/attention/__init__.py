"""What do the attention layers move, and why? Attribution of attention features, heads, and families of both.

Each public name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analyses.attention.ablations import attribution_agreement
    from analyses.attention.attributions import Attributions, direct_feature_attribution
    from analyses.attention.circuits import circuit_study
    from analyses.attention.decoder_share import decoder_head_share
    from analyses.attention.families import classify_feature_families
    from analyses.attention.family_rules import FamilyRule
    from analyses.attention.heads import head_scores
    from analyses.attention.modular import modular_arithmetic
    from analyses.attention.prefixes import prefix_length_curve
    from analyses.attention.profiles import relation_profile
    from analyses.attention.prompt_pairs import PromptPair
    from analyses.attention.recursion import recursive_attribution
    from analyses.attention.reference import compare_to_reference, reference_heads
    from analyses.attention.relatedness import head_latent_relatedness
    from analyses.attention.retention import context_retention
    from analyses.attention.sae_fit import check_sae_fit
    from analyses.attention.token_maps import token_map_scores

_HOME = {
    "Attributions": "analyses.attention.attributions",
    "FamilyRule": "analyses.attention.family_rules",
    "PromptPair": "analyses.attention.prompt_pairs",
    "attribution_agreement": "analyses.attention.ablations",
    "check_sae_fit": "analyses.attention.sae_fit",
    "circuit_study": "analyses.attention.circuits",
    "classify_feature_families": "analyses.attention.families",
    "compare_to_reference": "analyses.attention.reference",
    "context_retention": "analyses.attention.retention",
    "decoder_head_share": "analyses.attention.decoder_share",
    "direct_feature_attribution": "analyses.attention.attributions",
    "head_latent_relatedness": "analyses.attention.relatedness",
    "head_scores": "analyses.attention.heads",
    "modular_arithmetic": "analyses.attention.modular",
    "prefix_length_curve": "analyses.attention.prefixes",
    "recursive_attribution": "analyses.attention.recursion",
    "reference_heads": "analyses.attention.reference",
    "relation_profile": "analyses.attention.profiles",
    "token_map_scores": "analyses.attention.token_maps",
}

__all__ = [
    "Attributions",
    "FamilyRule",
    "PromptPair",
    "attribution_agreement",
    "check_sae_fit",
    "circuit_study",
    "classify_feature_families",
    "compare_to_reference",
    "context_retention",
    "decoder_head_share",
    "direct_feature_attribution",
    "head_latent_relatedness",
    "head_scores",
    "modular_arithmetic",
    "prefix_length_curve",
    "recursive_attribution",
    "reference_heads",
    "relation_profile",
    "token_map_scores",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return __all__
