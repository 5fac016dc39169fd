"""What part of the world a map shows: by name, by numbers, or fitted to the places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interp.errors import InvalidInput, UnknownName, nearest
from interp.plot.coast import country_box, load_coastline

REGIONS = {
    "world": (-180.0, 180.0, -60.0, 85.0),  # no town lies south of 55° S; Antarctica would take a fifth of the map
    "globe": (-180.0, 180.0, -90.0, 90.0),
    "africa": (-20.0, 55.0, -37.0, 39.0),
    "asia": (25.0, 150.0, -12.0, 60.0),
    "europe": (-12.0, 42.0, 34.0, 71.0),
    "north_america": (-170.0, -50.0, 7.0, 75.0),
    "oceania": (110.0, 240.0, -50.0, 25.0),
    "pacific": (110.0, 290.0, -60.0, 60.0),
    "south_america": (-83.0, -33.0, -57.0, 14.0),
}


@dataclass(frozen=True)
class Extent:
    """A window in degrees: `lon0` < `lon1` <= `lon0` + 360 (so it may cross the antimeridian), `lat0` < `lat1`."""

    lon0: float
    lon1: float
    lat0: float
    lat1: float

    @property
    def centre(self) -> float:
        """Longitude of the map's central meridian, degrees."""
        return (self.lon0 + self.lon1) / 2

    @property
    def half_width(self) -> float:
        """Degrees of longitude from the central meridian to an edge."""
        return (self.lon1 - self.lon0) / 2

    @property
    def standard_parallel(self) -> float:
        """Latitude at which a rectangular map should keep shapes true: 0 for maps wider than 120 degrees."""
        return 0.0 if self.lon1 - self.lon0 > 120 else float(round((self.lat0 + self.lat1) / 2))


def resolve_extent(extent: str | Sequence[float], lon: NDArray, lat: NDArray) -> Extent:
    """Turn a caller's extent into numbers.

    Args:
        extent: a name of `REGIONS`, an ISO 3166 alpha-3 country code ("GBR"), "auto" (fitted to the places), or
            (lon0, lon1, lat0, lat1) in degrees; lon0 > lon1 means across the antimeridian.
        lon, lat: places, degrees; only "auto" reads them.

    Raises:
        UnknownName: a name that is neither a region nor a country of the bundled outlines.
        InvalidInput: numbers that are no window on the globe.
    """
    if isinstance(extent, str):
        if extent == "auto":
            return fit_extent(lon, lat)
        if extent in REGIONS:
            return Extent(*REGIONS[extent])
        try:
            return _padded(*country_box(extent.upper()))
        except KeyError:
            names = ["auto", *REGIONS, *sorted(set(load_coastline().iso3) - {"-99"})]
            raise UnknownName(
                f"extent {extent!r} is no region and no country code. Nearest: {', '.join(nearest(extent, names))}. "
                "Give a region, an ISO alpha-3 code, 'auto' or (lon0, lon1, lat0, lat1) in degrees."
            ) from None
    values = [float(v) for v in extent]
    if len(values) != 4 or not np.isfinite(values).all():
        raise InvalidInput(f"extent {extent!r} must be four finite numbers: lon0, lon1, lat0, lat1 in degrees.")
    lon0, lon1, lat0, lat1 = values
    if lon1 <= lon0:
        lon1 += 360.0
    if not (-90 <= lat0 < lat1 <= 90 and -360 <= lon0 < lon1 <= lon0 + 360):
        raise InvalidInput(
            f"extent {extent!r} is no window on the globe: expected (lon0, lon1, lat0, lat1) in degrees with "
            "-90 <= lat0 < lat1 <= 90 (longitudes come first)."
        )
    turn = 360.0 * np.floor(((lon0 + lon1) / 2 + 180.0) / 360.0)  # 170..540 and -190..180 are the same window
    return Extent(lon0 - turn, lon1 - turn, lat0, lat1)


def fit_extent(lon: NDArray, lat: NDArray) -> Extent:
    """Return the smallest window round the places, across the antimeridian where that is the shorter way."""
    if len(lon) == 0:
        return Extent(*REGIONS["world"])
    ordered = np.sort(np.asarray(lon, np.float64) % 360.0)
    gaps = np.diff(np.append(ordered, ordered[0] + 360.0))
    widest = int(np.argmax(gaps))
    if gaps[widest] < 60.0:  # the places go round the globe
        return Extent(-180.0, 180.0, max(-90.0, float(lat.min()) - 5), min(90.0, float(lat.max()) + 5))
    lon0 = float(ordered[(widest + 1) % len(ordered)])
    lon0 = lon0 - 360.0 if lon0 > 180.0 else lon0
    return _padded(lon0, lon0 + 360.0 - float(gaps[widest]), float(lat.min()), float(lat.max()))


def _padded(lon0: float, lon1: float, lat0: float, lat1: float) -> Extent:
    """Add a margin of 6 % (at least half a degree) on each side."""
    pad_lon, pad_lat = max(0.5, 0.06 * (lon1 - lon0)), max(0.5, 0.06 * (lat1 - lat0))
    lon0, lon1 = lon0 - pad_lon, lon1 + pad_lon
    if lon1 - lon0 > 360:
        lon0, lon1 = -180.0, 180.0
    return Extent(lon0, lon1, max(-90.0, lat0 - pad_lat), min(90.0, lat1 + pad_lat))
