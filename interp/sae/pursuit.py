"""Matching pursuit: pick the direction nearest to what is left, take its part out, look again (Mallat & Zhang 1993).

    j = argmax_j D_j . r,   v = ReLU(D_j . r),   z_j += v,   r <- r - v D_j

The largest signed product, not the largest in size: latents are never negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from interp.errors import InvalidInput, nearest

METHODS = ("direct", "gram")


@dataclass(frozen=True)
class Path:
    """What was picked for each vector, in order.

    indices: int64 [batch, steps], -1 once a vector is done; values: float32 [batch, steps], 0 there;
    residual: float32 [batch, d], what is left; norms: float32 [batch, steps + 1], its length before the first pick
    and after each.
    """

    indices: Tensor
    values: Tensor
    residual: Tensor
    norms: Tensor

    def latents(self, d_sae: int) -> Tensor:
        """Return the latents, float32 [batch, d_sae]; a latent picked twice holds the sum of its values."""
        out = self.values.new_zeros(len(self.values), d_sae)
        return out.scatter_add(1, self.indices.clamp_min(0), self.values)


def pursue(
    x: Tensor,
    directions: Tensor,
    *,
    max_iterations: int,
    residual_threshold: float,
    stop_on_duplicate_support: bool,
    method: str = "direct",
) -> Path:
    """Return the path of each row of x [batch, d] through the directions [d_sae, d].

    A row is done after `max_iterations` picks, when no direction has a positive product with what is left, when what
    is left is shorter than `residual_threshold` (0: no such bound; looked at after each pick, so one pick is always
    made), and, with `stop_on_duplicate_support`, after a pick that was made before.

    Args:
        method: "direct" multiplies what is left with every direction at every pick; "gram" updates these products
            from D D^T [d_sae, d_sae], less work where d is large and d_sae below batch * picks. Equal to rounding.

    Raises:
        InvalidInput: no such method.
    """
    if method not in METHODS:
        raise InvalidInput(
            f"method is one of {', '.join(METHODS)}; not {method!r}. Nearest: {nearest(method, METHODS)[0]}."
        )
    gram = directions @ directions.T if method == "gram" else None
    residual, running = x.clone(), torch.ones(len(x), dtype=torch.bool, device=x.device)
    scores = residual @ directions.T
    indices, values, norms = [], [], [residual.norm(dim=1)]
    for left in reversed(range(max_iterations)):
        index = scores.argmax(dim=1)
        picked = directions[index]
        # the product itself, not the running score: what is left is then orthogonal to the pick whatever the method
        value = (residual * picked).sum(dim=1).clamp_min(0.0) * running
        running = running & (value > 0)
        residual = residual - value[:, None] * picked
        again = (
            torch.stack([index == before for before in indices]).any(dim=0) if indices else torch.zeros_like(running)
        )
        indices.append(torch.where(running, index, -1))
        values.append(value)
        norms.append(residual.norm(dim=1))
        if stop_on_duplicate_support:
            running = running & ~again
        if residual_threshold > 0:
            running = running & (norms[-1] >= residual_threshold)
        if left == 0 or not bool(running.any()):  # waits for the device; little beside the product that it may save
            break
        scores = residual @ directions.T if gram is None else scores - value[:, None] * gram[index]
    return Path(torch.stack(indices, dim=1), torch.stack(values, dim=1), residual, torch.stack(norms, dim=1))
