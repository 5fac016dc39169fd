"""`interp points`, `show-tokens`, `status` and `report`: look at what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from analyses.terminal import print_table


def points(model: str, /, *, all_layers: Annotated[bool, Parameter(negative="")] = False) -> None:
    """List every site of a model with its TransformerLens hook, axes and shape.

    Example: interp points atlas

    Parameters
    ----------
    model
        "atlas", a folder in Hugging Face format, or a Hugging Face name.
    all_layers
        Show every layer, not the first alone.
    """
    import interp

    table: Any = interp.points(interp.load_model(model))
    if not all_layers:
        table = table[~table["site"].str.contains(r"\.[1-9]\d*$")]
    print_table(table, f"sites of {model}" + ("" if all_layers else " (layer 0; --all-layers for the rest)"))


def show_tokens(model: str, text: str, /, *, bos: Literal["always", "never", "tokenizer"] | None = None) -> None:
    """Print the exact ids that a text becomes, with BOS and the characters of each token.

    Example: interp show-tokens atlas "Paris is near Lyon"

    Parameters
    ----------
    model
        "atlas", a folder in Hugging Face format, or a Hugging Face name.
    text
        Any text.
    bos
        BOS policy; default that of the model.
    """
    import interp

    print_table(interp.show_tokens(interp.load_model(model), text, bos=bos), repr(text))


def status(folder: Path, /) -> int:
    """Say of every file of a run whether it is done, missing or corrupt (exit code 3 if any is corrupt).

    Example: interp status runs/atlas

    Parameters
    ----------
    folder
        Folder of a run.
    """
    from analyses.job import status_of

    table = status_of(folder)
    print_table(table, str(folder))
    return 3 if {"corrupt", "missing"} & set(table["state"]) else 0


def report(folder: Path, /) -> None:
    """Draw the figures and report.html of a finished run again from its tables, without a model.

    Example: interp report runs/atlas

    Parameters
    ----------
    folder
        Folder of a run.
    """
    from analyses.job import rebuild_report

    print(rebuild_report(folder).text())
