"""Two ways to the same counts: compiled loops, and scipy where numba is not installed.

Either engine gives h = sum over pairs of a_e z_i z_j for observed features, and adds up how the permuted h compare
with it. The sums of a thousand products differ in their last bits between the two; the tie tolerance is far wider.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from interp.errors import InvalidInput
from interp.stats.feature_columns import SparseRows, blocks
from interp.stats.moran_graph import GROUP, MoranGraph

EngineName = Literal["auto", "numba", "numpy"]

_RUN = 32  # groups of pairs that are added in float32 before float64 takes over


@dataclass(frozen=True)
class Tally:
    """What is kept of the permutations of some features, each array of shape (feature,); filled in place.

    `observed`, `tie`: the observed h and the half-width of a tie. `at_least`, `at_most`: int64 counts.
    `total`, `squares`: sums of the permuted h and of its square.
    """

    observed: np.ndarray
    tie: np.ndarray
    at_least: np.ndarray
    at_most: np.ndarray
    total: np.ndarray
    squares: np.ndarray

    @staticmethod
    def start(observed: np.ndarray, tie: np.ndarray) -> Tally:
        """Begin a tally with no permutation in it."""
        counts = [np.zeros(observed.size, dtype=np.int64) for _ in range(2)]
        sums = [np.zeros(observed.size) for _ in range(2)]
        return Tally(observed, tie, *counts, *sums)

    def part(self, at: np.ndarray) -> Tally:
        """Return a copy of the features at positions `at`."""
        return Tally(*(getattr(self, name)[at] for name in self.__dataclass_fields__))

    def put(self, at: np.ndarray, part: Tally) -> None:
        """Write a part back."""
        for name in ("at_least", "at_most", "total", "squares"):
            getattr(self, name)[at] = getattr(part, name)


class Engine(Protocol):
    """The four loops; `perm` is (permutation, place of the graph): place i of the graph takes value perm[i]."""

    def observe_dense(self, z: np.ndarray, graph: MoranGraph) -> np.ndarray:
        """Return h of standardised rows z (feature, place)."""
        ...

    def observe_sparse(self, rows: SparseRows, graph: MoranGraph) -> np.ndarray:
        """Return h of sparse features."""
        ...

    def count_dense(self, z: np.ndarray, graph: MoranGraph, perm: np.ndarray, tally: Tally) -> None:
        """Add permutations of dense features to `tally`."""
        ...

    def count_sparse(self, rows: SparseRows, graph: MoranGraph, perm: np.ndarray, tally: Tally) -> None:
        """Add permutations of sparse features to `tally`."""
        ...


class NumbaEngine:
    """Compiled loops, single-threaded; the first call in a fresh installation compiles for some seconds."""

    def observe_dense(self, z: np.ndarray, graph: MoranGraph) -> np.ndarray:
        """Return h of standardised rows z (feature, place)."""
        from interp.stats import moran_kernels

        out = np.empty(z.shape[0])
        moran_kernels.pair_sums(np.ascontiguousarray(z.T)[graph.order], *_csr(graph), out)
        return out

    def observe_sparse(self, rows: SparseRows, graph: MoranGraph) -> np.ndarray:
        """Return h of sparse features."""
        out = Tally.start(np.zeros(rows.mean.size), np.zeros(rows.mean.size))
        self.count_sparse(rows, graph, graph.order[None, :], out)
        return out.total

    def count_dense(self, z: np.ndarray, graph: MoranGraph, perm: np.ndarray, tally: Tally) -> None:
        """Add permutations of dense features to `tally`."""
        from interp.stats import moran_kernels

        z32 = np.ascontiguousarray(z.T, dtype=np.float32)
        goal = (tally.observed, tally.tie, _float32_error(graph) + tally.tie)
        counts = (tally.at_least, tally.at_most, tally.total, tally.squares)
        table = (*graph.groups, _RUN)
        moran_kernels.count_dense(z32, z, perm.view(np.uint32), table, _csr(graph), goal, counts)

    def count_sparse(self, rows: SparseRows, graph: MoranGraph, perm: np.ndarray, tally: Tally) -> None:
        """Add permutations of sparse features to `tally`."""
        from interp.stats import moran_kernels

        land = np.empty_like(perm)
        np.put_along_axis(land, perm, np.arange(graph.n, dtype=perm.dtype)[None, :], axis=1)
        features = (rows.indptr, rows.places, rows.values, rows.mean)
        counts = (tally.at_least, tally.at_most, tally.total, tally.squares)
        table = (*graph.slots, graph.degree, graph.s0 / 2)
        moran_kernels.count_sparse(features, land, table, (tally.observed, tally.tie), counts)


class NumpyEngine:
    """The same by scipy's sparse product, some six to ten times slower; sparse features are filled block by block."""

    def observe_dense(self, z: np.ndarray, graph: MoranGraph) -> np.ndarray:
        """Return h of standardised rows z (feature, place)."""
        dealt = np.ascontiguousarray(z[:, graph.order].T)
        return np.ascontiguousarray(((graph.upper @ dealt) * dealt).T).sum(axis=1)

    def observe_sparse(self, rows: SparseRows, graph: MoranGraph) -> np.ndarray:
        """Return h of sparse features."""
        ids = np.arange(rows.mean.size)
        parts = [self.observe_dense(_filled(rows, block, graph.n), graph) for block in blocks(ids)]
        return np.concatenate(parts) if parts else np.empty(0)

    def count_dense(self, z: np.ndarray, graph: MoranGraph, perm: np.ndarray, tally: Tally) -> None:
        """Add permutations of dense features to `tally`."""
        by_place = np.ascontiguousarray(z.T)
        for row in perm:
            dealt = by_place[row]
            h = ((graph.upper @ dealt) * dealt).sum(axis=0)
            tally.at_least[:] += h >= tally.observed - tally.tie
            tally.at_most[:] += h <= tally.observed + tally.tie
            tally.total[:] += h
            tally.squares[:] += h * h

    def count_sparse(self, rows: SparseRows, graph: MoranGraph, perm: np.ndarray, tally: Tally) -> None:
        """Add permutations of sparse features to `tally`."""
        for block in blocks(np.arange(rows.mean.size)):
            part = tally.part(block)
            self.count_dense(_filled(rows, block, graph.n), graph, perm, part)
            tally.put(block, part)


