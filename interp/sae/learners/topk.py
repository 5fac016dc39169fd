"""TopK in training (Gao et al. 2024): k latents a vector, dead ones revived by the AuxK term."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from torch import Tensor

from interp.errors import InvalidInput
from interp.sae.config import SaeConfig
from interp.sae.learner import Learner, Options
from interp.sae.learners.rows import normalise_rows, project_rows, raw_units, starting_weights
from interp.sae.settings import TrainSettings
from interp.sae.sparse_grad import Aux, Step, topk_step
from interp.sae.topk import TopKSAE

AUX_WEIGHT = 1 / 32


@dataclass(frozen=True, kw_only=True)
class TopKOptions(Options):
    """What has to be chosen for TopK."""

    k: int
    """Latents kept for a vector."""
    k_aux: int | None = None
    """Dead latents that the AuxK term uses for a vector; None: half of d_out; 0 turns it off."""

    def __post_init__(self) -> None:
        check_k_aux(self.k_aux)

    def filled(self, config: SaeConfig, settings: TrainSettings) -> Self:
        """Return the options with k_aux filled in."""
        return self if self.k_aux is not None else replace(self, k_aux=config.width_out // 2)


class TopKLearner(Learner):
    """L = (|y_hat - y|^2 + w |e_hat - e|^2) / (batch * d_out), e the error, e_hat the dead latents' guess of it.

    Rows of W_dec have length 1. The gradient is by hand (`topk_step`).
    """

    inference = "topk"

    @classmethod
    def start(
        cls, config: SaeConfig, settings: TrainSettings, options: Any, x: Tensor, y: Tensor, rng: np.random.Generator
    ) -> Self:
        """Start from random directions of length 1 and the mean of the targets."""
        return cls(config, settings, options, starting_weights(config, x, y, rng), {})

    def step(self, x: Tensor, y: Tensor, *, step: int) -> Step:
        """Return loss and gradient of a batch."""
        out = topk_step(
            self.weights, x, k=self.options.k, apply_b_dec=self.config.apply_b_dec_to_input, aux=self._aux(), target=y
        )
        project_rows(out.grads["W_dec"], self.weights["W_dec"])
        return out

    def constrain(self) -> None:
        """Renormalise the decoder rows."""
        normalise_rows(self.weights["W_dec"])

    def finished(self, input_scale: float, output_scale: float) -> TopKSAE:
        """Return the same k latents for raw activations."""
        config = self.config.with_(input_scale=input_scale)
        return TopKSAE(config, raw_units(self.weights, input_scale, output_scale))

    @classmethod
    def check(cls, config: SaeConfig, options: Any) -> None:
        """Refuse another config, or another k than the options'."""
        super().check(config, options)
        if config.k != options.k:
            raise InvalidInput(f"the options say k = {options.k}; the config says k = {config.k}.")

    def _aux(self) -> Aux | None:
        return aux_of(self, self.options.k_aux)


def aux_of(learner: Learner, k_aux: int) -> Aux | None:
    """Return the AuxK term for the dead latents of a learner, or None where it has nothing to do."""
    columns = learner.dead_columns() if k_aux else None
    if columns is None:
        return None
    # a handful of dead latents must not be asked to explain the whole error
    return Aux(columns, k_aux, AUX_WEIGHT * min(1.0, len(columns) / k_aux))


def check_k_aux(k_aux: int | None) -> None:
    """Raise InvalidInput unless k_aux is None or an integer from 0."""
    if k_aux is not None and (isinstance(k_aux, bool) or not isinstance(k_aux, int) or k_aux < 0):
        raise InvalidInput(f"k_aux is an integer from 0, not {k_aux!r}.")
