"""One forward pass that reads the attention of a layer: patterns, values (one a query head) and their mix z."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from analyses.attention.token_rows import TokenRows
from interp.attribution import Attention
from interp.errors import ModelMismatch, UnknownSite, nearest
from interp.reading import read_sites
from interp.sites import Site

if TYPE_CHECKING:
    from interp.models import Model

_IDENTITY = "pattern x v == z"


def require_attention(model: Model, layers: Sequence[int]) -> None:
    """Refuse a layer without a pattern whose product with the values is z.

    Raises:
        UnknownSite: no such layer. ModelMismatch: the layer has no softmax pattern, or mixes values in another way.
    """
    for layer in layers:
        if not isinstance(layer, int) or not 0 <= layer < model.n_layers:
            near = ", ".join(nearest(str(layer), map(str, range(model.n_layers))))
            raise UnknownSite(f"{model.name} has layers 0 to {model.n_layers - 1}, not {layer!r}; nearest: {near}.")
        checks = model.checks
        found = checks.loc[(checks["identity"] == _IDENTITY) & (checks["layer"] == layer), "status"].tolist()
        if found != ["ok"]:
            why = found[0] if found else "not checked"
            raise ModelMismatch(
                f"layer {layer} of {model.name}: z is not attention pattern times values ({why}), so what a head "
                "moved cannot be told by source; use a model with softmax attention."
            )


def read_attention(model: Model, rows: TokenRows, layers: Sequence[int]) -> dict[int, Attention]:
    """Return the attention of some layers on a batch of rows, from one pass that stops after the last of them."""
    found: dict[str, torch.Tensor] = {}
    sites = [Site(name, layer) for layer in layers for name in ("pattern", "v", "z")]
    ids, mask = (torch.from_numpy(x).to(model.device) for x in (rows.ids, rows.mask))
    readers = {site: (lambda x, site=site: found.__setitem__(str(site), x.detach().float().clone())) for site in sites}
    read_sites(model, ids, mask.long(), readers)
    out = {}
    for layer in layers:
        pattern, v, z = (found[f"{name}.{layer}"] for name in ("pattern", "v", "z"))
        heads = v.unflatten(2, (-1, model.d_head))
        heads = heads.repeat_interleave(pattern.shape[1] // heads.shape[2], dim=2)
        out[layer] = Attention(pattern, heads, z.unflatten(2, (pattern.shape[1], -1)))
    return out


def attention_batches(
    model: Model, rows: TokenRows, layers: Sequence[int], *, batch_rows: int = 16
) -> Iterator[tuple[slice, TokenRows, dict[int, Attention]]]:
    """Yield (which rows, those rows, their attention by layer), in order."""
    require_attention(model, layers)
    for start in range(0, len(rows), batch_rows):
        at = slice(start, start + batch_rows)
        part = rows.part(at)
        yield at, part, read_attention(model, part, layers)
