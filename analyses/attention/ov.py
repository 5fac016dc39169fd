"""What a head, or a latent, writes: from a vector before W_O to the residual stream, and on to the logits.

Read from the running model and not multiplied out of its weights, so grouped values, output scales and norms after
attention are as the model has them. One token a row: its attention is 1 on itself, so z is the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from interp.reading import hooked, read_sites
from interp.sites import Site

if TYPE_CHECKING:
    from interp.models import Model

_BATCH = 1024


def token_vectors(model: Model, ids: Tensor) -> Tensor:
    """Return the embedding of tokens after the MLP of layer 0 alone, [token, d_model].

    No attention: what a later head finds of a token before anything was moved. Reference: Gould et al. (2023).
    """
    return _read(model, ids, "resid_post.0", {"attn_out.0": torch.zeros_like})


def embeddings(model: Model, ids: Tensor) -> Tensor:
    """Return what enters layer 0 for tokens at the first position, [token, d_model]."""
    return _read(model, ids, "resid_pre.0", {})


def head_outputs(model: Model, layer: int, x: Tensor) -> Tensor:
    """Return what each head adds for residual vectors x [n, d_model] that it attends to fully: [head, n, d_model]."""
    heads, width = model.n_heads, model.d_head

    def alone(z: Tensor) -> Tensor:
        kept = torch.zeros_like(z).unflatten(2, (heads, width))
        at = owner[: len(z)]
        kept[torch.arange(len(z)), 0, at] = z.unflatten(2, (heads, width))[torch.arange(len(z)), 0, at]
        return kept.flatten(2)

    rows, out = x.repeat(heads, 1), []
    owners = torch.arange(heads).repeat_interleave(len(x))
    for start in range(0, len(rows), _BATCH):
        part, owner = rows[start : start + _BATCH], owners[start : start + _BATCH]
        edits = {f"resid_pre.{layer}": lambda r, part=part: part[:, None].to(r), f"z.{layer}": alone}
        out.append(_run(model, len(part), f"attn_out.{layer}", edits))
    return (torch.cat(out) - write_out(model, layer, torch.zeros(1, heads * width))).unflatten(0, (heads, len(x)))


def write_out(model: Model, layer: int, z: Tensor, *, bias: bool = True) -> Tensor:
    """Return what attention adds to the residual stream for z [n, head * d_head]: [n, d_model]."""
    out = []
    for start in range(0, len(z), _BATCH):
        part = z[start : start + _BATCH]
        out.append(
            _run(model, len(part), f"attn_out.{layer}", {f"z.{layer}": lambda r, part=part: part[:, None].to(r)})
        )
    made = torch.cat(out)
    return made if bias else made - write_out(model, layer, torch.zeros(1, z.shape[1]))


@torch.no_grad()
def read_out(model: Model, x: Tensor) -> Tensor:
    """Return the logits of residual vectors x [n, d_model] after the last layer, less those of 0: [n, d_vocab].

    The final norm sets each vector to the same length, so only the order and the shape of a row mean anything.
    """
    last, out = f"resid_post.{model.n_layers - 1}", []
    for start in range(0, len(x) + 1, _BATCH):
        part = torch.cat([x, torch.zeros_like(x[:1])])[start : start + _BATCH]
        ids = torch.full((len(part), 1), _some_id(model), device=model.device)
        with hooked(model, {last: lambda r, part=part: part[:, None].to(r)}):
            out.append(model.logits(ids)[:, 0].float())
    logits = torch.cat(out)
    return logits[:-1] - logits[-1]


def _some_id(model: Model) -> int:
    return min(2, model.d_vocab - 1)


def _run(model: Model, n: int, site: str, edits: Mapping[str, Any]) -> Tensor:
    return _read(model, torch.full((n,), _some_id(model)), site, edits)


def _read(model: Model, ids: Tensor, site: str, edits: Mapping[str, Any]) -> Tensor:
    held: list[Tensor] = []
    ids = ids.to(model.device)[:, None]
    with torch.no_grad(), hooked(model, {Site.parse(name): edit for name, edit in edits.items()}):
        read_sites(model, ids, torch.ones_like(ids), {Site.parse(site): held.append})
    return held[0][:, 0].float()
