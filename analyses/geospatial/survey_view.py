"""Verdicts by condition, and the share of geographic features by layer under every reading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.geospatial.study import LATENT, NEURON, RANDOM, TRAINED
from analyses.geospatial.verdicts import BY_COUNTRY, BY_NAME, GEOGRAPHIC, NOT_SIGNIFICANT, UNDECIDED
from interp.plot import Curve, figure, layer_panel, paper_style
from interp.plot.style import LIGHT_GREY, PALETTE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LOOK = {
    GEOGRAPHIC: (PALETTE["blue"], ""),
    BY_COUNTRY: (PALETTE["orange"], "////"),
    BY_NAME: (PALETTE["sky"], "...."),
    UNDECIDED: ("#8a8a8a", ""),
    NOT_SIGNIFICANT: (LIGHT_GREY, ""),
}
_CURVES = ((TRAINED, LATENT), (TRAINED, NEURON), (RANDOM, NEURON), (RANDOM, LATENT))


def verdict_bars(tests: pd.DataFrame) -> Figure:
    """Draw the share of each verdict among the tested features of every condition and unit."""
    tested: Any = tests[tests["status"] == "ok"]
    groups = [(c, u, part) for (c, u), part in tested.groupby(["condition", "unit"], sort=False)]
    fig = figure("double", 22 + 5.5 * len(groups))
    ax = fig.axes[0]
    with paper_style():
        for row, (_, _, part) in enumerate(groups):
            left = 0.0
            for verdict, (colour, hatch) in _LOOK.items():
                share = float((part["verdict"] == verdict).mean())
                ax.barh(
                    row, share, left=left, height=0.72, color=colour, hatch=hatch, edgecolor="white", linewidth=0.4,
                    label=verdict if row == 0 else None,
                )  # fmt: skip
                left += share
        ax.set_yticks(range(len(groups)), [f"{c}: {u}s (n = {len(part):,})" for c, u, part in groups])
        ax.set_ylim(len(groups) - 0.5, -0.5)
        ax.set(xlim=(0, 1), xlabel="share of the tested features")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=len(_LOOK), handlelength=1.4)
    return fig


def layer_profile(survey: pd.DataFrame) -> Figure:
    """Draw by layer the share of features that are autocorrelated at all, and that are called geographic."""
    readings = list(dict.fromkeys(survey["reading"]))
    fig = figure("double", 100, rows=2, cols=len(readings), sharey="row", sharex=True)
    with paper_style():
        for i, column in enumerate(("share_significant", "share_geographic")):
            for j, reading in enumerate(readings):
                ax = fig.axes[i * len(readings) + j]
                part: Any = survey[survey["reading"] == reading]
                _panel(ax, part, column, first=j == 0, title=reading if i == 0 else None)
                if not (i == 0 and j == 0):
                    legend = ax.get_legend()
                    if legend is not None:
                        legend.remove()
                if i == 0:
                    ax.set_xlabel("")
        whole = fig.axes[0].get_legend()
        if whole is not None:
            handles = whole.legend_handles
            labels = [text.get_text() for text in whole.get_texts()]
            whole.remove()
            fig.legend([h for h in handles if h is not None], labels, loc="outside upper left", ncols=4, fontsize=6.5)
    return fig


def _panel(ax: Any, part: pd.DataFrame, column: str, *, first: bool, title: str | None) -> None:
    layers = sorted(part["layer"].unique())
    curves = {}
    for condition, unit in _CURVES:
        own: Any = part[(part["condition"] == condition) & (part["unit"] == unit)]
        y = own.set_index("layer")[column].reindex(layers).to_numpy(np.float64)
        if np.isfinite(y).any():
            band = {}
            if column == "share_geographic":
                ends = own.set_index("layer")[["ci_low", "ci_high"]].reindex(layers).to_numpy(np.float64)
                band = {"low": ends[:, 0], "high": ends[:, 1]} if np.isfinite(ends).all() else {}
            curves[f"{condition}: {unit}s"] = Curve(y, control=condition == RANDOM, **band)
    label = "autocorrelated" if column == "share_significant" else "geographic"
    layer_panel(layers, curves, ylabel=f"share {label}" if first else "", ax=ax)
    ax.set_ylim(-0.03, 1.03)
    if title:
        ax.set_title(title, fontsize=7)
