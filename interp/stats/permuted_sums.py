"""Deal the values of many features over a graph, again and again: the sums from which C, G and join counts follow.

Each of these statistics is a function of three sums over the graph, so one loop over shared permutations serves them
all. Permutation number 17 is the same one that `moran_i` draws under that seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from interp.errors import InvalidInput
from interp.stats.feature_columns import Columns, SparseRows, blocks, power_sums, standardise, standardise_sparse
from interp.stats.moran_engines import EngineName, NumbaEngine, choose_engine
from interp.stats.moran_graph import MoranGraph
from interp.stats.seeds import permutation_indices

_MOST_HELD = 500_000_000  # permutations x places that are kept in memory, as int32


@dataclass(frozen=True)
class BlockSums:
    """Some features and their sums over the graph.

    Attributes:
        ids: int64 (feature,).
        observed: float64 (3, feature): pairs, linear and squares of the values as they lie.
        permuted: float64 (3, permutation, feature): the same of the values as they are dealt.
        mean: float64 (feature,), mean of the values that were dealt.
        moments: float64 (7, feature), sums over places of the standardised values to the powers 0 .. 6.
    """

    ids: np.ndarray
    observed: np.ndarray
    permuted: np.ndarray
    mean: np.ndarray
    moments: np.ndarray


def held_permutations(n: int, permutations: int, *, seed: int) -> np.ndarray:
    """Return int32 (permutation, place) of numbers 0 .. permutations - 1.

    Raises:
        InvalidInput: a negative number, or more than two gigabytes of them.
    """
    if permutations < 0:
        raise InvalidInput(f"permutations={permutations}; expected 0 or more, e.g. 999.")
    if permutations * n > _MOST_HELD:
        raise InvalidInput(
            f"{permutations:,} permutations of {n:,} places do not fit in memory; at most {_MOST_HELD // n:,}."
        )
    return permutation_indices(n, permutations, seed=seed)


def sums_by_block(
    columns: Columns,
    graph: MoranGraph,
    perm: np.ndarray,
    *,
    centred: bool,
    engine: EngineName = "auto",
) -> Iterator[BlockSums]:
    """Yield the sums of the testable features, some at a time; the standardised ones, or raw ones up to a scale.

    Args:
        columns: the features.
        graph: the prepared weights.
        perm: int32 (permutation, place), from `held_permutations`.
        centred: deal z = (x - mean) / sd of dense features (sparse ones are scaled only: `mean` says by how much they
            are off); otherwise x / sd, so that zeros stay zeros.
        engine: "numba", "numpy", or whichever is there.
    """
    dealt = np.ascontiguousarray(perm[:, graph.order])
    compiled = isinstance(choose_engine(engine), NumbaEngine)
    for ids in blocks(columns.sparse_ids()):
        rows, moments = standardise_sparse(columns.csc(ids))
        observed = _sparse_sums(rows, graph, graph.order[None, :], compiled)[:, 0]
        yield BlockSums(ids, observed, _sparse_sums(rows, graph, dealt, compiled), rows.mean, moments)
    for ids in blocks(columns.dense_ids()):
        values = columns.rows(ids)
        z = standardise(values)
        mean = np.zeros(ids.size)
        rows = z
        if not centred:
            rows, mean = _scaled(values)
        observed = _dense_sums(rows, graph, graph.order[None, :], compiled)[:, 0]
        yield BlockSums(ids, observed, _dense_sums(rows, graph, dealt, compiled), mean, power_sums(z))


def _scaled(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return x / sd and its mean."""
    x = np.ldexp(values, -np.frexp(np.abs(values).max(axis=1))[1][:, None])
    x = x / np.sqrt(((x - x.mean(axis=1, keepdims=True)) ** 2).mean(axis=1, keepdims=True))
    return x, x.mean(axis=1)


def _dense_sums(rows: np.ndarray, graph: MoranGraph, perm: np.ndarray, compiled: bool) -> np.ndarray:
    out = np.zeros((3, perm.shape[0], rows.shape[0]))
    by_place = np.ascontiguousarray(rows.T)
    upper = graph.upper
    if compiled:
        from interp.stats import spatial_kernels

        spatial_kernels.deal_dense(by_place, perm, upper.indptr, upper.indices, upper.data, graph.degree, out)
        return out
    for p, row in enumerate(perm):
        x = by_place[row]
        out[0, p] = np.ascontiguousarray(((upper @ x) * x).T).sum(axis=1)
        weighted = np.ascontiguousarray((x * graph.degree[:, None]).T)
        out[1, p] = weighted.sum(axis=1)
        out[2, p] = (weighted * np.ascontiguousarray(x.T)).sum(axis=1)
    return out


def _sparse_sums(rows: SparseRows, graph: MoranGraph, perm: np.ndarray, compiled: bool) -> np.ndarray:
    n_features = rows.mean.size
    if not compiled:
        filled = np.zeros((n_features, graph.n))
        owner = np.repeat(np.arange(n_features), np.diff(rows.indptr))
        filled[owner, rows.places] = rows.values
        return _dense_sums(filled, graph, perm, compiled)
    from interp.stats import spatial_kernels

    out = np.zeros((3, perm.shape[0], n_features))
    land = np.empty_like(perm)
    np.put_along_axis(land, perm, np.arange(graph.n, dtype=perm.dtype)[None, :], axis=1)
    table: Any = (*graph.slots, graph.degree)
    spatial_kernels.deal_sparse(rows.indptr, rows.places, rows.values, land, *table, out)
    return out
