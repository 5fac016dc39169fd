"""Where on the globe a place is, read out of its features: ridge on unit vectors, judged in kilometres.

The target of a place is its point on the unit sphere, so that longitude wraps; a guess is brought back to the sphere.
R² is that of the three coordinates together, 1 - sum |y - guess|² / sum |y - mean y|² over the held-out places, and
the error is along the great circle. Proximity error (Gurnee & Tegmark 2023): the share of other held-out places that
lie nearer to the guess than the true one; .5 for a guess that knows nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from analyses.geospatial.decoding_folds import Scheme
from analyses.geospatial.place_columns import check_places
from analyses.geospatial.weights import EARTH_RADIUS_KM, unit_vectors
from interp.atlas.measure.fit import Resampled, resample
from interp.errors import InvalidInput
from interp.stats.pvalues import permutation_p
from interp.stats.ridge import RidgeBasis, decompose
from interp.stats.ridge_folds import fold_squared_error, nested_ridge
from interp.stats.seeds import permutation_indices

ALPHAS = np.logspace(-4, 2, 7)
"""Penalties, in units of the mean eigenvalue of x'x (a scale that knows no coordinates)."""
MIN_GROUPS = 5
"""Resamples of fewer groups say little: no interval."""
MOST = 4000
"""Places whose proximity error is taken."""
_CHUNK = 2**22  # cosines that are held at once


