"""Several processes that train one SAE together (torchrun), each on its part of the stream.

A batch is shared out evenly, gradients are averaged, and whatever decides the next step is reduced, so that weights
and state are the same bits on every process; the first one writes. Alone, every reduction gives back what it is given.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import count
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from interp.errors import InvalidInput
from interp.sae.devices import Device, training_device
from interp.work import rank_and_world

PATIENCE = timedelta(hours=2)
"""How long a process waits for the others: the first one also evaluates and writes."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of the group; every method has to be called on all of them."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum over the processes of tensors of one shape."""
        return self._reduced(value, dist.ReduceOp.SUM)

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean over the processes of tensors of one shape."""
        return value if self.world == 1 else self.sum(value) / self.world

    def max(self, value: Tensor) -> Tensor:
        """Return the largest over the processes, entry by entry."""
        return self._reduced(value, dist.ReduceOp.MAX)

    def any(self, value: Tensor) -> Tensor:
        """Return bool: whether an entry is true on any process."""
        return value if self.world == 1 else self.max(value.to(torch.uint8)).bool()

    def means(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the means of several tensors of one type, sent as one."""
        if self.world == 1:
            return values
        flat = self.mean(torch.cat([value.flatten() for value in values.values()]))
        parts = flat.split([value.numel() for value in values.values()])
        return {name: part.view_as(values[name]) for name, part in zip(values, parts, strict=True)}

    def take_first(self, values: list[Tensor]) -> None:
        """Give each tensor the values that it has on the first process, in place."""
        for value in values if self.world > 1 else []:
            dist.broadcast(value, src=0)

    def gathered(self, value: Any) -> list[Any] | None:
        """Return the value of every process, by rank, on the first one; None on the others."""
        if self.world == 1:
            return [value]
        out: list[Any] | None = [None] * self.world if self.first else None
        dist.gather_object(value, out, dst=0)
        return out

    def check_equal(self, number: int, message: str) -> None:
        """Raise InvalidInput with `message` on every process unless the number is the same on all."""
        if self.world == 1:
            return
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, number)
        if len(set(found)) > 1:
            raise InvalidInput(message)

    def wait(self) -> None:
        """Return once every process is here."""
        if self.world > 1:
            dist.barrier()

    def _reduced(self, value: Tensor, how: Any) -> Tensor:
        if self.world == 1:
            return value
        out = value.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(out, how)
        return out


ALONE = Ranks()


def find_ranks() -> Ranks:
    """Return this process's place in the group of `torch.distributed`; `ALONE` where there is no group."""
    if dist.is_available() and dist.is_initialized():
        return Ranks(dist.get_rank(), dist.get_world_size())
    return ALONE


_GROUPS = count()


@cache
def _meeting_place(rank: int, world: int) -> Store:
    """Return the store that the environment names (MASTER_ADDR), opened once for all groups of this process."""
    return next(rendezvous("env://", rank, world, timeout=PATIENCE))[0]


@contextmanager
def process_group(device: Device = None) -> Iterator[torch.device | None]:
    """Join the processes that torchrun started for the length of the body; gives the device of this one.

    Without torchrun, or where there is a group already, nothing is joined and the device is that given (None: open).

    Args:
        device: "cuda" (each process its own), "cpu"; default CUDA where there is a device for each process.

    Raises:
        InvalidInput: no such device, or the processes were started without an address to meet at.
    """
    rank, world = rank_and_world()
    if world == 1 or dist.is_initialized():
        yield None if device is None else training_device(device)
        return
    if "MASTER_ADDR" not in os.environ:
        raise InvalidInput(f"{world} processes without MASTER_ADDR; start them with torchrun --nproc-per-node {world}.")
    local = int(os.environ.get("LOCAL_RANK", rank))
    if device is None:
        device = "cuda" if local < torch.cuda.device_count() else "cpu"
    where = training_device(f"cuda:{local}" if str(device) == "cuda" else device)
    if where.type == "cuda":
        torch.cuda.set_device(where)
    backend = "nccl" if where.type == "cuda" else "gloo"
    # a prefix of its own: a second group would find the addresses of the first, and wait for nobody
    store = PrefixStore(f"interp/{next(_GROUPS)}", _meeting_place(rank, world))
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=PATIENCE)
    try:
        yield where
    finally:
        dist.destroy_process_group()
