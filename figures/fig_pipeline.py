"""From a prompt to a tested latent, drawn with the tables of a finished run.

python figures/fig_pipeline.py [runs/atlas] [--out FOLDER]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import main, result_of
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Polygon, Rectangle

from interp.plot import figure, null_panel, paper_style, plot_map
from interp.plot.style import DIVERGING, GREY, LIGHT_GREY, PALETTE, dress
from interp.result import Result

BLUE, ORANGE = PALETTE["blue"], PALETTE["vermillion"]
WIDTH, HEIGHT = 183.0, 36.0
"""Size of the schematic in millimetres, which are its coordinates."""


def draw(run: Path) -> Figure:
    """Draw how activations become latents and latents become tests: the steps above, one feature of the run below."""
    result = result_of(run, "geospatial")
    fig = figure("double", 102, rows=0)
    values, places = result.tables["top_values"], result.tables["places"]
    first = str(values.columns[0])
    with paper_style():
        above, below = fig.subfigures(2, 1, height_ratios=[HEIGHT, 102 - HEIGHT])
        left, middle, right = below.subplots(1, 3, width_ratios=[0.75, 1.6, 1.2])
        steps(above.add_axes((0, 0, 1, 1)), result)
        matrix(left, values, places)
        title = f"b  latent {first} on the map"
        plot_map(values[first], places, ax=middle, projection="equal_earth", unit="activation", title=title)
        nulls(right, result.table)
        for ax in (left, right):
            dress(ax)
    return fig


def steps(ax: Axes, result: Result) -> None:
    """Draw the five steps in a row of millimetres."""
    ax.set(xlim=(0, WIDTH), ylim=(-4, HEIGHT - 4))
    ax.set_axis_off()
    site = str(result.provenance["site"])
    summary = result.tables["summary"].set_index(["condition", "unit"]).loc[("trained", "latent")]
    features, tested, cities = (int(summary[name]) for name in ("n_features", "n_tested", "n_places"))
    box(ax, 1, 12, 9, 7, "BOS", colour=GREY, faint=True)
    box(ax, 11, 12, 16, 7, str(result.tables["top_places"]["name"].iloc[0]), colour=BLUE)
    caption(ax, 16, "1  prompt", "a name; BOS is never pooled")
    arrow(ax, (29, 15.5), (38, 15.5))
    blocks(ax, site, result)
    caption(ax, 52, "2  capture", "one hook; no layer above it runs")
    for i, shade in enumerate((0.9, 0.35, 0.65, 0.1, 0.75, 0.45)):
        cell(ax, 80, 8 + 2.9 * i, 3, 2.3, DIVERGING(shade))
    corners = [(87, 12), (87, 21), (101, 26), (101, 7)]
    ax.add_patch(Polygon(corners, closed=True, facecolor="#e8f1f8", edgecolor=BLUE, lw=0.7))
    ax.text(94.2, 16.5, "encode", ha="center", va="center", fontsize=6.5, color=BLUE)
    for i in range(14):
        cell(ax, 103, 6.2 + 1.5 * i, 3, 1.1, BLUE if i in (3, 10) else LIGHT_GREY)
    caption(ax, 93, "3  sparse autoencoder", f"{features:,} latents, few of them on")
    arrow(ax, (108, 16.5), (120, 16.5))
    ax.text(114, 17.5, "pool", ha="center", fontsize=6.5)
    for row, column in np.ndindex(5, 7):
        on = (row * 3 + column * 5) % 11 == 0
        cell(ax, 122 + 3 * column, 8 + 3 * row, 2.5, 2.5, BLUE if on else LIGHT_GREY)
    caption(ax, 132, "4  places by latents", f"{cities:,} cities")
    arrow(ax, (144, 15.5), (153, 15.5))
    box(ax, 154, 8, 28, 15, "Moran's I\np, q, nulls,\nverdict", colour="black")
    caption(ax, 165, "5  test", f"{tested:,} latents on at enough cities")


def blocks(ax: Axes, site: str, result: Result) -> None:
    """Draw the blocks of the model, the one that is read, and the hook that leads out of it."""
    layer = int(site.rpartition(".")[2])
    layers = int(result.tables["survey"]["layer"].max()) + 1 if "survey" in result.tables else layer + 2
    for i in range(layers):
        colour = ORANGE if i == layer else GREY
        box(ax, 39 + 4.4 * i, 8, 3.4, 15, str(i), colour=colour, faint=i != layer)
    tap = 39 + 4.4 * layer + 1.7
    ax.plot([tap, tap, 81.5], [23, 27, 27], color=ORANGE, linewidth=1.0)
    arrow(ax, (81.5, 27.2), (81.5, 24.8), colour=ORANGE)
    ax.text(tap + 1, 27.6, site, fontsize=6.5, color=ORANGE, family="DejaVu Sans Mono")


def cell(ax: Axes, x: float, y: float, w: float, h: float, colour: Any) -> None:
    """Draw a small filled rectangle."""
    ax.add_patch(Rectangle((x, y), w, h, color=colour, linewidth=0))


def box(ax: Axes, x: float, y: float, w: float, h: float, text: str, *, colour: str, faint: bool = False) -> None:
    """Draw a rounded box with a word in it."""
    style = "round,pad=0,rounding_size=1"
    ax.add_patch(
        FancyBboxPatch((x, y), w, h, style, facecolor="#f4f4f4" if faint else "white", edgecolor=colour, lw=0.8)
    )
    ax.text(x + w / 2, y + h / 2, text, ha="center", va="center", fontsize=6.5, color=colour, linespacing=1.3)


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], *, colour: str = "black") -> None:
    """Draw an arrow between two points."""
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 0.9})


def caption(ax: Axes, x: float, head: str, line: str) -> None:
    """Write what a step is, and one thing to know of it, below it."""
    ax.text(x, 4.2, head, ha="center", va="top", fontsize=7, weight="bold")
    ax.text(x, 0.6, line, ha="center", va="top", fontsize=6, color=GREY)


def matrix(ax: Axes, values: pd.DataFrame, places: pd.DataFrame, *, each: int = 3) -> None:
    """Draw the values of the top latents at the cities where each is largest, as shares of its largest value."""
    rows = list(dict.fromkeys(i for name in values.columns for i in values[name].nlargest(each).index))
    shown = (values / values.max()).iloc[rows]
    ax.imshow(shown.to_numpy(), aspect="auto", cmap="Blues", norm=Normalize(0, 1))
    ax.set_yticks(range(len(rows)), places["name"].iloc[rows].tolist(), fontsize=5.5)
    ax.set_xticks(range(shown.shape[1]), list(shown.columns), rotation=45, ha="right", rotation_mode="anchor")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("latent")
    ax.set_title("a  top cities of each latent")


def nulls(ax: Axes, tests: pd.DataFrame) -> None:
    """Draw Moran's I of every tested latent beside its nulls."""
    part = tests[(tests["unit"] == "latent") & (tests["status"] == "ok")]
    of = {name: group["I"] for name, group in part.groupby("condition", sort=False)}
    controls = {
        name: of[name] for name in ("shuffled within countries", "random weights", "shuffled places") if name in of
    }
    null_panel(of["trained"], controls, xlabel="Moran's I of a latent", name="trained", ax=ax)
    ax.legend(loc="lower right", fontsize=5.5, handlelength=1.4, borderaxespad=0)
    ax.set_title("c  all latents and their nulls")


if __name__ == "__main__":
    main("pipeline", draw)
