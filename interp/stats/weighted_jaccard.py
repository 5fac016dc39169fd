"""The generalized (weighted) Jaccard similarity of sparse non-negative rows with prototypes, and bounds on it.

J(z, t) = sum_k min(z_k, t_k) / sum_k max(z_k, t_k). With S = sum z, T = sum t and M = sum_k min(z_k, t_k) the
denominator is S + T - M, so only the non-zeros of a row are ever looked at. (Ruzicka 1958; Ma et al. 2025, eq. 9.)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from interp.errors import InvalidInput, NonFinite

TILE = 64
"""Prototypes of one pass: (feature, tile) in float32 should stay in the cache of a core."""


def generalized_jaccard(rows: Any, prototypes: Any, *, mass: np.ndarray | None = None) -> np.ndarray:
    """Return J of each row with each prototype, float64: [row], or [row, prototype] of several.

    Args:
        rows: CSR [row, feature], non-negative.
        prototypes: dense [feature] or [prototype, feature], or CSR [prototype, feature]; non-negative.
        mass: [row], the sum of each whole row, where `rows` holds only a part of its features (those that no
            prototype has may be left out, and J stays exact). Default: the sum of what is given.

    Returns:
        Values in [0, 1]. NaN where both sides are zero, for 0 / 0 is no similarity.

    Raises:
        InvalidInput: shapes that do not fit, negative values. NonFinite: NaN or infinity.

    >>> from scipy import sparse
    >>> generalized_jaccard(sparse.csr_array(np.array([[1.0, 2.0, 0.0]])), np.array([1.0, 1.0, 1.0])).round(3).tolist()
    [0.5]
    """
    sums, own = min_sums(rows, prototypes)
    total = own if mass is None else _mass(mass, own)
    t = prototype_mass(prototypes)
    return _ratio(sums, total[:, None] + t if sums.ndim == 2 else total + t)


def jaccard_bounds(
    sums: np.ndarray, mass: np.ndarray, dropped: np.ndarray, prototype: np.ndarray, outside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the greatest J that a row cut to its largest entries can have, each [row].

    J lies in [M / (S + T - M), (M + x) / (S + T - M - x)], x = min(dropped, outside).

    Args:
        sums: [row], M: sum of minima over the entries that were kept.
        mass: [row], S: sum of the whole row.
        dropped: [row], sum of the entries that were cut off.
        prototype: [feature].
        outside: [row], sum of the prototype over the features that the row does not keep.
    """
    total = mass + float(np.sum(prototype, dtype=np.float64))
    more = np.minimum(dropped, np.maximum(outside, 0.0))
    return _ratio(sums, total), _ratio(sums + more, total)


def min_sums(rows: Any, prototypes: Any, *, compiled: bool | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return sum_k min(row_k, prototype_k), [row] or [row, prototype], and the mass of each row [row], float64.

    Args:
        rows, prototypes: see `generalized_jaccard`.
        compiled: use the numba loop (None: where numba is installed), or numpy.

    Raises:
        InvalidInput, NonFinite: see `generalized_jaccard`.
    """
    indptr, indices, data = _csr(rows)
    dense = _dense(prototypes, rows.shape[1])
    one = dense.ndim == 1
    kernels = _kernels() if compiled in (None, True) else None
    mass = np.empty(len(indptr) - 1)
    if one:
        sums = np.empty(len(mass))
        if kernels is not None:
            kernels.min_sums_one(indptr, indices, data, dense, sums, mass)
        else:
            sums, mass = _reduced(np.minimum(data, dense[indices]), indptr), _reduced(data, indptr)
        return sums, mass
    sums = np.empty((len(mass), len(dense)))
    for start in range(0, len(dense), TILE):
        block = np.ascontiguousarray(dense[start : start + TILE].T)
        if kernels is not None:
            part = np.empty((len(mass), block.shape[1]))
            kernels.min_sums_many(indptr, indices, data, block, part, mass)
            sums[:, start : start + TILE] = part
        else:
            for t in range(block.shape[1]):
                sums[:, start + t] = _reduced(np.minimum(data, block[indices, t]), indptr)
    return sums, mass if kernels is not None else _reduced(data, indptr)


def prototype_mass(prototypes: Any) -> np.ndarray:
    """Return the sum of each prototype, float64: 0-d of one, [prototype] of several."""
    axis = 1 if prototypes.ndim == 2 else 0
    return np.asarray(prototypes.sum(axis=axis, dtype=np.float64)).reshape(prototypes.shape[:-1])


def _ratio(numerator: np.ndarray, total: np.ndarray) -> np.ndarray:
    """M / (S + T - M), kept in [0, 1] where rounding would leave it."""
    out = np.full(np.broadcast_shapes(numerator.shape, total.shape), np.nan)
    np.divide(numerator, total - numerator, out=out, where=total > 0)
    return np.clip(out, 0.0, 1.0)


def _reduced(values: np.ndarray, indptr: np.ndarray) -> np.ndarray:
    """Sums of the stretches of CSR rows; `reduceat` gives an empty row its neighbour's value, so those stay zero."""
    out = np.zeros(len(indptr) - 1)
    filled = np.flatnonzero(np.diff(indptr) > 0)
    if len(filled):
        out[filled] = np.add.reduceat(values, indptr[filled], dtype=np.float64)
    return out


def _csr(rows: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if getattr(rows, "format", None) != "csr" or rows.ndim != 2:
        raise InvalidInput(f"rows are a CSR matrix [row, feature], not {type(rows).__name__}; use .tocsr().")
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    return rows.indptr, rows.indices, _non_negative("rows", rows.data)


def _dense(prototypes: Any, n_features: int) -> np.ndarray:
    found = prototypes.toarray() if hasattr(prototypes, "toarray") else np.asarray(prototypes)
    if found.ndim not in (1, 2) or found.shape[-1] != n_features or 0 in found.shape:
        raise InvalidInput(f"prototypes are [feature] or [prototype, feature] of {n_features}, not {found.shape}.")
    return _non_negative("prototypes", found)


def _non_negative(name: str, values: np.ndarray) -> np.ndarray:
    if not values.size:
        return values
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(low) or not np.isfinite(high):
        raise NonFinite(f"{name} hold NaN or infinity.")
    if low < 0:
        raise InvalidInput(
            f"{name} hold {low:.3g}; this similarity is one of non-negative codes. Take the positive part, or split "
            "each feature into its positive and its negative part."
        )
    return values


def _mass(mass: Iterable[float], own: np.ndarray) -> np.ndarray:
    given = np.asarray(mass, dtype=np.float64)
    if given.shape != own.shape:
        raise InvalidInput(f"mass is one number a row [{len(own)}], not {list(given.shape)}.")
    if (given < own * (1 - 1e-4)).any():
        row = int(np.argmax(own - given))
        raise InvalidInput(f"mass of row {row} is {given[row]:.4g}, below the {own[row]:.4g} of its entries.")
    return np.maximum(given, own)


def _kernels() -> Any:
    try:
        from interp.stats import min_sum_kernels
    except ImportError:  # no numba: numpy does the same in twice the time
        return None
    return min_sum_kernels
