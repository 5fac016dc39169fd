"""Gated SAE in training (Rajamanoharan et al. 2024, "Improving dictionary learning with gated sparse autoencoders").

The penalty falls on the gate alone, so it decides which latents are on and does not shrink how large they are. The
step in the gate has no gradient; an auxiliary reconstruction from the gate's own pre-activations, through a decoder
held constant, teaches it. Dead latents are left alone (the paper resamples them).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from interp.sae.config import SaeConfig
from interp.sae.gated import GatedSAE
from interp.sae.learner import Options
from interp.sae.learners.dense import DenseLearner, Forward, check_positive, check_share, decoded, warmed
from interp.sae.learners.rows import raw_units, starting_weights
from interp.sae.settings import TrainSettings
from interp.sae.sparse_grad import Weights


@dataclass(frozen=True, kw_only=True)
class GatedOptions(Options):
    """What has to be chosen for a gated SAE."""

    l1: float
    """Factor of the penalty on the gate, in units where |x - mean|^2 is d_in on average."""
    warmup: float = 0.05
    """Share of the steps over which l1 grows from 0."""

    def __post_init__(self) -> None:
        check_positive(l1=self.l1)
        check_share(warmup=self.warmup)


class GatedLearner(DenseLearner):
    """L = mean over the batch of |y - y_hat|^2 + l1 |ReLU(pi)|_1 + |y - y_hat_frozen(ReLU(pi))|^2, pi the gate's pre.

    Rows of W_dec have length 1. Reference: Rajamanoharan et al. 2024a, eq. 8 and app. G.
    """

    inference = "gated"
    betas = (0.0, 0.999)

    @classmethod
    def start(
        cls, config: SaeConfig, settings: TrainSettings, options: Any, x: Tensor, y: Tensor, rng: np.random.Generator
    ) -> Self:
        """Start from random directions of length 1, both paths alike."""
        weights = starting_weights(config, x, y, rng)
        bias = weights.pop("b_enc")
        weights |= {"b_gate": bias, "b_mag": bias.clone(), "r_mag": torch.zeros_like(bias)}
        return cls(config, settings, options, weights, {})

    def forward(self, weights: Weights, x: Tensor, y: Tensor, *, step: int) -> Forward:
        """Return loss, latents and reconstruction of a batch."""
        projected = (self.centred(weights, x) @ weights["W_enc"]).float()
        gate = projected + weights["b_gate"]
        size = (projected * weights["r_mag"].exp() + weights["b_mag"]).relu()
        latents = size * (gate > 0)
        y_hat = decoded(weights, latents, x)
        frozen = {name: weights[name].detach() for name in ("W_dec", "b_dec", "W_skip") if name in weights}
        through_gate = decoded(frozen, gate.relu(), x)
        l1 = warmed(self.options.l1, self.options.warmup, step, self.settings.steps)
        errors = (y_hat - y).square().sum() + (through_gate - y).square().sum()
        return Forward((errors + l1 * gate.relu().sum()) / len(x), latents, y_hat)

    def finished(self, input_scale: float, output_scale: float) -> GatedSAE:
        """Return the same gate and sizes for raw activations."""
        config = self.config.with_(input_scale=input_scale)
        return GatedSAE(config, raw_units(self.weights, input_scale, output_scale))
