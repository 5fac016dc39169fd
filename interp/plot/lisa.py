"""Maps of local Moran clusters: one fixed colour a class, every class in the legend whether it occurs or not.

A legend that lists only the classes present shifts colours between maps, and readers then compare the wrong ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from interp.errors import InvalidInput, nearest
from interp.plot.basemap import MapFrame, aspect_of, draw_basemap, place_coordinates, write_caption
from interp.plot.points import point_size
from interp.plot.projection import ProjectionName
from interp.plot.style import COLUMN_MM, Width, axes_width_mm, figure, paper_style


class ClusterLook(NamedTuple):
    """How one class is drawn and what the legend calls it."""

    colour: str
    marker: str
    words: str
    scale: float
    zorder: float


# Red-yellow-blue of ColorBrewer, safe for colour-vision deficiencies; the marker says the class a second time.
CLUSTERS = {
    "HH": ClusterLook("#d7191c", "o", "high among high (HH)", 1.0, 5),
    "LL": ClusterLook("#2c7bb6", "s", "low among low (LL)", 0.9, 4),
    "HL": ClusterLook("#f08a24", "^", "high among low (HL)", 1.3, 5.5),
    "LH": ClusterLook("#74b3d8", "v", "low among high (LH)", 1.3, 5.5),
    "ns": ClusterLook("#c9c9c9", "o", "not significant", 0.35, 3),
    "island": ClusterLook("none", "o", "no neighbours", 0.9, 4.5),
    "no test": ClusterLook("#9a9a9a", "x", "no test", 0.35, 3.5),
}
_ALIASES = {
    "not significant": "ns",
    "not_significant": "ns",
    "no neighbours": "island",
    "no_neighbours": "island",
    "islands": "island",
    "no_test": "no test",
    "not tested": "no test",
}


def plot_lisa(
    clusters: Sequence[str],
    places: pd.DataFrame,
    *,
    correction: str,
    ax: Axes | None = None,
    extent: str | Sequence[float] = "world",
    projection: ProjectionName | str = "plate",
    width: Width = "double",
    title: str | None = None,
    size: float | None = None,
) -> Axes:
    """Draw the local Moran class of every place, with n per class.

    Args:
        clusters: n labels out of HH, LL, HL, LH, ns (not significant), island (no neighbours) and "no test".
        correction: how significance was decided, for the caption, such as "q <= .05, Benjamini-Hochberg".
        places, ax, extent, projection, width, title, size: as in `plot_map`.

    Raises:
        InvalidInput: a label that is no class, lengths that differ, or an empty correction.

    Reference: Anselin 1995, "Local indicators of spatial association".
    """
    labels = _checked_labels(clusters, places)
    if not correction.strip():
        raise InvalidInput(
            "correction is empty: say how significance was decided, e.g. 'q <= .05, Benjamini-Hochberg'."
        )
    with paper_style():
        if ax is None:
            height = COLUMN_MM[width] * 0.95 * aspect_of(places, extent, projection) + 26
            ax = figure(width, min(height, 235.0)).axes[0]
        frame = draw_basemap(ax, places, extent=extent, proj=projection)
        lon, lat = place_coordinates(places)
        _draw_classes(ax, frame, labels, lon, lat, size)
        rows = _legend(ax, labels)
        if title:
            ax.set_title(title, pad=8.5 * rows + 5)
        outside = int((~frame.inside(lon, lat)).sum())
        n = f"n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{len(labels):,}\N{NO-BREAK SPACE}places"
        counts = f"{n}, {outside:,} of them outside the map and counted in the legend." if outside else f"{n}."
        write_caption(ax, [f"Local Moran's I; significant: {correction.rstrip('.')}.", counts, frame.credit])
    return ax


def _draw_classes(
    ax: Axes, frame: MapFrame, labels: np.ndarray, lon: NDArray, lat: NDArray, size: float | None
) -> None:
    within = frame.inside(lon, lat)
    x, y = frame.xy(lon, lat)
    area = point_size(int(within.sum()), axes_width_mm(ax)) if size is None else size
    for name, look in CLUSTERS.items():
        mask = within & (labels == name)
        drawn = ax.scatter(
            x[mask], y[mask], s=area * look.scale, marker=look.marker, zorder=look.zorder,
            linewidths=0.5 if look.colour == "none" or look.marker == "x" else 0,
            **_paint(look), label=name, rasterized=len(labels) > 3000,
        )  # fmt: skip
        drawn.set_clip_path(frame.outline)


def _paint(look: ClusterLook) -> dict[str, Any]:
    """Return the colours of a marker: a cross has a line alone, a hollow one an edge alone."""
    if look.marker == "x":
        return {"c": look.colour}
    return {"facecolors": look.colour, "edgecolors": "#333333" if look.colour == "none" else "none"}


def _checked_labels(clusters: Sequence[str], places: pd.DataFrame) -> np.ndarray:
    labels = np.array([_ALIASES.get(str(c).lower(), str(c)) for c in clusters], dtype=object)
    if len(labels) != len(places):
        raise InvalidInput(f"{len(labels)} labels for {len(places)} places: expected one per place, in the same order.")
    unknown = sorted({str(c) for c in labels} - set(CLUSTERS))
    if unknown:
        raise InvalidInput(
            f"{unknown[0]!r} is no class of local Moran's I. Nearest: {', '.join(nearest(unknown[0], CLUSTERS))}. "
            f"Valid: {', '.join(CLUSTERS)}."
        )
    return labels


def _legend(ax: Axes, labels: np.ndarray) -> int:
    """Put all classes with their n above the map and return the number of rows this takes."""
    handles = [
        Line2D(
            [], [], linestyle="none", marker=look.marker, markersize=4.5, markerfacecolor=look.colour,
            markeredgecolor=_paint(look).get("edgecolors") or look.colour, markeredgewidth=0.6,
            label=f"{look.words}: {int((labels == name).sum()):,}",
        )
        for name, look in CLUSTERS.items()
    ]  # fmt: skip
    width_mm = axes_width_mm(ax)
    cols = 1 if width_mm < 55 else 2 if width_mm < 120 else 3  # an entry is about 30 mm wide
    ax.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=cols, borderaxespad=0.2,
        handletextpad=0.1, columnspacing=0.9, labelspacing=0.3, fontsize=6,
    )  # fmt: skip
    return -(-len(handles) // cols)
