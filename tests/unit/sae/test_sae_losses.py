"""The loss of each architecture against its formula in float64, and what may have no gradient has none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from interp.sae.learners.batchtopk import batch_top_k
from interp.sae.learners.dense import warmed
from interp.sae.learners.jumprelu import count, jump
from interp.sae.settings import make_settings
from interp.sae.spec import make_spec

D, M, B = 10, 30, 40
OPTIONS = {
    "relu": {"l1": 0.7, "warmup": 0.0},
    "gated": {"l1": 0.7, "warmup": 0.0},
    "jumprelu": {"l0": 0.3, "bandwidth": 0.4, "threshold": 0.5, "warmup": 0.0},
    "batchtopk": {"k": 2.5},
    "matryoshka": {"k": 2.5, "prefixes": (5, 12, 30)},
}
SETTINGS = make_settings(seed=0, steps=10, batch_size=B, dead_after=1)


def make_learner(arch: str, *, n_dead: int = 0, k_aux: int = 4):
    """A learner with weights far from its start, and n_dead latents that count as dead."""
    values = OPTIONS[arch] | ({"k_aux": k_aux} if "k" in OPTIONS[arch] else {})
    spec = make_spec(arch=arch, d_in=D, d_sae=M, values=values).filled(SETTINGS)
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((100, D)))
    learner = spec.learner.start(spec.config, SETTINGS, spec.options, x, x, rng)
    for name, value in learner.weights.items():
        scale = 0.0 if name == "log_threshold" else 0.3
        learner.weights[name] = value + scale * torch.from_numpy(rng.standard_normal(tuple(value.shape))).float()
    learner.constrain()
    learner.state["silent_for"][M - n_dead :] = 1
    learner.state["silent_for"][: M - n_dead] = 0
    return learner, torch.from_numpy(rng.standard_normal((B, D))).float()


def loss_by_hand(arch: str, learner, x: torch.Tensor) -> float:
    """The formulas of the papers, in float64 and without graphs."""
    w = {name: value.double().numpy() for name, value in learner.weights.items()}
    o, x64 = learner.options, x.double().numpy()
    if arch == "gated":
        h = (x64 - w["b_dec"]) @ w["W_enc"]
        gate = h + w["b_gate"]
        z = np.maximum(h * np.exp(w["r_mag"]) + w["b_mag"], 0) * (gate > 0)
        error = ((z @ w["W_dec"] + w["b_dec"] - x64) ** 2).sum(axis=1)
        aux = ((np.maximum(gate, 0) @ w["W_dec"] + w["b_dec"] - x64) ** 2).sum(axis=1)
        return float((error + o.l1 * np.maximum(gate, 0).sum(axis=1) + aux).mean())
    pre = (x64 - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    if arch == "relu":
        z = np.maximum(pre, 0)
        error = ((z @ w["W_dec"] + w["b_dec"] - x64) ** 2).sum(axis=1)
        return float((error + o.l1 * (z * np.linalg.norm(w["W_dec"], axis=1)).sum(axis=1)).mean())
    if arch == "jumprelu":
        on = pre > np.exp(w["log_threshold"])
        error = (((pre * on) @ w["W_dec"] + w["b_dec"] - x64) ** 2).sum(axis=1)
        return float((error + o.l0 * on.sum(axis=1)).mean())
    cut = np.sort(pre.ravel())[::-1][round(2.5 * B) - 1]
    z = np.where(pre >= cut, np.maximum(pre, 0), 0)
    full = z @ w["W_dec"] + w["b_dec"]
    errors = [((z[:, :m] @ w["W_dec"][:m] + w["b_dec"] - x64) ** 2).mean() for m in getattr(o, "prefixes", (M,))]
    dead = np.flatnonzero(learner.dead().numpy())
    if len(dead) == 0:
        return float(np.mean(errors))
    guess = np.zeros_like(pre)
    for row, line in enumerate(pre[:, dead]):
        best = np.argsort(-line)[: o.k_aux]
        guess[row, dead[best]] = np.maximum(line[best], 0)
    weight = min(1.0, len(dead) / o.k_aux) / 32
    return float(np.mean(errors) + weight * ((guess @ w["W_dec"] - (x64 - full)) ** 2).mean())


@pytest.mark.parametrize("n_dead", [0, 2, 9])
@pytest.mark.parametrize("arch", OPTIONS)
def test_loss_is_the_formula_of_the_paper(arch, n_dead):
    learner, x = make_learner(arch, n_dead=n_dead)
    step = learner.step(x, x, step=5)
    assert step.loss == pytest.approx(loss_by_hand(arch, learner, x), rel=1e-5)


def central_difference(arch: str, learner, x, name: str, place: tuple[int, ...], by: float = 1e-3) -> float:
    found = []
    kept = learner.weights[name].clone()
    for sign in (1, -1):
        learner.weights[name] = kept.clone().double()
        learner.weights[name][place] += sign * by
        found.append(loss_by_hand(arch, learner, x))
    learner.weights[name] = kept
    return (found[0] - found[1]) / (2 * by)


@pytest.mark.parametrize(
    ("arch", "names"),
    [
        ("relu", ("W_enc", "b_enc", "W_dec", "b_dec")),
        ("gated", ("r_mag", "b_mag")),  # which move no gate and no auxiliary term
        ("jumprelu", ("b_enc",)),
        ("batchtopk", ("b_dec",)),
        ("matryoshka", ("b_dec",)),
    ],
)
def test_gradient_is_that_of_the_formula(arch, names):
    learner, x = make_learner(arch)
    grads = learner.step(x, x, step=5).grads
    checked = 0
    for name in names:
        flat = [tuple(int(i) for i in np.unravel_index(p, grads[name].shape)) for p in range(0, grads[name].numel(), 7)]
        for place in flat:
            coarse, fine = (central_difference(arch, learner, x, name, place, by) for by in (2e-4, 1e-4))
            if abs(coarse - fine) < 1e-6 * max(1.0, abs(fine)):  # no latent switched within the step
                assert float(grads[name][place]) == pytest.approx(fine, rel=1e-3, abs=1e-4)
                checked += 1
    assert checked >= 2


def test_auxiliary_term_of_the_gate_moves_no_decoder():
    learner, x = make_learner("gated")
    learner.weights["b_mag"] = torch.full((M,), -100.0)  # every latent is off: only the auxiliary term sees W_dec
    grads = learner.step(x, x, step=5).grads
    assert float(grads["W_dec"].abs().max()) == 0.0
    assert float(grads["W_enc"].abs().max()) > 1e-3
    assert float(grads["b_gate"].abs().max()) > 1e-3


def test_gradient_of_the_count_is_a_difference_over_one_bandwidth():
    """The rectangle kernel is exactly the central difference of the count, half a bandwidth each way."""
    pre = torch.from_numpy(np.random.default_rng(0).standard_normal((5000, 3)) + 1.0)
    theta = torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64, requires_grad=True)
    count(pre, theta, 0.2).backward()
    above = [(pre > theta.detach() + by).sum(dim=0).double() for by in (0.1, -0.1)]
    torch.testing.assert_close(theta.grad, (above[0] - above[1]) / 0.2, rtol=1e-12, atol=0)


def test_gradient_of_the_jump_is_the_lost_latent_times_its_density():
    rng = np.random.default_rng(0)
    pre = torch.from_numpy(rng.standard_normal((5000, 3)) + 1.0).requires_grad_()
    incoming = torch.from_numpy(rng.standard_normal((5000, 3)))
    theta = torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64, requires_grad=True)
    (jump(pre, theta, 0.2) * incoming).sum().backward()
    with torch.no_grad():
        inside = (pre - theta).abs() < 0.1
        torch.testing.assert_close(theta.grad, -(theta / 0.2) * (incoming * inside).sum(dim=0), rtol=1e-12, atol=0)
        torch.testing.assert_close(pre.grad, incoming * (pre > theta), rtol=0, atol=0)


def test_batch_top_k_keeps_the_largest_of_the_whole_batch():
    pre = torch.tensor([[5.0, 4.0, 3.0], [1.0, -2.0, 0.5]])
    assert batch_top_k(pre, 1.5).tolist() == [[5.0, 4.0, 3.0], [0.0, 0.0, 0.0]]
    assert batch_top_k(pre, 3).tolist() == [[5.0, 4.0, 3.0], [1.0, 0.0, 0.5]]


def test_penalty_grows_from_nothing_and_stays():
    assert [warmed(2.0, 0.4, step, 10) for step in (0, 1, 3, 9)] == [0.5, 1.0, 2.0, 2.0]
    assert warmed(2.0, 0.0, 0, 10) == 2.0
