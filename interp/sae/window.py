"""What a training run reports, summed where it is computed and read only when a row of the history is due."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from interp.sae.ranks import ALONE, Ranks
from interp.sae.sparse_grad import Step

_SUMS = ("loss", "residual", "variance", "active")


class Window:
    """Sums since the last report: float64 [4] on the device (so that a resumed run reports the same digits)."""

    def __init__(self, device: torch.device, kept: Mapping[str, Any] | None = None) -> None:
        """Start at 0, or from what `sums` of an earlier run gave."""
        kept = kept or {}
        self.n, self.steps = kept.get("n", 0), kept.get("steps", 0)
        self._sums = torch.tensor([kept.get(name, 0) for name in _SUMS], dtype=torch.float64).to(device)

    def add(self, step: Step, y: Tensor, ranks: Ranks = ALONE) -> None:
        """Count a step with targets y [batch, d_out], those of all processes together; waits for nothing."""
        self.n += len(y) * ranks.world
        self.steps += 1
        variance = (y - y.mean(dim=0)).square().sum().double()
        loss = step.loss / ranks.world
        self._sums += ranks.sum(torch.stack([loss, step.residual, variance, step.n_active.double()]))

    def sums(self) -> dict[str, Any]:
        """Return n (vectors), steps and the sums as JSON values; waits for the device."""
        read = dict(zip(_SUMS, self._sums.tolist(), strict=True))
        return {"n": self.n, "steps": self.steps, **read, "active": int(read["active"])}

    def means(self) -> dict[str, float]:
        """Return loss (of a step), fvu and l0 (of a vector)."""
        read = self.sums()
        fvu = read["residual"] / read["variance"] if read["variance"] > 0 else float("nan")
        return {"loss": read["loss"] / self.steps, "fvu": fvu, "l0": read["active"] / self.n}
