"""What decides the result of a training run, beside the activations and the SAE's config."""

from __future__ import annotations

import math
from dataclasses import dataclass

from interp.errors import InvalidInput

DECAY_SHARE = 0.2
"""Share of the steps, at the end, over which the learning rate falls to 0."""
WARMUP_SHARE = 0.05
MAX_WARMUP = 1000
BATCH_SIZE = 1024
LR = 3e-3
"""Good for 1,000 to 2,000 latents (FVU .032 at 4e-3, .037 at 2e-3, .047 at 1e-3 on one model); wider ones take less."""
BUFFER = 65_536
PRECISIONS = ("float32", "bfloat16")
LOG_EVERY = 50
CHECKPOINT_EVERY = 500


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
    log_every: int
    checkpoint_every: int
    precision: str = "float32"
    """Of the matrix products; everything else is float32 either way."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "buffer", "dead_after", "log_every", "checkpoint_every"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidInput(f"{name} is an integer from 1, not {value!r}.")
        if not (isinstance(self.lr, float) and math.isfinite(self.lr) and self.lr > 0):
            raise InvalidInput(f"lr is a positive number, not {self.lr!r}.")
        if self.precision not in PRECISIONS:
            raise InvalidInput(f"precision is {' or '.join(map(repr, PRECISIONS))}, not {self.precision!r}.")

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of step `step` (from 0): warm-up, plateau, linear fall to 0."""
        warmup = max(1, min(MAX_WARMUP, int(self.steps * WARMUP_SHARE)))
        decay = max(1, int(self.steps * DECAY_SHARE))
        return self.lr * min(1.0, (step + 1) / warmup, (self.steps - step) / decay)


def make_settings(
    *,
    seed: int,
    tokens: int | None = None,
    steps: int | None = None,
    batch_size: int = BATCH_SIZE,
    lr: float = LR,
    buffer: int = BUFFER,
    dead_after: int | None = None,
    log_every: int = LOG_EVERY,
    checkpoint_every: int = CHECKPOINT_EVERY,
    precision: str = "float32",
) -> TrainSettings:
    """Return the settings of a run with everything left open filled in; arguments as `train_sae`.

    Raises:
        InvalidInput: a setting is out of range, or not exactly one of tokens and steps is given.
    """
    if (tokens is None) == (steps is None):
        raise InvalidInput("give either tokens or steps, not both and not neither.")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InvalidInput(f"batch_size is an integer from 1, not {batch_size!r}.")
    n_steps = steps if steps is not None else (tokens or 0) // batch_size
    if n_steps < 1:
        raise InvalidInput(
            f"{n_steps} steps of {batch_size} vectors: give steps from 1, or at least {batch_size} tokens."
        )
    return TrainSettings(
        steps=n_steps,
        batch_size=batch_size,
        lr=float(lr),
        seed=seed,
        buffer=max(2 * batch_size, min(buffer, n_steps * batch_size)),
        dead_after=dead_after if dead_after is not None else max(batch_size, n_steps * batch_size // 10),
        log_every=log_every,
        checkpoint_every=checkpoint_every,
        precision=precision,
    )
