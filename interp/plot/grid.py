"""Small multiples: the maps of several features side by side, each with its statistic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from numpy.typing import NDArray

from interp.errors import InvalidInput
from interp.plot.basemap import aspect_of, draw_basemap
from interp.plot.numbers import format_number, p_phrase
from interp.plot.points import add_colour_bar, checked_values, colour_norm, colours, draw_points, point_size
from interp.plot.projection import ProjectionName
from interp.plot.style import COLUMN_MM, GREY, figure, paper_style


def map_grid(
    values: Any,
    places: pd.DataFrame,
    *,
    table: pd.DataFrame,
    features: Sequence[Any] | None = None,
    n: int = 6,
    cols: int = 3,
    shared_scale: bool = False,
    extent: str | Sequence[float] = "world",
    projection: ProjectionName | str = "equal_earth",
    unit: str = "activation",
) -> Figure:
    """Draw one map a feature, each titled with the feature, its I and its q (places, extent, ...: see `plot_map`).

    Args:
        values: (n_place, n_feature) array, scipy sparse matrix or DataFrame; an array's columns are features 0, 1, ...
        table: a table of tests with columns feature, I, q and status.
        features: which to draw, in order; the `n` of highest I among those with status "ok" where None.
        shared_scale: one colour scale for all panels; each panel has its own otherwise. The caption says which.

    Raises:
        InvalidInput: a feature that has no row in the table or no column in `values`.
    """
    chosen = _chosen_features(table, features, n)
    columns = [checked_values(_column(values, feature), places) for feature in chosen]
    shared = np.concatenate(columns)
    cols = min(cols, len(chosen))
    panel_mm = COLUMN_MM["double"] / cols
    fig, panels = _empty_grid(len(chosen), cols, panel_mm * 0.86 * aspect_of(places, extent, projection) + 8)
    with paper_style():
        frames = [draw_basemap(ax, places, extent=extent, proj=projection, ticks=False) for ax in panels]
        for ax, frame, feature, x in zip(panels, frames, chosen, columns, strict=True):
            norm, cmap = colour_norm(shared if shared_scale else x), colours(shared if shared_scale else x)
            drawn = draw_points(ax, frame, x, places, cmap=cmap, norm=norm, size=point_size(len(places), panel_mm))
            ax.set_title(_panel_title(table, feature), fontsize=7)
            if drawn is not None and not shared_scale:
                add_colour_bar(ax, drawn, x, "")
        if shared_scale:
            _shared_bar(fig, panels, shared, unit)
        sentence = _grid_caption(table, chosen, len(places), None if shared_scale else unit)
        fig.supxlabel(f"{sentence} {frames[0].credit}", fontsize=6, x=0.01, ha="left", color=GREY)
    return fig


def _empty_grid(n: int, cols: int, row_mm: float) -> tuple[Figure, list[Axes]]:
    rows = -(-n // cols)
    fig = figure("double", rows * row_mm + 6, rows=rows, cols=cols)
    panels = fig.axes[:n]
    for ax in fig.axes[n:]:
        ax.remove()
    return fig, panels


def _shared_bar(fig: Figure, panels: Sequence[Axes], values: NDArray, unit: str) -> None:
    scale = ScalarMappable(colour_norm(values), colours(values))
    fig.colorbar(scale, ax=panels, location="right", shrink=0.6, aspect=30, pad=0.01).set_label(unit)


def _panel_title(table: pd.DataFrame, feature: Any) -> str:
    row: Any = table.iloc[table["feature"].tolist().index(feature)]
    name = f"feature {feature}" if isinstance(feature, (int, np.integer)) else str(feature)
    return f"{name}:  I = {format_number(row['I'])}, {p_phrase('q', row['q'])}"


def _grid_caption(table: pd.DataFrame, chosen: list[Any], n: int, own_unit: str | None) -> str:
    tested = table["status"].tolist().count("ok") if "status" in table else len(table)
    scale = "One colour scale for all panels."
    if own_unit is not None:
        scale = f"Each panel has its own colour scale ({own_unit})."
    return f"{len(chosen)} of {tested:,} features tested, n = {n:,} places. {scale}"


def _chosen_features(table: pd.DataFrame, features: Sequence[Any] | None, n: int) -> list[Any]:
    lacking = [c for c in ("feature", "I", "q") if c not in table.columns]
    if lacking:
        raise InvalidInput(f"the table lacks {', '.join(lacking)}; it has {', '.join(map(str, table.columns))}.")
    names = table["feature"].tolist()
    if features is None:
        tested = (table["status"] == "ok").to_numpy() if "status" in table else np.ones(len(table), bool)
        ranked = np.argsort(-table["I"].to_numpy(np.float64), kind="stable")
        features = [names[i] for i in ranked if tested[i]][:n]
    if table["feature"].duplicated().any():
        raise InvalidInput("a feature has several rows in the table: pass the rows of one layer or area at a time.")
    unknown = [f for f in features if f not in set(names)]
    if unknown or not features:
        what = f"features {unknown} have no row in the table" if unknown else "no feature of the table has status 'ok'"
        raise InvalidInput(f"{what}: there is nothing to title the maps with.")
    return list(features)


def _column(values: Any, feature: Any) -> NDArray:
    if isinstance(values, pd.DataFrame):
        if feature not in values.columns:
            raise InvalidInput(f"feature {feature!r} is no column of the values.")
        return values[feature].to_numpy(np.float64)
    if feature not in range(values.shape[1]):
        raise InvalidInput(f"feature {feature!r} is no column of values with {values.shape[1]} features (from 0).")
    column: Any = values[:, [feature]]
    return np.asarray(column.toarray() if hasattr(column, "toarray") else column, np.float64).ravel()
