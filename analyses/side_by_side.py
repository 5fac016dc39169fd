"""Analyses in processes of their own, a few at a time, into the folder of one run.

Each process is a rank of the store, so that all write beside each other; whatever they finish is kept. A process ends
with the one that started it, however that ended: an orphan would hold the folder's lock.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analyses.job import RunConfig
    from analyses.registry import Analysis

_INTERRUPTED = 130
_MEMORY = 2e9  # bytes that the costliest analysis of the bundled model needs, and some


def default_jobs(n_analyses: int, *, cpus: int, memory: float | None) -> int:
    """Return how many analyses of the bundled model go side by side: as cores and free memory (bytes) allow.

    >>> default_jobs(5, cpus=2, memory=24e9)
    2
    >>> default_jobs(5, cpus=16, memory=5e9)
    2
    """
    room = n_analyses if memory is None else int(memory // _MEMORY)
    return max(1, min(n_analyses, cpus, room))


def run_side_by_side(chosen: Sequence[Analysis], config: RunConfig, folder: Path, jobs: int) -> None:
    """Run analyses into `folder`, `jobs` at a time, the longest first; their tables and figures are there afterwards.

    Raises:
        InterpError, or whatever else the first analysis to fail raised; the others are ended, and what they have
            finished is kept.
    """
    waiting = sorted(enumerate(chosen), key=lambda item: -item[1].seconds)
    running: dict[Connection, BaseProcess] = {}
    threads = max(1, available_cpus() // jobs)
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                rank, analysis = waiting.pop(0)
                ours, process = _start(rank, analysis.name, config, folder, threads)
                running[ours] = process
            ready = wait(list(running))
            for ours in [end for end in running if end in ready]:
                _settle(ours, running.pop(ours))
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.join()


def available_cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(rank: int, name: str, config: RunConfig, folder: Path, threads: int) -> tuple[Connection, BaseProcess]:
    context = get_context("spawn")  # torch has threads of its own, and a fork of those can hang
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, rank, name, config, folder, threads), name=f"interp {name}")
    process.start()
    theirs.close()  # held by the process alone: its end is seen here
    return ours, process


def _settle(ours: Connection, process: BaseProcess) -> None:
    """Take what a process says at its end; raise what it raised."""
    try:
        error, text = ours.recv()
    except EOFError:
        process.join()
        if process.exitcode == _INTERRUPTED:
            raise KeyboardInterrupt from None
        error, text = RuntimeError(f"{process.name} ended with exit code {process.exitcode} and said nothing."), ""
    ours.close()
    process.join()
    if error is not None:
        if text:
            error.add_note(text)
        raise error


def _work(theirs: Connection, rank: int, name: str, config: RunConfig, folder: Path, threads: int) -> None:
    threading.Thread(target=_end_with_parent, args=(theirs,), daemon=True).start()
    outcome: tuple[BaseException | None, str] = (None, "")
    try:
        _run_one(rank, name, config, folder, threads)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)  # the one that started it was interrupted too, and says so
    except BaseException as error:
        outcome = (error, "".join(traceback.format_exception(error)))
    _send(theirs, outcome)


def _run_one(rank: int, name: str, config: RunConfig, folder: Path, threads: int) -> None:
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(threads)  # before the libraries that read it are loaded
    import torch

    from analyses.job import Job, run_analysis
    from analyses.registry import find_analyses
    from interp.store import Store

    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(rank % torch.cuda.device_count())
    with Store(folder, rank=rank) as store:
        run_analysis(find_analyses([name])[0], Job(config, store))


def _send(theirs: Connection, outcome: tuple[BaseException | None, str]) -> None:
    try:
        theirs.send(outcome)
    except Exception:  # an exception that cannot be pickled
        theirs.send((RuntimeError(str(outcome[0])), outcome[1]))


def _end_with_parent(theirs: Connection, end: Callable[[int], Any] = os._exit) -> None:
    """End this process when the one that started it is gone: nothing is ever sent this way but the end of the pipe."""
    try:
        theirs.recv()
    except (EOFError, OSError):
        end(1)
