"""What of a report fits in a few megabytes: a page that a mail server or a telephone refuses helps nobody."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pandas as pd
from markupsafe import Markup

from interp.plot.tables import flat

PAGE_LIMIT = 4_500_000  # a tenth below what is promised, for mail that encodes the page once more
FIGURE_LIMIT = 3_000_000
TABLE_LIMIT = 1_000_000
ROW_CAPS = (50, 20, 10, 3)


class CsvLink(NamedTuple):
    """A download: the data URI and what it holds, such as "CSV, all 512 rows"."""

    uri: str
    text: str


def fitting_figures(images: Mapping[str, bytes]) -> dict[str, bytes | None]:
    """Return the images with the largest set to None until the rest, in base64, is under `FIGURE_LIMIT`."""
    kept: dict[str, bytes | None] = dict(images)
    total = sum(_encoded(len(image)) for image in images.values())
    for name in sorted(images, key=lambda name: -len(images[name])):
        if total <= FIGURE_LIMIT:
            break
        total -= _encoded(len(images[name]))
        kept[name] = None
    return kept


def fitting_rows(render: Callable[[int], dict[str, Markup]]) -> dict[str, Markup]:
    """Return the tables with the largest row cap at which all together are under `TABLE_LIMIT`."""
    tables: dict[str, Markup] = {}
    for cap in ROW_CAPS:
        tables = render(cap)
        if sum(len(table.encode()) for table in tables.values()) <= TABLE_LIMIT:
            break
    return tables


def csv_links(frames: Mapping[str, pd.DataFrame], spare: int) -> dict[str, CsvLink]:
    """Return a download for each table that together take at most `spare` bytes.

    Small tables come whole; what they leave is shared by the large ones, which hold their first rows and say so.
    """
    files = {name: flat(frame).to_csv(index=False).encode() for name, frame in frames.items()}
    links, left = {}, spare
    waiting = sorted(files, key=lambda name: len(files[name]))
    for position, name in enumerate(waiting):
        share = left // (len(waiting) - position)
        link = _link(files[name], len(frames[name]), share)
        if link is not None:
            links[name] = link
            left -= len(link.uri)
    return links


def _link(csv: bytes, n_rows: int, share: int) -> CsvLink | None:
    prefix = "data:text/csv;charset=utf-8;base64,"
    room = (share - len(prefix)) // 4 * 3
    if len(csv) <= room:
        return CsvLink(prefix + base64.b64encode(csv).decode(), f"CSV, all {n_rows:,} rows")
    # A quoted cell may hold a line break, so the cut is found by reading rows, never by counting breaks.
    cut, rows = _whole_rows(csv, max(room, 0))
    if rows <= 0:
        return None
    return CsvLink(prefix + base64.b64encode(csv[:cut]).decode(), f"CSV, first {rows:,} of {n_rows:,} rows")


def _whole_rows(csv: bytes, room: int) -> tuple[int, int]:
    """Return where the last row that ends within `room` bytes ends, and how many rows lie before (header apart)."""
    end, rows, best, quoted = 0, 0, (0, 0), False
    for line in csv.splitlines(keepends=True):
        end += len(line)
        if end > room:
            break
        quoted ^= line.count(b'"') % 2 == 1
        if not quoted:
            best = (end, rows)
            rows += 1
    return best


def _encoded(n_bytes: int) -> int:
    return (n_bytes + 2) // 3 * 4
