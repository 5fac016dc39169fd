"""Features as columns: which of them can be tested, and how each is read.

A feature is sparse or dense by its own share of non-zero places, whatever the format of the matrix it came in, so a
feature takes the same path alone, among thousands, and in any shard.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from interp.errors import InvalidInput

SPARSE_BELOW = 0.04  # share of non-zero places under which the sparse kernel is the faster one
_BLOCK = 64  # features side by side: as wide as the dense kernel likes them


@dataclass(frozen=True)
class Columns:
    """A places x features matrix, sorted into testable and untestable features.

    Attributes:
        matrix: the dense array or the canonical csc array behind it.
        n: number of places.
        n_active: int64 (feature,), places with a non-zero value.
        status: str (feature,), "ok", "nan" (NaN or infinite values), "constant" or "too_rare".
    """

    matrix: Any
    n: int
    n_active: np.ndarray
    status: np.ndarray

    def sparse_ids(self) -> np.ndarray:
        """Ids of the testable features that are mostly zero."""
        return np.flatnonzero((self.status == "ok") & (self.n_active < SPARSE_BELOW * self.n))

    def dense_ids(self) -> np.ndarray:
        """Ids of the other testable features."""
        return np.flatnonzero((self.status == "ok") & (self.n_active >= SPARSE_BELOW * self.n))

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """Return features `ids` as float64, shape (feature, place), contiguous."""
        return _dense_rows(self.matrix, ids)

    def csc(self, ids: np.ndarray) -> Any:
        """Return features `ids` as a float64 csc array with sorted rows."""
        picked = self.matrix[:, ids]
        out = sparse.csc_array(picked, dtype=np.float64)
        out.sort_indices()
        return out


def blocks(ids: np.ndarray, width: int = _BLOCK) -> Iterator[np.ndarray]:
    """Cut `ids` into runs of at most `width`."""
    for start in range(0, ids.size, width):
        yield ids[start : start + width]


def read_columns(X: Any, *, min_active: int) -> Columns:
    """Check a places x features matrix and give each feature its status; `X` is not changed.

    A feature is "too_rare" where one value holds more than half of the places and fewer than `min_active` places have
    any other: for activations, where it fires on fewer than `min_active` places.

    Raises:
        InvalidInput: not two-dimensional, not numeric, or no places.
    """
    if min_active < 0:
        raise InvalidInput(f"min_active is {min_active}; expected 0 (test every feature that varies) or more.")
    matrix = _checked_matrix(X)
    n, n_features = matrix.shape
    n_active = np.zeros(n_features, dtype=np.int64)
    status = np.full(n_features, "ok", dtype="<U24")
    for ids in blocks(np.arange(n_features)):
        if sparse.issparse(matrix):
            n_active[ids] = np.diff(matrix.indptr)[ids]
            light = n_active[ids] < SPARSE_BELOW * n
            status[ids[light]] = _sparse_status(matrix, ids[light], n_active[ids[light]], min_active)
            heavy = ids[~light]
            status[heavy] = _dense_status(_dense_rows(matrix, heavy), min_active)
        else:
            values = _dense_rows(matrix, ids)
            n_active[ids] = np.count_nonzero(values, axis=1)
            status[ids] = _dense_status(values, min_active)
    return Columns(matrix, n, n_active, status)


def _checked_matrix(X: Any) -> Any:
    matrix = X if sparse.issparse(X) else np.asarray(X)
    if matrix.ndim != 2:
        raise InvalidInput(f"X has shape {matrix.shape}; expected places x features (for one feature: x[:, None]).")
    if matrix.dtype.kind not in "fiub":
        raise InvalidInput(f"X has dtype {matrix.dtype}; expected real numbers.")
    if not sparse.issparse(matrix):
        return matrix
    csc = sparse.csc_array(matrix, copy=True)
    csc.sum_duplicates()
    csc.eliminate_zeros()
    return csc


def _dense_rows(matrix: Any, ids: np.ndarray) -> np.ndarray:
    contiguous = ids.size > 0 and ids[-1] - ids[0] + 1 == ids.size and bool((np.diff(ids) > 0).all())
    picked = matrix[:, ids[0] : ids[-1] + 1] if contiguous else matrix[:, ids]
    dense = picked.toarray() if sparse.issparse(picked) else np.ascontiguousarray(picked)  # turned over in cache: 3x
    return np.ascontiguousarray(dense.T, dtype=np.float64)


def _sparse_status(csc: Any, ids: np.ndarray, n_active: np.ndarray, min_active: int) -> np.ndarray:
    finite = [bool(np.isfinite(csc.data[csc.indptr[f] : csc.indptr[f + 1]]).all()) for f in ids]
    out = np.where(n_active < min_active, "too_rare", "ok").astype("<U24")
    out[n_active == 0] = "constant"
    out[~np.asarray(finite, dtype=bool)] = "nan"
    return out


def _dense_status(values: np.ndarray, min_active: int) -> np.ndarray:
    if values.shape[0] == 0:
        return np.empty(0, dtype="<U24")
    n = values.shape[1]
    finite = np.isfinite(values).all(axis=1)
    with np.errstate(invalid="ignore"):
        constant = values.max(axis=1) == values.min(axis=1)
    # if fewer than min_active places differ from a majority value, it also holds the majority of any 2 min_active - 1
    window = np.sort(values[:, : max(1, min(n, 2 * min_active - 1))], axis=1)
    candidate = window[:, (window.shape[1] - 1) // 2]
    others = np.count_nonzero(values != candidate[:, None], axis=1)
    out = np.where((others < min_active) & (2 * (n - others) > n), "too_rare", "ok").astype("<U24")
    out[constant] = "constant"
    out[~finite] = "nan"
    return out


def standardise(values: np.ndarray) -> np.ndarray:
    """Return rows centred and scaled to mean square 1 (float64, shape (feature, place)); no row may be constant."""
    _, exponent = np.frexp(np.abs(values).max(axis=1))
    z = np.ldexp(values, -exponent[:, None])  # exact, and no square can overflow
    z -= z[:, :1].copy()  # near-equal values: their differences are exact, their mean is not
    z -= z.mean(axis=1, keepdims=True)
    z /= np.sqrt((z * z).mean(axis=1, keepdims=True))
    return z


def power_sums(z: np.ndarray) -> np.ndarray:
    """Return sums over places of z^0 .. z^6, shape (7, feature), for standardised rows `z`."""
    out = np.zeros((7, z.shape[0]))
    square = z * z
    cube = square * z
    out[0] = z.shape[1]
    for power, (left, right) in {3: (square, z), 4: (square, square), 5: (square, cube), 6: (cube, cube)}.items():
        out[power] = (left * right).sum(axis=1)
    out[2] = square.sum(axis=1)
    return out


@dataclass(frozen=True)
class SparseRows:
    """Sparse features, scaled to mean square 1 about their mean: z = values - mean at active places, -mean elsewhere.

    Attributes:
        indptr: int64 (feature + 1,).
        places: int32 (n_active,), ascending within a feature.
        values: float64 (n_active,).
        mean: float64 (feature,).
    """

    indptr: np.ndarray
    places: np.ndarray
    values: np.ndarray
    mean: np.ndarray


def standardise_sparse(csc: Any) -> tuple[SparseRows, np.ndarray]:
    """Return the columns of `csc` standardised without filling their zeros, and their power sums (7, feature)."""
    n, n_features = csc.shape
    owner = np.repeat(np.arange(n_features), np.diff(csc.indptr))
    largest = np.zeros(n_features)
    np.maximum.at(largest, owner, np.abs(csc.data))
    values = np.ldexp(csc.data, -np.frexp(largest)[1][owner])
    zeros = n - np.diff(csc.indptr)

    def total(x: np.ndarray) -> np.ndarray:  # adds in the order of storage: the same alone and among others
        return np.bincount(owner, weights=x, minlength=n_features)

    mean = total(values) / n
    scale = np.sqrt((total((values - mean[owner]) ** 2) + zeros * mean**2) / n)
    values, mean = values / scale[owner], mean / scale
    z, rest = values - mean[owner], -mean
    sums = np.zeros((7, n_features))
    power, rest_power = np.ones_like(z), np.ones_like(rest)
    for k in range(7):
        sums[k] = total(power) + zeros * rest_power
        power, rest_power = power * z, rest_power * rest
    return SparseRows(csc.indptr.astype(np.int64), csc.indices.astype(np.int32), values, mean), sums
