"""What selection is worth: right samples in the pick, what tuning on it gains, and how the score hangs on length.

python figures/fig_selection.py [benchmarks/results] [--out FOLDER]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import BENCHMARKS, main
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.data_selection.method_names import CODE_METHODS, CONTROLS, WORD_METHODS
from interp.plot import figure, paper_style
from interp.plot.style import GREY, PALETTE

GAIN = "loss, other templates"
KINDS = {"codes of the SAE": "blue", "no SAE": "green", "words": "orange", "control": "vermillion", "bound": "black"}
VARIANTS = {"variant": "codes of the SAE", "variant-no-sae": "no SAE", "variant-random-sae": "control"}
BOUNDS = ("oracle", "untouched model")


def draw(folder: Path) -> Figure:
    """Draw all methods in the order of the share of their pick that is right, intervals over tasks and seeds."""
    found = json.loads((folder / "selection_worth.json").read_text(encoding="utf-8"))
    table = read(found)
    skills, seeds = len(found["settings"]["skills"]), len(found["settings"]["seeds"])
    fig = figure("double", 22 + 4.1 * len(table), cols=3, sharey=True)
    with paper_style():
        panels = (
            ("relevant", "right skill and answer\n(share of the pick)", table.loc["random", "relevant"]),
            ("gain", "gain over random picks\nin other templates (nats)", 0.0),
            ("length", "Spearman's rho of\nscore and length", 0.0),
        )
        shown = table.drop(index="random")
        for ax, (name, label, null) in zip(fig.axes, panels, strict=True):
            panel(ax, shown, name, null)
            ax.set_xlabel(label)
        fig.axes[0].set_yticks(range(len(shown)), shown.index.tolist())
        fig.axes[0].set_ylim(len(shown) - 0.4, -0.6)
        handles, labels = fig.axes[0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper left", ncols=len(labels), handletextpad=0.3, columnspacing=1.2)
        fig.axes[1].set_title(f"{skills} skills x {seeds} seeds, 95 % intervals", fontsize=7)
    return fig


def panel(ax: Axes, table: pd.DataFrame, name: str, null: float) -> None:
    """Draw one measure of all methods, and what random picks have of it."""
    rows = np.arange(len(table))
    ax.axvline(null, color=GREY, linestyle="--", linewidth=0.8, label="random picks")
    for kind, colour in KINDS.items():
        mine = (table["kind"] == kind).to_numpy()
        part = table[mine]
        ax.hlines(rows[mine], part[f"{name}_low"], part[f"{name}_high"], color=PALETTE[colour], linewidth=1.2)
        ax.plot(part[name], rows[mine], "o", color=PALETTE[colour], linestyle="none", label=kind)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", linewidth=0.3, color="#dddddd")


def read(found: dict[str, Any]) -> pd.DataFrame:
    """Return one row a method, the largest share first: relevant, gain and length with the ends of their intervals."""
    picks, verdicts = pd.DataFrame(found["picks"]), pd.DataFrame(found["verdicts"])
    columns = {}
    for name, measure in (("relevant", "share_relevant"), ("length", "rho_length")):
        part: Any = picks[picks["measure"] == measure].set_index("method")
        columns |= {name: part["value"], f"{name}_low": part["ci_low"], f"{name}_high": part["ci_high"]}
    tuned: Any = verdicts[verdicts["measure"] == GAIN].set_index("method")
    columns |= {"gain": -tuned["difference"], "gain_low": -tuned["ci_high"], "gain_high": -tuned["ci_low"]}
    table = pd.DataFrame(columns).astype(float)
    table["kind"] = [kind_of(str(name)) for name in table.index]
    return table.sort_values(["relevant", "gain"], ascending=False, kind="stable", na_position="last")


def kind_of(method: str) -> str:
    """Return what a method goes by."""
    if method in VARIANTS:
        return VARIANTS[method]
    if method in BOUNDS:
        return "bound"
    if method in CONTROLS or method == "random":
        return "control"
    return "codes of the SAE" if method in CODE_METHODS else "words" if method in WORD_METHODS else "no SAE"


if __name__ == "__main__":
    main("selection", draw, source=BENCHMARKS)
