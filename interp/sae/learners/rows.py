"""What most learners share: random directions to start from, decoder rows of length 1, the way back to raw units."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from interp.sae.config import SaeConfig
from interp.sae.sparse_grad import Weights

_TINY = torch.finfo(torch.float32).tiny


def starting_weights(config: SaeConfig, x: Tensor, y: Tensor, rng: np.random.Generator) -> Weights:
    """Return W_enc, b_enc, W_dec, b_dec (and W_skip, zero): unit directions, b_dec the mean of the targets.

    The decoder of an SAE starts as the transposed encoder. Row i of a transcoder's decoder starts along
    Cov(y, w_i . x), which is what the targets do when encoder direction w_i grows, and its b_enc centres the inputs.

    Args:
        x, y: float64 [n, d_in] and [n, d_out], scaled; the weights are made on their device.
    """
    rows = torch.from_numpy(rng.standard_normal((config.d_sae, config.d_in))).float()
    rows = (rows / rows.norm(dim=1, keepdim=True)).to(x.device)
    weights = {
        "W_enc": rows.T.contiguous(),
        "b_enc": rows.new_zeros(config.d_sae),
        "W_dec": rows,
        "b_dec": y.mean(dim=0).float(),
    }
    if not config.is_transcoder:
        return weights
    mean = x.mean(dim=0)
    covariance = (x - mean).T @ (y - y.mean(dim=0)) / len(x)
    decoder = (rows.double() @ covariance).float()
    weights["W_dec"] = decoder / decoder.norm(dim=1, keepdim=True).clamp_min(_TINY)
    weights["b_enc"] = -(rows.double() @ mean).float()
    if config.skip_connection:
        weights["W_skip"] = rows.new_zeros(config.width_out, config.d_in)
    return weights


def project_rows(gradient: Tensor, rows: Tensor) -> None:
    """Take out of each row's gradient, in place, the part along the row, which would only change its length."""
    gradient -= (gradient * rows).sum(dim=1, keepdim=True) * rows


def normalise_rows(rows: Tensor) -> None:
    """Give each row length 1, in place."""
    rows /= rows.norm(dim=1, keepdim=True)


def raw_units(weights: Weights, input_scale: float, output_scale: float) -> Weights:
    """Return the weights that do to raw activations what these do to scaled ones; W_dec stays as it is.

    With x' = c x and y' = d y: ReLU, TopK and a threshold are homogeneous, so biases and thresholds are divided by d
    and what multiplies x is multiplied by c / d. The latents are then those of the scaled inputs divided by d.
    """
    ratio = input_scale / output_scale
    out = {}
    for name, value in weights.items():
        value = value.detach().clone()
        if name in ("W_enc", "W_skip"):
            out[name] = value if ratio == 1.0 else value * ratio
        elif name == "threshold" or name.startswith("b_"):
            out[name] = value / output_scale
        else:
            out[name] = value
    return out
