"""The mixing buffer serves every vector at most once, mixed, and goes on from a saved state."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from interp.errors import InvalidInput, NonFinite
from interp.sae.buffer import MixingBuffer, digest, open_source


def numbered(n_batches: int, size: int = 10):
    """Source batches of width 2 whose first column is the running number of the vector."""
    return [
        torch.stack([torch.arange(i * size, (i + 1) * size).float(), torch.ones(size)], dim=1) for i in range(n_batches)
    ]


def make_buffer(source, *, capacity=64, batch_size=16, seed=0) -> MixingBuffer:
    return MixingBuffer(iter(source), d_in=2, batch_size=batch_size, capacity=capacity, rng=np.random.default_rng(seed))


def test_every_vector_is_served_once_but_the_last_incomplete_batch():
    served = torch.cat(list(make_buffer(numbered(20))))[:, 0].tolist()
    assert len(served) == 192  # 200 less the rest of 8
    assert len(set(served)) == len(served)
    assert set(served) <= set(range(200))


def test_batches_are_mixed_across_source_batches():
    first = next(make_buffer(numbered(20)))[:, 0]
    assert len(set((first // 10).tolist())) > 3


def test_capacity_below_two_batches_is_refused():
    with pytest.raises(InvalidInput, match="give 2x"):
        make_buffer(numbered(2), capacity=31)


def test_peeking_serves_nothing():
    peeked, plain = make_buffer(numbered(20)), make_buffer(numbered(20))
    assert len(peeked.peek()) == 70  # filled by whole source batches to at least 64
    assert all(torch.equal(a, b) for a, b in zip(peeked, plain, strict=True))


@pytest.mark.parametrize("stop", [0, 1, 3, 7, 11])
def test_restored_buffer_serves_the_same_batches(stop):
    source = numbered(20)
    buffer = make_buffer(source)
    buffer.peek()
    for _ in range(stop):
        next(buffer)
    tensors, rest = buffer.state()
    expected = list(buffer)
    again = make_buffer(source[rest["n_read"] :], seed=99)
    again.restore(tensors, rest)
    found = list(again)
    assert len(found) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("bad", [torch.zeros(3), torch.zeros(3, 5)])
def test_source_batch_of_another_shape_is_refused(bad):
    with pytest.raises(InvalidInput, match="source batch 1"):
        next(make_buffer([torch.zeros(10, 2), bad]))


def test_source_batch_with_nan_is_refused():
    with pytest.raises(NonFinite, match="source batch 2"):
        next(make_buffer([*numbered(2), torch.full((4, 2), float("nan"))]))


def test_array_is_served_in_a_new_order_each_epoch():
    array = np.arange(40, dtype=np.float32).reshape(20, 2)
    source = open_source(array, seed=0)
    one, two = next(source), next(source)
    assert sorted(one[:, 0]) == sorted(two[:, 0]) == sorted(array[:, 0])
    assert not np.array_equal(one, two)


@pytest.mark.parametrize("kind", ["array", "list", "function"])
def test_source_opened_later_equals_the_rest(kind):
    array = np.random.default_rng(0).standard_normal((9000, 2)).astype(np.float32)
    parts = [array[i : i + 1000] for i in range(0, 9000, 1000)]
    batches = {"array": array, "list": parts, "function": lambda start: iter(parts[start:])}[kind]
    whole = open_source(batches, seed=3)
    expected = [next(whole) for _ in range(5)]
    later = open_source(batches, seed=3, start=2, first_digest=digest(expected[0]))
    for want in expected[2:]:
        np.testing.assert_array_equal(next(later), want)


def test_other_activations_are_refused_on_resuming():
    with pytest.raises(InvalidInput, match="other activations"):
        open_source(numbered(5), seed=0, start=2, first_digest=digest(torch.zeros(10, 2)))
