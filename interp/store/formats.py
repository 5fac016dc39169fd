"""The file formats of the store: values to bytes and back. No file is opened here.

Encoding is deterministic (the same value, the same bytes) and decoding trusts nothing: a file may
come from anyone, so no format that can carry code is read and every table is checked on the way in.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InvalidInput
from interp.store.keys import canonical_json

if TYPE_CHECKING:
    import pandas as pd

ARRAY_DTYPES = (
    "bool", "float16", "float32", "float64",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
)  # fmt: skip
_CSR_PARTS = ("data", "indices", "indptr", "shape")


class BadBytes(Exception):
    """Bytes that are not of their format; the store turns it into CorruptArtifact with the file's name."""


@dataclass(frozen=True)
class Format:
    """How one kind of artefact becomes bytes (with a description of its contents) and back."""

    suffix: str  # "" for any
    encode: Callable[[Any], tuple[bytes, dict[str, Any]]]
    decode: Callable[[bytes, dict[str, Any]], Any]


def encode_arrays(arrays: Mapping[str, np.ndarray]) -> tuple[bytes, dict[str, Any]]:
    """Return safetensors bytes and {name: {"shape", "dtype"}} of named numeric arrays.

    Raises:
        InvalidInput: no array at all, a name that is no text, or a dtype that safetensors cannot hold.
    """
    from safetensors.numpy import save

    if not isinstance(arrays, Mapping) or not arrays:
        raise InvalidInput(f"Expected a mapping of names to arrays with at least one, got {type(arrays).__name__}.")
    native = {name: _storable(name, array) for name, array in arrays.items()}
    return save(native), {n: {"shape": list(a.shape), "dtype": str(a.dtype)} for n, a in sorted(native.items())}


