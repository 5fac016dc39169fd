"""What a layer reads and adds as linear functions, its norms held fixed: checked against the model, else refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from interp.errors import ModelMismatch

if TYPE_CHECKING:
    from interp.models import Model

_TOLERANCE = 1e-4  # of the largest value: rounding, with room to spare


@dataclass(frozen=True, eq=False)
class LinearNorm:
    """norm(x) = (x - mean(x)) * gain * scale(x) + shift; the mean stays where `centred` is false."""

    gain: Tensor
    shift: Tensor
    centred: bool

    def apply(self, y: Tensor, scale: Tensor) -> Tensor:
        """Return what parts y [..., d_model] of x become under the scale [...] of x, without the shift."""
        y = y - y.mean(dim=-1, keepdim=True) if self.centred else y
        return y * self.gain * scale[..., None]


def linear_norm(model: Model, layer: int, which: str = "ln1") -> LinearNorm | None:
    """Return a norm of a layer, found by asking it; None: there is none.

    Args:
        which: "ln1", the norm before attention, or "ln2", that before the MLP.
    """
    norm = getattr(model.bridge.blocks[layer], which, None)
    return None if norm is None else _asked(model, norm)


def unembedding_directions(model: Model) -> Tensor:
    """Return for each token the direction of the final residual stream that raises its logit above the mean of all.

    [d_model, d_vocab]: W_U behind the final norm, its scale left open, less the mean over tokens.
    """
    W, final = model.bridge.W_U.detach().float(), getattr(model.bridge, "ln_final", None)
    if final is not None:
        norm = _asked(model, final)
        W = W * norm.gain[:, None]
        W = W - W.mean(dim=0, keepdim=True) if norm.centred else W
    return W - W.mean(dim=1, keepdim=True)


def _asked(model: Model, norm: Any) -> LinearNorm:
    with torch.no_grad():
        ones = torch.ones(model.d_model, device=model.device, dtype=model.dtype)
        turns = ones.clone()
        turns[1::2] = -1.0  # mean 0 and mean square 1
        flat, up, down = (norm(x[None, None])[0, 0].float() for x in (ones, turns, -turns))
    shift, gain = (up + down) / 2, (up - down) / 2 * turns
    return LinearNorm(gain, shift, bool((flat - shift).abs().max() < 0.01 * gain.abs().max()))


def normalised(model: Model, layer: int, x: Tensor, which: str = "ln1") -> tuple[LinearNorm, Tensor]:
    """Return a norm of a layer and its scale at x [pos, d_model].

    Raises:
        ModelMismatch: the norm is not a mean, a scale, a gain and a shift.
    """
    norm = linear_norm(model, layer, which)
    if norm is None:
        one = torch.ones(model.d_model, device=x.device)
        return LinearNorm(one, 0 * one, False), torch.ones(len(x), device=x.device)
    return norm, _scale_at(norm, getattr(model.bridge.blocks[layer], which), x, f"{which} of layer {layer}", model)


def final_scale(model: Model, x: Tensor) -> Tensor:
    """Return the scale [pos] of the final norm at x [pos, d_model]; 1 where there is none.

    Times x . `unembedding_directions` it gives logits less their mean.
    """
    final = getattr(model.bridge, "ln_final", None)
    if final is None:
        return torch.ones(len(x), device=x.device)
    return _scale_at(_asked(model, final), final, x, "before the unembedding", model)


def _scale_at(norm: LinearNorm, module: Any, x: Tensor, name: str, model: Model) -> Tensor:
    with torch.no_grad():
        made = module(x[None].to(model.dtype))[0].float() - norm.shift
    raw = norm.apply(x.float(), torch.ones(len(x), device=x.device))
    scale = (made * raw).sum(dim=1) / raw.square().sum(dim=1).clamp_min(1e-30)
    _require_close(raw * scale[:, None], made, f"the norm {name} of {model.name}")
    return scale


def value_readers(model: Model, layer: int) -> tuple[Tensor, Tensor]:
    """Return W_V [head, d_model, d_head] and b_V [head, d_head], repeated for grouped heads."""
    attn = model.bridge.blocks[layer].attn
    W = attn.W_V.detach().float()
    repeats = model.n_heads // W.shape[0]
    bias = getattr(attn, "b_V", None)
    b = torch.zeros(len(W), W.shape[2], device=W.device) if bias is None else bias.detach().float().reshape(len(W), -1)
    return W.repeat_interleave(repeats, dim=0), b.repeat_interleave(repeats, dim=0)


def output_map(model: Model, layer: int, z: Tensor, attn_out: Tensor) -> tuple[Tensor, Tensor]:
    """Return M [head * d_head, d_model] and a bias so that attn_out = z M + bias at z [pos, head * d_head].

    Raises:
        ModelMismatch: attention is followed by a norm, so what its parts add is not linear in them.
    """
    attn = model.bridge.blocks[layer].attn
    what = f"what attention adds in layer {layer} of {model.name} (is there a norm after attention?)"
    return _map_onto(attn.W_O.detach().float().flatten(0, 1), getattr(attn, "b_O", None), z, attn_out, what)


def neuron_output_map(model: Model, layer: int, post: Tensor, mlp_out: Tensor) -> tuple[Tensor, Tensor]:
    """Return M [d_mlp, d_model] and a bias so that mlp_out = post M + bias at post [pos, d_mlp].

    Raises:
        ModelMismatch: the MLP is followed by a norm, so what its neurons add is not linear in them.
    """
    mlp = model.bridge.blocks[layer].mlp
    what = f"what the MLP adds in layer {layer} of {model.name} (is there a norm after the MLP?)"
    return _map_onto(mlp.W_out.detach().float(), getattr(mlp, "b_out", None), post, mlp_out, what)


def _map_onto(W: Tensor, bias: Tensor | None, given: Tensor, out: Tensor, what: str) -> tuple[Tensor, Tensor]:
    b = torch.zeros(W.shape[1], device=W.device) if bias is None else bias.detach().float()
    made = given.float() @ W + b
    scale = float((made * out).sum() / made.square().sum().clamp_min(1e-30))  # some models scale what they add
    _require_close(scale * made, out.float(), what)
    return scale * W, scale * b


def neuron_readers(model: Model, layer: int) -> list[tuple[Tensor, Tensor]]:
    """Return (W [d_mlp, d_model], b [d_mlp]) of a layer's neurons; if gated, of the gate, then of the other factor."""
    mlp = model.bridge.blocks[layer].mlp
    names = [("W_gate", "b_gate"), ("W_in", "b_in")] if getattr(mlp, "W_gate", None) is not None else [("W_in", "b_in")]
    out = []
    for weight, bias in names:
        W, b = getattr(mlp, weight).detach().float().T, getattr(mlp, bias, None)
        out.append((W, torch.zeros(len(W), device=W.device) if b is None else b.detach().float()))
    return out


def _require_close(made: Tensor, found: Tensor, what: str) -> None:
    error = float((made - found).abs().max() / found.abs().max().clamp_min(1e-30))
    if not error <= _TOLERANCE:
        raise ModelMismatch(
            f"{what} is not linear once its scale is held fixed (error {error:.2g} of the largest value), so "
            "attribution cannot be passed through it; give no SAE of that layer, and it stays one undivided node."
        )
