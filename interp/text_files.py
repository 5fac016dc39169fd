"""Texts from a file, one a line."""

from __future__ import annotations

from pathlib import Path

from interp.errors import InvalidInput


def read_texts(path: str | Path) -> list[str]:
    """Return the lines of a UTF-8 file that are not blank.

    Raises:
        InvalidInput: no such file, no text in it, or bytes that are not UTF-8.
    """
    file = Path(path)
    if not file.is_file():
        raise InvalidInput(f"there is no file {file}; --texts expects a file with one text a line.")
    try:
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file} is not UTF-8 (byte {error.start}); save it as UTF-8, one text a line.") from None
    if not lines:
        raise InvalidInput(f"{file} has no text in it; --texts expects one text a line.")
    return lines


def texts_for(model: str, path: str | Path | None, n: int) -> list[str]:
    """Return the first n texts of a file or, without one, fresh texts of the bundled model's own corpus.

    Args:
        model: name of the model that will read them.

    Raises:
        InvalidInput: as `read_texts`; no file for a model that has no text of its own.
    """
    if path is not None:
        return read_texts(path)[:n]
    if model.partition("@")[0] != "atlas":
        raise InvalidInput("give --texts FILE with one text a line: this model has no text of its own.")
    from interp.atlas.saes import held_out_texts

    return held_out_texts(n)
