"""Sparse autoencoders: read, train, judge, save. Each name is imported when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "GatedSAE": "interp.sae.gated",
    "JumpReluSAE": "interp.sae.jumprelu",
    "MatchingPursuitSAE": "interp.sae.matching_pursuit",
    "SAE": "interp.sae.coder",
    "SaeConfig": "interp.sae.config",
    "SaeJob": "interp.sae.together",
    "SparseLatents": "interp.sae.coder",
    "StandardSAE": "interp.sae.relu",
    "TopKSAE": "interp.sae.topk",
    "TrainedSae": "interp.sae.on_model",
    "absorption": "interp.sae.absorbed",
    "build_sae": "interp.sae.io",
    "check_fit": "interp.sae.fit",
    "compare_saes": "interp.sae.agreement",
    "density_histogram": "interp.sae.density",
    "evaluate_sae": "interp.sae.evaluate",
    "evaluate_transcoder": "interp.sae.evaluate_pairs",
    "frequency_bands": "interp.sae.classes",
    "latent_density": "interp.sae.density",
    "list_saes": "interp.sae.io",
    "load_sae": "interp.sae.io",
    "loss_recovered": "interp.sae.splicing",
    "match_latents": "interp.sae.agreement",
    "matching_pursuit_config": "interp.sae.matching_pursuit",
    "norm_bands": "interp.sae.classes",
    "position_bands": "interp.sae.classes",
    "random_sae": "interp.sae.rival",
    "reconstruction_by_class": "interp.sae.classes",
    "save_sae": "interp.sae.io",
    "sparse_probing": "interp.sae.labels",
    "splice": "interp.sae.splicing",
    "stability": "interp.sae.agreement",
    "topk_config": "interp.sae.config",
    "train_restarts": "interp.sae.restarts",
    "train_sae": "interp.sae.train",
    "train_sae_on_model": "interp.sae.on_model",
    "train_saes": "interp.sae.together",
    "training_record": "interp.sae.io",
}

_MODULES = ("synthetic",)

__all__ = [
    "SAE",
    "GatedSAE",
    "JumpReluSAE",
    "MatchingPursuitSAE",
    "SaeConfig",
    "SaeJob",
    "SparseLatents",
    "StandardSAE",
    "TopKSAE",
    "TrainedSae",
    "absorption",
    "build_sae",
    "check_fit",
    "compare_saes",
    "density_histogram",
    "evaluate_sae",
    "evaluate_transcoder",
    "frequency_bands",
    "latent_density",
    "list_saes",
    "load_sae",
    "loss_recovered",
    "match_latents",
    "matching_pursuit_config",
    "norm_bands",
    "position_bands",
    "random_sae",
    "reconstruction_by_class",
    "save_sae",
    "sparse_probing",
    "splice",
    "stability",
    "synthetic",
    "topk_config",
    "train_restarts",
    "train_sae",
    "train_sae_on_model",
    "train_saes",
    "training_record",
]

if TYPE_CHECKING:
    from interp.sae import synthetic
    from interp.sae.absorbed import absorption
    from interp.sae.agreement import compare_saes, match_latents, stability
    from interp.sae.classes import frequency_bands, norm_bands, position_bands, reconstruction_by_class
    from interp.sae.coder import SAE, SparseLatents
    from interp.sae.config import SaeConfig, topk_config
    from interp.sae.density import density_histogram, latent_density
    from interp.sae.evaluate import evaluate_sae
    from interp.sae.evaluate_pairs import evaluate_transcoder
    from interp.sae.fit import check_fit
    from interp.sae.gated import GatedSAE
    from interp.sae.io import build_sae, list_saes, load_sae, save_sae, training_record
    from interp.sae.jumprelu import JumpReluSAE
    from interp.sae.labels import sparse_probing
    from interp.sae.matching_pursuit import MatchingPursuitSAE, matching_pursuit_config
    from interp.sae.on_model import TrainedSae, train_sae_on_model
    from interp.sae.relu import StandardSAE
    from interp.sae.restarts import train_restarts
    from interp.sae.rival import random_sae
    from interp.sae.splicing import loss_recovered, splice
    from interp.sae.together import SaeJob, train_saes
    from interp.sae.topk import TopKSAE
    from interp.sae.train import train_sae


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"interp.sae.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'interp.sae' has no attribute {name!r}; it has: {', '.join(__all__)}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