@dataclass(frozen=True)
class Decoded:
    """Guesses for the places that a scheme judges; arrays alone, so that a store can keep them.

    guesses: [scored, 3]. alphas, inner_error: [fold], the penalty and the squared error over other folds that chose it.
    skill: [1 + permutations], the largest over penalties of 1 - squared error / that of `constant_guesses`: of the
        places first, then of shuffled ones.
    """

    guesses: np.ndarray
    alphas: np.ndarray
    inner_error: np.ndarray
    skill: np.ndarray

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the arrays."""
        return tuple(field.name for field in fields(cls))


@dataclass(frozen=True)
class Task:
    """A scheme with what every matrix is judged by: y [m, 3], resampled groups, shuffled places [permutation, m]."""

    scheme: Scheme
    y: np.ndarray
    draws: Resampled | None
    orders: np.ndarray


def make_task(scheme: Scheme, places: pd.DataFrame, *, permutations: int, n_boot: int, seed: int) -> Task:
    """Return the task of a scheme; places are exchanged and resampled by whole groups of the scheme."""
    rows = scheme.rows
    y = unit_vectors(places["lat"].to_numpy()[rows], places["lon"].to_numpy()[rows])
    if scheme.status != "ok":
        return Task(scheme, y, None, np.empty((0, len(rows)), dtype=np.int64))
    scored = scheme.scored
    groups = scheme.groups[scored]
    draws = resample(groups, seed=seed, n_boot=n_boot) if n_boot and len(np.unique(groups)) >= MIN_GROUPS else None
    orders = np.tile(np.arange(len(rows)), (permutations, 1))
    for part in (scored, np.setdiff1d(np.arange(len(rows)), scored)):  # those of a given test among themselves
        if len(part):
            orders[:, part] = part[exchanged(scheme.groups[part], permutations, seed=seed)]
    return Task(scheme, y, draws, orders)


def exchanged(groups: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """Return `count` rearrangements of rows [count, n] that keep groups in one piece.

    The groups are strung together in another order and their rows read off, so neighbours mostly stay neighbours.
    """
    _, codes = np.unique(groups, return_inverse=True)
    rows = np.argsort(codes, kind="stable")
    parts = np.split(rows, np.cumsum(np.bincount(codes))[:-1])
    out = np.empty((count, len(codes)), dtype=np.int64)
    for i, order in enumerate(permutation_indices(len(parts), count, seed=seed)):
        out[i, rows] = np.concatenate([parts[g] for g in order])
    return out


def read_features(X: Any, n: int, name: str = "X") -> np.ndarray:
    """Return features as float64 [n, d]; columns of a sparse matrix that are empty are left out.

    Raises:
        InvalidInput: not one row a place, or NaN or infinity.
    """
    if sparse.issparse(X):
        columns = sparse.csc_matrix(X)
        X = columns[:, np.diff(columns.indptr) > 0].toarray()
    values = np.asarray(X, dtype=np.float64)
    if values.ndim != 2 or len(values) != n:
        raise InvalidInput(f"{name} has shape {values.shape}; expected one row for each of the {n} places, [n, d].")
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise InvalidInput(f"{name} holds NaN or infinity in {bad.sum()} of its {n} rows, the first in row "
                           f"{int(bad.argmax())}; leave these places out.")  # fmt: skip
    return values


def read_places(places: pd.DataFrame) -> pd.DataFrame:
    """Return the places with checked lat and lon, numbered from 0, and their other columns as they are.

    Raises:
        InvalidInput: no lat or lon, or one that is missing or out of range.
    """
    checked = check_places(places)
    kept: Any = places[[c for c in ("country", "continent") if c in places.columns]]
    return pd.concat([checked, kept.reset_index(drop=True)], axis=1)


def decode_all(x: np.ndarray, tasks: list[Task], alphas: np.ndarray = ALPHAS) -> dict[str, Decoded]:
    """Return by scheme what can be read out of x [place, d]; schemes without folds and constant x are not there."""
    out, bases = {}, {}
    for task in tasks:
        if task.scheme.status != "ok":
            continue
        rows = task.scheme.rows
        if rows.tobytes() not in bases:
            bases[rows.tobytes()] = decompose(x[rows])
        basis = bases[rows.tobytes()]
        if len(basis.s2):
            out[task.scheme.name] = decode(basis, task, alphas)
    return out


def decode(basis: RidgeBasis, task: Task, alphas: np.ndarray = ALPHAS) -> Decoded:
    """Return the guesses for the places of one scheme, and the skill that real and shuffled places are read with.

    Args:
        alphas: penalties in units of the mean eigenvalue of x'x.
    """
    scheme, y, penalties = task.scheme, task.y, np.asarray(alphas) * basis.s2.mean()
    found = nested_ridge(basis, y, scheme.folds, penalties, n_reported=scheme.n_reported)
    skill = np.empty(0)
    if len(task.orders):
        versions = np.concatenate([y[None], y[task.orders]])  # [1 + permutation, m, 3]
        columns = versions.transpose(1, 0, 2).reshape(len(y), -1)
        error = fold_squared_error(basis, columns, scheme.folds[: scheme.n_reported], penalties)
        constant = ((columns[scheme.scored] - constant_guesses(columns, scheme)) ** 2).sum(axis=0)
        skill = 1 - error.reshape(len(penalties), -1, 3).sum(axis=2).min(axis=0) / constant.reshape(-1, 3).sum(axis=1)
    return Decoded(found.predictions[scheme.scored], found.alphas, found.inner_error, skill)


def constant_guesses(y: np.ndarray, scheme: Scheme) -> np.ndarray:
    """Return for each place that is judged the mean of y [m, t] over those that were fitted on, [scored, t]."""
    total, out = y.sum(axis=0), np.empty_like(y)
    for fold in scheme.folds[: scheme.n_reported]:
        out[fold.scored] = (total - y[fold.left].sum(axis=0)) / (len(y) - len(fold.left))
    return out[scheme.scored]


def to_degrees(xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return latitude and longitude in degrees of vectors [n, 3] of any length."""
    x, y, z = np.asarray(xyz, dtype=np.float64).T
    return np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))