def _csr(graph: MoranGraph) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return graph.upper.indptr, graph.upper.indices, graph.upper.data


def _float32_error(graph: MoranGraph) -> float:
    """A bound on how far the float32 h of a standardised feature can be from the float64 one.

    Each product passes at most `GROUP` + `_RUN` + 4 roundings before it is added in float64, and
    sum |a_e z_i z_j| <= n max_i degree_i / 2 by Gershgorin.
    """
    strongest = float(np.abs(graph.upper).sum(axis=1).max() + np.abs(graph.upper).sum(axis=0).max())
    return (GROUP + _RUN + 4) * float(np.finfo(np.float32).eps) * graph.n * strongest / 2


def _filled(rows: SparseRows, ids: np.ndarray, n: int) -> np.ndarray:
    z = np.repeat(-rows.mean[ids][:, None], n, axis=1)
    for out, f in zip(z, ids, strict=True):
        span = slice(rows.indptr[f], rows.indptr[f + 1])
        out[rows.places[span]] += rows.values[span]
    return z


def choose_engine(name: EngineName = "auto") -> Engine:
    """Return the engine of that name; "auto" is numba where it can be imported.

    Raises:
        InvalidInput: an unknown name, or "numba" where it is not installed.
    """
    if name not in ("auto", "numba", "numpy"):
        raise InvalidInput(f"engine={name!r}; expected 'auto', 'numba' or 'numpy'.")
    if name == "numpy":
        return NumpyEngine()
    try:
        import numba  # noqa: F401
    except ImportError as error:
        if name == "numba":
            raise InvalidInput("engine='numba' but numba is not installed; use engine='auto' or install it.") from error
        return NumpyEngine()
    return NumbaEngine()
