"""Samples as they are read: who said what, the bytes of the row, and each row that cannot be used with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from interp.errors import InvalidInput

LISTED_COLUMNS = ("source", "number", "reason", "detail")


@dataclass(frozen=True)
class Turn:
    """One message: role is "system", "user", "assistant", "tool", or "text" for plain text."""

    role: str
    content: str


@dataclass(frozen=True)
class Sample:
    """One usable row.

    id: "source:number", unique.
    source: file (or split, or frame) it came from; number: its line or row there, from 1.
    raw: the bytes of its line, without the line break; of tables the row as one line of JSON.
    """

    id: str
    source: str
    number: int
    raw: bytes
    schema: str
    turns: tuple[Turn, ...]

    @cached_property
    def text(self) -> str:
        """Contents of all turns, one below the other: what words are counted in."""
        return "\n".join(turn.content for turn in self.turns)

    @cached_property
    def answer(self) -> str:
        """Contents of the turns of the assistant; empty for plain text."""
        return "\n".join(turn.content for turn in self.turns if turn.role == "assistant")


class UnusableRow(Exception):
    """A row that cannot be scored: `reason` out of a closed list, `detail` what was found."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail.encode("utf-8", "backslashreplace").decode()  # half characters go into no table


@dataclass(frozen=True, eq=False)
class Samples:
    """What was read: rows in = usable samples + listed rows.

    samples: the usable rows, in reading order.
    listed: one row for each that is not: source, number, reason, detail.
    files: one row a source: source, sha256 (of a file), rows, usable, listed, blank_lines, schemas (how many of each).
    """

    samples: tuple[Sample, ...]
    listed: pd.DataFrame
    files: pd.DataFrame

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @property
    def n_rows(self) -> int:
        """Rows that were in the sources, usable or not."""
        return len(self.samples) + len(self.listed)

    @property
    def texts(self) -> list[str]:
        """Text of each sample."""
        return [sample.text for sample in self.samples]

    def summary(self) -> str:
        """Return what was read and what was not, a line a source and a line a reason."""
        lines = []
        for row in self.files.to_dict("records"):
            blank = f", {row['blank_lines']:,} blank lines" if row["blank_lines"] else ""
            found = f"{row['rows']:,} rows, {row['usable']:,} usable ({row['schemas'] or 'no schema'})"
            lines.append(f"{row['source']}: {found}{blank}")
        for reason, rows in self.listed.groupby("reason", sort=True):
            first = rows.iloc[0]
            lines.append(f"not used, {reason}: {len(rows):,} rows, first {first['source']}:{first['number']}")
        return "\n".join(lines)

    def require_some(self) -> Samples:
        """Return self. Raises InvalidInput when no row is usable."""
        if not self.samples:
            raise InvalidInput(f"there is no usable row. {self.summary() or 'The sources are empty.'}")
        return self
