"""How Group Bias Adaptation sets biases: ceilings on the firing frequency, and the step that holds latents to them."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from interp.errors import InvalidInput
from interp.sae.sparse_grad import add_rows

LOWEST_BIAS = -1.0
"""Inputs are scaled to a mean square length of 1, so that a latent below it hardly ever fires."""


def target_frequencies(
    d_sae: int, n_groups: int, *, lowest: float, highest: float | None = None, l0_budget: float | None = None
) -> np.ndarray:
    """Return the ceiling of each latent's firing frequency, float64 [d_sae]: n_groups blocks, falling geometrically.

    Args:
        lowest, highest: ceilings of the last and the first group, in (0, 1).
        l0_budget: instead of highest: what the ceilings add up to; the highest is solved from it.

    Raises:
        InvalidInput: not exactly one of highest and l0_budget, or a budget that no highest in [lowest, 1) gives.
    """
    if (highest is None) == (l0_budget is None):
        raise InvalidInput("give either highest or l0_budget of GBA, not both and not neither.")
    if not 1 <= n_groups <= d_sae:
        raise InvalidInput(f"n_groups is from 1 to the {d_sae} latents there are, not {n_groups}.")
    group = np.arange(d_sae) * n_groups // d_sae

    def ceilings(top: float) -> np.ndarray:
        return np.geomspace(top, lowest, n_groups)[group]

    if not 0 < lowest < 1 or (highest is not None and not lowest <= highest < 1):
        raise InvalidInput(f"0 < lowest <= highest < 1; given lowest {lowest!r}, highest {highest!r}.")
    if highest is not None:
        if n_groups == 1 and highest != lowest:
            raise InvalidInput(f"one group has one ceiling; given lowest {lowest!r} and highest {highest!r}.")
        return ceilings(highest)
    budget, most = float(l0_budget or 0.0), float(ceilings(1.0 - 1e-9).sum())
    least = float(ceilings(lowest).sum())
    if not least <= budget <= most or (n_groups == 1 and budget != least):
        raise InvalidInput(
            f"{d_sae} latents in {n_groups} groups down to {lowest!r} have ceilings that add up to {least:.3g} to "
            f"{most:.3g}; l0_budget is {l0_budget!r}."
        )
    top = brentq(lambda top: ceilings(top).sum() - budget, lowest, 1.0 - 1e-9, xtol=1e-12)
    return ceilings(top)  # type: ignore[arg-type]  a float: full_output is off


def adapted_bias(
    bias: Tensor, count: Tensor, largest: Tensor, n: int, *, ceiling: Tensor, group: Tensor, gamma: float, never: float
) -> Tensor:
    """Return the biases after one adaptation, float32 [d_sae].

    Above its ceiling: b <- max(b - gamma r, -1), r = max(largest y, 0). Fired for less than `never` of the vectors:
    b <- min(b + gamma T, 0), T the mean of the positive r of its group (0 where there is none). Else unchanged.

    Args:
        bias: [d_sae]; count: int64 [d_sae], vectors on which y > 0 among n; largest: [d_sae], largest y among them.
        ceiling: [d_sae]; group: int64 [d_sae].

    Reference: Chen et al. 2025, algorithm 1 (with the min and max of its last lines in the order that clamps).
    """
    r = largest.clamp_min(0.0)
    total, positive = r.new_zeros(2, int(group.max()) + 1)
    add_rows(total, group, r)
    add_rows(positive, group, (r > 0).to(r.dtype))
    mean = torch.where(positive > 0, total / positive.clamp_min(1.0), 0.0)[group]
    rate = count.double() / n
    lowered = (bias - gamma * r).clamp_min(LOWEST_BIAS)
    raised = (bias + gamma * mean).clamp_max(0.0)
    return torch.where(rate > ceiling, lowered, torch.where(rate < never, raised, bias))


def quantile_bias(rows: Tensor, directions: Tensor, ceiling: Tensor) -> Tensor:
    """Return b such that w . row > -b for a share `ceiling` of the rows, clamped to [-1, 0], float32 [d_sae].

    Args:
        rows: [n, d_in], centred and scaled; directions: [d_sae, d_in]; ceiling: float64 [d_sae].
    """
    ordered = torch.sort(rows @ directions.T, dim=0, descending=True).values
    rank = (ceiling * len(rows)).round().long().clamp(1, len(rows) - 1)[None, :]
    # half way between two rows: on one of them rounding would decide whether it fires
    bound = (ordered.gather(0, rank - 1) + ordered.gather(0, rank))[0] / 2
    return -bound.clamp(0.0, -LOWEST_BIAS)
