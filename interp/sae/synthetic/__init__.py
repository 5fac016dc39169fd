"""Activations whose dictionary is known, and how much of it an SAE has found."""

from interp.sae.synthetic.absorption import absorption, summarise_absorption
from interp.sae.synthetic.families import (
    FAMILIES,
    correlated_data,
    flat_data,
    forest_data,
    tree_data,
    zipf_data,
)
from interp.sae.synthetic.firing import firing_f1
from interp.sae.synthetic.recovery import match_truth, recovery
from interp.sae.synthetic.source import Draw, Synthetic

__all__ = [
    "FAMILIES",
    "Draw",
    "Synthetic",
    "absorption",
    "correlated_data",
    "firing_f1",
    "flat_data",
    "forest_data",
    "match_truth",
    "recovery",
    "summarise_absorption",
    "tree_data",
    "zipf_data",
]
