"""A map of one value per place, drawn offline over the bundled outlines."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from numpy.typing import ArrayLike

from interp.plot.basemap import aspect_of, draw_basemap, write_caption
from interp.plot.points import add_colour_bar, checked_values, colour_norm, colours, count_sentence, draw_points
from interp.plot.projection import ProjectionName
from interp.plot.style import COLUMN_MM, Width, figure, paper_style


def plot_map(
    values: ArrayLike,
    places: pd.DataFrame,
    *,
    ax: Axes | None = None,
    extent: str | Sequence[float] = "world",
    projection: ProjectionName | str = "plate",
    width: Width = "double",
    unit: str = "activation",
    title: str | None = None,
    caption: str = "",
    cmap: str | Colormap | None = None,
    limits: tuple[float, float] | None = None,
    size: float | None = None,
    colorbar: bool = True,
) -> Axes:
    """Draw one value per place as coloured points over the bundled outlines.

    Values that are all >= 0 are read as activations: zero is inactive (grey). Where any is negative the scale
    diverges about zero and no place is called inactive. Missing values are hollow.

    Args:
        values: (n,) one value per place; places has n rows with `lat` and `lon` in degrees WGS84.
        extent: "world", "globe", "auto", a region, an ISO alpha-3 code, or (lon0, lon1, lat0, lat1).
        projection: "plate" or "equal_earth".
        unit: what the colour means, with its unit; the label of the colour bar.
        caption: a sentence put before the counts and the CRS.
        limits: lowest and highest value of the colour scale; arrows on the bar show values beyond.
        size: marker area in points²; suited to the number of places where None.

    Raises:
        InvalidInput: lengths that differ, coordinates that are not degrees, infinite values.
    """
    x = checked_values(values, places)
    with paper_style():
        if ax is None:
            ax = _map_axes(width, aspect_of(places, extent, projection), colorbar)
        frame = draw_basemap(ax, places, extent=extent, proj=projection)
        drawn = draw_points(ax, frame, x, places, cmap=colours(x, cmap), norm=colour_norm(x, limits), size=size)
        if colorbar and drawn is not None:
            add_colour_bar(ax, drawn, x, unit)
        if title:
            ax.set_title(title)
        write_caption(ax, [caption, count_sentence(x, places, frame), frame.credit])
    return ax


def _map_axes(width: Width, aspect: float, colorbar: bool) -> Axes:
    drawn_mm = COLUMN_MM[width] * (0.86 if colorbar else 0.95)
    return figure(width, min(drawn_mm * aspect + 16, 235.0)).axes[0]