def great_circle_km(guesses: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the distance in km along the sphere between the directions of two sets of vectors [n, 3].

    By the haversine of the angle, from the chord: exact for near and for opposite places alike.
    """
    chord = np.linalg.norm(_units(guesses) - _units(truth), axis=1) / 2
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chord, 1.0))


def proximity_error(guesses: np.ndarray, truth: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
    """Return for each guess [n, 3] the share of the other places of `truth` that are nearer to it than its own.

    Args:
        own: int [n], the number of each guess's own place in `truth`; default the same row.
    """
    guesses, truth = _units(guesses), _units(truth)
    own = np.arange(len(truth)) if own is None else own
    if len(truth) < 2:
        return np.full(len(guesses), np.nan)
    cosine, out = (guesses * truth[own]).sum(axis=1), np.empty(len(guesses))
    step = max(1, _CHUNK // len(truth))
    for start in range(0, len(guesses), step):
        part = np.arange(start, min(start + step, len(guesses)))
        nearer = guesses[part] @ truth.T > cosine[part, None]
        nearer[np.arange(len(part)), own[part]] = False
        out[part] = nearer.sum(axis=1) / (len(truth) - 1)
    return out


def score_guesses(guesses: np.ndarray, task: Task) -> dict[str, float]:
    """Return r2, median_km (with ci_low and ci_high), mean_km, proximity_error of guesses [scored, 3].

    The proximity error, whose cost grows with the square of the places, is that of at most `MOST` evenly spread ones.
    Intervals: 95 %, percentiles over resamples of whole groups; the probe is not fitted again.
    """
    truth = task.y[task.scheme.scored]
    km, squared = great_circle_km(guesses, truth), ((guesses - truth) ** 2).sum(axis=1)
    spread, some = _spread(truth), np.arange(0, len(truth), -(-len(truth) // MOST))
    out = {
        "r2": float(1 - squared.sum() / spread) if spread > 0 else np.nan,
        "median_km": float(np.median(km)),
        "mean_km": float(km.mean()),
        "proximity_error": float(proximity_error(guesses[some], truth, some).mean()),
    }
    names = ("r2_ci_low", "r2_ci_high", "ci_low", "ci_high", "mean_ci_low", "mean_ci_high")
    if task.draws is None:
        return {**out, **dict.fromkeys(names, np.nan)}
    n, error, total, first, second = (
        _resampled(task.draws, v) for v in (np.ones(len(km)), squared, km, truth, (truth**2).sum(axis=1))
    )
    ends = (
        _interval(1 - error / (second - (first**2).sum(axis=1) / n)),
        task.draws.median_interval(km),
        _interval(total / n),
    )
    return {**out, **dict(zip(names, np.concatenate(ends).tolist(), strict=True))}


def permutation_columns(skill: np.ndarray) -> dict[str, float]:
    """Return the skill, that of shuffled places and p, from `Decoded.skill`."""
    null = skill[1:]
    if len(null) == 0:
        return dict.fromkeys(("skill", "null_mean", "null_sd", "p"), np.nan) | {"n_perm": 0}
    p = permutation_p((null >= skill[0]).sum(), (null <= skill[0]).sum(), len(null))
    sd = float(null.std(ddof=1)) if len(null) > 1 else np.nan
    return {"skill": float(skill[0]), "null_mean": float(null.mean()), "null_sd": sd, "p": float(p),
            "n_perm": len(null)}  # fmt: skip


def _resampled(draws: Resampled, values: np.ndarray) -> np.ndarray:
    """Return the sums of values [n] or [n, t] over each draw."""
    sums = np.zeros((draws.times.shape[1], *values.shape[1:]))
    np.add.at(sums, draws.block, values)
    return draws.times @ sums


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def _spread(y: np.ndarray) -> float:
    return float(((y - y.mean(axis=0)) ** 2).sum())


def _units(xyz: np.ndarray) -> np.ndarray:
    xyz = np.asarray(xyz, dtype=np.float64)
    return xyz / np.maximum(np.linalg.norm(xyz, axis=1, keepdims=True), 1e-300)
