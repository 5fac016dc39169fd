"""From the tensor of a site to what is kept of it: one head or all, one vector a text or every token."""

from __future__ import annotations

import torch

from interp.errors import NonFinite
from interp.sites import COMPONENTS, Site

POOLS = ("last", "mean", "max", "none", "span")


def site_view(tensor: torch.Tensor, site: Site) -> torch.Tensor:
    """Return the part of a hook's tensor that a site names.

    Heads together are flattened head-major, [batch, pos, head * d_head]; one head is [batch, pos, d_head].
    `pattern` stays [batch, head, query_pos, key_pos]; one head of it is [batch, query_pos, key_pos].
    """
    if site.component == "pattern":
        return tensor if site.head is None else tensor[:, site.head]
    if COMPONENTS[site.component].per_head:
        return tensor.flatten(2) if site.head is None else tensor[:, :, site.head]
    return tensor


def site_unview(edited: torch.Tensor, tensor: torch.Tensor, site: Site) -> torch.Tensor:
    """Return the hook's whole tensor with the part that `site` names replaced by `edited`; others keep their bits."""
    if site.head is None:
        return edited.reshape(tensor.shape)
    out = tensor.clone()
    if site.component == "pattern":
        out[:, site.head] = edited
    else:
        out[:, :, site.head] = edited
    return out


def pool_tokens(x: torch.Tensor, chosen: torch.Tensor, pool: str) -> torch.Tensor:
    """Pool x [batch, pos, d] over the tokens chosen [batch, pos] (at least one a row).

    Returns:
        [batch, d]; for pool "none" the chosen tokens end to end, [n_chosen, d]. Sums are in float32 or wider.
    """
    if pool == "none":
        return x[chosen]
    if pool == "last":
        position = torch.arange(x.shape[1], device=x.device)
        last = torch.where(chosen, position, -1).amax(1)
        return x[torch.arange(len(x), device=x.device), last]
    if pool == "max":
        return x.masked_fill(~chosen[..., None], -torch.inf).amax(1)
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    weights = chosen.to(wide.dtype)
    return torch.bmm((weights / weights.sum(1, keepdim=True))[:, None], wide)[:, 0]


def finite_tokens(x: torch.Tensor, mask: torch.Tensor, site: Site) -> torch.Tensor:
    """Return x [batch, pos, ...] with padding zeroed where it is not finite; raise where a token is not.

    Raises:
        NonFinite: `args[1]` holds (row of the batch, position) of the first token with a NaN or infinity.
    """
    # One sum finds any NaN or infinity; only then is it worth looking where.
    if bool(torch.isfinite(x.sum(dtype=torch.promote_types(x.dtype, torch.float32)))):
        return x
    finite = torch.isfinite(x).all(-1)
    if finite.ndim == 3:  # pattern [batch, head, query_pos, key_pos]: a query position is what a token is here
        finite = finite.all(1)
    bad = ~finite & mask
    if bool(bad.any()):
        row, position = (int(i) for i in bad.nonzero()[0])
        raise NonFinite(f"{site} is NaN or infinite", (row, position))
    return x if x.ndim == 4 else x.masked_fill(~mask[..., None], 0)
