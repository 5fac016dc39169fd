"""The empty map: land, borders, graticule, frame and caption, clipped to the window."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.patches import Polygon
from matplotlib.ticker import FixedLocator
from numpy.typing import ArrayLike, NDArray

from interp.errors import InvalidInput
from interp.plot.coast import load_coastline, shorelines
from interp.plot.extent import Extent, resolve_extent
from interp.plot.projection import Projection, ProjectionName, projection, unwrap
from interp.plot.style import GREY, axes_width_mm

LAND, BORDER, GRID, FRAME = "#f0efec", "#a9a69f", "#e3e3e3", "#8a8a8a"


@dataclass(frozen=True)
class MapFrame:
    """A drawn base map: places go in with `x, y = frame.xy(lon, lat)` and are clipped with `frame.outline`."""

    extent: Extent
    projection: Projection
    outline: Polygon

    @property
    def credit(self) -> str:
        """The sentence that names the reference system, the projection and the source of the outlines."""
        return f"{self.projection.crs}; outlines: Natural Earth 1:110m."

    def xy(self, lon: ArrayLike, lat: ArrayLike) -> tuple[NDArray, NDArray]:
        """Project longitudes and latitudes, degrees, to the axes' data coordinates."""
        return self.projection.forward(unwrap(lon, self.extent.centre), np.asarray(lat, np.float64))

    def inside(self, lon: ArrayLike, lat: ArrayLike) -> NDArray:
        """Return a mask of the places within the window."""
        lat = np.asarray(lat, np.float64)
        within = np.abs(unwrap(lon, self.extent.centre)) <= self.extent.half_width + 1e-9
        return within & (lat >= self.extent.lat0) & (lat <= self.extent.lat1)


def place_coordinates(places: pd.DataFrame) -> tuple[NDArray, NDArray]:
    """Return lon, lat as float64 arrays (n,), degrees.

    Raises:
        InvalidInput: missing columns, or coordinates that are not finite or not on the globe.
    """
    lacking = [name for name in ("lat", "lon") if name not in places.columns]
    if lacking:
        raise InvalidInput(
            f"places lack the column{'s' * (len(lacking) > 1)} {', '.join(lacking)}; they have "
            f"{', '.join(map(str, places.columns))}. Give a table with name, lat and lon in degrees WGS84."
        )
    lat, lon = (places[name].to_numpy(np.float64, na_value=np.nan) for name in ("lat", "lon"))
    bad = ~(np.isfinite(lat) & np.isfinite(lon) & (np.abs(lat) <= 90) & (np.abs(lon) <= 360))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InvalidInput(
            f"{bad.sum()} of {len(bad)} places are not on the globe; the first is row {row} with lat={lat[row]}, "
            f"lon={lon[row]}. Expected degrees WGS84 with |lat| <= 90: are the two swapped, or in a projection?"
        )
    return lon, lat


def aspect_of(places: pd.DataFrame, extent: str | Sequence[float], proj: ProjectionName | str) -> float:
    """Return height / width of the map that these places, window and projection give."""
    _, _, outline = _window(places, extent, proj)
    return float(np.ptp(outline[:, 1]) / np.ptp(outline[:, 0]))


def draw_basemap(
    ax: Axes, places: pd.DataFrame, *, extent: str | Sequence[float], proj: ProjectionName | str, ticks: bool = True
) -> MapFrame:
    """Draw land, borders, graticule and frame on `ax` and return how to place points on it."""
    window, chosen, outline = _window(places, extent, proj)
    patch = Polygon(outline, closed=True, facecolor="white", edgecolor=FRAME, linewidth=0.6, zorder=0)
    ax.add_patch(patch)
    edge = Polygon(outline, closed=True, facecolor="none", edgecolor=FRAME, linewidth=0.6, zorder=6)
    ax.add_patch(edge)
    ax.set_xlim(outline[:, 0].min(), outline[:, 0].max())
    ax.set_ylim(outline[:, 1].min(), outline[:, 1].max())
    ax.set_aspect("equal")
    ax.spines[:].set_visible(False)
    fills, lines = _land(window, chosen)
    for layer in (
        PolyCollection(fills, facecolors=LAND, edgecolors="none", zorder=1),
        LineCollection(_graticule(window, chosen), colors=GRID, linewidths=0.4, zorder=1.5),
        LineCollection(lines, colors=BORDER, linewidths=0.35, zorder=2),
    ):
        ax.add_collection(layer, autolim=False)
        layer.set_clip_path(patch)
    frame = MapFrame(window, chosen, patch)
    _label_degrees(ax, frame, ticks and chosen.rectangular)
    return frame


