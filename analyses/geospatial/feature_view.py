"""One feature on one page: its map, its local clusters, its Moran scatter, and how far its pattern reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp.errors import UnknownName
from interp.plot import Curve, figure, line_panel, moran_scatter, paper_style, plot_lisa, plot_map
from interp.plot.basemap import aspect_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from interp.result import Result

CORRECTION = "Benjamini-Hochberg over places, q <= .05"


def feature_card(result: Result, feature: int | None = None, *, extent: str = "world", unit: str = "") -> Figure:
    """Draw what a study knows of one of its top features.

    Args:
        result: from `autocorrelation_study`.
        feature: one of the columns of `result.tables["top_values"]`; the first where None.
        extent: of the maps, as for `interp.plot.plot_map`.
        unit: what the values are, for the colour bar.

    Raises:
        UnknownName: the feature is not among those that the result keeps the values of.
    """
    values, places = result.tables["top_values"], result.tables["places"]
    known = [str(c) for c in values.columns]
    name = known[0] if feature is None and known else str(feature)
    if name not in known:
        raise UnknownName(f"the result keeps no values of feature {name}; it keeps: {', '.join(known) or 'none'}.")
    x = values[name].to_numpy(np.float64)
    local = _of(result.tables["clusters"], name)
    row = _own_row(result, int(name))
    fig = figure("double", 200, rows=0)
    height = aspect_of(places, extent, "plate")
    with paper_style():
        grid = fig.add_gridspec(3, 2, height_ratios=[183 * 0.86 * height, 183 * 0.86 * height + 14, 70])
        upper, lower = fig.add_subplot(grid[0, :]), fig.add_subplot(grid[1, :])
        left, right = fig.add_subplot(grid[2, 0]), fig.add_subplot(grid[2, 1])
        plot_map(x, places, ax=upper, extent=extent, unit=unit or "activation", title=f"{row['unit']} {name}")
        plot_lisa(local["cluster"].tolist(), places, ax=lower, correction=CORRECTION, extent=extent)
        lags = local["lag"].to_numpy(np.float64)  # of the standardised values; NaN where a place has no neighbours
        drawn = np.isfinite(lags)
        moran_scatter(((x - x.mean()) / x.std())[drawn], lags[drawn], I=float(row["I"]), ax=left)
        reach_panel(_of(result.tables["correlogram"], name), ax=right)
    fig.set_size_inches(fig.get_figwidth(), (2 * 183 * 0.86 * height + 120) / 25.4)
    return fig


def reach_panel(bands: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw Moran's I by distance with what 95 % of the permutations give in each band by itself."""
    middle = (bands["km_from"] + bands["km_to"]).to_numpy() / 2
    curves = {
        "measured": Curve(bands["I"], n=int(bands["n"].iloc[0])),
        "places exchanged (mean, 95 %)": Curve(bands["null_mean"], bands["low"], bands["high"], control=True),
    }
    return line_panel(middle, curves, xlabel="distance (km, middle of the band)", ylabel="Moran's I", ax=ax)


def _of(table: pd.DataFrame, feature: str) -> pd.DataFrame:
    part: Any = table[table["feature"].astype(str) == feature]
    return part.reset_index(drop=True)


def _own_row(result: Result, feature: int) -> dict[str, Any]:
    unit = result.provenance["top_unit"]
    table = result.table
    own: Any = table[(table["condition"] == "trained") & (table["unit"] == unit) & (table["feature"] == feature)]
    return own.iloc[0].to_dict()
