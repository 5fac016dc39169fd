"""Map projections in closed form, so that a map needs no projection library.

x is linear in longitude in each of them. That makes the antimeridian harmless: longitudes are unwrapped about
the map's centre, and an outline that crosses the edge is drawn once more, shifted by 360 degrees, and clipped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interp.errors import UnknownName, nearest

ProjectionName = Literal["plate", "equal_earth"]
# Coefficients A1..A4 of the Equal Earth polynomial.
_A1, _A2, _A3, _A4 = 1.340264, -0.081106, 0.000893, 0.003796


@dataclass(frozen=True)
class Projection:
    """A forward projection: `forward(dlon, lat)` maps degrees from the central meridian to plane x, y."""

    forward: Callable[[NDArray, NDArray], tuple[NDArray, NDArray]]
    crs: str
    rectangular: bool


def projection(name: ProjectionName | str, standard_parallel: float = 0.0) -> Projection:
    """Return a projection by name, "plate" or "equal_earth".

    Args:
        name: "plate" (equirectangular: degrees on both axes) or "equal_earth" (equal areas, for the world).
        standard_parallel: latitude in degrees at which "plate" keeps shapes true; 0 is the plate carrée.

    Raises:
        UnknownName: another name.
    """
    if name == "equal_earth":
        return Projection(equal_earth, "WGS84, Equal Earth", rectangular=False)
    if name != "plate":
        near = ", ".join(nearest(str(name), ("plate", "equal_earth")))
        raise UnknownName(f"projection {name!r} does not exist. Nearest: {near}.")
    if standard_parallel == 0:
        return Projection(lambda lon, lat: (lon, lat), "WGS84, plate carrée", rectangular=True)
    shrink = float(np.cos(np.deg2rad(standard_parallel)))
    hemisphere = "N" if standard_parallel > 0 else "S"
    crs = f"WGS84, equirectangular (true shape at {abs(standard_parallel):.0f}° {hemisphere})"
    return Projection(lambda lon, lat: (lon * shrink, lat), crs, rectangular=True)


def equal_earth(dlon: ArrayLike, lat: ArrayLike) -> tuple[NDArray, NDArray]:
    """Project with Equal Earth on the unit sphere: equal areas, poles as lines.

    sin θ = (√3/2) sin φ;  x = 2√3 λ cos θ / (3 (9 A4 θ⁸ + 7 A3 θ⁶ + 3 A2 θ² + A1));
    y = A4 θ⁹ + A3 θ⁷ + A2 θ³ + A1 θ.

    Args:
        dlon: longitude from the central meridian, degrees, any shape.
        lat: latitude φ, degrees, same shape.

    Returns:
        x and y in units of the sphere's radius.

    Reference: Šavrič, Patterson, Jenny 2018, "The Equal Earth map projection", eqs. 1-3.
    """
    lam, phi = np.deg2rad(np.asarray(dlon, np.float64)), np.deg2rad(np.asarray(lat, np.float64))
    theta = np.arcsin(np.sqrt(3) / 2 * np.sin(phi))
    t2 = theta**2
    t6 = t2**3
    slope = _A1 + 3 * _A2 * t2 + t6 * (7 * _A3 + 9 * _A4 * t2)
    x = 2 * np.sqrt(3) * lam * np.cos(theta) / (3 * slope)
    y = theta * (_A1 + _A2 * t2 + t6 * (_A3 + _A4 * t2))
    return x, y


def unwrap(lon: ArrayLike, centre: float) -> NDArray:
    """Return longitudes as degrees from `centre`, within [-180, 180), whatever side of the antimeridian they lie."""
    return (np.asarray(lon, np.float64) - centre + 180.0) % 360.0 - 180.0