def decode_arrays(data: bytes, contents: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the arrays of safetensors bytes; shapes and dtypes must be the recorded ones."""
    from safetensors.numpy import load

    try:
        arrays = load(data)
    except MemoryError:
        raise
    except Exception as error:  # whatever a parser makes of bytes from anyone
        raise BadBytes(f"not a safetensors file of numeric arrays ({error})") from error
    found = {n: {"shape": list(a.shape), "dtype": str(a.dtype)} for n, a in arrays.items()}
    if found != contents:
        raise BadBytes(f"it holds {found}, recorded were {contents}")
    return dict(sorted(arrays.items()))


def encode_csr(matrix: Any) -> tuple[bytes, dict[str, Any]]:
    """Return safetensors bytes and description of a scipy CSR matrix or array, in canonical form.

    Raises:
        InvalidInput: not CSR, or parts that contradict each other.
    """
    from scipy import sparse

    if not sparse.issparse(matrix) or matrix.format != "csr" or matrix.ndim != 2:
        raise InvalidInput(f"Expected a two-dimensional scipy CSR matrix, got {type(matrix).__name__}. Use .tocsr().")
    try:
        _require_csr({name: getattr(matrix, name) for name in _CSR_PARTS}, list(matrix.shape))
    except BadBytes as error:
        raise InvalidInput(f"The CSR matrix contradicts itself: {error}.") from error
    clean = matrix.copy()
    clean.sum_duplicates()  # sorted indices, one entry a cell: equal matrices give equal bytes
    parts = {"data": clean.data, "indices": clean.indices, "indptr": clean.indptr}
    data, arrays = encode_arrays(parts | {"shape": np.array(clean.shape, dtype=np.int64)})
    container = "csr_matrix" if isinstance(matrix, sparse.spmatrix) else "csr_array"
    return data, {"arrays": arrays, "shape": list(clean.shape), "nnz": int(clean.nnz), "container": container}


def decode_csr(data: bytes, contents: dict[str, Any]) -> Any:
    """Return the CSR matrix (or array, whichever was written); its parts must fit each other."""
    from scipy import sparse

    parts = decode_arrays(data, contents["arrays"])
    if sorted(parts) != sorted(_CSR_PARTS):
        raise BadBytes(f"it holds {sorted(parts)}, expected {sorted(_CSR_PARTS)}")
    shape = [int(n) for n in parts["shape"]]
    if shape != contents["shape"] or len(shape) != 2 or min(shape) < 0:
        raise BadBytes(f"it has shape {shape}, recorded was {contents['shape']}")
    _require_csr(parts, shape)
    container = {"csr_matrix": sparse.csr_matrix, "csr_array": sparse.csr_array}[contents["container"]]
    try:
        return container((parts["data"], parts["indices"], parts["indptr"]), shape=tuple(shape))
    except (ValueError, TypeError, IndexError) as error:
        raise BadBytes(f"its parts contradict each other ({error})") from error


def encode_table(frame: pd.DataFrame) -> tuple[bytes, dict[str, Any]]:
    """Return parquet bytes (with page checksums) and description of a table.

    The bytes are read back and compared before they are returned, so what loads later is exactly what
    was given: values, dtypes, index and order. Two things are not kept: `frame.attrs`, and which of None
    and NaN a missing cell of an object column was.

    Raises:
        InvalidInput: a column that parquet would change or cannot hold (lists, mixed types, two of one name).
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not isinstance(frame, pd.DataFrame):
        raise InvalidInput(f"Expected a pandas DataFrame, got {type(frame).__name__}.")
    if not frame.columns.is_unique:
        raise InvalidInput(f"Two columns have one name: {sorted(map(str, frame.columns[frame.columns.duplicated()]))}.")
    bare = frame.copy(deep=False)
    bare.attrs = {}
    contents = {"n_rows": len(frame), "columns": _columns(frame)}
    buffer = io.BytesIO()
    try:
        pq.write_table(pa.Table.from_pandas(bare), buffer, compression="zstd", write_page_checksum=True)
        back = decode_table(buffer.getvalue(), contents)
    except (pa.ArrowException, BadBytes, ValueError, TypeError) as error:
        raise InvalidInput(f"A column of the table cannot be stored as parquet: {error}. {_MEND}") from error
    _require_equal(bare, back)
    return buffer.getvalue(), contents


def decode_table(data: bytes, contents: dict[str, Any]) -> pd.DataFrame:
    """Return the table of parquet bytes, page checksums verified; rows and columns must be the recorded ones."""
    frame = _read_parquet(data, contents["n_rows"])
    columns = _columns(frame)
    if len(frame) != contents["n_rows"] or [c[0] for c in columns] != [c[0] for c in contents["columns"]]:
        raise BadBytes(f"it holds {len(frame)} rows of {columns}, recorded were {contents}")
    for name, (_, dtype) in zip(frame.columns, contents["columns"], strict=True):
        if dtype == "object" and str(frame[name].dtype) != dtype:  # pandas reads text as its own dtype
            frame[name] = frame[name].astype(object)
    return frame


def encode_json(value: Any) -> tuple[bytes, dict[str, Any]]:
    """Return canonical JSON bytes of plain data (see `canonical_json` for what is accepted)."""
    return canonical_json(value).encode("ascii"), {}


def decode_json(data: bytes, contents: dict[str, Any]) -> Any:
    """Return the value of JSON bytes."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadBytes(f"not JSON ({error})") from error


def encode_bytes(data: bytes) -> tuple[bytes, dict[str, Any]]:
    """Return the bytes as they are."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise InvalidInput(f"Expected bytes, got {type(data).__name__}. Encode text with .encode('utf-8').")
    return bytes(data), {}


FORMATS = {
    "arrays": Format(".safetensors", encode_arrays, decode_arrays),
    "csr": Format(".safetensors", encode_csr, decode_csr),
    "table": Format(".parquet", encode_table, decode_table),
    "json": Format(".json", encode_json, decode_json),
    "file": Format("", encode_bytes, lambda data, contents: data),
}
_MEND = "Turn lists and mixed cells into text or numbers, or into a long table."


def kind_of(name: str, value: Any) -> str:
    """Return the kind in which to store `value` under `name`, from its type and the suffix.

    Raises:
        InvalidInput: the suffix stands for no kind and the value is not bytes.
    """
    suffix = PurePath(str(name)).suffix
    if suffix == ".safetensors":
        return "arrays" if isinstance(value, Mapping) else "csr"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "file"
    kinds = {".parquet": "table", ".json": "json"}
    if suffix not in kinds:
        raise InvalidInput(
            f"{name!r}: the suffix does not say how to store a {type(value).__name__}. Expected .json, .parquet "
            f"or .safetensors; bytes go under any suffix, and anything else through put_file."
        )
    return kinds[suffix]


def _columns(frame: pd.DataFrame) -> list[list[str]]:
    return [[str(name), str(dtype)] for name, dtype in zip(frame.columns, frame.dtypes, strict=True)]


def _storable(name: object, array: Any) -> np.ndarray:
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"{name!r} cannot name an array; expected text.")
    values = np.asarray(array)
    if str(values.dtype.newbyteorder("=")) not in ARRAY_DTYPES:
        raise InvalidInput(f"Array {name!r} has dtype {values.dtype}; expected one of {', '.join(ARRAY_DTYPES)}.")
    return values.astype(values.dtype.newbyteorder("="), order="C", copy=False)


