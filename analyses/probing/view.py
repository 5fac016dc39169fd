"""The figure of a probe: its score beside null and controls, or by layer beside the random-weights twin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from interp.plot import Curve, figure, layer_panel, paper_style
from interp.plot.style import GREY, PALETTE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from interp.result import Result

METRIC = {"r2": "R² (held-out groups)", "auc": "area under the ROC curve (held-out groups)",
          "balanced_accuracy": "balanced accuracy (held-out groups)"}  # fmt: skip
FLOOR = {"r2": -0.25, "auc": 0.35, "balanced_accuracy": 0.0}
"""Lowest score drawn: an R² far below 0 is as bad as one a little below, and would hide all others."""


def plot(result: Result) -> Figure:
    """Return the figure of `probe` or of `probe_layers`."""
    table = result.table
    if "layer" not in table.columns:
        return _single(table.iloc[0].to_dict())
    fig = figure("double", 75, cols=2, gridspec_kw={"width_ratios": [3, 2]})
    with paper_style():
        by_layer(fig.axes[0], table)
        _chosen(fig.axes[1], result.tables["chosen"])
    return fig


def by_layer(ax: Axes, table: pd.DataFrame) -> None:
    """Draw the score of each layer of one task, beside twin, permuted labels, control task and embedding."""
    metric = str(table["metric"].iloc[0])
    conditions = list(table["condition"].unique())
    own: Any = table[table["layer"] >= 0]
    embedding: Any = table[(table["layer"] < 0) & (table["condition"] == conditions[0])]
    layers = sorted(own["layer"].unique())
    curves: dict[str, Curve] = {}
    for condition in conditions:
        # several sites of a layer: the best, as the choice is made
        part = own[own["condition"] == condition].sort_values("score", ascending=False, kind="stable")
        part = part.drop_duplicates("layer").set_index("layer").reindex(layers)
        band = np.isfinite(part["ci_low"]).all()
        low, high = (part[c].clip(lower=FLOOR[metric]) if band else None for c in ("ci_low", "ci_high"))
        n = int(own["n"].iloc[0]) if condition == conditions[0] else None
        curves[condition] = Curve(part["score"].clip(lower=FLOOR[metric]), low, high, condition != conditions[0], n)
        if condition == conditions[0]:
            curves["permuted labels"] = Curve(part["null_mean"].clip(lower=FLOOR[metric]), control=True)
            if np.isfinite(part["control_score"]).any():
                curves["control task (folds of rows)"] = Curve(
                    part["control_score"].clip(lower=FLOOR[metric]), control=True
                )
    if len(embedding) and np.isfinite(embedding["score"].iloc[0]):
        level = max(float(embedding["score"].iloc[0]), FLOOR[metric])
        curves["embedding"] = Curve(np.full(len(layers), level), control=True)
    layer_panel(
        layers, curves, ylabel=METRIC[metric], reference=max(float(own["baseline"].iloc[0]), FLOOR[metric]), ax=ax
    )


def _chosen(ax: Axes, table: pd.DataFrame) -> None:
    """Draw the chosen site, its twin and the embedding on the groups that chose nothing."""
    cells = zip(table["unit"], table["condition"], table["role"], strict=True)
    names = [f"{unit}\n{condition}, {role}" for unit, condition, role in cells]
    _dots(ax, names, table, "score on the test groups")


def _single(row: dict[str, Any]) -> Figure:
    import pandas as pd

    fig = figure("single", 45)
    with paper_style():
        named = {"probe": "score", "permuted labels": "null_mean", "constant guess": "baseline",
                 "probe, folds of rows": "score_row_folds", "control task, folds of rows": "control_score"}  # fmt: skip
        shown = {name: row[column] for name, column in named.items() if np.isfinite(row[column])}
        table = pd.DataFrame({"score": shown, "metric": row["metric"]})
        table[["ci_low", "ci_high"]] = np.nan
        if "probe" in table.index:
            table.loc["probe", ["ci_low", "ci_high"]] = row["ci_low"], row["ci_high"]
        table = table.assign(null_mean=np.nan, n=row["n"])
        _dots(fig.axes[0], list(shown), table, METRIC[row["metric"]])
        if not len(table):
            fig.axes[0].set_title(f"no score: {row['status']}")
    return fig


def _dots(ax: Axes, names: list[str], table: pd.DataFrame, xlabel: str) -> None:
    if not len(table):
        return
    floor = FLOOR[str(table["metric"].iloc[0])]
    rows = np.arange(len(table))
    known = np.isfinite(table["ci_low"].to_numpy(np.float64))
    low, high = (table[c].clip(lower=floor)[known] for c in ("ci_low", "ci_high"))
    ax.hlines(rows[known], low, high, color=PALETTE["blue"], linewidth=1.4)
    ax.plot(table["score"].clip(lower=floor), rows, linestyle="none", marker="o", color=PALETTE["blue"], label="score")
    if np.isfinite(table["null_mean"].to_numpy(np.float64)).any():
        ax.plot(
            table["null_mean"].clip(lower=floor), rows, linestyle="none", marker="|", markersize=7,
            color=PALETTE["vermillion"], label="permuted labels",
        )  # fmt: skip
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2, ncols=2)
    ax.set_yticks(rows, names)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", linewidth=0.3, color=GREY, alpha=0.4)
    ax.set_xlabel(f"{xlabel}, n = {int(table['n'].iloc[0]):,}")
