"""Matching Pursuit in training (Costa et al. 2025): the gradient goes through every pick.

The choice of a latent is not differentiated, everything after it is. With r' = r - (D_j . r) D_j, a gradient g' in r'
gives (I - D_j D_j^T) g' in r and -((D_j . r) g' + (D_j . g') r) in D_j, so the way back is one pass over the picks.
There is no penalty: sparsity comes from `max_iterations` and from stopping at a small residual. Rows are brought to
length 1 after every step, on which it rests that a pick leaves nothing along itself. Dead latents are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from interp.errors import InvalidInput
from interp.sae.config import SaeConfig
from interp.sae.learner import Learner, Options
from interp.sae.learners.rows import normalise_rows, project_rows
from interp.sae.matching_pursuit import MatchingPursuitSAE
from interp.sae.pursuit import Path, pursue
from interp.sae.settings import TrainSettings
from interp.sae.sparse_grad import Step, add_rows, marked


@dataclass(frozen=True, kw_only=True)
class MatchingPursuitOptions(Options):
    """What has to be chosen for Matching Pursuit.

    The SAEs of several seeds differ more than those of other architectures; `train_restarts` keeps the sparsest.
    """

    max_iterations: int
    """Picks for a vector at most, in training and by default in use."""
    stop_at: float = 0.0
    """A vector is done when its residual is shorter than this share of the root mean square distance of the inputs
    from their mean; 0: only max_iterations ends it."""
    bias: bool = True
    """Whether there is a b_dec; False takes the activations about 0, as where all features are positive."""

    def __post_init__(self) -> None:
        count = self.max_iterations
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise InvalidInput(f"max_iterations is an integer from 1, not {count!r}.")
        if isinstance(self.stop_at, bool) or not isinstance(self.stop_at, int | float) or not 0 <= self.stop_at < 1:
            raise InvalidInput(f"stop_at is a share from 0 to below 1, not {self.stop_at!r}.")


class MatchingPursuitLearner(Learner):
    """L = |r_T|^2 / (batch * d_in), r_T what the picks leave of x - b_dec."""

    inference = "matching_pursuit"

    @classmethod
    def start(
        cls, config: SaeConfig, settings: TrainSettings, options: Any, x: Tensor, y: Tensor, rng: np.random.Generator
    ) -> Self:
        """Start from random directions of length 1 and, with a bias, the mean of the inputs."""
        rows = torch.from_numpy(rng.standard_normal((config.d_sae, config.d_in))).float()
        weights = {"W_dec": (rows / rows.norm(dim=1, keepdim=True)).to(x.device)}
        if options.bias:
            weights["b_dec"] = x.mean(dim=0).float()
        return cls(config, settings, options, weights, {})

    @torch.no_grad()
    def step(self, x: Tensor, y: Tensor, *, step: int) -> Step:
        """Return loss and gradient of a batch."""
        D = self.weights["W_dec"]
        path = pursue(
            x - self.weights["b_dec"] if self.options.bias else x,
            D,
            max_iterations=self.options.max_iterations,
            residual_threshold=self._bound(1.0),
            stop_on_duplicate_support=False,
        )
        scale = 1.0 / x.numel()
        grad, at_input = unrolled_gradient(path, D, path.residual * (2.0 * scale))
        project_rows(grad, D)
        grads = {"W_dec": grad} | ({"b_dec": -at_input.sum(dim=0)} if self.options.bias else {})
        fired = marked(path.indices, path.indices >= 0, len(D))
        residual = path.residual.square().sum().double()
        return Step(residual * scale, grads, residual, fired, (path.latents(len(D)) > 0).sum())

    @torch.no_grad()
    def constrain(self) -> None:
        """Renormalise the rows."""
        normalise_rows(self.weights["W_dec"])

    @torch.no_grad()
    def finished(self, input_scale: float, output_scale: float) -> MatchingPursuitSAE:
        """Return the same picks for raw activations: b_dec and the bound on the residual are divided by the scale."""
        D = self.weights["W_dec"].detach()
        b_dec = self.weights["b_dec"].detach() if self.options.bias else D.new_zeros(self.config.d_in)
        config = self.config.with_(input_scale=input_scale, residual_threshold=self._bound(input_scale))
        return MatchingPursuitSAE(config, {"W_dec": D, "b_dec": b_dec / input_scale})

    @classmethod
    def own_fields(cls, options: Any) -> dict[str, Any]:
        """Return the fields of the config that the options decide."""
        return {
            "apply_b_dec_to_input": options.bias,
            "max_iterations": options.max_iterations,
            "residual_threshold": 0.0,  # measured and filled in, like input_scale
            "stop_on_duplicate_support": False,
        }

    @classmethod
    def check(cls, config: SaeConfig, options: Any) -> None:
        """Refuse another config, or one that says other than the options."""
        super().check(config, options)
        for name, value in cls.own_fields(options).items():
            if getattr(config, name) != value:
                raise InvalidInput(f"the options imply {name} {value!r}; the config says {getattr(config, name)!r}.")

    def _bound(self, scale: float) -> float:
        # in the loop's units the root mean square distance to the mean is the root of d_in
        return self.options.stop_at * self.config.d_in**0.5 / scale


def unrolled_gradient(path: Path, directions: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients in the directions [d_sae, d] and in the pursued rows [batch, d].

    Args:
        path: of `pursue`, with these directions.
        gradient: [batch, d], in the residual that the path ends with.
    """
    residual, out = path.residual, torch.zeros_like(directions)
    for t in reversed(range(path.indices.shape[1])):
        index, value = path.indices[:, t].clamp_min(0), path.values[:, t, None]
        made = path.indices[:, t, None] >= 0
        picked = directions[index]
        residual = residual + value * picked  # before the pick
        along = (picked * gradient).sum(dim=1, keepdim=True) * made
        add_rows(out, index, -(value * gradient + along * residual))
        gradient = gradient - along * picked
    return out, gradient
