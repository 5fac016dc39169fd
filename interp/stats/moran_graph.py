"""A spatial weights matrix, prepared once for the thousands of features that are tested on it.

z'Wz sees only the symmetric part of W, so each unordered pair of places is stored once, in an order that keeps
neighbours close in memory (reverse Cuthill-McKee). What the null moments need of W is seven sums; they are taken here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import reverse_cuthill_mckee
from scipy.sparse.linalg import LinearOperator, eigsh

from interp.errors import InvalidInput

GROUP = 5  # pairs of one place that the dense kernel adds at once; eight neighbours make 4 or 5 a place
_NEAR, _ROUNDS = 64, 6  # places asked whether they can take a pair; pairs that a place may be relieved of


@dataclass(frozen=True)
class PairSums:
    """Sums over ordered choices of three pairs of places, by how the three overlap, and the same for two and one.

    With a_e the symmetrised weight of pair e: `s` is sum a_e; `same`, `sharing`, `apart` sum a_e a_f over two pairs
    that are equal, share one place, or none; `triple[pattern]` sums a_e a_f a_g where `pattern` is how often each
    place occurs among the three, e.g. (3, 3) for one pair thrice, (2, 2, 2) for a triangle.
    """

    s: float
    same: float
    sharing: float
    apart: float
    triple: dict[tuple[int, ...], float]


@dataclass(frozen=True, eq=False)
class MoranGraph:
    """Weights ready for Moran's I: `upper` holds each pair once, places relabelled by `order`.

    Attributes:
        n: number of places.
        s0: sum of all weights.
        upper: csr (n, n), upper triangle of (W + W') / 2, rows and columns in the new order.
        order: int32 (n,), the old index of each new one.
        degree: float64 (n,), row sums of (W + W') / 2, in the new order.
        sums: the overlap sums from which the moments follow.
    """

    n: int
    s0: float
    upper: Any
    order: np.ndarray
    degree: np.ndarray
    sums: PairSums

    @staticmethod
    def from_weights(W: Any) -> MoranGraph:
        """Prepare a square scipy sparse matrix; it is not changed.

        Raises:
            InvalidInput: not square, fewer than 4 places, not finite, weights on the diagonal, or no weight at all.
        """
        csr = checked_weights(W)
        symmetric = sparse.csr_array((csr + csr.T) * 0.5)
        order = np.asarray(reverse_cuthill_mckee(sparse.csr_matrix(symmetric), symmetric_mode=True), dtype=np.int32)
        relabelled = sparse.csr_array(symmetric[order][:, order])
        upper = sparse.csr_array(sparse.triu(relabelled, 1))
        upper.sort_indices()
        degree = np.asarray(relabelled.sum(axis=1)).ravel()
        return MoranGraph(csr.shape[0], float(csr.sum()), upper, order, degree, _pair_sums(relabelled))

    @cached_property
    def i_max(self) -> float:
        """The largest I that any values can have on this graph, n / S0 times the top eigenvalue of the centred weights.

        Reference: de Jong, Sprenger & van Veen 1984, eq. 8.
        """
        symmetric = self.upper + self.upper.T

        def centred(x: np.ndarray) -> np.ndarray:
            y = symmetric @ (x - x.mean())
            return y - y.mean()

        build: Any = LinearOperator
        operator = build((self.n, self.n), matvec=centred, dtype=np.float64)
        start = np.random.default_rng(np.random.SeedSequence(0)).normal(size=self.n)  # fixed: the same last bit always
        accuracy: Any = 1e-8
        top = eigsh(operator, k=1, which="LA", tol=accuracy, v0=start, return_eigenvectors=False)
        return float(self.n / self.s0 * top[0])

    @cached_property
    def slots(self) -> tuple[np.ndarray, np.ndarray]:
        """The pairs as a table: (neighbour, weight), each (n, width), every pair in the row of one of its two places.

        Rows of equal length let the sparse kernel run without unpredictable branches. Pairs are dealt to the place that
        has fewer, and handed on until places nearby have as many, so hubs do not widen the table. Empty slots point at
        place n, which nothing occupies.
        """
        coo = self.upper.tocoo()
        owner, other, held = _deal(coo.row, coo.col, self.n)
        by_owner = np.argsort(owner, kind="stable")
        starts = np.concatenate([[0], np.cumsum(held)[:-1]])
        column = np.arange(owner.size) - starts[owner[by_owner]]
        neighbour = np.full((self.n, int(held.max(initial=1))), self.n, dtype=np.int32)
        weight = np.zeros(neighbour.shape)
        neighbour[owner[by_owner], column] = other[by_owner]
        weight[owner[by_owner], column] = coo.data[by_owner]
        return neighbour, weight

    @cached_property
    def groups(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The pairs of each place by fives: (place, neighbour, weight), (group,) and twice (group, 5).

        One pass over the features of a block serves five pairs; a last group that is not full points at place n.
        """
        neighbour, weight = self.slots
        held = (neighbour < self.n).sum(axis=1)
        count = -(-held // GROUP)
        place = np.repeat(np.arange(self.n, dtype=np.uint32), count)
        i, slot = np.nonzero(neighbour < self.n)
        group = (np.cumsum(count) - count)[i] + slot // GROUP
        others = np.full((place.size, GROUP), self.n, dtype=np.uint32)
        weights = np.zeros(others.shape, dtype=np.float32)
        others[group, slot % GROUP] = neighbour[i, slot]
        weights[group, slot % GROUP] = weight[i, slot]
        return place, others, weights


def checked_weights(W: Any) -> Any:
    """Return `W` as a canonical float64 csr array of its own.

    Raises:
        InvalidInput: not sparse or not square, fewer than 4 places, not finite, a non-zero diagonal, or all zero.
    """
    if not sparse.issparse(W):
        raise InvalidInput(f"W is {type(W).__name__}; expected a scipy sparse matrix (spatial_weights(places).csr).")
    if W.ndim != 2 or W.shape[0] != W.shape[1] or W.shape[0] < 4:
        raise InvalidInput(f"W has shape {W.shape}; expected places x places, with at least 4 places.")
    csr = sparse.csr_array(W, dtype=np.float64, copy=True)
    csr.sum_duplicates()
    csr.eliminate_zeros()
    if not np.isfinite(csr.data).all():
        raise InvalidInput("W has NaN or infinite weights; drop those pairs or give them a finite weight.")
    loops = np.flatnonzero(csr.diagonal())
    if loops.size:
        raise InvalidInput(f"W gives {loops.size} places a weight on themselves (first: row {loops[0]}); remove them.")
    if csr.sum() == 0:
        raise InvalidInput("W has no weights: no place has a neighbour. Use a wider band, or kind='knn'.")
    return csr


def _deal(rows: np.ndarray, columns: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Assign each pair to one of its two places, evenly; return owner, other and the number held by each place."""
    ends = list(zip(rows.tolist(), columns.tolist(), strict=True))
    owned: list[list[int]] = [[] for _ in range(n)]
    for pair in (
        np.random.default_rng(np.random.SeedSequence(0)).permutation(len(ends)).tolist()
    ):  # row by row is uneven
        i, j = ends[pair]
        owned[i if len(owned[i]) <= len(owned[j]) else j].append(pair)
    most = -(-len(ends) // n)
    for _ in range(_ROUNDS):
        full = [place for place in range(n) if len(owned[place]) > most]
        if not sum(_hand_on(place, owned, ends) for place in full):
            break
    owner = np.empty_like(rows)
    for place, pairs in enumerate(owned):
        owner[pairs] = place
    return owner, rows + columns - owner, np.array([len(pairs) for pairs in owned])


def _hand_on(start: int, owned: list[list[int]], ends: list[tuple[int, int]]) -> bool:
    """Relieve a place of one pair, along a short chain of places to one with two fewer; False where none is near."""
    came: dict[int, tuple[int, int]] = {start: (-1, -1)}
    queue = [start]
    for place in queue:
        if len(queue) > _NEAR:
            break
        for pair in owned[place]:
            other = ends[pair][0] + ends[pair][1] - place
            if other in came:
                continue
            came[other] = (place, pair)
            if len(owned[other]) < len(owned[start]) - 1:
                while other != start:
                    giver, given = came[other]
                    owned[giver].remove(given)
                    owned[other].append(given)
                    other = giver
                return True
            queue.append(other)
    return False


def _trace_cubed(A: Any, rows: int = 4096) -> float:
    """trace(A^3), in blocks of rows so that a dense band does not fill the memory."""
    blocks = (A[start : start + rows] for start in range(0, A.shape[0], rows))
    return float(sum((block @ A).multiply(block).sum() for block in blocks))


def _pair_sums(A: Any) -> PairSums:
    """Count the overlaps of one, two and three pairs under the symmetric matrix `A` (zero diagonal).

    Each pattern that is easy to sum loosely is summed loosely, and the patterns it also caught are taken off.
    """
    upper = sparse.coo_array(sparse.triu(A, 1))
    a, i, j = upper.data, upper.row, upper.col
    r = np.asarray(A.sum(axis=1)).ravel()
    r2 = np.asarray(A.power(2).sum(axis=1)).ravel()
    s, p2, p3 = a.sum(), (a**2).sum(), (a**3).sum()
    trace3, mixed = _trace_cubed(A), (r2 * r).sum()
    sharing = (r**2 - r2).sum()
    thrice = p3
    double_sharing = 3 * (mixed - 2 * p3)
    double_apart = 3 * (p2 * s - mixed + p3)
    triangle = trace3
    star = (r**3 - 3 * r * r2).sum() + 4 * p3
    path = 6 * ((a * r[i] * r[j]).sum() - mixed + p3) - 3 * trace3
    corner_apart = 3 * sharing * s - 2 * double_sharing - 3 * triangle - 3 * star - 2 * path
    apart = s**3 - thrice - double_sharing - double_apart - triangle - star - path - corner_apart
    triple = {
        (3, 3): thrice,
        (3, 2, 1): double_sharing,
        (2, 2, 2): triangle,
        (3, 1, 1, 1): star,
        (2, 2, 1, 1): double_apart + path,
        (2, 1, 1, 1, 1): corner_apart,
        (1, 1, 1, 1, 1, 1): apart,
    }
    return PairSums(float(s), float(p2), float(sharing), float(s**2 - p2 - sharing), triple)
