"""What each source gave to the pre-activation of a latent, computed without ever holding sources x heads x widths.

An SAE that reads z sees pre_i[q] = sum_h z_h[q] . W_h,i + bias_i, and z_h[q] = sum_s A_h[q,s] v_h[s]. So

    DFA_i[q, s, h] = A_h[q,s] (v_h[s] . W_h,i)

The product in brackets does not depend on q: it is taken first, once a source, and then weighted by the pattern.
Attribution is of the pre-activation: what a TopK or a threshold does afterwards is a competition of latents.
Reference: Kissane et al. (2024), "Interpreting attention layer outputs with sparse autoencoders", eq. 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from interp.errors import SaeMismatch
from interp.sae.gated import GatedSAE

if TYPE_CHECKING:
    from interp.sae import SAE

LAYER_NORM_EPS = 1e-5


@dataclass(frozen=True, eq=False)
class Attention:
    """What a layer attended to in some rows, in float32."""

    pattern: Tensor
    """[row, head, query_pos, source_pos]; rows of it sum to 1."""
    v: Tensor
    """[row, pos, head, d_head]; grouped query heads share a value, which is repeated here."""
    z: Tensor
    """[row, pos, head, d_head]: pattern x v."""


@dataclass(frozen=True, eq=False)
class Encoder:
    """The linear part of an encoder: pre = scale * (z W) + bias, the scale being 1 unless tokens are normalised."""

    W: Tensor
    """[head, d_head, latent]"""
    bias: Tensor
    """[latent]"""
    per_token: bool
    """Whether `scale` differs from token to token (layer_norm); it is then frozen at its value."""

    def scale(self, z: Tensor) -> Tensor:
        """Return the factor of each token, [...], of z [..., head, d_head]."""
        rows = z.flatten(-2)
        if not self.per_token:
            return torch.ones_like(rows[..., 0])
        return 1.0 / (rows.std(dim=-1) + LAYER_NORM_EPS)

    def pre(self, z: Tensor) -> Tensor:
        """Return the pre-activations [..., latent] of z [..., head, d_head]."""
        return (z.flatten(-2) @ self.W.flatten(0, 1)) * self.scale(z)[..., None] + self.bias


def encoder_of(sae: SAE, n_heads: int) -> Encoder:
    """Return the linear encoder of an SAE on z.

    Raises:
        SaeMismatch: a transcoder, an encoder that is not linear, or a width that the heads do not divide.
    """
    config = sae.config
    if config.is_transcoder or config.architecture == "matching_pursuit":
        what = "a transcoder" if config.is_transcoder else "a matching pursuit, whose encoder is not linear"
        raise SaeMismatch(f"attribution by source needs an SAE with a linear encoder; this is {what}.")
    if config.d_in % n_heads:
        raise SaeMismatch(f"the SAE reads {config.d_in} values, which {n_heads} heads do not divide; is its site z?")
    W, bias = sae.W_enc, sae.b_enc if not isinstance(sae, GatedSAE) else sae.b_mag
    if isinstance(sae, GatedSAE):
        W = W * sae.r_mag.exp()
    if config.apply_b_dec_to_input:
        bias = bias - sae.b_dec @ W
    if config.rescale_acts_by_decoder_norm:
        norm = sae.W_dec.norm(dim=1)
        W, bias = W * norm, bias * norm
    per_token = config.normalize_activations == "layer_norm"
    if per_token:  # the mean of a token is linear in it: take it out of the weights
        W = W - W.mean(dim=0, keepdim=True)
    return Encoder(W.unflatten(0, (n_heads, -1)), bias, per_token)


def event_attribution(attention: Attention, encoder: Encoder, row: Tensor, pos: Tensor, latent: Tensor) -> Tensor:
    """Return the attribution of events by source and head, [event, source_pos, head]; sources after the query get 0.

    Args:
        row, pos, latent: int64 [event].
    """
    used, column = torch.unique(latent, return_inverse=True)
    values = projected_values(attention.v, encoder.W[:, :, used])
    weights = attention.pattern[row, :, pos].transpose(1, 2)
    scale = encoder.scale(attention.z[row, pos])
    return weights * values[row, :, :, column] * scale[:, None, None]


def projected_values(v: Tensor, W: Tensor) -> Tensor:
    """Return v_h[s] . W_h,i, [row, source_pos, head, latent], of v [row, pos, head, d_head] and W [head, d_head, i]."""
    n, pos, heads, width = v.shape
    flat = v.reshape(n * pos, heads, width).transpose(0, 1)
    return torch.bmm(flat, W).transpose(0, 1).reshape(n, pos, heads, -1)


def batch_attribution_by_source(attention: Attention, encoder: Encoder, latents: Tensor) -> Tensor:
    """Return the attribution of chosen latents at every position, [row, query_pos, source_pos, latent]."""
    values = projected_values(attention.v, encoder.W[:, :, latents])
    n, pos = values.shape[:2]
    out = values.new_empty(n, pos, pos, values.shape[3])  # [row, source, query, latent]
    for row in range(n):  # one row at a time: of the patterns no second copy is held
        torch.bmm(attention.pattern[row].permute(2, 1, 0), values[row], out=out[row])
    if encoder.per_token:
        out *= encoder.scale(attention.z)[:, None, :, None]
    return out.transpose(1, 2)


def batch_attribution_by_head(attention: Attention, encoder: Encoder, latents: Tensor) -> Tensor:
    """Return the attribution of chosen latents at every position, [row, query_pos, head, latent]."""
    return projected_values(attention.z, encoder.W[:, :, latents]) * encoder.scale(attention.z)[:, :, None, None]
