"""Work units on Ray Data: actors that hold what all units share, and hand their values to the one process that writes.

Ray schedules, restarts what was killed and moves the data; nothing here does. Actors need no common folder, and since
they write nothing, one that dies in the middle of a unit leaves nothing behind: the unit is computed anew elsewhere.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from interp.errors import InvalidInput, ResourceExhausted

ATTEMPTS = 8
"""Times that a unit is begun, where each time its actor dies."""
LOCAL_STORE = 2**30  # bytes of shared memory of a Ray started here; what is beyond goes to the disk


def values_on_ray(
    units: Sequence[str],
    compute: Callable[[Any], Any],
    *,
    given: Callable[[str], Any],
    workers: int | None = None,
    threads: int = 1,
    gpu: bool = False,
) -> Generator[tuple[str, Any]]:
    """Yield (unit, compute(given(unit))) as units are finished, in any order.

    A Ray that runs is used (the one that was initialised, or that RAY_ADDRESS names); otherwise one is started on
    this machine and ended again.

    Args:
        compute: sent to every actor once, so it may hold a model.
        given: what a unit is computed from; sent with the unit.
        workers: actors; default one a GPU, or as many as the CPUs have room for.
        threads: CPU threads that `compute` uses.
        gpu: whether it needs a GPU.

    Raises:
        InvalidInput: Ray is not installed, or has no GPU where one is needed.
        ResourceExhausted: a unit whose actor died `ATTEMPTS` times. And whatever `compute` raises.
    """
    if not units:
        return
    ray = _ray()
    with _cluster(ray), _quiet(ray):
        has = ray.cluster_resources()
        n, cpus = actors(has.get("CPU", 1), has.get("GPU", 0), workers=workers, threads=threads, gpu=gpu)
        begun = ray.remote(num_cpus=0)(_Begun).remote()
        # from_items puts the units where actors find them: no read task, so nothing else ever waits for a CPU
        rows = [{"unit": unit, "given": _Box(given(unit))} for unit in units]
        found = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _Actor, fn_constructor_args=(ray.put(compute), begun), batch_size=1, num_cpus=cpus,
            num_gpus=1 if gpu else 0,
            compute=ray.data.ActorPoolStrategy(size=min(n, len(rows)), max_tasks_in_flight_per_actor=2),
        )  # fmt: skip
        for batch in found.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=0):
            value = batch["value"][0].content
            if isinstance(value, Exception):
                raise value
            yield str(batch["unit"][0]), value


def actors(
    cpus: float, gpus: float, *, workers: int | None = None, threads: int = 1, gpu: bool = False
) -> tuple[int, float]:
    """Return how many actors, and the CPUs that each reserves: together less than there are, whatever is asked for.

    Ray Data runs its own tasks on the same CPUs. Actors that reserve all of them leave none, and both wait for ever.

    >>> actors(2, 0)
    (2, 0.5)
    """
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise InvalidInput(f"workers is a whole number from 1, not {workers!r}.")
    if gpu and gpus < (workers or 1):
        raise InvalidInput(f"the model is on a GPU and Ray has {gpus:g} for {workers or 1} workers; use --device cpu.")
    n = workers or (int(gpus) if gpu else max(1, int(cpus) // threads))
    share = min(float(threads), max(cpus - 1, cpus / 2) / n)
    # Ray counts parts of a CPU, or whole ones
    return n, float(int(share)) if share >= 1 else int(share * 1000) / 1000


class _Begun:
    """Counts how often each unit was begun: Ray restarts for ever what one unit may kill each time."""

    def __init__(self) -> None:
        self.times: Counter[str] = Counter()

    def count(self, unit: str) -> int:
        self.times[unit] += 1
        return self.times[unit]


class _Actor:
    def __init__(self, held: Any, begun: Any) -> None:
        import ray

        self.get: Any = ray.get
        self.compute, self.begun = self.get(held), begun

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        unit = str(batch["unit"][0])
        value = np.empty(1, dtype=object)
        value[0] = _Box(self._value(unit, batch["given"][0].content))
        return {"unit": np.array([unit]), "value": value}

    def _value(self, unit: str, given: Any) -> Any:
        if self.get(self.begun.count.remote(unit)) > ATTEMPTS:
            return ResourceExhausted(
                f"unit {unit!r} ended its worker {ATTEMPTS} times, most likely for want of memory: take a smaller "
                "batch_tokens, fewer workers or a larger machine. What is finished is kept."
            )
        try:
            return self.compute(given)
        except Exception as error:  # the one that was raised, not Ray's account of it
            error.add_note(f"while computing unit {unit!r}; units finished before it are kept")
            return error


class _Box:
    """Keeps Ray from reading a value as an array of its own."""

    def __init__(self, content: Any) -> None:
        self.content = content


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report home
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InvalidInput(
            f"{error}: the engine 'ray' needs Ray, pip install 'interp[ray]'; 'local' needs nothing."
        ) from None
    return ray


@contextmanager
def _cluster(ray: Any) -> Iterator[None]:
    """Use the Ray that runs, or one of this machine for as long as the body takes."""
    if ray.is_initialized():
        yield
        return
    if "RAY_ADDRESS" in os.environ:
        ray.init(logging_level=logging.ERROR, log_to_driver=False)
    else:
        ray.init(num_cpus=len(os.sched_getaffinity(0)), include_dashboard=False, object_store_memory=LOCAL_STORE,
                 logging_level=logging.ERROR, log_to_driver=False)  # fmt: skip
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """No bars and no plan of execution: the run shows its own progress."""
    context, logger = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    before, level = (context.enable_progress_bars, context.print_on_execution_start), logger.level
    context.enable_progress_bars = context.print_on_execution_start = False
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars, context.print_on_execution_start = before
        logger.setLevel(level)
