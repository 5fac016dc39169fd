"""The TopK loss and its gradient by hand, touching only the latents that are on.

Autograd would multiply four dense [batch, d_sae] matrices to learn that all but k entries of each row are zero.
Here one weighted sum over rows (`embedding_bag`) does the decoding and, over the transposed index lists, both
weight gradients: equal to the dense gradient to float32 rounding, and about twice as fast for a whole step on a
CPU (only the encoder product and the search for the k largest stay dense).

Nothing here waits for the device, and every sum has an order that does not change, on CUDA too: no atomics.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Aux:
    """The AuxK term (Gao et al. 2024, app. A.2): dead latents predict what the living left unexplained.

    dead: int64 [n_dead], columns that have not fired for long; k: how many of them a row may use;
    weight: factor of the term (1/32 in the paper).
    """

    dead: Tensor
    k: int
    weight: float


@dataclass(frozen=True)
class Step:
    """Loss of one batch, its gradient, and what is reported.

    loss: float64 [], what is minimised (its scale is each architecture's own); grads: under the names of the weights;
    residual: float64 [], sum of |y - y_hat|^2 over the batch; fired: bool [d_sae]; n_active: int64 [], latents on in
    the batch. All on the device: reading a number there would wait for the step to end.
    """

    loss: Tensor
    grads: Weights
    residual: Tensor
    fired: Tensor
    n_active: Tensor


def topk_step(
    weights: Weights,
    x: Tensor,
    *,
    k: int,
    apply_b_dec: bool,
    aux: Aux | None = None,
    target: Tensor | None = None,
) -> Step:
    """Return loss and gradient of L = (|y_hat - y|^2 + weight * |e_hat - e|^2) / (batch * d_out).

    Args:
        weights: W_enc [d_in, d_sae], b_enc, W_dec [d_sae, d_out], b_dec [d_out] and, with a skip connection, W_skip
            [d_out, d_in]; not changed.
        x: [batch, d_in].
        target: y [batch, d_out]; x itself by default.
        k: latents kept for a row.
        apply_b_dec: whether b_dec is subtracted from the input.
        aux: the AuxK term; e = y - y_hat is a constant in it.
    """
    rows = x - weights["b_dec"] if apply_b_dec else x
    pre = torch.addmm(weights["b_enc"], rows, weights["W_enc"])
    values, indices = torch.topk(pre, k, dim=1, sorted=False)
    values = values.relu()
    y_hat = decode_sparse(values, indices, weights["W_dec"]) + weights["b_dec"]
    if "W_skip" in weights:
        y_hat = y_hat + x @ weights["W_skip"].T
    error = y_hat - (x if target is None else target)
    scale = 1.0 / error.numel()
    residual = error.square().sum().double()
    loss = residual * scale
    gradient = error * (2.0 * scale)
    grads = _gradients(weights["W_dec"], rows, values, indices, gradient)
    if aux is not None:
        loss = loss + _add_aux(grads, pre, rows, -error, weights["W_dec"], aux, scale)
    # the AuxK reconstruction has no bias and no skipped part
    grads["b_dec"] = gradient.sum(dim=0)
    if apply_b_dec:
        grads["b_dec"] -= weights["W_enc"] @ grads["b_enc"]
    if "W_skip" in weights:
        grads["W_skip"] = gradient.T @ x
    grads["W_enc"] = grads["W_enc"].T.contiguous()
    on = values > 0
    return Step(loss, grads, residual, marked(indices, on, pre.shape[1]), on.sum())


def decode_sparse(values: Tensor, indices: Tensor, W_dec: Tensor) -> Tensor:
    """Return sum_j values[:, j] W_dec[indices[:, j]], [batch, d_in]."""
    return embedding_bag(indices, W_dec, per_sample_weights=values, mode="sum")


def marked(indices: Tensor, on: Tensor, n: int) -> Tensor:
    """Return bool [n]: whether an index stands anywhere in `indices` where `on` is true (both of one shape)."""
    out = torch.zeros(n + 1, dtype=torch.bool, device=indices.device)  # the last takes what is not on
    return out.index_fill_(0, torch.where(on, indices, n).flatten(), True)[:n]


def add_rows(out: Tensor, index: Tensor, rows: Tensor) -> None:
    """Add rows[i] to out[index[i]], in place; the sums run in an order that does not change.

    `index_add_` is ordered on the CPU and atomic on CUDA; `index_put_` the other way round.
    """
    if out.is_cuda:
        out.index_put_((index,), rows, accumulate=True)
    else:
        out.index_add_(0, index, rows)


def _gradients(W_dec: Tensor, rows: Tensor, values: Tensor, indices: Tensor, gradient: Tensor) -> Weights:
    """Return the gradients of W_enc (transposed, [d_sae, d_in]), b_enc and W_dec, from that of the reconstruction."""
    by_latent = _Transposed(indices, len(W_dec))
    d_pre = _value_gradient(values, indices, gradient, W_dec) * (values > 0)
    return {
        "W_enc": by_latent.weighted_sum(d_pre, rows),
        "b_enc": by_latent.weighted_sum(d_pre, rows.new_ones(len(rows), 1))[:, 0],
        "W_dec": by_latent.weighted_sum(values, gradient),
    }


def _add_aux(grads: Weights, pre: Tensor, rows: Tensor, error: Tensor, W_dec: Tensor, aux: Aux, scale: float) -> Tensor:
    """Add the gradients of the AuxK term to those of `_gradients`, and return the term.

    Dense over the dead latents: a row uses hundreds of them, so that lists of indices would move more bytes.
    """
    dead_pre, dead_rows = pre[:, aux.dead], W_dec[aux.dead]
    values, used = torch.topk(dead_pre, min(aux.k, len(aux.dead)), dim=1, sorted=False)
    latents = torch.zeros_like(dead_pre).scatter_(1, used, values.relu())
    miss = latents @ dead_rows - error
    weight = aux.weight * scale
    gradient = miss * (2.0 * weight)
    d_pre = (gradient @ dead_rows.T) * (latents > 0)
    grads["W_enc"][aux.dead] += d_pre.T @ rows
    grads["b_enc"][aux.dead] += d_pre.sum(dim=0)
    grads["W_dec"][aux.dead] += latents.T @ gradient
    return miss.square().sum().double() * weight


def _value_gradient(values: Tensor, indices: Tensor, gradient: Tensor, W_dec: Tensor) -> Tensor:
    """Return gradient . W_dec[index] for every latent in use, [batch, k]."""
    values = values.detach().requires_grad_()
    with torch.enable_grad():  # embedding_bag's own backward gathers without a [batch, k, d_in] copy
        out = decode_sparse(values, indices, W_dec)
    return torch.autograd.grad(out, values, gradient)[0]


class _Transposed:
    """For each latent the rows that use it: the lists of [batch, k] indices read the other way round."""

    def __init__(self, indices: Tensor, d_sae: int) -> None:
        # stable: sums run in row order, the same every time
        flat, self._order = torch.sort(indices.flatten(), stable=True)
        self._starts = torch.searchsorted(flat, torch.arange(d_sae, device=flat.device))
        self._rows = self._order // indices.shape[1]

    def weighted_sum(self, weights: Tensor, rows: Tensor) -> Tensor:
        """Return for each latent the sum of weight * row over its uses, [d_sae, width of rows]."""
        w = weights.flatten()[self._order]
        return embedding_bag(self._rows, rows, self._starts, per_sample_weights=w, mode="sum")
