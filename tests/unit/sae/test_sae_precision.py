"""bfloat16 is of the matrix products alone, of the architectures that take it, and part of what a run is."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sae_planted import plant, recall
from test_sae_device import DEVICES, OPTIONS
from test_sae_train import Killed, kill_at, same_weights

from interp.errors import InvalidInput
from interp.sae import devices
from interp.sae.io import training_record
from interp.sae.learners import TRAINABLE
from interp.sae.on_model import make_plan, read_finished
from interp.sae.settings import make_settings
from interp.sae.spec import make_spec
from interp.sae.train import train_sae
from interp.sae.trainer import Trainer

MIXED = [arch for arch, (learner, _) in TRAINABLE.items() if learner.mixed]
PLANTED = plant(s=2, rows=20_000)
SIZE = {"d_in": 32, "d_sae": 128, "seed": 0, "batch_size": 256, "buffer": 4096, "lr": 5e-3, "progress": False}


@pytest.fixture(autouse=True)
def any_cpu(monkeypatch):
    """A CPU without instructions for bfloat16 makes the same numbers, slowly."""
    monkeypatch.setattr(devices, "fast_bfloat16", lambda: True)


def test_the_architectures_under_autograd_take_it():
    assert MIXED == ["batchtopk", "matryoshka", "relu", "gated", "jumprelu"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("arch", MIXED)
def test_everything_but_the_products_is_float32(arch, device):
    spec = make_spec(arch=arch, d_in=32, d_sae=128, values=OPTIONS[arch])
    settings = make_settings(seed=0, steps=40, batch_size=256, buffer=1024, precision="bfloat16")
    trainer = Trainer(spec, settings, device)
    trainer.open(PLANTED.activations, None)
    exact = Trainer(spec, make_settings(seed=0, steps=40, batch_size=256, buffer=1024), device)
    exact.open(PLANTED.activations, None)
    x = next(trainer._buffer) * trainer.input_scale
    found, expected = trainer.learner.step(x, x, step=0), exact.learner.step(x, x, step=0)
    assert not torch.equal(found.grads["W_enc"], expected.grads["W_enc"])
    for name, grad in found.grads.items():
        assert grad.dtype == torch.float32
        assert grad.stride() == trainer.learner.weights[name].stride()
        size = float(expected.grads[name].norm())
        assert float((grad - expected.grads[name]).norm()) <= 0.1 * size  # some latents are others
    assert float(found.loss) == pytest.approx(float(expected.loss), rel=1e-2)
    trainer.run(progress=False, log=None, until=3)
    moments = trainer._optimizer.state.values()
    assert {value.dtype for state in moments for value in state.values()} == {torch.float32}


@pytest.mark.parametrize("arch", ["relu", "batchtopk"])
def test_a_planted_dictionary_is_found_all_the_same(arch):
    options = {"relu": {"l1": 3.0}, "batchtopk": {"k": 3}}[arch]
    sae, history = train_sae(PLANTED.activations, arch=arch, steps=600, precision="bfloat16", **SIZE, **options)
    assert recall(sae.W_dec.numpy(), PLANTED.dictionary) >= 0.95
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("arch", [arch for arch in TRAINABLE if arch not in MIXED])
def test_an_architecture_that_does_not_take_it_is_refused_by_name(arch):
    with pytest.raises(InvalidInput, match=rf"{arch} is trained in float32.*relu"):
        train_sae(PLANTED.activations, arch=arch, steps=9, precision="bfloat16", **SIZE, **OPTIONS[arch])


def test_what_is_no_precision_and_a_cpu_without_it_are_refused(monkeypatch):
    args = SIZE | {"arch": "relu", "l1": 3.0, "steps": 9}
    with pytest.raises(InvalidInput, match="'float32' or 'bfloat16', not 'float16'"):
        train_sae(PLANTED.activations, precision="float16", **args)
    monkeypatch.setattr(devices, "fast_bfloat16", lambda: False)
    with pytest.raises(InvalidInput, match="this CPU"):
        train_sae(PLANTED.activations, precision="bfloat16", **args)


def test_a_run_is_resumed_in_its_own_precision(tmp_path):
    args = SIZE | {"arch": "relu", "l1": 3.0, "steps": 40, "checkpoint_every": 10, "log_every": 5}
    whole, _ = train_sae(PLANTED.activations, precision="bfloat16", **args)
    with pytest.raises(Killed):
        train_sae(PLANTED.activations, precision="bfloat16", checkpoint_dir=tmp_path, log=kill_at(25), **args)
    with pytest.raises(InvalidInput, match="precision was 'bfloat16', now 'float32'"):
        train_sae(PLANTED.activations, checkpoint_dir=tmp_path, **args)
    resumed, _ = train_sae(PLANTED.activations, precision="bfloat16", checkpoint_dir=tmp_path, **args)
    assert same_weights(whole, resumed)


def test_a_checkpoint_that_says_neither_precision_nor_processes_is_resumed(tmp_path):
    from interp.sae.checkpoint import load_latest, save_checkpoint

    args = SIZE | {"arch": "relu", "l1": 3.0, "steps": 20, "checkpoint_every": 10}
    whole, _ = train_sae(PLANTED.activations, checkpoint_dir=tmp_path, **args)
    (latest,) = sorted(tmp_path.iterdir())[-1:]
    identity = json.loads((latest / "checkpoint.json").read_text())["identity"]
    found = load_latest(tmp_path, identity)
    assert found is not None
    del found.identity["run"], found.identity["settings"]["precision"]
    save_checkpoint(tmp_path, found)
    again, _ = train_sae(PLANTED.activations, checkpoint_dir=tmp_path, **args)
    assert same_weights(whole, again)
    with pytest.raises(InvalidInput, match="precision was 'float32'"):
        train_sae(PLANTED.activations, checkpoint_dir=tmp_path, precision="bfloat16", **args)


def test_records_written_before_there_was_a_precision_are_those_of_float32(tmp_path):
    spec = make_spec(arch="relu", d_in=32, d_sae=128, values={"l1": 3.0})
    settings = {"seed": 0, "steps": 5}
    plain = make_plan(spec, make_settings(**settings), 512, tmp_path / "x").identity()
    other = make_plan(spec, make_settings(precision="bfloat16", **settings), 512, tmp_path / "x").identity()
    assert "precision" not in plain
    assert other == plain | {"precision": "bfloat16"}
    bundled = training_record("atlas/resid_post.2")["identity"]
    assert set(bundled) - set(plain) <= {"k", "k_aux"}  # of its architecture
    assert read_finished(make_plan(spec, make_settings(**settings), 512, tmp_path / "x"), False) is None
