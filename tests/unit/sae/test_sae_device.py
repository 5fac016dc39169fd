"""Training on a device: nothing of a step is on another one, nothing waits for it, and it can be put away and resumed.

Without a GPU the first two are shown on the meta device, where a tensor has a device and no values: every operation
of a step is looked at, and one that touches or makes a tensor of the CPU fails, as it would on CUDA.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sae_planted import plant
from test_sae_train import Killed, kill_at, same_weights
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from interp.errors import InvalidInput, NonFinite
from interp.sae.buffer import MixingBuffer
from interp.sae.learners import TRAINABLE
from interp.sae.learners.topk import aux_of
from interp.sae.settings import make_settings
from interp.sae.sparse_grad import add_rows
from interp.sae.spec import make_spec
from interp.sae.train import train_sae
from interp.sae.trainer import Trainer

OPTIONS = {
    "topk": {"k": 3},
    "gba": {"l0_budget": 6.0, "lowest": 0.004, "period": 2},
    "batchtopk": {"k": 3},
    "matryoshka": {"k": 3, "prefixes": (96, 128)},
    "relu": {"l1": 3.0},
    "gated": {"l1": 5.0},
    "jumprelu": {"l0": 1.0, "bandwidth": 0.5, "threshold": 0.5},
    "matching_pursuit": {"max_iterations": 3, "stop_at": 0.1},
}
WAITS = {"gba": 0.5, "matching_pursuit": 2}  # a step: an adaptation every second one; every pick but the last
AUX = ("topk", "batchtopk", "matryoshka")
DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
PLANTED = plant(s=2, rows=4000).activations
SIZE = {"d_in": 32, "d_sae": 128, "seed": 0, "batch_size": 64, "buffer": 512, "lr": 3e-3, "progress": False}
RUN = SIZE | {"steps": 40, "dead_after": 300, "checkpoint_every": 10, "log_every": 5}


class OneDevice(TorchDispatchMode):
    """Fails at an operation that mixes devices; counts those that wait for a value.

    strict: also fails at one that makes or reads a tensor of the CPU alone. Numbers (of no dimension) may be there.
    """

    def __init__(self, *, strict: bool) -> None:
        super().__init__()
        self.strict, self.waits = strict, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        aten = torch.ops.aten
        if func is aten._local_scalar_dense.default and args[0].is_meta:
            self.waits += 1
            return {torch.bool: True, torch.int64: 3}.get(args[0].dtype, 0.0)
        if func is aten.nonzero.default and args[0].is_meta:
            self.waits += 1
            return torch.empty(20, 1, dtype=torch.int64, device="meta")
        if func is aten._to_copy.default and args[0].is_meta and kwargs.get("device") == torch.device("cpu"):
            self.waits += 1
            return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        out = func(*args, **(kwargs or {}))
        if func is not aten._to_copy.default:  # a copy from one device to another says so
            self._check(func, [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, torch.Tensor)])
        return out

    def _check(self, func: Any, tensors: list[torch.Tensor]) -> None:
        devices = {tensor.device.type for tensor in tensors if tensor.ndim}
        if len(devices) > 1 or (self.strict and "cpu" in devices):
            raise AssertionError(f"{func} is on {' and '.join(sorted(devices))}")


def meta_trainer(arch: str, transcoder: bool) -> Trainer:
    """Return a run that was started on the meta device, with batches there."""
    stated = {"d_out": 9, "skip_connection": True} if transcoder else {}
    spec = make_spec(arch=arch, d_in=32, d_sae=128, values=OPTIONS[arch], stated=stated)
    settings = make_settings(seed=0, steps=100, batch_size=64, buffer=512, dead_after=1000, log_every=100)
    trainer = Trainer(spec, settings, "meta")
    width = 41 if transcoder else 32
    x, y = trainer._split(torch.empty(512, width, dtype=torch.float64, device="meta"))
    with OneDevice(strict=False):
        rng = np.random.default_rng(0)
        trainer.learner = spec.learner.start(spec.config, settings, trainer.spec.options, x, y, rng)
    trainer._optimizer = trainer._adam()
    trainer._buffer = iter(torch.empty(50, 64, width, device="meta").unbind())  # type: ignore[assignment]
    return trainer


def made(arch: str, *, transcoder: bool) -> bool:
    return not (transcoder and arch in ("gba", "matching_pursuit"))


CASES = [(arch, transcoder) for arch in TRAINABLE for transcoder in (False, True) if made(arch, transcoder=transcoder)]


@pytest.mark.parametrize(("arch", "transcoder"), CASES)
def test_a_step_stays_on_its_device_and_does_not_wait_for_it(arch, transcoder):
    trainer = meta_trainer(arch, transcoder)
    learner = trainer.learner
    assert {value.device.type for value in learner.weights.values()} == {"meta"}
    assert {value.device.type for value in learner.state.values() if value.ndim} == {"meta"}
    with OneDevice(strict=True) as mode:
        trainer._one_step()
        learner._none_dead_until = 10**9  # asked once, and nothing was dead
        mode.waits = 0
        for _ in range(4):
            trainer._one_step()
    assert mode.waits == 4 * WAITS.get(arch, 0)
    for value in learner.weights.values():  # what Adam as one kernel asks for
        assert value.grad is not None
        assert value.grad.stride() == value.stride()
        assert value.is_contiguous()
    with OneDevice(strict=False):
        row = trainer._report()
        sae = learner.finished(2.0, 2.0)
    assert row["step"] == 5
    assert {value.device.type for value in sae.weights().values()} == {"meta"}


@pytest.mark.parametrize("arch", AUX)
def test_a_step_with_dead_latents_stays_on_its_device(arch):
    trainer = meta_trainer(arch, False)
    with OneDevice(strict=True) as mode:
        for _ in range(3):
            trainer._one_step()
    assert mode.waits == 3  # how many are dead, once a step


def test_the_check_sees_a_forgotten_device():
    x = torch.empty(4, 3, device="meta")
    for wrong in (lambda: x + torch.zeros(3), lambda: x[torch.arange(2)], lambda: torch.zeros(5)):
        with OneDevice(strict=True), pytest.raises(AssertionError, match="cpu"):
            wrong()
    with OneDevice(strict=True) as mode:
        float(x.sum())
        bool((x > 0).any())
    assert mode.waits == 2


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("arch", list(TRAINABLE))
def test_killed_run_goes_on_to_the_same_bits_on_every_device(arch, device, tmp_path):
    args = RUN | {"arch": arch, "device": device, **OPTIONS[arch]}
    whole, history = train_sae(PLANTED, **args)
    with pytest.raises(Killed):
        train_sae(PLANTED, checkpoint_dir=tmp_path, log=kill_at(25), **args)
    resumed, again = train_sae(PLANTED, checkpoint_dir=tmp_path, **args)
    assert same_weights(whole, resumed)
    assert history.equals(again)
    assert whole.W_dec.device.type == "cpu"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("arch", list(TRAINABLE))
def test_every_device_trains_the_same_sae(arch, device):
    args = RUN | {"arch": arch, "steps": 8, **OPTIONS[arch]}
    on_cpu, expected = train_sae(PLANTED, **args)
    there, history = train_sae(torch.from_numpy(PLANTED).to(device), **args)  # the device of the tensor is taken
    for name, value in on_cpu.weights().items():
        torch.testing.assert_close(there.weights()[name], value, rtol=2e-2, atol=2e-3)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-3)


@pytest.mark.parametrize("device", DEVICES)
def test_a_checkpoint_is_resumed_on_another_device(device, tmp_path):
    args = RUN | {"k": 3}
    whole, _ = train_sae(PLANTED, device=device, **args)
    with pytest.raises(Killed):
        train_sae(PLANTED, checkpoint_dir=tmp_path, log=kill_at(25), device=device, **args)
    resumed, _ = train_sae(PLANTED, checkpoint_dir=tmp_path, device="cpu", **args)
    torch.testing.assert_close(resumed.W_dec, whole.W_dec, rtol=5e-2, atol=5e-3)


@pytest.mark.parametrize("device", DEVICES)
def test_buffer_serves_the_same_order_on_every_device(device):
    def served(where: str) -> torch.Tensor:
        rng = np.random.default_rng(0)
        parts = iter(np.array_split(PLANTED[:2000], 20))
        buffer = MixingBuffer(parts, d_in=32, batch_size=64, capacity=512, rng=rng, device=where)
        batches = list(buffer)
        assert {batch.device.type for batch in batches} == {where}
        return torch.cat(batches).cpu()

    assert torch.equal(served(device), served("cpu"))


@pytest.mark.parametrize("device", DEVICES)
def test_rows_are_added_in_order_on_every_device(device):
    index = torch.randint(5, (4000,), generator=torch.Generator().manual_seed(0)).to(device)
    rows = torch.randn(4000, 7, generator=torch.Generator().manual_seed(1)).to(device)
    found = [torch.zeros(5, 7, device=device) for _ in range(5)]
    for out in found:
        add_rows(out, index, rows)
    assert all(torch.equal(out, found[0]) for out in found)
    expected = torch.stack([rows.double()[index == i].sum(dim=0) for i in range(5)])
    torch.testing.assert_close(found[0].double(), expected, rtol=1e-4, atol=1e-3)


def short_trainer(**change: Any) -> Trainer:
    spec = make_spec(arch="topk", d_in=32, d_sae=128, values={"k": 3})
    settings = {"seed": 0, "steps": 40, "batch_size": 64, "buffer": 512, "lr": 3e-3} | change
    return Trainer(spec, make_settings(**settings))


def test_dead_latents_are_not_asked_for_before_one_can_be_dead():
    trainer = short_trainer(dead_after=640)
    trainer.open(PLANTED, None)
    learner, asked = trainer.learner, []
    dead = learner.dead
    learner.dead = lambda: asked.append(trainer.step) or dead()  # type: ignore[method-assign]
    found = []
    for _ in range(30):
        expected = dead().nonzero().flatten()
        aux = aux_of(learner, 8)
        found.append(0 if aux is None else len(aux.dead))
        assert found[-1] == len(expected)
        trainer._one_step()
    assert max(found) > 0
    assert set(asked) & set(range(1, 10)) == set()  # after step 0 none can be dead for 10 batches


def test_weights_that_are_not_finite_are_never_put_away(tmp_path):
    trainer = short_trainer(checkpoint_every=10)
    trainer.open(PLANTED, tmp_path)
    trainer.run(progress=False, log=None, until=10)
    assert [path.name for path in tmp_path.iterdir()] == ["step_000000010"]
    trainer.learner.weights["W_enc"][3, 5] = torch.nan
    with pytest.raises(NonFinite, match="W_enc is not finite at step 10"):
        trainer._save(tmp_path)
    trainer.device = torch.device("meta")  # where the loss is looked at before a checkpoint only
    trainer._window._sums[0] = torch.inf
    with pytest.raises(NonFinite, match="the loss is inf"):
        trainer._save(tmp_path)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", 1.5])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(InvalidInput, match="device"):
        train_sae(PLANTED, device=device, k=3, **RUN)
