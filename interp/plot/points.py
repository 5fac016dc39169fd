"""Places as points on a base map: which lie beneath, which colour, how large, and how they are counted.

The eye weighs what is drawn last and largest, so order and size are part of the statement: places where the
feature is inactive lie small and grey beneath, the strongest values on top, and the caption says how many
places were drawn, were inactive, had no value, or fell outside the window.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from numpy.typing import ArrayLike, NDArray

from interp.errors import InvalidInput
from interp.plot.basemap import MapFrame, place_coordinates
from interp.plot.style import COLUMN_MM, DIVERGING, LIGHT_GREY, SEQUENTIAL, axes_width_mm


def point_size(n: int, width_mm: float = COLUMN_MM["double"]) -> float:
    """Return the marker area in points² that keeps `n` places apart on a map `width_mm` wide."""
    return float(np.clip(26 * (50 / max(n, 1)) ** 0.45 * (width_mm / COLUMN_MM["double"]), 0.6, 30))


def checked_values(values: ArrayLike, places: pd.DataFrame) -> NDArray:
    """Return the values as float64 (n_place,), or say why they are no values of these places."""
    x = np.array(values, np.float64).ravel()
    if len(x) != len(places):
        raise InvalidInput(
            f"{len(x)} values for {len(places)} places: expected one value per place, in the same order."
        )
    if np.isinf(x).any():
        raise InvalidInput(
            f"{int(np.isinf(x).sum())} of {len(x)} values are infinite: a colour scale cannot show them."
        )
    return x


def is_signed(x: NDArray) -> bool:
    """Return whether any value is negative: such values get a diverging scale and no place is called inactive."""
    return bool((x[np.isfinite(x)] < 0).any())


def colour_norm(x: NDArray, limits: tuple[float, float] | None = None) -> Normalize:
    """Return the colour scale's range: `limits`, or that of the active values (symmetric about 0 where signed).

    Raises:
        InvalidInput: limits that are not low < high.
    """
    if limits is not None:
        if not limits[0] < limits[1]:
            raise InvalidInput(f"limits={limits!r}: expected (low, high) with low < high.")
        return Normalize(*limits)
    shown = x[np.isfinite(x)] if is_signed(x) else x[np.isfinite(x) & (x > 0)]
    if len(shown) == 0:
        return Normalize(0.0, 1.0)
    top = float(np.abs(shown).max()) if is_signed(x) else float(shown.max())
    bottom = -top if is_signed(x) else float(shown.min())
    return Normalize(bottom, top) if top > bottom else Normalize(0.0, top)


def colours(x: NDArray, cmap: str | Colormap | None = None) -> str | Colormap:
    """Return `cmap`, or the sequential or diverging map that suits the values."""
    if cmap is not None:
        return cmap
    if is_signed(x):
        return DIVERGING
    # The palest tenth of the map would vanish on white.
    return LinearSegmentedColormap.from_list("sequential", colormaps[SEQUENTIAL](np.linspace(0.1, 1.0, 256)))


def draw_points(
    ax: Axes,
    frame: MapFrame,
    x: NDArray,
    places: pd.DataFrame,
    *,
    cmap: str | Colormap,
    norm: Normalize,
    size: float | None,
) -> PathCollection | None:
    """Draw inactive, missing and active places in that order; return the coloured ones."""
    lon, lat = place_coordinates(places)
    within = frame.inside(lon, lat)
    if size is None:
        size = point_size(int(within.sum()), axes_width_mm(ax))
    px, py = frame.xy(lon, lat)
    missing = within & np.isnan(x)
    inactive = within & (x == 0) if not is_signed(x) else np.zeros(len(x), bool)
    active = np.flatnonzero(within & ~missing & ~inactive)
    active = active[np.argsort(np.abs(x[active]), kind="stable")]  # the largest are drawn last
    common: dict[str, Any] = {"rasterized": len(x) > 3000}  # a vector file of 30,000 discs opens in nobody's reader
    layers = [
        ax.scatter(px[inactive], py[inactive], s=size * 0.35, c=LIGHT_GREY, linewidths=0, zorder=3, **common),
        ax.scatter(px[missing], py[missing], s=size * 0.6, facecolors="none", edgecolors="#8a8a8a", linewidths=0.4,
                   zorder=3.5, **common),
    ]  # fmt: skip
    drawn = None
    if len(active):
        drawn = ax.scatter(
            px[active], py[active], s=size, c=x[active], cmap=cmap, norm=norm, zorder=4,
            alpha=0.95 if len(active) < 5000 else 0.8, linewidths=0.2 if size > 4 else 0, edgecolors="#333333",
            **common,
        )  # fmt: skip
        layers.append(drawn)
    for layer in layers:
        layer.set_clip_path(frame.outline)
    return drawn


def add_colour_bar(ax: Axes, drawn: PathCollection, x: NDArray, unit: str) -> None:
    """Put a colour bar beside the map, with arrows where values lie beyond its ends."""
    low, high = drawn.norm.vmin or 0.0, drawn.norm.vmax or 0.0
    shown = x[np.isfinite(x)] if is_signed(x) else x[np.isfinite(x) & (x > 0)]
    below, above = bool((shown < low).any()), bool((shown > high).any())
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    figure_ = ax.get_figure(root=True)
    if figure_ is None:
        raise InvalidInput("the axes belong to no figure: draw on axes of interp.plot.figure(...).")
    bar = figure_.colorbar(
        drawn, ax=ax, location="right", fraction=0.03, pad=0.01, shrink=0.75, aspect=22, extend=extend[below, above]
    )
    bar.set_label(unit)
    bar.ax.spines[:].set_linewidth(0.4)
    bar.ax.tick_params(labelsize=6, length=2, width=0.4)


def count_sentence(x: NDArray, places: pd.DataFrame, frame: MapFrame) -> str:
    """Say how many places there are, and how many are active, inactive, without a value and outside the map."""
    lon, lat = place_coordinates(places)
    outside = int((~frame.inside(lon, lat)).sum())
    parts = []
    if not is_signed(x):
        parts.append(f"{int((x > 0).sum()):,} active")
        if (x == 0).any():
            parts.append(f"{int((x == 0).sum()):,} inactive (grey)")
    if np.isnan(x).any():
        parts.append(f"{int(np.isnan(x).sum()):,} without a value (hollow)")
    if outside:
        parts.append(f"{outside:,} outside the map")
    return f"n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{len(x):,}\N{NO-BREAK SPACE}places" + (
        f": {', '.join(parts)}." if parts else "."
    )
