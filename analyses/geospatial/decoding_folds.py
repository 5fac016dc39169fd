"""Which places a probe of coordinates does not see: random places, blocks of the map, a buffer, countries, continents.

Random folds ask whether a place can be guessed from its neighbours, which a memory of places does as well as a map;
the others ask for places without any neighbour among those that were fitted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from scipy.spatial import KDTree

from analyses.geospatial.weights import EARTH_RADIUS_KM, unit_vectors
from interp.atlas.measure.folds import group_folds, random_folds
from interp.errors import InvalidInput, nearest
from interp.stats.ridge_folds import MIN_FOLDS, Fold, folds_of

Cv = Literal["block", "buffered", "country", "continent", "given", "random"]
MIN_FIT = 20
"""Places that have to stay when two folds are left out."""


@dataclass(frozen=True)
class Scheme:
    """One way of holding places out.

    rows: int [m], the places that take part. folds: in numbers among these; the first `n_reported` are judged.
    groups: int [m], places that are held out together; whole groups are exchanged and resampled.
    status: "ok", or why there is nothing to report.
    """

    name: str
    rows: np.ndarray
    folds: tuple[Fold, ...]
    n_reported: int
    groups: np.ndarray
    status: str = "ok"

    @property
    def scored(self) -> np.ndarray:
        """Numbers among `rows` of the places that are judged, ascending."""
        return np.sort(np.concatenate([fold.scored for fold in self.folds[: self.n_reported]]))

    @property
    def n_train(self) -> float:
        """Places that a reported fold is fitted on, the mean over folds."""
        return float(np.mean([len(self.rows) - len(fold.left) for fold in self.folds[: self.n_reported]]))


def place_schemes(
    places: pd.DataFrame,
    cv: Sequence[str],
    *,
    test: np.ndarray | None = None,
    deg: float = 10.0,
    buffer_km: float = 500.0,
    n_folds: int = 10,
    seed: int = 0,
) -> list[Scheme]:
    """Return the ways of holding places out, the strictest first and random folds last.

    Args:
        places: lat, lon; `country` for "country"; `continent`, or ISO codes as country, for "continent".
        cv: names of schemes.
        test: bool [place], for "given": fitted on the others, judged on these. They take no part in other schemes.
        deg: side of the blocks in degrees of latitude and longitude.
        buffer_km: "buffered" leaves out all places this near to a held-out one; its folds are those of "block".
        n_folds: groups are joined to so many folds of about equal size.

    Raises:
        InvalidInput: an unknown scheme, "given" without `test` or the reverse, or a size that is none.
    """
    wanted = _checked(cv, test, len(places), deg, buffer_km, n_folds)
    train = np.arange(len(places)) if test is None else np.flatnonzero(~test)
    options = {"n_folds": n_folds, "seed": seed}
    out = []
    for name in wanted:
        if name == "given":
            out.append(_given(places, np.asarray(test), deg, **options))
        elif name == "random":
            folds = folds_of(random_folds(len(train), seed=seed, k=n_folds)) if len(train) > 1 else []
            out.append(_scheme(name, train, folds, np.arange(len(train))))
        else:
            labels, missing = _labels(places, name, deg)
            rows = train[labels[train] != ""]
            xyz = _xyz(places)[rows] if name == "buffered" else None
            out.append(_grouped(name, rows, labels[rows], missing, xyz, buffer_km, **options))
    return out


def blocks(places: pd.DataFrame, deg: float) -> np.ndarray:
    """Return the cell of deg x deg degrees of each place as a label such as "4|17"; longitude 180 is -180."""
    row = np.floor((places["lat"].to_numpy(np.float64) + 90) / deg).astype(np.int64)
    column = np.floor((places["lon"].to_numpy(np.float64) + 180) % 360 / deg).astype(np.int64)
    return np.array([f"{a}|{b}" for a, b in zip(row, column, strict=True)], dtype=object)


def continents(places: pd.DataFrame) -> np.ndarray | None:
    """Return the continent of each place, "" where unknown; from the column, or from ISO 3166 codes of countries."""
    if "continent" in places.columns:
        return _texts(places["continent"])
    if "country" not in places.columns:
        return None
    from interp.atlas.world import country_table

    known = {code: about["continent"] for code, about in country_table().items()}
    found = np.array([known.get(code.upper(), "") for code in _texts(places["country"])], dtype=object)
    return found if (found != "").any() else None


def _labels(places: pd.DataFrame, name: str, deg: float) -> tuple[np.ndarray, str]:
    """Return a label a place, "" where there is none, and what is missing where none has one."""
    if name in ("block", "buffered"):
        return blocks(places, deg), ""
    found = continents(places) if name == "continent" else None
    if name == "country" and "country" in places.columns:
        found = _texts(places["country"])
    return (np.full(len(places), "", dtype=object), f"no {name} known") if found is None else (found, "")


def _texts(column: Any) -> np.ndarray:
    return column.astype(object).where(column.notna(), "").astype(str).str.strip().to_numpy(dtype=object)


def _grouped(
    name: str, rows: np.ndarray, labels: np.ndarray, missing: str, xyz: np.ndarray | None, buffer_km: float,
    *, n_folds: int, seed: int,
) -> Scheme:  # fmt: skip
    names, groups = np.unique(labels.astype(str), return_inverse=True)
    if missing or len(names) < MIN_FOLDS:
        status = missing or f"too few groups ({len(names)}; at least {MIN_FOLDS})"
        return Scheme(name, rows, (), 0, groups, status)
    folds = folds_of(group_folds(groups, seed=seed, k=n_folds))
    if xyz is not None:
        folds = [Fold(_near(xyz, fold.scored, buffer_km), fold.scored) for fold in folds]
    return _scheme(name, rows, folds, groups)


def _near(xyz: np.ndarray, scored: np.ndarray, km: float) -> np.ndarray:
    """Return the places within so many km of one that is judged, these included."""
    chord = 2 * np.sin(min(km / EARTH_RADIUS_KM, np.pi) / 2)
    distance, _ = KDTree(xyz[scored]).query(xyz)
    return np.flatnonzero(distance <= chord)


def _given(places: pd.DataFrame, test: np.ndarray, deg: float, *, n_folds: int, seed: int) -> Scheme:
    """Judge the given places; random folds of the others choose the penalty."""
    inner = np.full(len(test), -1)  # first, so that the given ones are the one reported fold
    if (~test).sum() > 1:
        inner[~test] = random_folds(int((~test).sum()), seed=seed, k=n_folds)
    folds = folds_of(inner)
    groups = np.unique(blocks(places, deg).astype(str), return_inverse=True)[1]
    return _scheme("given", np.arange(len(test)), folds, groups, n_reported=1)


def _scheme(
    name: str, rows: np.ndarray, folds: list[Fold], groups: np.ndarray, n_reported: int | None = None
) -> Scheme:
    reported, status = len(folds) if n_reported is None else n_reported, "ok"
    if len(folds) < MIN_FOLDS:
        status = f"too few places ({len(rows)})"
    else:
        pairs = [(f, g) for f, g in combinations(range(len(folds)), 2) if f < reported]
        stay = len(rows) - max(len(np.union1d(folds[f].left, folds[g].left)) for f, g in pairs)
        if stay < MIN_FIT:
            status = f"only {stay} places stay to fit on (at least {MIN_FIT})"
    return Scheme(name, rows, tuple(folds) if status == "ok" else (), reported if status == "ok" else 0, groups, status)


def _xyz(places: pd.DataFrame) -> np.ndarray:
    return unit_vectors(places["lat"].to_numpy(), places["lon"].to_numpy())


def _checked(
    cv: Sequence[str], test: np.ndarray | None, n: int, deg: float, buffer_km: float, n_folds: int
) -> list[str]:
    names = [cv] if isinstance(cv, str) else list(cv)
    for name in names:
        if name not in get_args(Cv):
            close = nearest(str(name), get_args(Cv))[0]
            raise InvalidInput(f"cv={name!r} is no way of holding out. Nearest: {close!r}. All: {get_args(Cv)}.")
    if ("given" in names) != (test is not None):
        raise InvalidInput("cv='given' and test (bool, one a place) belong together; give both or neither.")
    if test is not None and (test.dtype != bool or test.shape != (n,) or test.all() or not test.any()):
        raise InvalidInput(f"test is bool, one for each of the {n} places, some of each; given {test.dtype}, "
                           f"{test.shape}, {int(np.sum(test))} true.")  # fmt: skip
    if not 0 < deg <= 90 or not buffer_km >= 0 or isinstance(n_folds, bool) or n_folds < MIN_FOLDS:
        raise InvalidInput(
            f"deg={deg!r}, buffer_km={buffer_km!r}, n_folds={n_folds!r}; expected 0 < deg <= 90, buffer_km of 0 or "
            f"more, n_folds of {MIN_FOLDS} or more."
        )
    return [name for name in get_args(Cv) if name in names]
