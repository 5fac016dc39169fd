"""A file of texts with a label each, and perhaps a group: rows in = rows out, or an error that counts them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from interp.errors import InvalidInput, nearest

MANY = 20
"""Different whole numbers up to which they are classes beyond doubt."""


@dataclass(frozen=True)
class LabelledTexts:
    """Texts, one label each (numbers, or classes as text), and the group of each or None."""

    texts: list[str]
    labels: np.ndarray
    groups: np.ndarray | None


def read_labelled_texts(path: Path, task: Literal["auto", "classes", "numbers"] = "auto") -> LabelledTexts:
    """Read a CSV, TSV or parquet file with the columns text and label, and where it has one, group.

    Labels that are all numbers are numbers if one of them has a fraction; if all are whole and at most 20 differ they
    are classes. "NA" is a label like any other.

    Raises:
        InvalidInput: no such file, another format or other columns, an empty cell (counted), labels that could be both.
    """
    table = _table(path)
    for name in ("text", "label"):
        if name not in table.columns:
            near = ", ".join(nearest(name, map(str, table.columns)))
            raise InvalidInput(
                f"{path} has no column {name!r} (nearest: {near}); expected text, label and maybe group."
            )
    for name in [c for c in ("text", "label", "group") if c in table.columns]:
        column: Any = table[name]
        empty = np.flatnonzero(column.isna() | (column.astype(str).str.strip() == ""))
        if len(empty):
            raise InvalidInput(f"{path}: {len(empty)} of {len(table)} rows have no {name} (first: row {empty[0] + 1}).")
    if len(table) < 10:
        raise InvalidInput(f"{path} has {len(table)} rows; a probe needs at least 10, and hundreds to tell anything.")
    groups = table["group"].astype(str).to_numpy(dtype=object) if "group" in table.columns else None
    return LabelledTexts(table["text"].astype(str).tolist(), _labels(table["label"], task, path), groups)


def _table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InvalidInput(f"there is no file {path}; --labels expects a CSV, TSV or parquet file of texts and labels.")
    if path.suffix not in (".csv", ".tsv", ".parquet"):
        raise InvalidInput(f"{path.name} ends in {path.suffix!r}; --labels reads .csv, .tsv and .parquet.")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, sep="," if path.suffix == ".csv" else "\t", dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        text = " ".join(str(error).split())
        raise InvalidInput(f"{path} cannot be read ({text}); expected a table with the columns text, label.") from None


def _labels(column: Any, task: str, path: Path) -> np.ndarray:
    """Return float64 numbers, or text."""
    as_text = column.astype(str).to_numpy(dtype=object)
    read: Any = pd.to_numeric(pd.Series(as_text), errors="coerce")
    numbers: np.ndarray = read.to_numpy(np.float64)
    known = np.isfinite(numbers)
    if task == "classes" or (task == "auto" and not known.all()):
        return as_text
    if not known.all():
        bad = np.flatnonzero(~known)
        raise InvalidInput(
            f"{path}: {len(bad)} of {len(known)} labels are no numbers (first: {as_text[bad[0]]!r} in row "
            f"{bad[0] + 1}); mend them, or give --task classes."
        )
    if task == "numbers" or (numbers != np.round(numbers)).any():
        return numbers
    if len(np.unique(numbers)) <= MANY:
        return as_text
    raise InvalidInput(
        f"{path}: the labels are {len(np.unique(numbers))} different whole numbers, which could be classes or amounts; "
        "give --task classes or --task numbers."
    )
