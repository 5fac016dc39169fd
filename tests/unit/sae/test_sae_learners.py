"""Every architecture finds a planted dictionary, finds none in noise, goes on after a kill, and ends as it trained."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from sae_planted import plant, recall
from test_sae_train import Killed, kill_at, same_weights

from interp.errors import InvalidInput
from interp.sae.learners import TRAINABLE
from interp.sae.settings import make_settings
from interp.sae.spec import make_spec
from interp.sae.train import train_sae
from interp.sae.trainer import Trainer

OPTIONS = {
    "topk": {"k": 3},
    "batchtopk": {"k": 3},
    "matryoshka": {"k": 3, "prefixes": (96, 128)},
    "relu": {"l1": 3.0},
    "gated": {"l1": 5.0},
    "jumprelu": {"l0": 1.0, "bandwidth": 0.5, "threshold": 0.5},
}
EXACT = [name for name in OPTIONS if name not in ("batchtopk", "matryoshka")]
ARCHS = list(OPTIONS)
PLANTED = plant(s=2, rows=40_000)
SIZE = {"d_in": 32, "d_sae": 128, "seed": 0, "batch_size": 256, "buffer": 8192, "lr": 5e-3, "progress": False}


@cache
def trained(arch: str):
    return train_sae(PLANTED.activations, arch=arch, steps=1000, **SIZE, **OPTIONS[arch])


def mmcs(dictionary: np.ndarray, truth: np.ndarray) -> float:
    """Mean over true directions of the largest cosine with a found one."""
    unit = dictionary / np.linalg.norm(dictionary, axis=1, keepdims=True)
    return float((truth @ unit.T).max(axis=1).mean())


def random_mmcs(truth: np.ndarray, d_sae: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.array([mmcs(rng.standard_normal((d_sae, truth.shape[1])), truth) for _ in range(200)])


@pytest.mark.parametrize("arch", ARCHS)
def test_planted_dictionary_is_recovered(arch):
    sae, history = trained(arch)
    assert recall(sae.W_dec.numpy(), PLANTED.dictionary) >= 0.95
    assert mmcs(sae.W_dec.numpy(), PLANTED.dictionary) > 0.97
    x = torch.from_numpy(PLANTED.activations[:5000])
    fvu = float((sae(x) - x).square().sum() / (x - x.mean(dim=0)).square().sum())
    assert fvu < (0.2 if arch == "relu" else 0.06)  # the L1 penalty shrinks
    assert fvu == pytest.approx(history["fvu"].iloc[-1], rel=0.1)
    assert 1.9 < float((sae.encode(x) > 0).sum(dim=1).double().mean()) < 4.0


@pytest.mark.parametrize("arch", ARCHS)
def test_features_of_noise_are_no_nearer_to_a_dictionary_than_random_ones(arch):
    noise = np.random.default_rng(1).standard_normal((20_000, 32)).astype(np.float32)
    sae, _ = train_sae(noise, arch=arch, steps=300, **SIZE, **OPTIONS[arch])
    chance = random_mmcs(PLANTED.dictionary, 128)
    assert recall(sae.W_dec.numpy(), PLANTED.dictionary) == 0.0
    assert abs(mmcs(sae.W_dec.numpy(), PLANTED.dictionary) - chance.mean()) < 5 * chance.std()


@pytest.mark.parametrize("arch", ARCHS)
def test_killed_run_goes_on_to_the_same_bits(arch, tmp_path):
    args = SIZE | {"batch_size": 64, "buffer": 512, "steps": 40, "dead_after": 300, "checkpoint_every": 10}
    args |= {"arch": arch, "log_every": 5, **OPTIONS[arch]}
    whole, history = train_sae(PLANTED.activations[:2000], **args)
    with pytest.raises(Killed):
        train_sae(PLANTED.activations[:2000], checkpoint_dir=tmp_path, log=kill_at(25), **args)
    resumed, again = train_sae(PLANTED.activations[:2000], checkpoint_dir=tmp_path, **args)
    assert same_weights(whole, resumed)
    assert history.equals(again)


def short_run(arch: str, *, transcoder: bool, steps: int = 60) -> tuple[Trainer, torch.Tensor, torch.Tensor]:
    """A run on data with a mean and a scale of their own."""
    x = PLANTED.activations * 7.0 + np.linspace(-9, 9, 32, dtype=np.float32)
    y = (np.maximum(PLANTED.activations, 0) @ np.random.default_rng(3).standard_normal((32, 9)) * 0.2 - 4.0).astype("f")
    stated = {"d_out": 9, "skip_connection": True} if transcoder else {}
    spec = make_spec(arch=arch, d_in=32, d_sae=128, values=OPTIONS[arch], stated=stated)
    trainer = Trainer(spec, make_settings(seed=0, steps=steps, batch_size=256, buffer=4096, lr=5e-3))
    trainer.open((x, y) if transcoder else x, None)
    trainer.run(progress=False, log=None)
    return trainer, torch.from_numpy(x[:500]), torch.from_numpy(y[:500] if transcoder else x[:500])


@pytest.mark.parametrize("transcoder", [False, True])
@pytest.mark.parametrize("arch", [name for name in EXACT if name != "topk"])
def test_finished_sae_is_the_one_that_was_trained(arch, transcoder):
    trainer, x, y = short_run(arch, transcoder=transcoder)
    c, d = trainer.input_scale, trainer.output_scale
    assert abs(c - 1) > 0.1  # scaling that is not undone would show
    learner, sae = trainer.learner, trainer.finished()
    with torch.no_grad():
        forward = learner.forward(learner.weights, x * c, y * d, step=59)  # type: ignore[attr-defined]
    length = learner.weights["W_dec"].norm(dim=1) if arch == "relu" else 1.0
    torch.testing.assert_close(sae.encode(x), forward.latents * length / d, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(sae(x), forward.y_hat / d, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(128), rtol=0, atol=1e-6)


@pytest.mark.parametrize("transcoder", [False, True])
@pytest.mark.parametrize("arch", ["batchtopk", "matryoshka"])
def test_finished_sae_keeps_what_is_above_the_running_threshold(arch, transcoder):
    trainer, x, _ = short_run(arch, transcoder=transcoder)
    c, d = trainer.input_scale, trainer.output_scale
    w, sae = trainer.learner.weights, trainer.finished()
    rows = x * c if transcoder else x * c - w["b_dec"]
    pre = rows @ w["W_enc"] + w["b_enc"]
    threshold = trainer.learner.threshold()  # type: ignore[attr-defined]
    assert threshold > 0
    torch.testing.assert_close(sae.encode(x), pre * (pre > threshold) / d, rtol=1e-3, atol=1e-4)
    out = (pre * (pre > threshold)) @ w["W_dec"] + w["b_dec"]
    torch.testing.assert_close(sae(x), (out + x * c @ w["W_skip"].T if transcoder else out) / d, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("arch", ["batchtopk", "matryoshka"])
def test_latents_at_run_time_are_nearly_as_many_as_in_training(arch):
    sae, history = trained(arch)
    x = torch.from_numpy(PLANTED.activations)
    assert history["l0"].iloc[-1] == pytest.approx(3.0, abs=0.01)
    assert float((sae.encode(x) > 0).sum(dim=1).double().mean()) == pytest.approx(3.0, rel=0.1)


def test_running_threshold_is_the_weighted_mean_of_the_smallest_kept():
    spec = make_spec(arch="batchtopk", d_in=32, d_sae=128, values={"k": 3, "decay": 0.5})
    settings = make_settings(seed=0, steps=10)
    x = torch.from_numpy(PLANTED.activations[:500]).double()
    learner = spec.learner.start(spec.config, settings, spec.filled(settings).options, x, x, np.random.default_rng(0))
    latents = torch.zeros(4, 128)
    for value in (3.0, 5.0, 9.0):
        latents[0, 0], latents[1, 1] = value, 20.0
        learner.observe(latents)  # type: ignore[attr-defined]
    learner.observe(torch.zeros(4, 128))  # a batch that kept nothing says nothing
    assert learner.threshold() == pytest.approx((3 * 0.25 + 5 * 0.5 + 9) / 1.75)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("steps", "decay"), [(40, 0.8), (1000, 0.96), (10**6, 0.999)])
def test_running_threshold_is_over_the_last_fortieth_of_the_run(steps, decay):
    spec = make_spec(arch="batchtopk", d_in=32, d_sae=128, values={"k": 3})
    assert spec.filled(make_settings(seed=0, steps=steps)).to_dict()["decay"] == pytest.approx(decay)


@pytest.mark.parametrize("arch", ARCHS)
def test_transcoder_learns_its_targets(arch):
    trainer, x, y = short_run(arch, transcoder=True, steps=200)
    residual = float((trainer.finished()(x) - y).square().sum())
    assert residual < 0.6 * float((y - y.mean(dim=0)).square().sum())


@pytest.mark.parametrize(
    ("arch", "options", "match"),
    [
        ("relu", {"l1": 0.0}, "l1 is a number above 0"),
        ("relu", {"l1": 1.0, "warmup": 1.5}, "warmup is a share"),
        ("relu", {}, "no default for l1"),
        ("gated", {"l1": float("nan")}, "l1 is a number above 0"),
        ("jumprelu", {"l0": 1.0, "bandwidth": -1.0}, "bandwidth is a number above 0"),
        ("batchtopk", {"k": 129}, "more than the 128 latents"),
        ("batchtopk", {"k": 2, "decay": 2.0}, "decay is a share"),
        ("matryoshka", {"k": 2, "prefixes": (64, 32, 128)}, "rising from 1 to d_sae = 128"),
        ("matryoshka", {"k": 2, "prefixes": (64, 100)}, "rising from 1 to d_sae = 128"),
        ("matryoshka", {"k": 2, "prefixes": ()}, "rising from 1 to d_sae = 128"),
    ],
)
def test_options_out_of_range_are_refused(arch, options, match):
    with pytest.raises(InvalidInput, match=match):
        make_spec(arch=arch, d_in=32, d_sae=128, values=options)


def test_prefixes_of_the_paper_are_taken_by_default():
    spec = make_spec(arch="matryoshka", d_in=32, d_sae=64, values={"k": 2})
    assert spec.filled(make_settings(seed=0, steps=10)).to_dict()["prefixes"] == [2, 6, 14, 30, 64]


def test_every_architecture_here_can_be_trained():
    assert set(OPTIONS) <= set(TRAINABLE)
