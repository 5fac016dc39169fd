"""Places to ask a model about: the bundled cities, or the user's own file or frame, checked row by row."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from analyses.geospatial.place_columns import degrees, find_columns, names_of, numbers, such
from analyses.geospatial.place_files import from_geometry, read_file
from interp.errors import InvalidInput, UnknownName, nearest
from interp.stats.seeds import check_seed

_BUNDLED = ("atlas", "cities")  # both of GeoNames, CC BY 4.0


def load_places(
    source: str | Path | pd.DataFrame,
    *,
    countries: Sequence[str] | str | None = None,
    min_population: float | None = None,
    n: int | None = None,
    seed: int = 0,
    duplicates: Literal["error", "drop"] = "error",
    name: str | None = None,
    lat: str | None = None,
    lon: str | None = None,
    country: str | None = None,
    admin1: str | None = None,
    population: str | None = None,
) -> pd.DataFrame:
    """Return a table of places.

    Args:
        source: "atlas" (the cities that the bundled model was told of) or "cities" (all bundled ones, at least
            15,000 people); a CSV, TSV, parquet, GeoParquet or GeoJSON file; or a
            DataFrame or GeoDataFrame, which is not changed. Geometries in another CRS are reprojected to WGS84.
        countries: keep these, as the `country` column writes them (case ignored).
        min_population: keep places with at least so many inhabitants; unknown population is not kept.
        n: keep a random sample of so many, in the order of the table.
        seed: seed of the sample.
        duplicates: what to do with rows of the same name, lat and lon: "error", or "drop" all but the first.
        name, lat, lon, country, admin1, population: the columns, where the usual names do not find them.

    Returns:
        Frame with `name`, `lat`, `lon` (degrees, WGS84) and, where the source has them, `country`, `admin1`,
        `population`; numbered from 0. Every row of the source that the filters keep is there.

    Raises:
        InvalidInput: nothing there to read, no coordinate or name columns, a row without a name or with a coordinate
            that is missing or out of range, repeated rows, or filters that leave nothing.
    """
    raw = _read(source)
    given = {"name": name, "lat": lat, "lon": lon, "country": country, "admin1": admin1, "population": population}
    places: Any = _tidy(raw, given)
    places = _without_duplicates(places, duplicates)
    places = _filtered(places, countries, min_population)
    if n is not None:
        places = _sample(places, n, check_seed(seed))
    return places.reset_index(drop=True)


def _read(source: Any) -> pd.DataFrame:
    if isinstance(source, pd.DataFrame):
        frame = from_geometry(source) if hasattr(source, "crs") else source
    elif isinstance(source, str) and source in _BUNDLED:
        frame = _atlas() if source == "atlas" else _bundled()
    elif isinstance(source, str | Path):
        if not str(source).strip():
            raise InvalidInput("source is empty; expected a file, or one of 'atlas', 'cities'.")
        frame = read_file(Path(source).expanduser())
    else:
        raise InvalidInput(f"source is {type(source).__name__}; expected 'cities', a path, or a DataFrame.")
    if len(frame) == 0:
        raise InvalidInput("The table of places has no rows.")
    return frame


def _atlas() -> pd.DataFrame:
    from interp.atlas import facts

    cities: Any = facts().cities
    return cities[cities["seen"]].reset_index(drop=True)


def _bundled() -> pd.DataFrame:
    packed = resources.files("interp").joinpath("assets", "cities.parquet")
    with resources.as_file(packed) as path:
        if not path.exists():
            raise UnknownName(
                "The bundled table of cities is missing from this installation; install the package again."
            )
        return read_file(path)


def _tidy(raw: Any, given: dict[str, str | None]) -> pd.DataFrame:
    column = find_columns(list(raw.columns), given)
    names = names_of(raw[column["name"]])
    out = pd.DataFrame({"name": pd.Series(names, dtype=object)})
    out["lat"] = degrees(raw[column["lat"]], "lat", names, raw[column["lon"]])
    out["lon"] = degrees(raw[column["lon"]], "lon", names)
    for role in ("country", "admin1"):
        if role in column:
            values = raw[column[role]]
            out[role] = pd.Series([None if pd.isna(v) else str(v).strip() for v in values], dtype=object)
    if "population" in column:
        out["population"] = numbers(raw[column["population"]], "population", names)
    return out


def _without_duplicates(places: Any, duplicates: str) -> Any:
    if duplicates not in ("error", "drop"):
        raise InvalidInput(f"duplicates={duplicates!r}; expected 'error' or 'drop'.")
    repeated = places.duplicated(["name", "lat", "lon"]).to_numpy()
    if not repeated.any():
        return places
    if duplicates == "drop":
        return places[~repeated]
    second = int(repeated.argmax())
    same = (places[["name", "lat", "lon"]] == places.loc[second, ["name", "lat", "lon"]]).all(axis=1).to_numpy()
    raise InvalidInput(
        f"Rows {int(same.argmax()) + 1} and {second + 1} are the same place ({places.loc[second, 'name']!r}). "
        f"{such(np.flatnonzero(repeated) + 1)} Pass duplicates='drop' to keep the first of each."
    )


def _filtered(places: Any, countries: Sequence[str] | str | None, min_population: float | None) -> pd.DataFrame:
    if countries is not None:
        wanted = {c.strip().casefold() for c in ([countries] if isinstance(countries, str) else countries)}
        if "country" not in places:
            raise InvalidInput("countries= needs a country column; name it: country='...'.")
        folded = places["country"].map(lambda c: "" if c is None else c.casefold())
        unknown = sorted(wanted - set(folded))
        if unknown or not wanted:
            there = sorted(set(places["country"].dropna()))
            like = nearest(unknown[0].upper(), there) if unknown and there else there[:3]
            raise InvalidInput(
                f"countries={sorted(wanted)}: no place has {unknown or 'none'}. Nearest: {', '.join(like)}."
            )
        places = places[folded.isin(list(wanted))]
    if min_population is not None:
        if "population" not in places:
            raise InvalidInput("min_population= needs a population column; name it: population='...'.")
        kept = places[places["population"] >= min_population]
        if kept.empty:
            largest = places["population"].max()
            raise InvalidInput(f"min_population={min_population:g} keeps no place; the largest has {largest:g}.")
        places = kept
    return places


def _sample(places: Any, n: int, seed: int) -> pd.DataFrame:
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 1 <= n <= len(places):
        raise InvalidInput(f"n={n!r}; expected a whole number from 1 to {len(places)}, the places there are.")
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    return places.iloc[np.sort(rng.choice(len(places), size=n, replace=False))]
