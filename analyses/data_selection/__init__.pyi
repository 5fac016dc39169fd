from .audit import (
    agreement as agreement,
    length_audit as length_audit,
    pick_stability as pick_stability,
    shuffled_prototype as shuffled_prototype,
)
from .causal import ablated_losses as ablated_losses, causal_check as causal_check, helpful_latents as helpful_latents
from .certified_pick import CertifiedTop as CertifiedTop, certified_top as certified_top
from .chance_scores import length_matched as length_matched, random_scores as random_scores
from .coded_pool import CodedPool as CodedPool, pool_of as pool_of
from .coders import NeuronCoder as NeuronCoder, neuron_coder as neuron_coder, random_sae as random_sae
from .command import select_command as select_command
from .contamination import decontaminate as decontaminate
from .coverage import coverage_order as coverage_order
from .dense_scores import (
    cosine_each as cosine_each,
    cosine_scores as cosine_scores,
    gradient_vectors as gradient_vectors,
    sample_vectors as sample_vectors,
)
from .duplicates import (
    exact_duplicates as exact_duplicates,
    near_duplicate_codes as near_duplicate_codes,
    near_duplicates as near_duplicates,
)
from .encoding import Encoding as Encoding, encode_pool as encode_pool, encode_share as encode_share
from .explanations import marked_tokens as marked_tokens, why_tables as why_tables
from .finetuning import Tuning as Tuning, finetune as finetune
from .methods import StandardMethods as StandardMethods, standard_methods as standard_methods
from .picking import select as select
from .reading import read_samples as read_samples
from .reasons import (
    edited as edited,
    explain as explain,
    feature_shift as feature_shift,
    firing_tokens as firing_tokens,
    lacking as lacking,
)
from .relevance import mona_scores as mona_scores, score as score, score_each as score_each
from .samples import Sample as Sample, Samples as Samples
from .selection_config import SelectionConfig as SelectionConfig
from .study import Selection as Selection, run_selection as run_selection
from .token_windows import TokenChoice as TokenChoice
from .word_scores import bm25_scores as bm25_scores, dsir_scores as dsir_scores, tfidf_scores as tfidf_scores
from .transport import transport_scores as transport_scores
from .worth import evaluate as evaluate
from .worth_targets import Target as Target, split_target as split_target
