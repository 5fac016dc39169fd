from .ablations import attribution_agreement as attribution_agreement
from .attributions import Attributions as Attributions, direct_feature_attribution as direct_feature_attribution
from .circuits import circuit_study as circuit_study
from .copy_suppression import suppression_scores as suppression_scores
from .decoder_share import decoder_head_share as decoder_head_share
from .families import classify_feature_families as classify_feature_families
from .family_rules import FamilyRule as FamilyRule
from .heads import head_scores as head_scores
from .modular import modular_arithmetic as modular_arithmetic
from .prefix_corruption import prefix_corruption as prefix_corruption
from .prefixes import prefix_length_curve as prefix_length_curve
from .profiles import relation_profile as relation_profile
from .prompt_pairs import PromptPair as PromptPair
from .recursion import recursive_attribution as recursive_attribution
from .reference import compare_to_reference as compare_to_reference, reference_heads as reference_heads
from .relatedness import head_latent_relatedness as head_latent_relatedness
from .retention import context_retention as context_retention
from .sae_fit import check_sae_fit as check_sae_fit
from .token_maps import token_map_scores as token_map_scores
