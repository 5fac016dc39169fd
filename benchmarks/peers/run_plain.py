"""Time TopK with AuxK as one writes it in twenty lines: dense latents, autograd, Adam."""

from __future__ import annotations

import torch
from clock import DEAD_BIAS, LONG_AGO, Clock, job
from torch import Tensor


def loss_of(weights: dict[str, Tensor], x: Tensor, k: int, dead: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss, AuxK included, and the dense latents [batch, d_sae]."""
    pre = (x - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
    values, indices = pre.topk(k, dim=1)
    latents = torch.zeros_like(pre).scatter(1, indices, values.relu())
    error = latents @ weights["W_dec"] + weights["b_dec"] - x
    loss, k_aux = error.square().mean(), x.shape[1] // 2
    if n_dead := int(dead.sum()):
        values, indices = pre.masked_fill(~dead, -torch.inf).topk(min(k_aux, n_dead), dim=1)
        aux = torch.zeros_like(pre).scatter(1, indices, values.relu())
        miss = aux @ weights["W_dec"] + error.detach()
        loss = loss + min(1.0, n_dead / k_aux) / 32 * miss.square().mean()
    return loss, latents


def main() -> None:
    """Train and write the result."""
    run = job()
    clock = Clock(run)
    d_in = run.rows.shape[1]
    rows = torch.nn.functional.normalize(torch.randn(run.d_sae, d_in, device=run.device), dim=1)
    weights = {"W_enc": rows.T.contiguous(), "b_enc": torch.zeros(run.d_sae), "W_dec": rows, "b_dec": torch.zeros(d_in)}
    weights["b_enc"][: run.n_dead] = DEAD_BIAS
    weights = {name: value.to(run.device).requires_grad_() for name, value in weights.items()}
    silent_for = torch.zeros(run.d_sae, dtype=torch.int64, device=run.device)
    silent_for[: run.n_dead] = LONG_AGO
    adam = torch.optim.Adam(weights.values(), lr=3e-4)
    for step, x in zip(range(run.total), run.batches(), strict=False):
        clock.tick(step)
        loss, latents = loss_of(weights, x.to(run.device), run.k, silent_for > 10_000_000)
        loss.backward()
        adam.step()
        adam.zero_grad()
        with torch.no_grad():
            weights["W_dec"] /= weights["W_dec"].norm(dim=1, keepdim=True)
            silent_for = torch.where((latents > 0).any(dim=0), 0, silent_for + len(x))
    clock.tick(run.total)
    called = "dense autograd TopK with AuxK and Adam in benchmarks/peers/run_plain.py, batches in the order of the file"
    clock.write(packages=(), n_dead=int((silent_for > 10_000_000).sum()), called=called)


if __name__ == "__main__":
    main()
