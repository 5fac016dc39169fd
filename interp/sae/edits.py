"""What is done to the latents of which tokens: latents set to 0 or to a value, positions in a batch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp.errors import InvalidInput

ALL = "all"


@dataclass(frozen=True)
class Edits:
    """Latents and the value that each is set to, in no particular order."""

    latents: tuple[int, ...]
    values: tuple[float, ...]

    def apply(self, latents: Tensor) -> Tensor:
        """Return a copy of latents [n, d_sae] in which the edited ones have their values; without edits the same."""
        if not self.latents:
            return latents
        out = latents.clone()
        out[:, list(self.latents)] = torch.tensor(self.values, dtype=out.dtype, device=out.device)
        return out


def make_edits(d_sae: int, *, ablate: Iterable[int] = (), steer: Mapping[int, float] | None = None) -> Edits:
    """Return the edits that set the latents of `ablate` to 0 and each latent of `steer` to its value.

    Raises:
        InvalidInput: a latent is not an integer from 0 to d_sae - 1, is named twice, or a value is not finite.
    """
    named = [*((latent, 0.0) for latent in ablate), *(steer or {}).items()]
    seen: dict[int, float] = {}
    for latent, value in named:
        if isinstance(latent, bool) or not isinstance(latent, int | np.integer) or not 0 <= latent < d_sae:
            raise InvalidInput(f"a latent is an integer from 0 to {d_sae - 1}, not {latent!r}.")
        if int(latent) in seen:
            raise InvalidInput(f"latent {latent} is named twice; ablate it, or steer it to one value.")
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not math.isfinite(value):
            raise InvalidInput(f"latent {latent} is steered to a finite number, not {value!r}.")
        seen[int(latent)] = float(value)
    return Edits(tuple(seen), tuple(seen.values()))


def check_positions(positions: Any) -> Tensor | str:
    """Return `positions` as a bool mask [batch, pos], as int64 positions [n], or as "all".

    Raises:
        InvalidInput: anything else; a position below 0 (in a padded batch it would count from the padding).
    """
    if isinstance(positions, str) and positions == ALL:
        return ALL
    given = f"positions is a bool mask [batch, pos], positions from 0 in every row, or {ALL!r}; "
    if positions is None or isinstance(positions, str | int):
        raise InvalidInput(f"{given}not {positions!r}.")
    try:
        values = torch.as_tensor(positions if isinstance(positions, Tensor | np.ndarray) else list(positions))
    except (TypeError, ValueError):
        raise InvalidInput(f"{given}not {type(positions).__name__}.") from None
    if values.dtype == torch.bool and values.ndim == 2:
        return values
    if values.ndim == 1 and values.numel() and not values.dtype.is_floating_point and values.dtype != torch.bool:
        if int(values.min()) < 0:
            raise InvalidInput(f"{given}{int(values.min())} is below 0; give a mask to count from the end of a row.")
        return values.to(torch.int64)
    raise InvalidInput(f"{given}given {values.dtype} {list(values.shape)}.")


def chosen(positions: Tensor | str, batch: int, n_pos: int, device: torch.device) -> Tensor:
    """Return checked positions as a bool mask [batch, pos] for a batch of this shape.

    Raises:
        InvalidInput: the mask has another shape, or a position is not in the batch.
    """
    mask = torch.zeros(batch, n_pos, dtype=torch.bool, device=device)
    if isinstance(positions, str):
        return ~mask
    if positions.dtype == torch.bool:
        if positions.shape != mask.shape:
            raise InvalidInput(
                f"the mask of positions is {list(positions.shape)} and the model ran a batch of {[batch, n_pos]}; "
                "give the mask of the batch that is run."
            )
        return positions.to(device)
    if int(positions.max()) >= n_pos:
        raise InvalidInput(f"position {int(positions.max())} is beyond the {n_pos} positions of the batch.")
    mask[:, positions.to(device)] = True
    return mask
