"""The one progress display: a bar for a person who watches, a line now and then for a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

from interp.errors import InvalidInput

T = TypeVar("T")


def progress(
    iterable: Iterable[T],
    total: int | None = None,
    *,
    desc: str = "",
    unit: str = "unit",
    every_seconds: float = 30.0,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[T]:
    """Yield from `iterable` while showing how far it is.

    In a terminal or a notebook this is a tqdm bar. Elsewhere (a file, a pipe, a batch job) nothing is
    written but one line to stderr every `every_seconds`, so a short run leaves a clean log.

    Args:
        iterable: what to go through.
        total: how many there are; taken from `iterable` where it has a length.
        desc: what is done, a word or two.
        unit: the singular name of what is counted.
        every_seconds: time between lines where nobody watches.
        clock: seconds, ever growing.

    Raises:
        InvalidInput: `every_seconds` is not positive.
    """
    if not every_seconds > 0:
        raise InvalidInput(f"every_seconds is {every_seconds}; expected a positive number of seconds.")
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if _is_watched():
        from tqdm.auto import tqdm

        return iter(tqdm(iterable, total=total, desc=desc or None, unit=unit))
    return _lines(iterable, total, desc, unit, every_seconds, clock)


def _is_watched() -> bool:
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def _lines(
    iterable: Iterable[T], total: int | None, desc: str, unit: str, every_seconds: float, clock: Callable[[], float]
) -> Iterator[T]:
    began = last = clock()
    for done, item in enumerate(iterable):
        now = clock()
        if now - last >= every_seconds:
            last = now
            sys.stderr.write(_line(done, total, desc, unit, now - began))
            sys.stderr.flush()
        yield item


def _line(done: int, total: int | None, desc: str, unit: str, seconds: float) -> str:
    rate = done / seconds
    of_total = "" if total is None else f" of {total:,}"
    left = "" if total is None or done == 0 else f", about {(total - done) / rate:,.0f} s left"
    return f"{desc + ': ' if desc else ''}{done:,}{of_total} {unit}s, {rate:,.2f} {unit}s/s{left}\n"
