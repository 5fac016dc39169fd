"""What decides the result of a training run, beside the activations and the SAE's config."""

from __future__ import annotations

import math
from dataclasses import dataclass

from interp.errors import InvalidInput

DECAY_SHARE = 0.2
"""Share of the steps, at the end, over which the learning rate falls to 0."""
WARMUP_SHARE = 0.05
MAX_WARMUP = 1000


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Everything beside the data and the SAE's config that decides the result; compared when a run is resumed."""

    steps: int
    batch_size: int
    lr: float
    seed: int
    buffer: int
    """Vectors in the mixing buffer."""
    dead_after: int
    """A latent that has not fired for this many vectors is dead."""
    k_aux: int
    """Dead latents that the AuxK term uses for a vector; 0 turns it off."""
    log_every: int
    checkpoint_every: int

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "buffer", "dead_after", "log_every", "checkpoint_every"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidInput(f"{name} is an integer from 1, not {value!r}.")
        if self.k_aux < 0:
            raise InvalidInput(f"k_aux is an integer from 0, not {self.k_aux!r}.")
        if not (isinstance(self.lr, float) and math.isfinite(self.lr) and self.lr > 0):
            raise InvalidInput(f"lr is a positive number, not {self.lr!r}.")

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of step `step` (from 0): warm-up, plateau, linear fall to 0."""
        warmup = max(1, min(MAX_WARMUP, int(self.steps * WARMUP_SHARE)))
        decay = max(1, int(self.steps * DECAY_SHARE))
        return self.lr * min(1.0, (step + 1) / warmup, (self.steps - step) / decay)
