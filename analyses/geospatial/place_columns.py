"""The columns of a table of places: found by their usual names, checked value by value.

Nothing is dropped or filled in silently: a row that cannot be placed on the map is an error that names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from interp.errors import InvalidInput, nearest

ALIASES = {
    "name": ("name", "asciiname", "placename", "place", "city", "cityascii", "town", "settlement", "toponym", "label"),
    "lat": ("lat", "latitude", "latdd", "latdeg", "latitudedeg", "decimallatitude", "ycoord", "y"),
    "lon": ("lon", "lng", "long", "longitude", "londd", "londeg", "longitudedeg", "decimallongitude", "xcoord", "x"),
    "country": ("country", "countrycode", "iso2", "isoa2", "cc", "countryiso2"),
    "admin1": ("admin1", "admin1code", "admin1name", "state", "province", "region"),
    "population": ("population", "pop", "inhabitants"),
}
_LIMIT = {"lat": 90.0, "lon": 180.0}
_LISTED = 5  # rows that a message numbers


def _plain(column: object) -> str:
    return "".join(c for c in str(column).lower() if c.isalnum())


def find_columns(columns: Sequence[Any], given: dict[str, str | None]) -> dict[str, Any]:
    """Return {role: column} for the roles that `columns` has; `given` overrides the usual names.

    Raises:
        InvalidInput: a column that was given does not exist, or there is no latitude, longitude or name.
    """
    plain: dict[str, Any] = {}
    for column in columns:
        plain.setdefault(_plain(column), column)
    found: dict[str, Any] = {}
    for role, aliases in ALIASES.items():
        override = given.get(role)
        if override is not None:
            if override not in columns:
                raise InvalidInput(f"{role}={override!r}: no such column. {_columns_found(columns, override)}")
            found[role] = override
            continue
        known = [plain[alias] for alias in aliases if alias in plain]
        if known:
            found[role] = known[0]
    for role, word in (("lat", "latitude"), ("lon", "longitude"), ("name", "name")):
        if role not in found:
            hint = _columns_found(columns, word)
            raise InvalidInput(f"No {word} column (one of {', '.join(ALIASES[role])}). {hint} Name it: {role}='...'.")
    return found


def _columns_found(columns: Sequence[Any], like: str) -> str:
    listed = [str(c) for c in columns]
    if not listed:
        return "There are no columns."
    return f"Columns found: {', '.join(listed[:20])}; nearest to {like!r}: {', '.join(nearest(like, listed))}."


def degrees(values: Any, role: str, names: Sequence[str], other: Any = None) -> np.ndarray:
    """Return a coordinate column as float64 degrees.

    Args:
        values: the column; numbers, or text that spells numbers.
        role: "lat" or "lon".
        names: the names of the places, for messages.
        other: the other coordinate, to tell whether the two look swapped.

    Raises:
        InvalidInput: a value is missing, no number, or out of range; the message names row, place and value.
    """
    numeric = pd.to_numeric(values, errors="coerce") if values.dtype.kind != "b" else pd.Series(np.nan, values.index)
    out = np.asarray(numeric, dtype=np.float64)
    bad = ~np.isfinite(out)
    if bad.any():
        raise InvalidInput(_row(bad, names, role, values, "is not a number of degrees") + _comma(values))
    outside = np.abs(out) > _LIMIT[role]
    if outside.any():
        message = _row(outside, names, role, values, f"is outside [-{_LIMIT[role]:g}, {_LIMIT[role]:g}]")
        raise InvalidInput(message + _range_hint(role, float(out[outside.argmax()]), other))
    return out


def _row(bad: np.ndarray, names: Sequence[str], role: str, values: Any, problem: str) -> str:
    at = int(bad.argmax())
    value = values.iloc[at]
    shown = repr(value) if isinstance(value, str) else str(value)
    return f"Row {at + 1} ({names[at]!r}): {role} = {shown} {problem}. {such(np.flatnonzero(bad) + 1)}"


def such(numbers: Sequence[int] | np.ndarray, what: str = "row") -> str:
    """Return how many rows (or lines) have a fault, and the first of them: "3 such rows: 2, 5, 9."."""
    listed = ", ".join(str(n) for n in numbers[:_LISTED]) + (", .." if len(numbers) > _LISTED else "")
    return f"{len(numbers):,} such {what}{'' if len(numbers) == 1 else 's'}: {listed}."


def _comma(values: Any) -> str:
    text = values.astype(str)
    if text.str.fullmatch(r"\s*-?\d+,\d+\s*").any():
        return " Decimal commas? Write points."
    return ""


def _range_hint(role: str, value: float, other: Any) -> str:
    if role == "lat" and abs(value) <= 180 and other is not None:
        partner = np.asarray(pd.to_numeric(other, errors="coerce"), dtype=np.float64)
        if (np.abs(partner) <= _LIMIT["lat"]).all():
            return " Latitude and longitude look swapped: name the columns, lat=..., lon=..."
    if role == "lon" and 180 < value <= 360:
        return " Longitudes of 0 to 360 degrees? Subtract 360 from those above 180."
    return ""


def names_of(values: Any) -> list[str]:
    """Return names as stripped text.

    Raises:
        InvalidInput: a name is missing or blank.
    """
    missing = np.flatnonzero(values.isna().to_numpy())
    if missing.size:
        raise InvalidInput(
            f"Row {missing[0] + 1} has no name. {such(missing + 1)} If a reader turned 'NA' or 'None' into "
            "missing, read the file with keep_default_na=False, or give its path to load_places."
        )
    text = [str(v).strip() for v in values]
    blank = np.flatnonzero([not name for name in text])
    if blank.size:
        raise InvalidInput(f"Row {blank[0] + 1} has a blank name; name it or drop it. {such(blank + 1)}")
    return text


def numbers(values: Any, role: str, names: Sequence[str]) -> np.ndarray:
    """Return a column of counts as float64; empty is NaN.

    Raises:
        InvalidInput: text that is no number, or a negative one.
    """
    blank = values.isna().to_numpy() | (values.astype(str).str.strip() == "").to_numpy()
    out = np.array(pd.to_numeric(values.where(~blank), errors="coerce"), dtype=np.float64)
    bad = ~blank & ~(out >= 0)
    if bad.any():
        raise InvalidInput(_row(bad, names, role, values, "is not a count"))
    return out


def check_places(places: Any) -> pd.DataFrame:
    """Return name, lat and lon of a frame of places, checked; places without a name are numbered.

    Raises:
        InvalidInput: not a frame, no `lat` or `lon`, or a coordinate that is missing or out of range.
    """
    if not isinstance(places, pd.DataFrame):
        raise InvalidInput(
            f"places is {type(places).__name__}; expected a DataFrame with lat and lon (see load_places)."
        )
    for role in ("lat", "lon"):
        if role not in places.columns:
            hint = _columns_found(list(places.columns), role)
            raise InvalidInput(f"places has no column {role!r}. {hint} load_places(frame) finds and renames them.")
    labels = places["name"].astype(str).tolist() if "name" in places.columns else [str(i) for i in range(len(places))]
    lat = degrees(places["lat"], "lat", labels, places["lon"])
    lon = degrees(places["lon"], "lon", labels)
    return pd.DataFrame({"name": labels, "lat": lat, "lon": lon})
