"""A learner whose loss is written forwards, over dense latents, and differentiated by autograd."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import nullcontext
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from interp.errors import InvalidInput
from interp.sae.config import SaeConfig
from interp.sae.learner import Learner
from interp.sae.learners.rows import normalise_rows, project_rows, starting_weights
from interp.sae.settings import TrainSettings
from interp.sae.sparse_grad import Aux, Step, Weights


class Forward(NamedTuple):
    """loss: scalar with its graph; latents: [batch, d_sae], 0 where off; y_hat: [batch, d_out]."""

    loss: Tensor
    latents: Tensor
    y_hat: Tensor


class DenseLearner(Learner):
    """What architectures under autograd share; a subclass says `forward` and `finished`.

    With precision bfloat16 matrix products are made in it and brought back to float32 one by one, so that latents,
    sums and losses are float32; so are weights and gradients.

    torch.compile was left out: on a CPU a compiled relu step (768 inputs, 12,288 latents, batches of 2,048) took
    2.9 s of CPU time instead of 2.2, a compiled topk step 1.16 instead of 1.19, after 50 and 15 s of compiling.
    """

    mixed = True
    unit_rows: ClassVar[bool] = True
    """Whether the rows of W_dec are kept at length 1 (gradient projected, renormalised) while training."""

    @classmethod
    def start(
        cls, config: SaeConfig, settings: TrainSettings, options: Any, x: Tensor, y: Tensor, rng: np.random.Generator
    ) -> Self:
        """Start from random directions of length 1 and the mean of the targets."""
        return cls(config, settings, options, starting_weights(config, x, y, rng), {})

    @abstractmethod
    def forward(self, weights: Weights, x: Tensor, y: Tensor, *, step: int) -> Forward:
        """Return loss, latents and reconstruction of a batch; differentiable in the weights."""

    def observe(self, latents: Tensor) -> None:
        """Move the state after a batch with these latents, [batch, d_sae]; nothing by default."""

    def step(self, x: Tensor, y: Tensor, *, step: int) -> Step:
        """Return loss and gradient of a batch."""
        leaves = {name: value.detach().requires_grad_() for name, value in self.weights.items()}
        mixed = self.settings.precision == "bfloat16"
        with torch.enable_grad():
            with torch.autocast(x.device.type, torch.bfloat16, enabled=True) if mixed else nullcontext():
                out = self.forward(leaves, x, y, step=step)
            found = torch.autograd.grad(out.loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
        grads = dict(zip(leaves, found, strict=True))
        if self.unit_rows:
            project_rows(grads["W_dec"], self.weights["W_dec"])
        latents = out.latents.detach()
        self.observe(latents)
        on = latents > 0
        residual = (out.y_hat.detach() - y).square().sum().double()
        return Step(out.loss.detach().double(), grads, residual, on.any(dim=0), on.sum())

    def constrain(self) -> None:
        """Renormalise the decoder rows."""
        if self.unit_rows:
            normalise_rows(self.weights["W_dec"])

    def centred(self, weights: Weights, x: Tensor) -> Tensor:
        """Return what is encoded: x, less b_dec where the config says so."""
        return x - weights["b_dec"] if self.config.apply_b_dec_to_input else x


def decoded(weights: Weights, latents: Tensor, x: Tensor) -> Tensor:
    """Return latents W_dec + b_dec, and x W_skip^T where there is one, [batch, d_out]."""
    out = torch.addmm(weights["b_dec"], latents, weights["W_dec"]).float()
    return out + (x @ weights["W_skip"].T).float() if "W_skip" in weights else out


def aux_term(pre: Tensor, error: Tensor, W_dec: Tensor, aux: Aux) -> Tensor:
    """Return weight * |e_hat - e|^2 / (batch * d_out): the k dead latents of each row guess the error (AuxK).

    Args:
        pre: pre-activations [batch, d_sae].
        error: e = y - y_hat [batch, d_out], held constant.

    Reference: Gao et al. 2024, app. A.2.
    """
    values, columns = torch.topk(pre[:, aux.dead], min(aux.k, len(aux.dead)), dim=1)
    guess = torch.zeros_like(pre).scatter(1, aux.dead[columns], values.relu()) @ W_dec
    guess = guess.float()
    return aux.weight * (guess - error.detach()).square().mean()


def warmed(value: float, share: float, step: int, steps: int) -> float:
    """Return a penalty's factor at step `step` (from 0): linear from 0 to `value` over the first `share` of steps."""
    warmup = max(1, round(share * steps))
    return value * min(1.0, (step + 1) / warmup)


def check_positive(**values: Any) -> None:
    """Raise InvalidInput unless each value is a finite number above 0."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise InvalidInput(f"{name} is a number above 0, not {value!r}.")


def check_share(**values: Any) -> None:
    """Raise InvalidInput unless each value is a number from 0 to 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise InvalidInput(f"{name} is a share from 0 to 1, not {value!r}.")
