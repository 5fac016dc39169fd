"""One architecture in training: what a `Learner` is asked for by the loop that trains it.

The loop (`interp.sae.trainer`) owns the stream, Adam, the learning rate, the checkpoints and the history, and knows
no architecture. A learner owns the weights, whatever else decides the next step, the loss and its gradient. It works
in scaled units (inputs times `input_scale`, targets times `output_scale`) and gives back the SAE of raw ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from interp.errors import InvalidInput
from interp.sae.coder import SAE
from interp.sae.config import SaeConfig
from interp.sae.ranks import ALONE
from interp.sae.settings import TrainSettings
from interp.sae.sparse_grad import Step, Weights

SILENT_FOR = "silent_for"
"""Name in `Learner.state` of the vectors seen since each latent last fired, int64 [d_sae]."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What decides the result beside data, config and settings; each architecture has its own, every field JSON.

    A field that is None until the run is known is filled in by `filled`; what is recorded is filled in.
    """

    def filled(self, config: SaeConfig, settings: TrainSettings) -> Self:
        """Return the options with everything left open filled in."""
        return self


class Learner(ABC):
    """One architecture in training, in scaled units.

    weights: float32 leaf tensors that Adam moves, by name; state: every other tensor that decides the next step
    (`silent_for` is always there). Both are checkpointed, so nothing else may change from one step to the next. Both
    are on the device that the weights are started or restored on. ranks: the processes that train together; what moves
    the state is reduced over them, so that it is the same on each.
    """

    inference: ClassVar[str]
    """Architecture of the finished SAE, as `SaeConfig` names it."""
    decoder_norm: ClassVar[str] = "unit"
    """Lengths of the rows of W_dec of the finished SAE: unit or free."""
    mixed: ClassVar[bool] = False
    """Whether its matrix products can be in bfloat16."""
    betas: ClassVar[tuple[float, float]] = (0.9, 0.999)
    """Of Adam."""

    def __init__(
        self, config: SaeConfig, settings: TrainSettings, options: Any, weights: Weights, state: dict[str, Tensor]
    ) -> None:
        """Take everything as it is: from `start`, or as it was checkpointed. `config` is the finished SAE's."""
        self.config, self.settings, self.options = config, settings, options
        self.weights = weights
        self.ranks = ALONE
        self.device = next(iter(weights.values())).device
        silent = torch.zeros(config.d_sae, dtype=torch.int64, device=self.device)
        self.state = {SILENT_FOR: silent} | state
        self._noted, self._none_dead_until = 0, 0  # vectors; what `dead_columns` knows without asking the device

    @classmethod
    @abstractmethod
    def start(
        cls,
        config: SaeConfig,
        settings: TrainSettings,
        options: Any,
        x: Tensor,
        y: Tensor,
        rng: np.random.Generator,
    ) -> Self:
        """Return a learner before its first step.

        Args:
            options: of this architecture, filled in.
            x, y: float64 [n, d_in] and [n, d_out], inputs and targets of the first buffer, scaled so that the mean
                square distance to their mean is d_in (d_out); the same tensor except for a transcoder. Weights and
                state are made on their device.
            rng: for whatever is drawn, on the CPU, so that it is the same on every device.
        """

    @abstractmethod
    def step(self, x: Tensor, y: Tensor, *, step: int) -> Step:
        """Return loss and gradient of a batch, float32 [batch, d_in] and [batch, d_out]; `step` counts from 0.

        Called under no_grad. A gradient for every weight; `state` may move, `weights` and the batch may not.
        """

    @abstractmethod
    def finished(self, input_scale: float, output_scale: float) -> SAE:
        """Return the inference form for raw activations: it gives the same latents up to a factor."""

    def constrain(self) -> None:  # noqa: B027  most learners constrain, some have nothing to
        """Change the weights in place after Adam moved them (unit rows, adapted biases); nothing by default."""

    def note_fired(self, fired: Tensor, n: int) -> None:
        """Count the silence of each latent after a batch of n vectors; called by the loop after each step."""
        self.state[SILENT_FOR] = torch.where(fired, 0, self.state[SILENT_FOR] + n)
        self._noted += n

    def dead(self) -> Tensor:
        """Return bool [d_sae]: latents that have not fired for `settings.dead_after` vectors."""
        return self.state[SILENT_FOR] >= self.settings.dead_after

    def dead_columns(self) -> Tensor | None:
        """Return the dead latents, int64 [n_dead], or None where there are none.

        How many there are has to be read from the device, so it is asked only once the latent that has been silent
        for longest can have died.
        """
        if self._noted < self._none_dead_until:
            return None
        columns = self.dead().nonzero().flatten()
        if len(columns):
            return columns
        self._none_dead_until = self._noted + self.settings.dead_after - int(self.state[SILENT_FOR].max())
        return None

    @classmethod
    def own_fields(cls, options: Any) -> dict[str, Any]:
        """Return the fields of the finished SAE's config that the options decide; none by default."""
        return {}

    @classmethod
    def check(cls, config: SaeConfig, options: Any) -> None:
        """Refuse a config that this architecture does not train. Raises InvalidInput naming the field."""
        ours = {
            "architecture": cls.inference,
            "normalize_activations": "none",
            "decoder_norm": cls.decoder_norm,
            "rescale_acts_by_decoder_norm": False,
        }
        for name, value in ours.items():
            if getattr(config, name) != value:
                raise InvalidInput(
                    f"training makes SAEs with {name} {value!r}; the config says {getattr(config, name)!r}."
                )
