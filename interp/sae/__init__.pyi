from . import synthetic as synthetic
from .absorbed import absorption as absorption
from .agreement import compare_saes as compare_saes, match_latents as match_latents, stability as stability
from .classes import (
    frequency_bands as frequency_bands,
    norm_bands as norm_bands,
    position_bands as position_bands,
    reconstruction_by_class as reconstruction_by_class,
)
from .coder import SAE as SAE, SparseLatents as SparseLatents
from .config import SaeConfig as SaeConfig, topk_config as topk_config
from .density import density_histogram as density_histogram, latent_density as latent_density
from .evaluate import evaluate_sae as evaluate_sae
from .evaluate_pairs import evaluate_transcoder as evaluate_transcoder
from .fit import check_fit as check_fit
from .gated import GatedSAE as GatedSAE
from .io import (
    build_sae as build_sae,
    list_saes as list_saes,
    load_sae as load_sae,
    save_sae as save_sae,
    training_record as training_record,
)
from .jumprelu import JumpReluSAE as JumpReluSAE
from .labels import sparse_probing as sparse_probing
from .matching_pursuit import (
    MatchingPursuitSAE as MatchingPursuitSAE,
    matching_pursuit_config as matching_pursuit_config,
)
from .on_model import TrainedSae as TrainedSae, train_sae_on_model as train_sae_on_model
from .relu import StandardSAE as StandardSAE
from .restarts import train_restarts as train_restarts
from .rival import random_sae as random_sae
from .splicing import loss_recovered as loss_recovered, splice as splice
from .together import SaeJob as SaeJob, train_saes as train_saes
from .topk import TopKSAE as TopKSAE
from .train import train_sae as train_sae
