"""What commands print: tables on the standard output, what they are doing on the standard error."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def say(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)


def print_table(table: pd.DataFrame, title: str) -> None:
    """Print a frame as aligned text: whole on a terminal of any width, tab-separated into a pipe."""
    if not sys.stdout.isatty():
        print(table.to_csv(sep="\t", index=False), end="")
        return
    from rich.console import Console
    from rich.table import Table

    view = Table(title=title, title_justify="left", header_style="bold")
    for name in table.columns:
        view.add_column(str(name), overflow="fold")
    for row in table.itertuples(index=False):
        view.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row))
    Console().print(view)


def flowing(docstring: str) -> str:
    """Return a docstring with each paragraph on one line, for a help that is wrapped to the terminal.

    Examples (indented by two), names of parameters and rules keep their lines.
    """
    lines: list[str] = [""]
    for line in inspect.cleandoc(docstring).splitlines():
        above = lines[-1]
        described = line.startswith("    ") and above.startswith("    ")
        told = line[:1] not in ("", " ", "-") and above[:1] not in ("", " ") and not above.endswith("-")
        if described or (told and "----------" not in lines):
            lines[-1] = f"{above} {line.strip()}"
        else:
            lines.append(line)
    return "\n".join(lines[1:])
