"""ReLU with an L1 penalty in training, in the form of Conerly et al. 2024.

The penalty weighs each latent by the length of its decoder row, so rows need no constraint: making a row longer and
its latent smaller changes neither term. (Bricken et al. 2023 hold the rows at length 1, with the plain L1.) The
penalty grows from 0 over the first steps, without which many latents die. Dead latents are left alone: no
resampling, no auxiliary loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from interp.sae.config import SaeConfig
from interp.sae.learner import Options
from interp.sae.learners.dense import DenseLearner, Forward, check_positive, check_share, decoded, warmed
from interp.sae.learners.rows import raw_units, starting_weights
from interp.sae.relu import StandardSAE
from interp.sae.settings import TrainSettings
from interp.sae.sparse_grad import Weights

START_LENGTH = 0.1
"""Length of the rows of W_dec, and of the columns of W_enc, at the start."""


@dataclass(frozen=True, kw_only=True)
class ReluOptions(Options):
    """What has to be chosen for a ReLU SAE."""

    l1: float
    """Factor of the penalty, in units where |x - mean|^2 is d_in on average."""
    warmup: float = 0.05
    """Share of the steps over which l1 grows from 0."""

    def __post_init__(self) -> None:
        check_positive(l1=self.l1)
        check_share(warmup=self.warmup)


class ReluLearner(DenseLearner):
    """L = mean over the batch of |y - y_hat|^2 + l1 sum_i z_i |W_dec,i|. Reference: Conerly et al. 2024."""

    inference = "standard"
    unit_rows = False

    @classmethod
    def start(
        cls, config: SaeConfig, settings: TrainSettings, options: Any, x: Tensor, y: Tensor, rng: np.random.Generator
    ) -> Self:
        """Start from random directions of length 0.1 and the mean of the targets."""
        weights = starting_weights(config, x, y, rng)
        for name in ("W_enc", "b_enc", "W_dec"):
            weights[name] = weights[name] * START_LENGTH
        return cls(config, settings, options, weights, {})

    def forward(self, weights: Weights, x: Tensor, y: Tensor, *, step: int) -> Forward:
        """Return loss, latents and reconstruction of a batch."""
        latents = torch.addmm(weights["b_enc"], self.centred(weights, x), weights["W_enc"]).float().relu()
        y_hat = decoded(weights, latents, x)
        l1 = warmed(self.options.l1, self.options.warmup, step, self.settings.steps)
        penalty = l1 * (latents * weights["W_dec"].norm(dim=1)).sum()
        return Forward(((y_hat - y).square().sum() + penalty) / len(x), latents, y_hat)

    def finished(self, input_scale: float, output_scale: float) -> StandardSAE:
        """Return the SAE with rows of length 1: each row's length is moved into its latent."""
        weights = {name: value.detach().clone() for name, value in self.weights.items()}
        length = weights["W_dec"].norm(dim=1)
        weights["W_dec"] /= length[:, None]
        weights["W_enc"] *= length
        weights["b_enc"] *= length
        config = self.config.with_(input_scale=input_scale)
        return StandardSAE(config, raw_units(weights, input_scale, output_scale))
