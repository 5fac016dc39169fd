from .alikeness import monosemanticity_score as monosemanticity_score
from .concept_trees import feature_monosemanticity_score as feature_monosemanticity_score
from .concepts import AuditConfig as AuditConfig, PairView as PairView, concept_clusters as concept_clusters
from .disentanglement import InfoMEC as InfoMEC, infomec as infomec
from .domain_masks import mask_specificity as mask_specificity, masking_matrix as masking_matrix
from .domain_units import (
    domain_means as domain_means,
    exclusive_share as exclusive_share,
    experts_of as experts_of,
    knowledge_exclusivity as knowledge_exclusivity,
    leading_units as leading_units,
    text_sums as text_sums,
)
from .expert_scores import expert_scores as expert_scores
from .judging import (
    EmbeddingJudge as EmbeddingJudge,
    detection_score as detection_score,
    intruder_test as intruder_test,
)
from .neuron_experts import (
    emergent_experts as emergent_experts,
    expert_fidelity as expert_fidelity,
    route_experts as route_experts,
)
from .power import audit_sensitivity as audit_sensitivity
from .run import polysemanticity_study as polysemanticity_study
from .sampling import sample_activation_intervals as sample_activation_intervals, top_examples as top_examples
from .shared_space import (
    feature_capacity as feature_capacity,
    interference_matrix as interference_matrix,
    neuron_latent_map as neuron_latent_map,
)
from .study import StudyConfig as StudyConfig
from .unit_audits import audit_heads as audit_heads, audit_latents as audit_latents, audit_neurons as audit_neurons
from .unit_statistics import (
    logit_weight_moments as logit_weight_moments,
    sparsity_statistics as sparsity_statistics,
    vocabulary_concentration as vocabulary_concentration,
)
from .verdicts import audit_units as audit_units
