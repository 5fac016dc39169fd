"""The gradient by hand equals autograd through dense matrices."""

from __future__ import annotations

import pytest
import torch

from interp.sae.sparse_grad import Aux, topk_step

BATCH, D_IN, D_SAE, K = 48, 16, 64, 5


def make_weights(seed: int = 0) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    W_dec = torch.randn(D_SAE, D_IN, generator=g)
    return {
        "W_enc": torch.randn(D_IN, D_SAE, generator=g) / 4,
        "b_enc": torch.randn(D_SAE, generator=g) / 4,
        "W_dec": W_dec / W_dec.norm(dim=1, keepdim=True),
        "b_dec": torch.randn(D_IN, generator=g),
    }


def dense_loss(weights, x, *, k, apply_b_dec, aux):
    """The same loss with dense latents, for autograd, in float64."""
    rows = x - weights["b_dec"] if apply_b_dec else x
    pre = rows @ weights["W_enc"] + weights["b_enc"]
    keep = torch.zeros_like(pre).scatter(1, pre.topk(k, dim=1).indices, 1.0)
    x_hat = (pre * keep).relu() @ weights["W_dec"] + weights["b_dec"]
    loss = (x_hat - x).square().sum()
    if aux is not None:
        dead = torch.full_like(pre, -torch.inf)
        dead[:, aux.dead] = pre[:, aux.dead]
        keep = torch.zeros_like(pre).scatter(1, dead.topk(min(aux.k, len(aux.dead)), dim=1).indices, 1.0)
        e_hat = (pre * keep).relu() @ weights["W_dec"]
        loss = loss + aux.weight * (e_hat - (x - x_hat).detach()).square().sum()
    return loss / x.numel()


@pytest.mark.parametrize("apply_b_dec", [True, False])
@pytest.mark.parametrize("n_dead", [0, 2, 20])
def test_sparse_gradient_equals_dense_autograd(apply_b_dec, n_dead):
    weights = make_weights()
    x = torch.randn(BATCH, D_IN, generator=torch.Generator().manual_seed(1)) + weights["b_dec"]
    aux = Aux(torch.arange(3, 3 + n_dead), 8, 1 / 32) if n_dead else None
    step = topk_step(weights, x, k=K, apply_b_dec=apply_b_dec, aux=aux)
    exact = {name: value.double().requires_grad_() for name, value in weights.items()}
    loss = dense_loss(exact, x.double(), k=K, apply_b_dec=apply_b_dec, aux=aux)
    loss.backward()
    assert step.loss == pytest.approx(float(loss.detach()), rel=1e-6)
    for name, value in exact.items():
        assert value.grad is not None
        torch.testing.assert_close(step.grads[name].double(), value.grad, rtol=1e-6, atol=1e-6)
        assert float(value.grad.abs().max()) > 1e-4  # the comparison above is not of zeros


def test_latents_cut_by_the_relu_get_no_gradient():
    weights = make_weights() | {"b_enc": torch.full((D_SAE,), -100.0)}
    x = torch.randn(BATCH, D_IN, generator=torch.Generator().manual_seed(1))
    step = topk_step(weights, x, k=K, apply_b_dec=True)
    assert step.n_active == 0
    assert not bool(step.fired.any())
    assert all(float(step.grads[name].abs().max()) == 0.0 for name in ("W_enc", "b_enc", "W_dec"))


def test_fired_and_active_are_counted_from_the_latents():
    weights = make_weights()
    x = torch.randn(BATCH, D_IN, generator=torch.Generator().manual_seed(1))
    step = topk_step(weights, x, k=K, apply_b_dec=True)
    pre = (x - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
    on = (torch.zeros_like(pre).scatter(1, pre.topk(K, dim=1).indices, 1.0) * pre) > 0
    assert torch.equal(step.fired, on.any(dim=0))
    assert step.n_active == int(on.sum())


def test_step_does_not_change_its_arguments():
    weights = make_weights()
    before = {name: value.clone() for name, value in weights.items()}
    x = torch.randn(BATCH, D_IN, generator=torch.Generator().manual_seed(1))
    kept = x.clone()
    topk_step(weights, x, k=K, apply_b_dec=True, aux=Aux(torch.arange(10), 4, 1 / 32))
    assert torch.equal(x, kept)
    assert all(torch.equal(before[name], value) for name, value in weights.items())
