"""Two processes train one SAE: both end with the same bits, and with what one process makes of the same batches."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from two_ranks import OPTIONS, PLANTED, SETTINGS

from interp.errors import InvalidInput
from interp.sae.buffer import MixingBuffer, OwnPart, open_source
from interp.sae.config import topk_config
from interp.sae.pairs import joined
from interp.sae.ranks import ALONE, Ranks, process_group
from interp.sae.settings import make_settings
from interp.sae.spec import make_spec
from interp.sae.trainer import Trainer

SCRIPT = Path(__file__).with_name("two_ranks.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("ranks")
    done = subprocess.run([sys.executable, str(SCRIPT), str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return path


def ended(folder: Path, name: str) -> dict[str, np.ndarray]:
    return load_file(folder / f"{name}.safetensors")


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert set(one) == set(other)
    assert [name for name in one if not np.array_equal(one[name], other[name], equal_nan=True)] == []


@pytest.mark.parametrize("arch", list(OPTIONS))
def test_both_processes_end_with_the_same_weights_moments_and_state(folder, arch):
    one = ended(folder, f"{arch}-0")
    assert_same(one, ended(folder, f"{arch}-1"))
    assert len([name for name in one if name.startswith("state.")]) > 0


@pytest.mark.parametrize("arch", ["topk", "gba"])
@pytest.mark.parametrize("rank", [0, 1])
def test_killed_group_goes_on_to_the_same_bits(folder, arch, rank):
    assert max(json.loads((folder / "left.json").read_text())) < "step_000000040"
    assert_same(ended(folder, f"{arch}-resumed-{rank}"), ended(folder, f"{arch}-{rank}"))


def rank_batches(rank: int) -> MixingBuffer:
    """The batches that a process of the group reads."""
    source = open_source(PLANTED, seed=0, ranks=Ranks(rank, 2))
    rng = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(0, rank)))
    return MixingBuffer(source, d_in=32, batch_size=32, capacity=512, rng=rng)


def alone(arch: str) -> Trainer:
    """One process on the batches of both, put behind one another."""
    trainer = Trainer(make_spec(arch=arch, d_in=32, d_sae=128, values=OPTIONS[arch]), make_settings(**SETTINGS))
    first, second = rank_batches(0), rank_batches(1)
    trainer._buffer = first
    trainer._start()
    trainer._buffer = (torch.cat(both) for both in zip(first, second, strict=True))  # type: ignore[assignment]
    trainer.run(progress=False, log=None)
    return trainer


@pytest.mark.parametrize("arch", ["topk", "relu", "gated", "gba", "matching_pursuit"])
def test_two_processes_do_what_one_does_with_the_batches_of_both(folder, arch):
    found, expected = ended(folder, f"{arch}-0"), alone(arch)
    history = np.array([list(row.values()) for row in expected.history])
    columns = list(expected.history[0])
    for name in ("step", "tokens", "loss", "fvu", "l0", "dead_share"):
        column = columns.index(name)
        # fvu: each process measures the variance of its part of a batch about its own mean
        rtol = {"fvu": 0.06, "dead_share": 0.1}.get(name, 2e-3)
        np.testing.assert_allclose(found["history"][:, column], history[:, column], rtol=rtol, atol=1e-2)
    for name, value in expected.learner.weights.items():
        torch.testing.assert_close(torch.from_numpy(found[f"weights.{name}"]), value, rtol=1e-2, atol=2e-3)


def test_what_a_group_cannot_do_is_refused_on_every_process(folder):
    for rank in (0, 1):
        shared, other, unseen = json.loads((folder / f"refused-{rank}.json").read_text())
        assert "63 cannot be shared by 2 processes" in shared
        assert "world was 1, now 2" in other
        assert "disk that all of them share" in unseen


@pytest.mark.parametrize("kind", ["array", "list", "function", "iterator"])
def test_the_parts_of_a_stream_are_the_whole(kind):
    parts = [np.full((3, 2), i, np.float32) for i in range(12)]

    def made():
        return {"list": parts, "function": lambda start: iter(parts[start:]), "iterator": iter(parts)}[kind]

    if kind == "array":
        array = np.arange(40_000, dtype=np.float32).reshape(20_000, 2)
        served = [_first(open_source(array, seed=0, ranks=Ranks(rank, 2)), 5) for rank in (0, 1)]
        whole = _first(open_source(array, seed=0), 10)
        assert all(np.array_equal(served[i % 2][i // 2], whole[i]) for i in range(10))
        return
    numbers = [[int(item[0, 0]) for item in open_source(made(), seed=0, ranks=Ranks(rank, 3))] for rank in range(3)]
    assert numbers == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
    later = [int(item[0, 0]) for item in open_source(made(), seed=0, start=2, ranks=Ranks(1, 3))]
    assert later == [7, 10]


def test_an_own_part_is_read_as_it_is_and_pairs_are_joined_in_it():
    own = OwnPart(lambda start: iter([np.full((2, 3), i, np.float32) for i in range(start, 5)]))
    assert [int(item[0, 0]) for item in open_source(own, seed=0, start=3, ranks=Ranks(1, 2))] == [3, 4]
    pairs = OwnPart(lambda start: iter([(np.ones((2, 3)), np.zeros((2, 4)))]))
    config = topk_config(3, 8, k=1, apply_b_dec_to_input=False, d_out=4, skip_connection=False)
    (both,) = open_source(joined(pairs, config), seed=0)
    assert both.shape == (2, 7)


def _first(items: Iterator, n: int) -> list:
    return [next(items) for _ in range(n)]


def test_alone_every_reduction_gives_back_what_it_is_given():
    x = torch.arange(3.0)
    assert ALONE.sum(x) is x
    assert ALONE.mean(x) is x
    assert ALONE.max(x) is x
    assert ALONE.any(x > 1).tolist() == [False, False, True]
    assert ALONE.means({"a": x})["a"] is x
    assert ALONE.gathered("own") == ["own"]


def test_without_torchrun_no_group_is_joined(monkeypatch):
    with process_group() as device:
        assert device is None
    with process_group("cpu") as device:
        assert device == torch.device("cpu")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(InvalidInput, match="torchrun --nproc-per-node 2"), process_group():
        pass
