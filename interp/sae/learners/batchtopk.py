"""BatchTopK in training (Bussmann et al. 2024): k latents a vector on average, shared out over a batch.

A batch keeps its k * batch largest positive pre-activations, so a vector that needs more gets more. One vector has no
batch at run time: the SAE is a JumpReLU with one threshold, the mean of the smallest value that batches kept. That
mean runs over recent batches, weighted by decay^age and divided by the sum of the weights, so it does not start from
0. The number of latents at run time is then near k, not k: measure it. Dead latents are revived by the AuxK term.

Of several processes each keeps the largest of its own part of the batch, and the threshold sees the mean of their
smallest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from interp.errors import InvalidInput
from interp.sae.config import SaeConfig
from interp.sae.jumprelu import JumpReluSAE
from interp.sae.learner import Options
from interp.sae.learners.dense import DenseLearner, Forward, aux_term, check_positive, check_share, decoded
from interp.sae.learners.rows import raw_units, starting_weights
from interp.sae.learners.topk import aux_of, check_k_aux
from interp.sae.settings import TrainSettings
from interp.sae.sparse_grad import Weights


@dataclass(frozen=True, kw_only=True)
class BatchTopKOptions(Options):
    """What has to be chosen for BatchTopK."""

    k: float
    """Latents kept for a vector on average over a batch; need not be whole."""
    k_aux: int | None = None
    """Dead latents that the AuxK term uses for a vector; None: half of d_out; 0 turns it off."""
    decay: float | None = None
    """Weight of the past in the running threshold: the mean is over the last 1 / (1 - decay) batches or so.

    None: the last fortieth of the run (5 to 1000 batches). Thresholds move while the SAE learns, and a mean over too
    much of a short run keeps fewer latents: 13.5 instead of 16 with the last 100 of 400 batches, 15.7 with 10."""

    def __post_init__(self) -> None:
        check_positive(k=self.k)
        if self.decay is not None:
            check_share(decay=self.decay)
        check_k_aux(self.k_aux)

    def filled(self, config: SaeConfig, settings: TrainSettings) -> Self:
        """Return the options with k_aux and decay filled in."""
        window = min(1000, max(5, settings.steps // 40))
        return replace(
            self,
            k_aux=config.width_out // 2 if self.k_aux is None else self.k_aux,
            decay=1 - 1 / window if self.decay is None else self.decay,
        )


class BatchTopKLearner(DenseLearner):
    """L = (|y - y_hat|^2 + w |e - e_hat|^2) / (batch * d_out), e_hat the dead latents' guess of the error e.

    Rows of W_dec have length 1. Reference: Bussmann et al. 2024, eq. 4-6.
    """

    inference = "jumprelu"

    @classmethod
    def start(
        cls, config: SaeConfig, settings: TrainSettings, options: Any, x: Tensor, y: Tensor, rng: np.random.Generator
    ) -> Self:
        """Start from random directions of length 1, no threshold seen."""
        state = {name: x.new_zeros((), dtype=torch.float64) for name in ("threshold_sum", "threshold_weight")}
        return cls(config, settings, options, starting_weights(config, x, y, rng), state)

    @classmethod
    def check(cls, config: SaeConfig, options: Any) -> None:
        """Refuse another config, or more latents on than there are."""
        super().check(config, options)
        if options.k > config.d_sae:
            raise InvalidInput(f"k = {options.k} is more than the {config.d_sae} latents there are.")

    def forward(self, weights: Weights, x: Tensor, y: Tensor, *, step: int) -> Forward:
        """Return loss, latents and reconstruction of a batch."""
        pre = torch.addmm(weights["b_enc"], self.centred(weights, x), weights["W_enc"]).float()
        latents = batch_top_k(pre, self.options.k)
        y_hat = decoded(weights, latents, x)
        loss = self.error(weights, latents, y_hat, x, y)
        aux = aux_of(self, self.options.k_aux)
        if aux is not None:
            loss = loss + aux_term(pre, y - y_hat, weights["W_dec"], aux)
        return Forward(loss, latents, y_hat)

    def error(self, weights: Weights, latents: Tensor, y_hat: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return the part of the loss that is about reconstruction."""
        return (y_hat - y).square().mean()

    def observe(self, latents: Tensor) -> None:
        """Let the running threshold see the smallest value that the batch kept."""
        smallest = self.ranks.mean(torch.where(latents > 0, latents, torch.inf).min().double())
        decay = self.options.decay
        for name, seen in (("threshold_sum", smallest), ("threshold_weight", 1.0)):
            old = self.state[name]
            # a batch that kept nothing is passed over, and told from others without waiting for the device
            self.state[name] = torch.where(smallest < torch.inf, decay * old + (1 - decay) * seen, old)

    def threshold(self) -> float:
        """Return the running threshold, in scaled units; 0 before anything was kept."""
        weight = float(self.state["threshold_weight"])
        return float(self.state["threshold_sum"]) / weight if weight > 0 else 0.0

    def finished(self, input_scale: float, output_scale: float) -> JumpReluSAE:
        """Return the JumpReLU SAE with the running threshold for every latent."""
        threshold = torch.full_like(self.weights["b_enc"], self.threshold())
        weights = self.weights | {"threshold": threshold}
        config = self.config.with_(input_scale=input_scale)
        return JumpReluSAE(config, raw_units(weights, input_scale, output_scale))


def batch_top_k(pre: Tensor, k: float) -> Tensor:
    """Return ReLU(pre) [batch, d_sae] with all but the round(k * batch) largest of the whole batch set to 0."""
    positive = pre.relu()
    n = min(max(1, round(k * len(pre))), positive.numel())
    keep = positive.new_zeros(positive.numel())
    keep.index_fill_(0, torch.topk(positive.detach().flatten(), n, sorted=False).indices, 1.0)
    return positive * keep.view_as(positive)