def _require_csr(parts: Mapping[str, Any], shape: list[int]) -> None:
    """Check what scipy's own `check_format` lets pass where indptr ends below zero."""
    data, indices, indptr = (np.asarray(parts[name]) for name in ("data", "indices", "indptr"))
    if any(part.dtype.kind != "i" or part.ndim != 1 for part in (indices, indptr)) or data.ndim != 1:
        raise BadBytes("indices and indptr must be one-dimensional signed integers")
    if len(indptr) != shape[0] + 1 or len(data) != len(indices):
        raise BadBytes(f"{len(data)} values, {len(indices)} indices and {len(indptr)} row ends for shape {shape}")
    if indptr[0] != 0 or indptr[-1] != len(indices) or (indptr[1:] < indptr[:-1]).any():
        raise BadBytes(f"row ends must grow from 0 to {len(indices)}")
    if len(indices) and not 0 <= indices.min() <= indices.max() < shape[1]:
        raise BadBytes(f"column indices from {indices.min()} to {indices.max()} for {shape[1]} columns")


def _read_parquet(data: bytes, n_rows: int) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
            if file.metadata.num_rows != n_rows:  # before the rows are unpacked: few bytes can claim many
                raise ValueError(f"it claims {file.metadata.num_rows:,} rows, recorded were {n_rows:,}")
            table = file.read()
        table.validate(full=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # pandas only warns about metadata that it cannot follow
            return table.to_pandas()
    except MemoryError:
        raise
    except Exception as error:  # whatever a parser makes of bytes from anyone
        raise BadBytes(f"not an intact parquet file ({error})") from error


def _require_equal(frame: pd.DataFrame, back: pd.DataFrame) -> None:
    from pandas.api.types import is_object_dtype
    from pandas.testing import assert_frame_equal

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # None against NaN: both are missing here
            assert_frame_equal(frame, back, check_exact=True, check_freq=False)
        for i in (i for i, dtype in enumerate(frame.dtypes) if is_object_dtype(dtype)):
            _require_same_cells(frame.columns[i], frame.iloc[:, i], back.iloc[:, i])
    except (AssertionError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InvalidInput(f"The table would come back from parquet changed: {reason}. {_MEND}") from error


def _require_same_cells(name: object, before: pd.Series, after: pd.Series) -> None:
    """Object columns compare equal to look-alikes (a list to an array), so compare the types of their cells."""
    for a, b, both_missing in zip(before, after, before.isna() & after.isna(), strict=True):
        if type(a) is not type(b) and not both_missing:
            raise AssertionError(f"column {name!r} held {type(a).__name__}, came back as {type(b).__name__}")
