"""What SAEs of each architecture explain and what they recover, by how many latents are on, from the saved benchmark.

python figures/fig_sae_frontier.py [benchmarks/results] [--out FOLDER]
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from common import BENCHMARKS, main
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interp.plot import figure, paper_style
from interp.plot.style import CYCLE, GREY, MARKERS

FAMILIES = {"flat": "independent, alike", "zipf": "independent, Zipf", "forest": "forest", "tree": "one tree"}
FLOOR = 1e-4
COLUMNS = {
    "fvu": "variance unexplained\n(FVU, none below 10⁻⁴ drawn)",
    "recall": "true features found\n(recall, cosine > .9)",
}


def draw(folder: Path) -> Figure:
    """Draw FVU and recall of true features against L0: one dot a recipe, mean and range over seeds."""
    table = read(folder / "sae_recovery.json")
    architectures = sorted(set(table["arch"]))
    fig = figure("double", 104, rows=2, cols=len(FAMILIES), sharey="row", sharex="col")
    axes = np.array(fig.axes).reshape(2, -1)
    with paper_style():
        for column, (family, title) in enumerate(FAMILIES.items()):
            part = table[table["family"] == family]
            for row, name in enumerate(COLUMNS):
                panel(axes[row, column], part, name, architectures)
            axes[0, column].set_title(f"{title}, {part['seed'].nunique()} seeds", fontsize=7)
            axes[1, column].set_xlabel("latents on (L0)")
            axes[1, column].axhline(part["null recall"].max(), color=GREY, linestyle="--", linewidth=0.8)
        for row, label in enumerate(COLUMNS.values()):
            axes[row, 0].set_ylabel(label)
        axes[0, 0].set_yscale("log")
        axes[0, 0].set_ylim(FLOOR * 0.8, 1.2)
        axes[1, 0].set_ylim(-0.04, 1.04)
        axes[1, 0].annotate("random directions", (0.02, 0.06), xycoords="axes fraction", fontsize=6, color=GREY)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        fig.legend(
            handles, labels, loc="outside upper left", ncols=len(architectures), handletextpad=0.3, columnspacing=1.2
        )
    return fig


def read(path: Path) -> pd.DataFrame:
    """Return one row a recipe, family and seed."""
    rows = []
    for name, row in json.loads(path.read_text(encoding="utf-8"))["rows"].items():
        recipe, family, seed = name.split(" | ")
        kept = {key: row[key] for key in ("fvu", "l0", "recall", "null recall", "data")}
        rows.append({"recipe": recipe, "arch": row["recipe"]["arch"], "family": family, "seed": int(seed), **kept})
    return pd.DataFrame(rows)


def panel(ax: Axes, part: pd.DataFrame, name: str, architectures: list[str]) -> None:
    """Draw one figure of one family; recipes of an architecture are joined."""
    looks = list(zip([*CYCLE, GREY], [*MARKERS, "*"], strict=True))
    low = FLOOR if name == "fvu" else -np.inf
    for i, arch in enumerate(architectures):
        own = part[part["arch"] == arch].groupby("recipe")
        mean = own[["l0", name]].mean().sort_values("l0")
        ends = own[name].agg(["min", "max"]).loc[mean.index].clip(lower=low)
        colour, marker = looks[i % len(looks)]
        ax.vlines(mean["l0"], ends["min"], ends["max"], color=colour, linewidth=0.8)
        ax.plot(mean["l0"], mean[name].clip(lower=low), color=colour, marker=marker, linewidth=0.6, markersize=3.5,
                label=arch.replace("_", " "), clip_on=False)  # fmt: skip
    ax.set_xscale("log")
    ticks = [t for t in (1, 2, 3, 6, 12, 30) if part["l0"].min() * 0.8 <= t <= part["l0"].max() * 1.2]
    ax.set_xticks(ticks, [str(t) for t in ticks])
    ax.minorticks_off()


if __name__ == "__main__":
    main("sae_frontier", draw, source=BENCHMARKS)
