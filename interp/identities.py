"""Identities that every decoder obeys and a wrong hook cannot.

A hook name can hold another tensor of the same shape on another architecture (before a post-norm,
with the residual already added, folded). No shape check sees that; arithmetic does. Two short
sequences of token ids are run once, every site is read, and the sums are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from interp.errors import ModelMismatch
from interp.hooks import attached

# Relative to the largest value of the tensor; rounding of one sum in that type, with room to spare.
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
_LONG, _SHORT = 8, 5  # tokens of the two probe sequences
_COLUMNS = ("identity", "layer", "error", "tolerance", "status")
Tensors = dict[str, torch.Tensor]


def check_identities(
    points: Mapping[str, Any],
    run: Callable[[torch.Tensor, torch.Tensor], object],
    *,
    name: str,
    n_layers: int,
    d_vocab: int,
    device: torch.device,
) -> tuple[pd.DataFrame, dict[str, tuple[int, ...]]]:
    """Run the model on two short sequences and compare what its hooks hold.

    Checked in every layer: attention rows sum to 1 and do not look ahead; resid_pre + attn_out ==
    resid_mid; resid_mid + mlp_out == resid_post (parallel blocks: resid_pre + attn_out + mlp_out ==
    resid_post); pattern x v == z; the padded batch equals the sequence alone.

    Args:
        points: hook point of each site name, of those that the model has.
        run: function of ids [batch, pos] and mask [batch, pos] that runs the blocks.
        name: of the model, for messages.

    Returns:
        One row an identity and layer (identity, layer, error relative to the largest value,
        tolerance, status), and the shape [pos, ...] of each site that fired.

    Raises:
        ModelMismatch: an identity is broken; the message names it with its layer and error.
    """
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, d_vocab, size=(2, _LONG))).to(device)
    mask = torch.ones_like(ids)
    mask[1, _SHORT:] = 0
    ids = ids * mask
    batch = _read(points, run, ids, mask)
    alone = _read(points, run, ids[1:, :_SHORT], mask[1:, :_SHORT])
    rows = [row for layer in range(n_layers) for row in _layer_rows(batch, alone, layer)]
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    _refuse_broken(name, table)
    return table, {site: tuple(tensor.shape[1:]) for site, tensor in batch.items()}


def _refuse_broken(name: str, table: pd.DataFrame) -> None:
    broken = table[table["status"] == "broken"]
    if len(broken):
        what = "; ".join(
            f"{identity} in layer {layer} (error {error:.2g} of the largest value, allowed {tolerance:.0g})"
            for identity, layer, error, tolerance, _ in broken.head(3).to_numpy()
        )
        raise ModelMismatch(
            f"{name} breaks {len(broken)} of {len(table)} identities that hold in every decoder: {what}. "
            "The hooks of this architecture hold other tensors than their names say, so no number read from them "
            "could be trusted. Use another architecture, or another release of transformer-lens."
        )


def _read(points: Mapping[str, Any], run: Callable[..., object], ids: torch.Tensor, mask: torch.Tensor) -> Tensors:
    found: Tensors = {}

    def keep(site: str) -> Callable[[torch.Tensor], None]:
        return lambda tensor: found.__setitem__(site, tensor.detach().clone())

    with torch.no_grad(), attached([(point, keep(site)) for site, point in points.items()]):
        run(ids, mask)
    return found


def _layer_rows(batch: Tensors, alone: Tensors, layer: int) -> list[tuple]:
    at = {site.split(".")[0]: tensor.float() for site, tensor in batch.items() if site.endswith(f".{layer}")}
    dtype = batch[f"resid_post.{layer}"].dtype if f"resid_post.{layer}" in batch else torch.float32
    tolerance = _TOLERANCE.get(dtype, 5e-2)
    rows = []

    def add(identity: str, error: float | str) -> None:
        if isinstance(error, str):
            rows.append((identity, layer, np.nan, tolerance, f"not applicable: {error}"))
        else:
            rows.append((identity, layer, error, tolerance, "ok" if error <= tolerance else "broken"))

    add("attention rows sum to 1", _rows_sum(at))
    add("attention does not look ahead", _looks_ahead(at))
    add("resid_pre + attn_out == resid_mid", _sum(at, ("resid_pre", "attn_out"), "resid_mid"))
    parts = ("resid_mid", "mlp_out") if "resid_mid" in at else ("resid_pre", "attn_out", "mlp_out")
    add(" + ".join(parts) + " == resid_post", _sum(at, parts, "resid_post"))
    add("pattern x v == z", _value_mix(at))
    site = f"resid_post.{layer}"
    both = site in batch and site in alone
    add("padded batch == alone", _error(batch[site][1:, :_SHORT], alone[site]) if both else "no resid_post")
    return rows


def _rows_sum(at: Tensors) -> float | str:
    if "pattern" not in at:
        return "no attention pattern in this layer"
    rows = at["pattern"][0].sum(-1)
    return _error(rows, torch.ones_like(rows))


def _looks_ahead(at: Tensors) -> float | str:
    if "pattern" not in at:
        return "no attention pattern in this layer"
    return float(at["pattern"][0].triu(1).abs().max())


def _sum(at: Tensors, parts: tuple[str, ...], total: str) -> float | str:
    if total == "resid_mid" and total not in at:
        return "parallel block, nothing lies between attention and MLP"
    missing = [name for name in (*parts, total) if name not in at]
    if missing:
        return f"no {', '.join(missing)}"
    added = at[parts[0]]
    for part in parts[1:]:
        added = added + at[part]
    return _error(added[0], at[total][0])


def _value_mix(at: Tensors) -> float | str:
    missing = [name for name in ("pattern", "v", "z") if name not in at]
    if missing:
        return f"no {', '.join(missing)}"
    pattern, v, z = at["pattern"][0], at["v"][0], at["z"][0]
    v = v.repeat_interleave(pattern.shape[0] // v.shape[1], dim=1)  # grouped queries share a value head
    return _error(torch.einsum("hqk,khd->qhd", pattern, v), z)


def _error(given: torch.Tensor, expected: torch.Tensor) -> float:
    if given.shape != expected.shape:
        return float("inf")
    scale = max(float(expected.abs().max()), torch.finfo(torch.float32).tiny)
    error = float((given.float() - expected.float()).abs().max()) / scale
    return error if np.isfinite(error) else float("inf")
