"""A stream of activations, shuffled: neighbours in a text must not be neighbours in a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp.errors import InvalidInput, NonFinite
from interp.sae.ranks import ALONE, Ranks

Batches = Callable[[int], Iterator[Any]] | Iterable[Any] | np.ndarray | Tensor
"""Where activations come from: see `open_source`."""

ARRAY_CHUNK = 4096


@dataclass(frozen=True)
class OwnPart:
    """A function of the first batch number that gives this process's batches only, numbered from 0."""

    batches: Callable[[int], Iterator[Any]]

    def __call__(self, start: int) -> Iterator[Any]:
        """Return this process's batches from its number `start` on."""
        return self.batches(start)


def open_source(
    batches: Batches | OwnPart, *, seed: int, start: int = 0, first_digest: str | None = None, ranks: Ranks = ALONE
) -> Iterator[Any]:
    """Return the activations of `batches` from source batch number `start` on.

    `batches` is one of: a function that is given `start` and returns an iterator (so it can skip cheaply); an
    iterable of [n, d_in] arrays or tensors, whose first `start` items are read and dropped; or one [n, d_in] array,
    which is served again and again, each time in a new order.

    Of several processes each reads batches rank, rank + world, ... of what is the same on all, and numbers its own;
    `OwnPart` is a function that gives those alone, so that others need not be made.

    Raises:
        InvalidInput: the first batch is not the one with `first_digest`: these are other activations.
    """
    if first_digest is None or start == 0:
        return _opened(batches, seed, start, ranks)
    head = _opened(batches, seed, 0, ranks)
    first = next(head, None)
    if first is None or digest(first) != first_digest:
        raise InvalidInput(
            "the checkpoint was trained on other activations (their first batch differs). Give the same text and "
            "model, or another checkpoint folder."
        )
    one_pass = not callable(batches) and not isinstance(batches, np.ndarray | Tensor | OwnPart)
    return islice(head, start - 1, None) if one_pass else _opened(batches, seed, start, ranks)


def _opened(batches: Batches | OwnPart, seed: int, start: int, ranks: Ranks) -> Iterator[Any]:
    if isinstance(batches, OwnPart):
        return iter(batches(start))
    first = start * ranks.world + ranks.rank
    if isinstance(batches, np.ndarray | Tensor):
        every = _array_source(batches, seed, first)
    elif callable(batches):
        every = iter(batches(first))
    else:
        return islice(iter(batches), first, None, ranks.world)
    return every if ranks.world == 1 else islice(every, 0, None, ranks.world)


def _array_source(array: np.ndarray | Tensor, seed: int, start: int) -> Iterator[Any]:
    if array.ndim != 2 or len(array) == 0:
        raise InvalidInput(f"activations are [n, d_in] with n > 0; given {list(array.shape)}.")
    per_epoch = -(-len(array) // ARRAY_CHUNK)
    number = start
    while True:
        epoch, chunk = divmod(number, per_epoch)
        order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch,))).permutation(len(array))
        for first in range(chunk * ARRAY_CHUNK, len(array), ARRAY_CHUNK):
            yield array[order[first : first + ARRAY_CHUNK]]
            number += 1


class MixingBuffer:
    """Serves [batch_size, d_in] float32 batches from a shuffled store of `capacity` vectors.

    The store is filled, shuffled, half of it served, then filled again: a vector is served at most once, and may
    wait through many refills. Everything needed to go on from the same place is in `state()`.

    The store is on `device`; the order is drawn on the CPU, so that it is the same on every device.
    """

    def __init__(
        self,
        source: Iterator[Any],
        *,
        d_in: int,
        batch_size: int,
        capacity: int,
        rng: np.random.Generator,
        device: torch.device | str = "cpu",
    ) -> None:
        if capacity < 2 * batch_size:
            raise InvalidInput(f"a mixing buffer of {capacity} vectors cannot serve batches of {batch_size}; give 2x.")
        self._source, self._rng = source, rng
        self._d_in, self._batch_size, self._capacity = d_in, batch_size, capacity
        self._device = torch.device(device)
        self._held = self._ready = torch.empty(0, d_in, device=self._device)
        self._served = 0
        self._ended = False
        self.n_read = 0
        self.first_digest: str | None = None

    def peek(self) -> Tensor:
        """Return the vectors in store [n, d_in] after the first filling, without serving any."""
        if self.n_read == 0:
            self._refill()
        return torch.cat([self._ready[self._served :], self._held])

    def __iter__(self) -> MixingBuffer:
        return self

    def __next__(self) -> Tensor:
        while len(self._ready) - self._served < self._batch_size:
            if self._ended and len(self._held) == 0:
                raise StopIteration  # the last, incomplete batch is not served
            self._refill()
        self._served += self._batch_size
        return self._ready[self._served - self._batch_size : self._served]

    def _refill(self) -> None:
        parts = [self._ready[self._served :], self._held]
        total = sum(map(len, parts))
        while total < self._capacity and not self._ended:
            item = next(self._source, None)
            if item is None:
                self._ended = True
            else:
                parts.append(self._checked(item))
                total += len(parts[-1])
        rows = torch.cat(parts)
        rows = rows[torch.from_numpy(self._rng.permutation(len(rows))).to(self._device)]
        cut = len(rows) if self._ended else max(self._batch_size, len(rows) // 2)
        self._ready, self._held, self._served = rows[:cut], rows[cut:], 0

    def _checked(self, item: Any) -> Tensor:
        rows = torch.as_tensor(item)
        if rows.ndim != 2 or rows.shape[1] != self._d_in:
            raise InvalidInput(
                f"source batch {self.n_read} is {list(rows.shape)}; an SAE with d_in {self._d_in} is trained on "
                f"[n, {self._d_in}]."
            )
        rows = rows.detach().to(self._device, torch.float32)
        if not bool(torch.isfinite(rows).all()):
            raise NonFinite(f"source batch {self.n_read} holds NaN or infinity.")
        if self.n_read == 0 and self.first_digest is None:
            self.first_digest = digest(rows)
        self.n_read += 1
        return rows

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the vectors in store as tensors on the CPU, and the rest (counters, generator) as JSON values."""
        tensors = {"ready": self._ready[self._served :].cpu().clone(), "held": self._held.cpu().clone()}
        rest = {"n_read": self.n_read, "ended": self._ended, "first_digest": self.first_digest}
        return tensors, rest | {"rng": self._rng.bit_generator.state}

    def restore(self, tensors: dict[str, Tensor], rest: dict[str, Any]) -> None:
        """Go on from a saved state; the source has to start at source batch `rest["n_read"]`."""
        self._ready, self._held = (tensors[name].to(self._device) for name in ("ready", "held"))
        self._served = 0
        self.n_read, self._ended, self.first_digest = rest["n_read"], rest["ended"], rest["first_digest"]
        self._rng.bit_generator.state = rest["rng"]


def digest(rows: Any) -> str:
    """Return the sha256 of a batch as float32: tells one source of activations from another."""
    values = torch.as_tensor(rows).detach().to("cpu", torch.float32)
    return hashlib.sha256(np.ascontiguousarray(values.numpy()).tobytes()).hexdigest()
