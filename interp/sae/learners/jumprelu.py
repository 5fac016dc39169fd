"""JumpReLU SAE in training (Rajamanoharan et al. 2024, "Jumping ahead"): the number of latents itself is penalised.

The count does not change with small changes of a threshold, so its derivative is estimated: a batch has so many
pre-activations within half a bandwidth of the threshold, and moving the threshold by the bandwidth would switch them.
Dead latents are left alone, as in the paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from interp.sae.config import SaeConfig
from interp.sae.jumprelu import JumpReluSAE
from interp.sae.learner import Options
from interp.sae.learners.dense import DenseLearner, Forward, check_positive, check_share, decoded, warmed
from interp.sae.learners.rows import raw_units, starting_weights
from interp.sae.settings import TrainSettings
from interp.sae.sparse_grad import Weights

PAPER_BANDWIDTH = 0.001
"""Of the paper, whose activations have a mean square length of 1; ours have d_in, so sizes are sqrt(d_in) times."""


@dataclass(frozen=True, kw_only=True)
class JumpReluOptions(Options):
    """What has to be chosen for a JumpReLU SAE. Sizes are in units where |x - mean|^2 is d_in on average."""

    l0: float
    """Factor of the number of active latents."""
    warmup: float = 0.05
    """Share of the steps over which l0 grows from 0."""
    bandwidth: float | None = None
    """Width of the window around a threshold, eps; None: the paper's, 0.001 sqrt(d_in).

    The paper trains for billions of tokens. In short runs so few values fall into its window that thresholds hardly
    move: of 64 planted directions in 32 dimensions 1,000 batches of 256 find 12 % with it and all with 0.5 (and
    threshold 0.5)."""
    threshold: float | None = None
    """Thresholds at the start; None: the paper's, 0.001 sqrt(d_in)."""

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in ("bandwidth", "threshold")}
        check_positive(l0=self.l0, **{name: value for name, value in given.items() if value is not None})
        check_share(warmup=self.warmup)

    def filled(self, config: SaeConfig, settings: TrainSettings) -> Self:
        """Return the options with bandwidth and threshold filled in."""
        paper = PAPER_BANDWIDTH * math.sqrt(config.d_in)
        return replace(
            self,
            bandwidth=paper if self.bandwidth is None else self.bandwidth,
            threshold=paper if self.threshold is None else self.threshold,
        )


class JumpReluLearner(DenseLearner):
    """L = mean over the batch of |y - y_hat|^2 + l0 |z|_0. Rows of W_dec have length 1.

    The thresholds are learnt as logarithms, so they stay positive. Reference: Rajamanoharan et al. 2024b, eq. 9-12.
    """

    inference = "jumprelu"
    betas = (0.0, 0.999)

    @classmethod
    def start(
        cls, config: SaeConfig, settings: TrainSettings, options: Any, x: Tensor, y: Tensor, rng: np.random.Generator
    ) -> Self:
        """Start from random directions of length 1 and one threshold for all."""
        weights = starting_weights(config, x, y, rng)
        weights["log_threshold"] = torch.full_like(weights["b_enc"], math.log(options.threshold))
        return cls(config, settings, options, weights, {})

    def forward(self, weights: Weights, x: Tensor, y: Tensor, *, step: int) -> Forward:
        """Return loss, latents and reconstruction of a batch."""
        pre = torch.addmm(weights["b_enc"], self.centred(weights, x), weights["W_enc"]).float().relu()
        threshold, bandwidth = weights["log_threshold"].exp(), self.options.bandwidth
        latents = jump(pre, threshold, bandwidth)
        y_hat = decoded(weights, latents, x)
        l0 = warmed(self.options.l0, self.options.warmup, step, self.settings.steps)
        penalty = l0 * count(pre, threshold, bandwidth)
        return Forward(((y_hat - y).square().sum() + penalty) / len(x), latents, y_hat)

    def finished(self, input_scale: float, output_scale: float) -> JumpReluSAE:
        """Return the same latents and thresholds for raw activations."""
        weights = {name: value for name, value in self.weights.items() if name != "log_threshold"}
        weights["threshold"] = self.weights["log_threshold"].exp()
        config = self.config.with_(input_scale=input_scale)
        return JumpReluSAE(config, raw_units(weights, input_scale, output_scale))


class _Jump(torch.autograd.Function):
    """z H(z - theta); to theta goes -theta/eps in the window, to z only where it is on."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return pre * (pre > threshold)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        pre, threshold = ctx.saved_tensors
        near = _window(pre, threshold, ctx.bandwidth)
        return grads[0] * (pre > threshold), -(threshold / ctx.bandwidth) * (grads[0] * near).sum(dim=0), None


class _Count(torch.autograd.Function):
    """Sum of H(z - theta); to theta goes -1/eps in the window, to z nothing."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return (pre > threshold).sum().to(pre.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, None]:
        pre, threshold = ctx.saved_tensors
        near = _window(pre, threshold, ctx.bandwidth)
        return None, -grads[0] / ctx.bandwidth * near.sum(dim=0).to(pre.dtype), None


def jump(pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """Return z H(z - theta) [batch, d_sae] with the straight-through gradient of eq. 11 for theta [d_sae]."""
    out = _Jump.apply(pre, threshold, bandwidth)
    assert isinstance(out, Tensor)  # for the type checker: apply is untyped
    return out


def count(pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """Return the number of z above theta with the straight-through gradient of eq. 12 for theta [d_sae]."""
    out = _Count.apply(pre, threshold, bandwidth)
    assert isinstance(out, Tensor)  # for the type checker: apply is untyped
    return out


def _window(pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """Return where |z - theta| < eps / 2: the rectangle kernel."""
    return (pre - threshold).abs() < bandwidth / 2
