"""The bundled outlines of the world's countries (Natural Earth 1:110m): no map of ours needs the network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Coastline:
    """Outline rings: `rings[i]` is (n_vertex, 2) float64 lon, lat in degrees WGS84; `iso3[i]` names its country."""

    rings: tuple[NDArray, ...]
    iso3: tuple[str, ...]


@cache
def load_coastline() -> Coastline:
    """Read the bundled outlines (289 rings of 177 countries, rounded to .01 degrees)."""
    with (
        files("interp").joinpath("assets", "coastline.npz").open("rb") as handle,
        np.load(handle, allow_pickle=False) as npz,
    ):
        xy = npz["xy_centideg"].astype(np.float64) / 100.0
        offsets, iso3 = npz["offsets"], npz["iso3"]
    xy.flags.writeable = False  # shared by every map of the process
    rings = tuple(xy[a:b] for a, b in pairwise(offsets))
    return Coastline(rings=rings, iso3=tuple(str(code) for code in iso3))


def shorelines(ring: NDArray) -> list[NDArray]:
    """Split a ring into the lines worth drawing: its cuts along the antimeridian and the south pole are no coast."""
    seam = (np.abs(ring[:, 0]) == 180.0) | (ring[:, 1] == -90.0)
    artificial = seam[:-1] & seam[1:]
    if not artificial.any():
        return [ring]
    pieces = np.split(np.arange(len(ring)), np.flatnonzero(artificial) + 1)
    return [ring[piece] for piece in pieces if len(piece) > 1]


def country_box(iso3: str) -> tuple[float, float, float, float]:
    """Return lon0, lon1, lat0, lat1 of a country's main land mass and what lies close to it (overseas parts left out).

    Raises:
        KeyError: a code that the outlines do not have.
    """
    coast = load_coastline()
    rings = [ring for ring, code in zip(coast.rings, coast.iso3, strict=True) if code == iso3]
    if not rings:
        raise KeyError(iso3)
    boxes = np.array([(r[:, 0].min(), r[:, 0].max(), r[:, 1].min(), r[:, 1].max()) for r in rings])
    main = boxes[np.argmax((boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2]))]
    reach = 0.15 * max(main[1] - main[0], main[3] - main[2])
    close = (
        (boxes[:, 0] < main[1] + reach)
        & (boxes[:, 1] > main[0] - reach)
        & (boxes[:, 2] < main[3] + reach)
        & (boxes[:, 3] > main[2] - reach)
    )
    near = boxes[close]
    return (
        float(near[:, 0].min()),
        float(near[:, 1].max()),
        float(near[:, 2].min()),
        float(near[:, 3].max()),
    )