def write_caption(ax: Axes, sentences: Sequence[str]) -> str:
    """Write the caption under the map, wrapped to the axes' width, and return its text on one line.

    Non-breaking spaces, which `textwrap` leaves alone, keep a count beside its unit.
    """
    text = " ".join(s for s in sentences if s)
    # About 1.05 mm a character at 6 points; a panel of a grid gets the width of its column.
    ax.set_xlabel(
        "\n".join(textwrap.wrap(text, max(24, int(axes_width_mm(ax) / 1.08)))), loc="left", fontsize=6, color=GREY
    )
    return text


def _window(
    places: pd.DataFrame, extent: str | Sequence[float], proj: ProjectionName | str
) -> tuple[Extent, Projection, NDArray]:
    lon, lat = place_coordinates(places)
    window = resolve_extent(extent, lon, lat)
    chosen = projection(proj, window.standard_parallel if proj == "plate" else 0.0)
    half, lats = window.half_width, np.linspace(window.lat0, window.lat1, 91)
    dlon = np.concatenate([np.full(91, -half), [half], np.full(91, half), [-half]])
    edge = np.concatenate([lats, [window.lat1], lats[::-1], [window.lat0]])
    return window, chosen, np.column_stack(chosen.forward(dlon, edge))


def _land(window: Extent, chosen: Projection) -> tuple[list[NDArray], list[NDArray]]:
    """Project every ring that touches the window, once for each turn of the globe on which it does."""
    fills, lines = [], []
    for ring in load_coastline().rings:
        if ring[:, 1].max() < window.lat0 or ring[:, 1].min() > window.lat1:
            continue
        for turn in (-360.0, 0.0, 360.0):
            dlon = ring[:, 0] + turn - window.centre
            if dlon.max() < -window.half_width or dlon.min() > window.half_width:
                continue
            fills.append(np.column_stack(chosen.forward(dlon, ring[:, 1])))
            shift = turn - window.centre
            lines += [np.column_stack(chosen.forward(s[:, 0] + shift, s[:, 1])) for s in shorelines(ring)]
    return fills, lines


def _steps(low: float, high: float) -> NDArray:
    """Round degrees between `low` and `high`: about four to seven of them."""
    step = next((s for s in (0.5, 1, 2, 5, 10, 20, 30) if (high - low) / s <= 6), 60)
    return np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step


def _graticule(window: Extent, chosen: Projection) -> list[NDArray]:
    lats, half = np.linspace(window.lat0, window.lat1, 91), window.half_width
    meridians = [(np.full(91, lon - window.centre), lats) for lon in _steps(window.lon0, window.lon1)]
    parallels = [(np.linspace(-half, half, 91), np.full(91, lat)) for lat in _steps(window.lat0, window.lat1)]
    return [np.column_stack(chosen.forward(*line)) for line in meridians + parallels]


def _label_degrees(ax: Axes, frame: MapFrame, visible: bool) -> None:
    """Label meridians and parallels on a rectangular map; on a curved one the frame has no straight edge for them."""
    if not visible:
        ax.xaxis.set_major_locator(FixedLocator([]))
        ax.yaxis.set_major_locator(FixedLocator([]))
        return
    lons, lats = _steps(frame.extent.lon0, frame.extent.lon1), _steps(frame.extent.lat0, frame.extent.lat1)
    x, _ = frame.projection.forward(lons - frame.extent.centre, np.zeros(len(lons)))
    ax.set_xticks(x, [_degrees(((lon + 180) % 360) - 180, "E", "W") for lon in lons])
    ax.set_yticks(lats, [_degrees(lat, "N", "S") for lat in lats])
    ax.tick_params(labelsize=6, length=2, width=0.4, color=FRAME, labelcolor=GREY)


def _degrees(value: float, positive: str, negative: str) -> str:
    if value in (0, -180):
        return f"{abs(value):g}°"
    return f"{abs(value):g}° {positive if value > 0 else negative}"
