"""Which places are neighbours: great-circle weights, and a two-way exchange with libpysal.

Distances are taken on the sphere, as chords between points on the unit sphere in three dimensions: near the poles and
across the antimeridian a degree is not a distance, and planar nearest neighbours are wrong there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.spatial import KDTree

from analyses.geospatial.place_columns import check_places
from interp.errors import InvalidInput, nearest
from interp.stats.moran_graph import MoranGraph, checked_weights

EARTH_RADIUS_KM = 6371.0088  # mean radius of the WGS84 ellipsoid
_SAME = 1e-9  # chords that agree to this many Earth radii (6 mm) are ties
_MOST_PAIRS = 50_000_000


@dataclass(frozen=True, eq=False)
class SpatialWeights:
    """A weights matrix and what a reader needs to know of it.

    Attributes:
        csr: scipy csr array (place, place); each row sums to 1, or to 0 for a place without neighbours.
        n: number of places.
        s0: sum of the weights.
        s1: half the sum of (w_ij + w_ji)^2.
        s2: sum of (row sum + column sum)^2.
        islands: positions of places without neighbours, ascending.
        island_names: their names, where the places had any.
        coincident: names of places that share their coordinates with another.
        kind: "knn", "band" or "pysal".
        params: what they were made with.
    """

    csr: Any
    n: int
    s0: float
    s1: float
    s2: float
    islands: np.ndarray
    island_names: tuple[str, ...]
    coincident: tuple[str, ...]
    kind: str
    params: dict[str, Any]

    @cached_property
    def graph(self) -> MoranGraph:
        """The same weights, prepared for `moran`; made once."""
        return MoranGraph.from_weights(self.csr)

    def to_graph(self) -> Any:
        """Return a `libpysal.graph.Graph` with these weights, its nodes numbered 0 .. n - 1 as the places are."""
        from libpysal.graph import Graph

        coo = self.csr.tocoo()
        focal = np.concatenate([coo.row, self.islands])  # a Graph writes an island as a pair with itself, weight 0
        neighbour = np.concatenate([coo.col, self.islands])
        weight = np.concatenate([coo.data, np.zeros(self.islands.size)])
        order = np.lexsort((neighbour, focal))
        return Graph.from_arrays(focal[order], neighbour[order], weight[order])

    @staticmethod
    def from_pysal(weights: Any, *, row_standardise: bool = True) -> SpatialWeights:
        """Read a libpysal `W` or `Graph`, which stays as it is.

        Args:
            weights: its nodes must be the places in the order of the rows of X (`id_order` or `unique_ids`).
            row_standardise: scale each row to sum to 1; False keeps the weights as they are.

        Raises:
            InvalidInput: neither a W nor a Graph, self-weights, no weights, or rows that cannot be scaled.
        """
        ids, focal, neighbour, values = _pysal_arrays(weights)
        position = pd.Index(ids)
        rows, columns = position.get_indexer(pd.Index(focal)), position.get_indexer(pd.Index(neighbour))
        csr = sparse.csr_array((np.asarray(values, dtype=np.float64), (rows, columns)), shape=(len(ids), len(ids)))
        params = {"row_standardise": row_standardise}
        return _finish(checked_weights(csr), "pysal", params, names=[str(i) for i in ids], standardise=row_standardise)


def spatial_weights(
    places: pd.DataFrame,
    *,
    kind: Literal["knn", "band"] = "knn",
    k: int = 8,
    km: float | None = None,
) -> SpatialWeights:
    """Return row-standardised weights between places on the sphere.

    Args:
        places: frame with `lat` and `lon` in degrees (WGS84), and `name` if islands are to be named.
        kind: "knn", the `k` nearest places; "band", all places within `km`.
        k: neighbours of each place. Ties in distance (6 mm) go to the earlier row. Places that share their coordinates
            are neighbours at distance 0; a place is never its own neighbour.
        km: radius of the band in kilometres along a great circle.

    Raises:
        InvalidInput: coordinates missing or out of range, fewer than k + 2 places, an unknown kind, no usable k or km,
            or a band so wide that it joins more than 50 million pairs.
    """
    if kind not in ("knn", "band"):
        raise InvalidInput(
            f"kind={kind!r}; expected 'knn' or 'band' (nearest: {nearest(str(kind), ['knn', 'band'])[0]!r})."
        )
    frame = check_places(places)
    names = frame["name"].astype(str).tolist()
    xyz = unit_vectors(frame["lat"].to_numpy(), frame["lon"].to_numpy())
    if kind == "knn":
        if km is not None:
            raise InvalidInput(f"km={km} belongs to kind='band'; for kind='knn' give k, or choose kind='band'.")
        csr, params = _nearest(xyz, _checked_k(k, len(frame))), {"k": int(k)}
    else:
        csr, params = _within(xyz, _checked_km(km)), {"km": float(km or 0.0)}
    twins = frame.duplicated(["lat", "lon"], keep=False).to_numpy()
    return _finish(csr, kind, params, names=names, coincident=tuple(np.asarray(names, dtype=object)[twins]))


def unit_vectors(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Return points on the unit sphere, float64 (place, 3), for degrees of latitude and longitude."""
    phi, theta = np.radians(np.asarray(lat, dtype=np.float64)), np.radians(np.asarray(lon, dtype=np.float64))
    return np.column_stack([np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi)])


