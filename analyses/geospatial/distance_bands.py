"""How far a feature's pattern reaches: I and semivariance by great-circle distance, one row a feature and band."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.spatial import KDTree

from analyses.geospatial.feature_tables import read_features, with_q
from analyses.geospatial.place_columns import check_places
from analyses.geospatial.weights import _MOST_PAIRS, _SAME, EARTH_RADIUS_KM, unit_vectors
from interp.errors import InvalidInput
from interp.stats.correlogram import Correlogram, correlogram_i
from interp.stats.pvalues import Alternative
from interp.stats.variogram import Variogram, variogram_gamma


def correlogram(
    X: Any,
    places: pd.DataFrame,
    *,
    bands_km: Sequence[float] = (0, 100, 250, 500, 1000, 2000),
    permutations: int = 999,
    alternative: Alternative = "two-sided",
    level: float = 0.95,
    seed: int = 0,
    min_active: int = 10,
    names: Sequence[Any] | None = None,
) -> pd.DataFrame:
    """Measure Moran's I between places of each distance.

    Args:
        X: places x features: array, scipy sparse or DataFrame (its columns are the names); never changed.
        places: frame with `lat` and `lon` in degrees, one row a row of X.
        bands_km: edges in kilometres along great circles, ascending; a band is (from, to], the first includes 0.
        permutations: shared by all features and bands, the ones that `moran` draws.
        alternative: "greater", "less" or "two-sided".
        level: share of the permuted I of a band between `low` and `high`; each band by itself, not the whole curve.
        seed: seed of the permutations.
        min_active: features with fewer places off their majority value get status "too_rare" and no p.
        names: feature ids; default 0, 1, ...

    Returns:
        One row a feature and band: feature, km_from, km_to, n_pairs, n_islands (places without a pair in the band), I,
        null_mean, null_sd (exact), low, high, z, p, q (Benjamini-Hochberg over all rows with a p), n, n_active,
        n_perm, seed, alternative, level, n_tests, correction, status ("no_pairs" for an empty band).

    Raises:
        InvalidInput: shapes that do not fit, edges that do not ascend, or more than 50 million pairs of places.

    Reference: Sokal & Oden 1978.
    """
    values, ids = read_features(X, names)
    edges = _checked_edges(bands_km)
    result = correlogram_i(
        values, distance_bands(places, edges.tolist()), permutations=permutations, alternative=alternative, level=level,
        seed=seed, min_active=min_active,
    )  # fmt: skip
    return _table(result, ids, edges)


def variogram(
    X: Any,
    places: pd.DataFrame,
    *,
    bands_km: Sequence[float] = (0, 100, 250, 500, 1000, 2000),
    permutations: int = 999,
    alternative: Alternative = "greater",
    level: float = 0.95,
    seed: int = 0,
    min_active: int = 10,
    names: Sequence[Any] | None = None,
) -> pd.DataFrame:
    """Measure how unlike places of each distance are: the empirical semivariogram.

    Args:
        X: as for `correlogram`, and so are places, bands_km, permutations, level, seed, min_active and names.
        places: see X.
        bands_km: see X.
        permutations: see X.
        alternative: "greater" (alike at this distance: a low gamma), "less" (unlike) or "two-sided".
        level: see X.
        seed: see X.
        min_active: see X.
        names: see X.

    Returns:
        One row a feature and band: feature, km_from, km_to, n_pairs, gamma (semivariance over `variance`: 1 without
        pattern), null_mean (1), null_sd (exact), low, high (permutation envelope of this band), z, p, q
        (Benjamini-Hochberg over all rows with a p), variance, range_km (the same in all rows of a feature: the middle
        of the first band whose gamma is not below its envelope; NaN where all are), n, n_active, n_perm, seed,
        alternative, level, n_tests, correction, status ("no_pairs" for an empty band).

    Raises:
        InvalidInput: as for `correlogram`.

    Reference: Matheron 1963; the envelope is that of a feature without any pattern, not of a fitted model.
    """
    values, ids = read_features(X, names)
    edges = _checked_edges(bands_km)
    result = variogram_gamma(
        values, distance_bands(places, edges.tolist()), permutations=permutations, alternative=alternative, level=level,
        seed=seed, min_active=min_active,
    )  # fmt: skip
    n_bands, n_features = result.gamma.shape
    with np.errstate(invalid="ignore"):
        z = (result.gamma - 1.0) / result.null_sd
    measured = {
        "feature": np.repeat(np.array(ids, dtype=object), n_bands),
        "km_from": np.tile(edges[:-1], n_features),
        "km_to": np.tile(edges[1:], n_features),
        "n_pairs": np.tile(result.n_pairs, n_features),
        "gamma": result.gamma.T.ravel(),
        "null_mean": 1.0,
        "null_sd": result.null_sd.T.ravel(),
        "low": result.low.T.ravel(),
        "high": result.high.T.ravel(),
        "z": z.T.ravel(),
        "p": result.p.T.ravel(),
    }
    about = {
        "variance": np.repeat(result.variance, n_bands),
        "range_km": np.repeat(_ranges(result, (edges[:-1] + edges[1:]) / 2), n_bands),
        "n": result.n,
        "n_active": np.repeat(result.n_active, n_bands),
        "n_perm": result.n_perm,
        "seed": result.seed,
        "alternative": result.alternative,
        "level": result.level,
    }
    return with_q(measured, about, result.status.T.ravel()).infer_objects()


def _ranges(result: Variogram, middles: np.ndarray) -> np.ndarray:
    """Return for each feature the middle of the first band in which it is no longer alike."""
    reached = result.gamma >= result.low  # False where there is no gamma
    return np.where(reached.any(axis=0), middles[reached.argmax(axis=0)], np.nan)


def distance_bands(places: pd.DataFrame, edges_km: Sequence[float]) -> list[Any]:
    """Return a symmetric binary csr array (place, place) for each band (from, to] of great-circle kilometres.

    Places that share their coordinates are at distance 0 and so in a first band that begins at 0.
    """
    edges = _checked_edges(edges_km)
    frame = check_places(places)
    xyz = unit_vectors(frame["lat"].to_numpy(), frame["lon"].to_numpy())
    n = len(xyz)
    chords = 2 * np.sin(np.minimum(edges / EARTH_RADIUS_KM, np.pi) / 2) + _SAME
    if edges[0] == 0:
        chords[0] = -1.0
    tree = KDTree(xyz)
    n_pairs = (int(tree.count_neighbors(tree, chords[-1])) - n) // 2
    if n_pairs > _MOST_PAIRS:
        raise InvalidInput(f"bands up to {edges[-1]:g} km join {n_pairs:,} pairs of places; end them nearer.")
    pairs = tree.query_pairs(chords[-1], output_type="ndarray")
    chord = np.linalg.norm(xyz[pairs[:, 0]] - xyz[pairs[:, 1]], axis=1)
    band = np.searchsorted(chords, chord, side="left") - 1
    out = []
    for b in range(len(edges) - 1):
        i, j = pairs[band == b].T
        both = (np.concatenate([i, j]), np.concatenate([j, i]))
        out.append(sparse.csr_array((np.ones(2 * i.size), both), shape=(n, n)))
    return out


def _checked_edges(edges_km: Sequence[float]) -> np.ndarray:
    edges = np.asarray(edges_km, dtype=np.float64)
    if edges.ndim != 1 or edges.size < 2 or not np.isfinite(edges).all() or edges[0] < 0 or (np.diff(edges) <= 0).any():
        raise InvalidInput(f"bands_km={list(edges_km)!r}; expected two or more ascending edges from 0, in kilometres.")
    return edges


def _table(result: Correlogram, ids: list[Any], edges: np.ndarray) -> pd.DataFrame:
    n_bands, n_features = result.I.shape
    with np.errstate(invalid="ignore"):
        z = (result.I - result.null_mean) / result.null_sd
    measured = {
        "feature": np.repeat(np.array(ids, dtype=object), n_bands),
        "km_from": np.tile(edges[:-1], n_features),
        "km_to": np.tile(edges[1:], n_features),
        "n_pairs": np.tile(result.n_pairs, n_features),
        "n_islands": np.tile(result.n_islands, n_features),
        "I": result.I.T.ravel(),
        "null_mean": result.null_mean,
        "null_sd": result.null_sd.T.ravel(),
        "low": result.low.T.ravel(),
        "high": result.high.T.ravel(),
        "z": z.T.ravel(),
        "p": result.p.T.ravel(),
    }
    about = {"n": result.n, "n_active": np.repeat(result.n_active, n_bands), "n_perm": result.n_perm}
    about |= {"seed": result.seed, "alternative": result.alternative, "level": result.level}
    return with_q(measured, about, result.status.T.ravel()).infer_objects()
