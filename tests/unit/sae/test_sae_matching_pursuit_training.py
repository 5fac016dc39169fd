"""Matching Pursuit in training: the gradient through the picks, what is exported, and a tree that is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from interp.errors import InvalidInput
from interp.sae.learners.matching_pursuit import MatchingPursuitLearner, unrolled_gradient
from interp.sae.matching_pursuit import MatchingPursuitSAE
from interp.sae.pursuit import pursue
from interp.sae.restarts import train_restarts
from interp.sae.settings import make_settings
from interp.sae.spec import make_spec
from interp.sae.synthetic import absorption, flat_data, recovery, summarise_absorption, tree_data
from interp.sae.train import train_sae

DATA = flat_data(d=16, n=24, s=2, seed=0)
RUN = {"arch": "matching_pursuit", "max_iterations": 4, "lr": 1e-2, "progress": False}
SMALL = {"d_in": 16, "d_sae": 24, "batch_size": 128, "buffer": 2048, **RUN}


def same_weights(one, two) -> bool:
    return all(torch.equal(value, two.weights()[name]) for name, value in one.weights().items())


def learner(**options) -> tuple[MatchingPursuitLearner, torch.Tensor]:
    x = torch.from_numpy(DATA.batch(0, rows=256).activations).double()
    x *= np.sqrt(16 / float((x - x.mean(dim=0)).square().sum(dim=1).mean()))
    spec = make_spec(arch="matching_pursuit", d_in=16, d_sae=24, values={"max_iterations": 5} | options)
    settings = make_settings(seed=0, steps=9)
    made = MatchingPursuitLearner.start(spec.config, settings, spec.options, x, x, np.random.default_rng(0))
    return made, x.float()


@pytest.mark.parametrize(("bias", "stop_at"), [(True, 0.0), (False, 0.0), (True, 0.5)])
def test_gradient_equals_autograd_through_the_unrolled_picks(bias, stop_at):
    made, x = learner(bias=bias, stop_at=stop_at)
    found = made.step(x, x, step=0)
    leaves = {name: value.clone().requires_grad_() for name, value in made.weights.items()}
    D, left = leaves["W_dec"], x - leaves["b_dec"] if bias else x
    path = pursue(
        left.detach(),
        D.detach(),
        max_iterations=5,
        residual_threshold=stop_at * 4.0,
        stop_on_duplicate_support=False,
    )
    assert bool((path.indices < 0).any()) == (stop_at > 0)
    for t in range(path.indices.shape[1]):
        made_ = (path.indices[:, t, None] >= 0).float()
        picked = D[path.indices[:, t].clamp_min(0)]
        left = left - made_ * (left * picked).sum(dim=1, keepdim=True) * picked
    left.square().mean().backward()
    expected = {name: value.grad for name, value in leaves.items()}
    rows = made.weights["W_dec"]
    expected["W_dec"] -= (expected["W_dec"] * rows).sum(dim=1, keepdim=True) * rows
    assert found.loss == pytest.approx(float(left.detach().square().mean()), rel=1e-5)
    for name, value in expected.items():
        torch.testing.assert_close(found.grads[name], value, rtol=1e-4, atol=1e-6)


def test_gradient_equals_finite_differences():
    rng = np.random.default_rng(1)
    x, D = torch.from_numpy(rng.standard_normal((30, 6))), torch.from_numpy(rng.standard_normal((9, 6)))
    D = D / D.norm(dim=1, keepdim=True)
    args = {"max_iterations": 3, "residual_threshold": 0.0, "stop_on_duplicate_support": False}

    def loss(directions, rows):
        return float(pursue(rows, directions, **args).residual.square().sum())

    path = pursue(x, D, **args)
    grad, at_input = unrolled_gradient(path, D, 2.0 * path.residual)
    for found, where in ((grad, "D"), (at_input, "x")):
        for i, j in [(0, 0), (3, 2), (8, 5)]:
            bump = torch.zeros_like(found)
            bump[i, j] = 1e-6
            up, down = (loss(D + s * bump, x) if where == "D" else loss(D, x + s * bump) for s in (1, -1))
            assert float(found[i, j]) == pytest.approx((up - down) / 2e-6, rel=1e-4, abs=1e-5)


def test_rows_have_length_one_after_every_step():
    made, x = learner()
    made.weights["W_dec"] += 0.3 * made.step(x, x, step=0).grads["W_dec"]
    made.constrain()
    torch.testing.assert_close(made.weights["W_dec"].norm(dim=1), torch.ones(24), rtol=0, atol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
def test_export_picks_for_raw_activations_what_training_picked(bias):
    made, x = learner(bias=bias, stop_at=0.4)
    scale = 2.5
    sae = made.finished(scale, scale)
    step = made.step(x, x, step=0)
    assert isinstance(sae, MatchingPursuitSAE)
    assert sae.config.residual_threshold == pytest.approx(0.4 * 4 / scale)
    assert sae.config.apply_b_dec_to_input is bias
    raw = x / scale
    assert int((sae.encode(raw) > 0).sum()) == step.n_active
    assert float((sae(raw) - raw).square().sum()) * scale**2 == pytest.approx(float(step.residual), rel=1e-4)
    assert torch.equal((sae.encode(raw) > 0).any(dim=0), step.fired)


def test_flat_dictionary_is_recovered():
    data = flat_data(d=48, n=24, s=2, seed=0)  # not superposed: where it is, matching pursuit finds less
    args = SMALL | {"d_in": 48}
    sae, history = train_sae(data.stream(rows=2048), seed=0, steps=400, bias=False, stop_at=0.05, **args)
    table = recovery(sae.W_dec, data.dictionary, seed=0).set_index("metric")
    assert table.loc["recall", "value"] >= 0.9
    assert table.loc["mcc", "p"] == pytest.approx(1 / 40)
    assert history["fvu"].iloc[-1] < 0.05


def test_noise_gives_nothing_near_a_dictionary():
    noise = np.random.default_rng(0).standard_normal((10_000, 16)).astype(np.float32)
    sae, _ = train_sae(noise, seed=0, steps=200, **SMALL)
    row = recovery(sae.W_dec, DATA.dictionary, seed=0, n_null=99).set_index("metric").loc["mmcs"]
    assert abs(row["value"] - row["null_mean"]) < 4 * row["null_sd"]


def test_killed_run_goes_on_to_the_same_bits(tmp_path):
    class Killed(Exception):
        pass

    def kill(row):
        if row["step"] >= 30:
            raise Killed

    args = {"seed": 0, "steps": 50, "checkpoint_every": 7, "log_every": 10, **SMALL}
    whole, history = train_sae(DATA.stream(rows=2048), **args)
    with pytest.raises(Killed):
        train_sae(DATA.stream(rows=2048), checkpoint_dir=tmp_path, log=kill, **args)
    resumed, again = train_sae(DATA.stream(rows=2048), checkpoint_dir=tmp_path, **args)
    assert same_weights(whole, resumed)
    assert whole.config == resumed.config
    assert history.equals(again)


def test_restarts_on_a_tree_keep_the_sparsest_which_has_found_it():
    data = tree_data(seed=0)
    held = data.held_out(5000)
    sae, table = train_restarts(
        data.stream(rows=3200),
        seed=0,
        held_out=held.activations,
        d_in=20,
        d_sae=20,
        stop_at=0.03,
        bias=False,
        steps=2500,
        batch_size=200,
        buffer=6400,
        **(RUN | {"max_iterations": 3}),
    )
    assert table["kept"].sum() == 1
    assert table.loc[table["kept"], "l0"].item() == table["l0"].min()
    assert table["seed"].nunique() == 3
    assert table["fvu"].max() < 0.03  # reconstruction does not tell them apart
    found = sae.W_dec.numpy()
    assert recovery(found, data.dictionary, seed=0).set_index("metric").loc["recall", "value"] >= 0.9
    score = absorption(sae.encode(held.activations), held.codes, found=found, truth=data.dictionary, parent=data.parent)
    assert summarise_absorption(score)["score"] < 0.1


def test_restarts_leave_out_what_explains_less(monkeypatch):
    made = iter([0.5, 0.02, 0.021])

    def fake(batches, config, *, seed, checkpoint_dir, **training):
        return next(made), None

    measured = {0.5: {"l0": 1.0, "fvu": 0.5}, 0.02: {"l0": 3.0, "fvu": 0.02}, 0.021: {"l0": 2.0, "fvu": 0.021}}
    monkeypatch.setattr("interp.sae.restarts.train_sae", fake)
    monkeypatch.setattr("interp.sae.restarts._measured", lambda sae, rows: measured[sae])
    sae, table = train_restarts(DATA.stream(), seed=0, held_out=np.zeros((2, 4)))
    assert sae == 0.021
    assert table["kept"].tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"restarts": 0}, "restarts is an integer"),
        ({"held_out": np.zeros((1, 16))}, "held_out"),
        ({"batches": iter([])}, "as often"),
    ],
)
def test_restarts_that_cannot_be_are_refused(change, error):
    args = {"batches": DATA.stream(), "held_out": np.zeros((5, 16)), "seed": 0, "steps": 1, **SMALL} | change
    with pytest.raises(InvalidInput, match=error):
        train_restarts(args.pop("batches"), **args)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_iterations": 0}, "max_iterations"),
        ({"max_iterations": 3, "stop_at": 1.0}, "stop_at"),
        ({}, "no default for max_iterations"),
    ],
)
def test_options_that_cannot_be_are_refused(options, error):
    with pytest.raises(InvalidInput, match=error):
        make_spec(arch="matching_pursuit", d_in=16, d_sae=24, values=options)


def test_config_that_says_other_than_the_options_is_refused():
    spec = make_spec(arch="matching_pursuit", d_in=16, d_sae=24, values={"max_iterations": 3})
    with pytest.raises(InvalidInput, match="max_iterations 4"):
        make_spec(spec.config, arch="matching_pursuit", values={"max_iterations": 4})