def _checked_k(k: int, n: int) -> int:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise InvalidInput(f"k={k!r}; expected a whole number of neighbours, 1 or more.")
    if n < k + 2:
        raise InvalidInput(f"{n} places are too few for k={k} neighbours each: at least k + 2 = {k + 2} are needed.")
    return int(k)


def _checked_km(km: float | None) -> float:
    if km is None:
        raise InvalidInput("kind='band' needs km, the radius in kilometres, e.g. km=200.")
    if not isinstance(km, int | float | np.number) or not np.isfinite(km) or km <= 0:
        raise InvalidInput(f"km={km!r}; expected a positive number of kilometres.")
    return float(km)


def _nearest(xyz: np.ndarray, k: int) -> Any:
    """The k nearest of each point, ties to the smaller index; asks for more where a tie runs past what came back."""
    n = xyz.shape[0]
    tree = KDTree(xyz)
    chosen = np.empty((n, k), dtype=np.int64)
    open_rows, ask = np.arange(n), min(n, k + 8)
    while open_rows.size:
        chord, found = tree.query(xyz[open_rows], k=ask)
        rank = np.round(chord / _SAME)
        rank[found == open_rows[:, None]] = np.inf  # never itself, wherever it stands among points that coincide
        order = np.lexsort((found, rank), axis=1)
        rank, found = np.take_along_axis(rank, order, 1), np.take_along_axis(found, order, 1)
        # what did not come back is at least as far as the furthest that did
        settled = (rank[:, k - 1] < np.round(chord[:, -1] / _SAME)) | (ask == n)
        chosen[open_rows[settled]] = found[settled, :k]
        open_rows, ask = open_rows[~settled], min(n, 4 * ask)
    indices = np.sort(chosen, axis=1).ravel()
    return sparse.csr_array((np.ones(n * k), indices, np.arange(0, n * k + 1, k)), shape=(n, n))


def _within(xyz: np.ndarray, km: float) -> Any:
    n = xyz.shape[0]
    angle = min(km / EARTH_RADIUS_KM, np.pi)
    chord = 2.0 * np.sin(angle / 2.0) + _SAME  # at the very radius is inside, whatever the last bit says
    tree = KDTree(xyz)
    n_pairs = (int(tree.count_neighbors(tree, chord)) - n) // 2
    if n_pairs > _MOST_PAIRS:
        raise InvalidInput(f"km={km:g} joins {n_pairs:,} pairs of places; choose a smaller km, or kind='knn'.")
    pairs = tree.query_pairs(chord, output_type="ndarray")
    rows, columns = np.concatenate([pairs, pairs[:, ::-1]]).T
    return sparse.csr_array((np.ones(rows.size), (rows, columns)), shape=(n, n))


def _pysal_arrays(weights: Any) -> tuple[list[Any], Any, Any, Any]:
    """Return ids in order, and focal, neighbour and weight of every pair, reading plain attributes alone."""
    if hasattr(weights, "adjacency") and hasattr(weights, "unique_ids"):
        pairs = weights.adjacency
        focal, neighbour = pairs.index.get_level_values(0), pairs.index.get_level_values(1)
        island = (focal == neighbour) & (pairs.to_numpy() == 0)
        return list(weights.unique_ids), focal[~island], neighbour[~island], pairs.to_numpy()[~island]
    if hasattr(weights, "neighbors") and hasattr(weights, "weights") and hasattr(weights, "id_order"):
        triples = [
            (i, j, w) for i in weights.neighbors for j, w in zip(weights.neighbors[i], weights.weights[i], strict=True)
        ]
        focal, neighbour, values = zip(*triples, strict=True) if triples else ((), (), ())
        return list(weights.id_order), list(focal), list(neighbour), list(values)
    raise InvalidInput(f"{type(weights).__name__} is neither a libpysal W nor a libpysal.graph.Graph.")


def _finish(
    csr: Any,
    kind: str,
    params: dict[str, Any],
    *,
    names: list[str],
    coincident: tuple[str, ...] = (),
    standardise: bool = True,
) -> SpatialWeights:
    csr.sum_duplicates()
    if standardise:
        total = np.asarray(csr.sum(axis=1)).ravel()
        filled = np.diff(csr.indptr) > 0
        if (total[filled] <= 0).any():
            bad = np.flatnonzero(filled & (total <= 0))[0]
            raise InvalidInput(f"row {bad} of the weights sums to {total[bad]:g}; it cannot be scaled to sum to 1.")
        csr = sparse.csr_array((csr.data / np.repeat(total, np.diff(csr.indptr)), csr.indices, csr.indptr), csr.shape)
    islands = np.flatnonzero(np.diff(csr.indptr) == 0)
    rows, columns = (np.asarray(csr.sum(axis=axis)).ravel() for axis in (1, 0))
    return SpatialWeights(
        csr=csr,
        n=len(names),
        s0=float(csr.sum()),
        s1=float((csr + csr.T).power(2).sum() / 2),
        s2=float(((rows + columns) ** 2).sum()),
        islands=islands,
        island_names=tuple(names[i] for i in islands),
        coincident=coincident,
        kind=kind,
        params=params,
    )
