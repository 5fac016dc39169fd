"""Figures of the study of places, from the tables of the result alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.probing.causal import (
    AT_END,
    AT_SITE,
    DIRECTIONS,
    LEACE,
    LOSS,
    MEANS,
    NOTHING,
    PERMUTED,
    RIGHT,
)
from analyses.probing.layers import CHOSEN, TRAINED
from analyses.probing.view import by_layer
from interp.plot import figure, paper_style
from interp.plot.style import GREY, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from interp.result import Result

ERASERS = (NOTHING, LEACE, MEANS, PERMUTED, DIRECTIONS)
KIND_WORD = {"ridge": "ridge", "mass_mean": "nearest\nmean", "logistic": "logistic", "mlp": "network"}
METRIC_WORD = {"balanced_accuracy": "balanced accuracy", "auc": "area under the ROC curve"}
HELD = {"country": "places", "continent": "countries"}


def plot(result: Result) -> Figure:
    """Return the figure of a result in a notebook: the score of each layer beside its controls."""
    drawn = figures(result)
    if "layers" in drawn:
        return drawn["layers"]
    fig = figure("single", 20)
    fig.axes[0].set_axis_off()
    fig.axes[0].set_title(reasons(result.table))
    return fig


def figures(result: Result) -> dict[str, Figure]:
    """Return the figures of the study; none where nothing could be probed."""
    drawers = {"layers": layers_figure, "chosen": chosen_figure, "information": information_figure,
               "causal": causal_figure, "features": features_figure}  # fmt: skip
    needs = {"layers": "chosen", "chosen": "random_labels", "information": "kinds", "causal": "causal",
             "features": "features"}  # fmt: skip
    have = {name for name, table in result.tables.items() if "ok" in set(table["status"])}
    return {name: draw(result) for name, draw in drawers.items() if needs[name] in have}


def layers_figure(result: Result) -> Figure:
    """Draw the score of every layer by task, beside its controls."""
    tasks = list(result.table["task"].unique())
    fig = figure("double", 82, cols=len(tasks), sharey=True)
    with paper_style():
        for i, (ax, task) in enumerate(zip(fig.axes, tasks, strict=True)):
            part: Any = result.table[result.table["task"] == task]
            by_layer(ax, part)
            ax.set_ylim(0, 1.03)
            ax.set_title(f"{task} of held-out {HELD[task]}", fontsize=7, loc="right")
            if i:
                ax.set_ylabel("")
    return fig


def chosen_figure(result: Result) -> Figure:
    """Draw the chosen layer on places that chose nothing, beside its controls; kinds of probe; and labels by lot."""
    fig = figure("double", 66, cols=3, gridspec_kw={"width_ratios": [1.1, 1.1, 0.9]})
    chosen = result.tables["chosen"]
    kinds: Any = result.tables["kinds"]
    task = str(chosen["task"].iloc[0])
    part: Any = chosen[chosen["task"] == task]
    kinds = kinds[(kinds["condition"] == TRAINED) & (kinds["task"] == task)]
    words = {CHOSEN: "trained", "same site": "random\nweights", "its best": "random,\nbest layer"}
    with paper_style():
        left, middle, right = fig.axes
        _dots(left, [words.get(str(role), str(role)) for role in part["role"]], part, f"{task}, {part['unit'].iloc[0]}")
        _dots(middle, [KIND_WORD[k] for k in kinds["kind"]], kinds, "probes of that layer")
        rows = np.arange(len(kinds))
        middle.plot(kinds["control_score"], rows, "x", color=PALETTE["vermillion"], label="control task")
        left.legend(loc="lower right", bbox_to_anchor=(1, 1.0), borderaxespad=0.2)
        handles, _ = middle.get_legend_handles_labels()
        middle.legend(handles=handles[-1:], loc="lower right", bbox_to_anchor=(1, 1.0), borderaxespad=0.2)
        _lots(right, result.tables["random_labels"])
    return fig


def information_figure(result: Result) -> Figure:
    """Draw what a score does not tell: bits saved, what is known by heart, and the share of the variance."""
    part = by_ridge(result.tables["kinds"])
    names = [f"{task},\n{condition}" for task, condition in zip(part["task"], part["condition"], strict=True)]
    fig = figure("double", 52, cols=3, sharey=True)
    panels = [
        ("mdl_compression", "mdl_compression_null", "permuted labels", "compression of an online code", 1.0),
        ("score_row_folds", "control_score", "control task", "score, folds that split groups", None),
        ("variance_explained", "variance_explained_null", "permuted labels", "variance explained by the label", 0.0),
    ]
    rows = np.arange(len(part))
    with paper_style():
        for ax, (column, null, word, label, line) in zip(fig.axes, panels, strict=True):
            ax.hlines(rows, part[null], part[column], color="#c9c9c9", linewidth=2.0, zorder=1)
            ax.plot(part[column], rows, "o", color=PALETTE["blue"], label="the label")
            ax.plot(part[null], rows, "x", color=PALETTE["vermillion"], label=word)
            if line is not None:
                ax.axvline(line, color=GREY, linewidth=0.6, linestyle=":")
            ax.set_xlabel(label)
            ax.tick_params(axis="y", length=0)
            ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2, ncols=2, handlelength=1)
        fig.axes[0].set_yticks(rows, names)
        fig.axes[0].set_ylim(len(rows) - 0.5, -0.5)
    return fig


def causal_figure(result: Result) -> Figure:
    """Draw what each erasure costs: the loss and the share of right answers, and what a probe still reads."""
    table: Any = result.tables["causal"]
    fig = figure("double", 56, cols=3, sharey=True)
    panels = [(LOSS, "loss of the country (nats a token)"), (RIGHT, "countries right (share)"),
              (AT_SITE, "score of a fresh probe")]  # fmt: skip
    with paper_style():
        for ax, (measure, label) in zip(fig.axes, panels, strict=True):
            _bars(ax, _by_eraser(table, measure), label)
        last = fig.axes[2]
        last.plot(
            _by_eraser(table, AT_END)["value"], np.arange(len(ERASERS)), "D", color=PALETTE["vermillion"],
            markeredgecolor="white", label="diamond: after the last layer; bar: at the site",
        )  # fmt: skip
        last.legend(loc="lower right", bbox_to_anchor=(1, 1.0), borderaxespad=0.2, handlelength=1)
        fig.axes[0].set_yticks(np.arange(len(ERASERS)), [_eraser_word(e) for e in ERASERS])
        fig.axes[0].set_ylim(len(ERASERS) - 0.5, -0.5)
    return fig


def _by_eraser(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    return table[table["measure"] == measure].set_index("eraser").reindex(list(ERASERS))


def features_figure(result: Result) -> Figure:
    """Draw how well k latents tell a country, beside k activations: a dot a country, a bar their mean."""
    table: Any = result.tables["features"]
    sizes = list(dict.fromkeys(table["k"]))
    fig = figure("single", 62)
    ax, colours = fig.axes[0], (PALETTE["blue"], PALETTE["vermillion"])
    with paper_style():
        for i, (name, part) in enumerate(table.groupby("representation", sort=False)):
            for at, size in enumerate(sizes):
                values = part.loc[part["k"] == size, "auc"].to_numpy()
                x = at + (i - 0.5) * 0.3
                spread = x + np.linspace(-0.08, 0.08, len(values))
                ax.plot(spread, np.sort(values), "os"[i], color=colours[i], markersize=2.2, alpha=0.7, linestyle="none")
                ax.hlines(values.mean(), x - 0.12, x + 0.12, color=colours[i], linewidth=1.8)
            total = int(part["n_columns"].iloc[0])
            ax.plot([], [], "os"[i], color=colours[i], linestyle="none", label=f"{name} ({total:,} columns)")
        null = table["null_mean"].mean()
        ax.axhline(null, color=GREY, linewidth=0.7, linestyle="--", label=f"permuted labels ({null:.2f})")
        ax.set_xticks(range(len(sizes)), ["all" if s == "all" else f"{s}" for s in sizes])
        ax.set(xlabel="columns that the probe may use", ylabel="area under the ROC curve, a dot a country")
        ax.set_ylim(0.45, 1.02)
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2)
    return fig


def _eraser_word(eraser: str) -> str:
    return {PERMUTED: "LEACE of\npermuted labels", DIRECTIONS: "random\ndirections", NOTHING: "nothing erased"}.get(
        eraser, eraser
    )


def _bars(ax: Axes, part: pd.DataFrame, label: str) -> None:
    rows = np.arange(len(part))
    colours = [PALETTE["sky"] if e in (LEACE, MEANS) else "#c9c9c9" for e in part.index]
    ax.barh(rows, part["value"], color=colours, height=0.62)
    base, top = float(part["value"].iloc[0]), float(np.nanmax(part["value"]))
    for row, (value, low, high) in enumerate(zip(part["value"], part["ci_low"], part["ci_high"], strict=True)):
        if np.isfinite(low):
            ax.hlines(row, base + low, base + high, color="black", linewidth=1.0)
        end = max(value, base + high) if np.isfinite(high) else value
        ax.text(end + 0.03 * top, row, f"{value:.2g}" if value < 0.01 else f"{value:.2f}", va="center", fontsize=6)
    ax.set_xlim(0, 1.22 * top if top > 0 else 1.0)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(label)


def _dots(ax: Axes, names: list[str], table: pd.DataFrame, title: str) -> None:
    rows = np.arange(len(table))
    ax.hlines(rows, table["ci_low"], table["ci_high"], color=PALETTE["blue"], linewidth=1.4)
    ax.plot(table["score"], rows, linestyle="none", marker="o", color=PALETTE["blue"])
    ax.plot(
        table["null_mean"], rows, linestyle="none", marker="|", markersize=7, color=PALETTE["black"],
        label="permuted labels",
    )  # fmt: skip
    ax.axvline(float(table["baseline"].iloc[0]), color=GREY, linewidth=0.6, linestyle=":")
    ax.set_yticks(rows, names)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(-0.03, 1.03)
    ax.tick_params(axis="y", length=0)
    ax.set_title(title, fontsize=7, loc="left", pad=20)
    ax.set_xlabel(f"{METRIC_WORD[table['metric'].iloc[0]]} (n = {int(table['n'].iloc[0]):,})")


def _lots(ax: Axes, table: pd.DataFrame) -> None:
    low = (table["p"] <= 0.05).to_numpy()
    order = np.argsort(table["score"].to_numpy(), kind="stable")
    rows = np.arange(len(table))
    ax.axvline(0.5, color=GREY, linewidth=0.6, linestyle=":")
    ax.hlines(rows, table["ci_low"].to_numpy()[order], table["ci_high"].to_numpy()[order], color="#b5b5b5", linewidth=1)
    colours = np.where(low[order], PALETTE["vermillion"], PALETTE["black"])
    ax.scatter(table["score"].to_numpy()[order], rows, s=9, c=list(colours), zorder=3)
    ax.set_yticks([])
    ax.set_xlim(0, 1)
    ax.set_xlabel(f"area under the ROC curve (n = {int(table['n'].iloc[0]):,})")
    ax.set_title(f"{len(table)} labels by lot\n{int(low.sum())} with p ≤ .05 (orange)", fontsize=7, loc="left")


def by_ridge(kinds: Any) -> pd.DataFrame:
    """Return the rows of the ridge, which have the online code and the variance explained."""
    return kinds[kinds["kind"] == "ridge"].reset_index(drop=True)


def reasons(table: pd.DataFrame) -> str:
    """Return why each task could not be asked."""
    rows = table[table["status"] != "ok"]
    return "; ".join(f"{task} ({status})" for task, status in zip(rows["task"], rows["status"], strict=True))
