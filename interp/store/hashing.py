"""Hashes of what an artefact is computed from: files, arrays and tables."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InvalidInput
from interp.store.keys import canonical_json

if TYPE_CHECKING:
    import pandas as pd

_CHUNK_BYTES = 1 << 20


def sha256_bytes(data: bytes) -> str:
    """Return the sha256 of bytes as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: str | Path) -> str:
    """Return the sha256 of a file's bytes, read in pieces, as 64 hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_array(array: np.ndarray) -> str:
    """Return the sha256 of an array's dtype, shape and values (the same for any memory layout or byte order).

    Raises:
        InvalidInput: an array of objects, whose bytes are addresses.
    """
    values = np.asarray(array)
    if values.dtype.hasobject:
        raise InvalidInput(f"Cannot hash an array of dtype {values.dtype}: expected numbers, text or bool.")
    values = values.astype(values.dtype.newbyteorder("<"), order="C", copy=False)
    digest = hashlib.sha256(f"{values.dtype.str} {values.shape}".encode())
    digest.update(values.tobytes())
    return digest.hexdigest()


def sha256_table(frame: pd.DataFrame) -> str:
    """Return the sha256 of a table: columns in order, their types, values and index.

    The same before and after a round trip through the store: every missing value counts as one kind,
    and text counts as text whichever dtype pandas keeps it in.

    Raises:
        InvalidInput: a cell that is neither a number, text, bool, date nor missing.
    """
    frame_index = frame.index.to_frame(index=False)
    columns = [(f"index {i}", frame_index.iloc[:, i]) for i in range(frame_index.shape[1])]
    columns += [(f"column {frame.columns[i]}", frame.iloc[:, i]) for i in range(frame.shape[1])]
    digest = hashlib.sha256(f"{len(frame)}".encode())
    for label, column in columns:
        digest.update(f"\n{label} ".encode())
        digest.update(_sha256_column(column, label).encode())
    return digest.hexdigest()


def _sha256_column(column: pd.Series, label: str) -> str:
    import pandas as pd

    dtype = column.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biu":
        return sha256_array(column.to_numpy())
    if isinstance(dtype, np.dtype) and dtype.kind == "f":
        values = column.to_numpy()
        return sha256_array(np.where(np.isnan(values), np.array(np.nan, dtype), values))  # one NaN, not 2^52 of them
    is_text = isinstance(dtype, pd.StringDtype) or pd.api.types.is_object_dtype(dtype)
    cells = [None if missing else _cell(value) for value, missing in zip(column, column.isna(), strict=True)]
    return sha256_bytes(canonical_json(["text" if is_text else str(dtype), cells], label).encode("ascii"))


def _cell(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
