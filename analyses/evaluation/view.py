"""The figure of an evaluation: how often latents are on, and what each class of tokens loses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from interp.plot import figure, paper_style
from interp.plot.style import GREY, PALETTE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from interp.result import Result

BLUE, RED = PALETTE["blue"], PALETTE["vermillion"]
_DRAWN = {"SAE": "n_latents", "random SAE": "n_random_sae"}


def plot(result: Result) -> Figure:
    """Return the figure of an evaluation: density histogram and FVU by class of tokens, each beside its control."""
    classes = result.tables["classes"]
    fig = figure("double", max(60.0, 14 + 3.6 * len(classes)), cols=2)
    with paper_style():
        _densities(fig.axes[0], result.tables["density"], int(result.table["n"].iloc[0]))
        _classes(fig.axes[1], classes)
    return fig


def _densities(ax: Axes, table: pd.DataFrame, n: int) -> None:
    alive = table.iloc[1:]
    edges = np.append(alive["low"], alive["high"].iloc[-1])
    dead = table.iloc[0]
    ours, theirs = (f"{name} ({int(dead[column]):,} never on)" for name, column in _DRAWN.items())
    ax.stairs(alive["n_latents"], edges, label=ours, color=BLUE, fill=True, alpha=0.4)
    ax.stairs(alive["n_random_sae"], edges, label=theirs, color=RED, linestyle="--")
    ax.axvline(0.1, color=GREY, linewidth=0.7, linestyle=":", label="dense: above 0.1")
    ax.set(xscale="log", xlabel=f"share of {n:,} tokens on which a latent is on", ylabel="latents")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2)


def _classes(ax: Axes, table: pd.DataFrame) -> None:
    rows = np.arange(len(table))
    known = np.isfinite(table["ci_low"].to_numpy())
    ax.hlines(rows[known], table["ci_low"][known], table["ci_high"][known], color=BLUE, linewidth=1.4)
    ax.plot(table["fvu"], rows, linestyle="none", marker="o", color=BLUE, label="SAE")
    ax.plot(table["null_random_sae"], rows, linestyle="none", marker="|", markersize=7, color=RED, label="random SAE")
    ax.axvline(1.0, color=GREY, linewidth=0.7, linestyle=":", label="mean of the class")
    labels = [f"{group} (n = {n:,})" for group, n in zip(table["group"], table["n"], strict=True)]
    ax.set_yticks(rows, labels)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(left=0)
    ax.set_xlabel("share of the variance of the class unexplained (FVU)")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2, ncols=3)
