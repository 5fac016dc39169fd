"""Figures of the study of places and its section of the report, from the tables of the result alone."""

from __future__ import annotations

from collections.abc import Mapping
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
from interp.plot import figure, format_number, paper_style, report_figure
from interp.plot.style import GREY, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from interp.plot import Headline, Section
    from interp.result import Result

ERASERS = (NOTHING, LEACE, MEANS, PERMUTED, DIRECTIONS)
KIND_WORD = {"ridge": "ridge", "mass_mean": "nearest\nmean", "logistic": "logistic", "mlp": "network"}
METRIC_WORD = {"balanced_accuracy": "balanced accuracy", "auc": "area under the ROC curve"}
HELD = {"country": "places", "continent": "countries"}
_LAYER_COLUMNS = [
    "task", "condition", "unit", "score", "ci_low", "ci_high", "baseline", "null_mean", "null_sd", "p", "q",
    "control_score", "selectivity", "variance_explained", "variance_explained_null", "alpha", "n", "n_groups",
    "n_perm", "seed", "status",
]  # fmt: skip
_CHOSEN_COLUMNS = [
    "task", "role", "condition", "unit", "score", "ci_low", "ci_high", "baseline", "accuracy", "majority", "null_mean",
    "null_sd", "p", "q", "n", "n_groups", "n_fitted", "n_perm", "seed", "status",
]  # fmt: skip
_KIND_COLUMNS = [
    "task", "condition", "unit", "kind", "score", "ci_low", "ci_high", "null_mean", "p", "score_row_folds",
    "control_score", "selectivity", "mdl_bits", "mdl_compression", "mdl_compression_null", "variance_explained",
    "variance_explained_null", "n", "n_perm", "seed", "status",
]  # fmt: skip


def plot(result: Result) -> Figure:
    """Return the figure of a result in a notebook: the score of each layer beside its controls."""
    drawn = figures(result)
    if "layers" in drawn:
        return drawn["layers"]
    fig = figure("single", 20)
    fig.axes[0].set_axis_off()
    fig.axes[0].set_title(_reasons(result.table))
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


def headline(result: Result) -> Headline:
    """Return the answer in one sentence, with its nulls beside it."""
    from interp.plot import Headline

    if "chosen" not in result.tables:
        return Headline(f"Not measured: {_reasons(result.table)}.", "nothing was measured, so there is none.")
    chosen = result.tables["chosen"]
    parts, nulls = [], []
    for task in chosen["task"].unique():
        rows = chosen[chosen["task"] == task].set_index("role")
        if CHOSEN not in rows.index or rows.loc[CHOSEN, "status"] != "ok":
            continue
        own: Any = rows.loc[CHOSEN]
        parts.append(
            f"{task} of held-out {HELD[task]} at {own['unit']} with {METRIC_WORD[own['metric']]} {_n(own['score'])} "
            f"[{_n(own['ci_low'])}, {_n(own['ci_high'])}]"
        )
        nulls.append(
            f"{task}: permuted labels {_n(own['null_mean'])}, random weights {_value(rows, 'same site')}, "
            f"embedding alone {_value(rows, 'embedding')}"
        )
    text = f"Read out linearly: {'; '.join(parts)}." if parts else "No layer has a score (see status)."
    if "causal" in result.tables and "ok" in set(result.tables["causal"]["status"]):
        words, null = causal_words(result.tables["causal"])
        text, nulls = f"{text} {words}", [*nulls, null]
    if "random_labels" in result.tables:
        lots: Any = result.tables["random_labels"]
        nulls.append(
            f"labels by lot: mean AUC {_n(lots['score'].mean())}, {int((lots['q'] <= 0.05).sum())} of {len(lots)} with "
            "q <= .05"
        )
    return Headline(text, ". ".join([*nulls, ""]).strip(), n=int(chosen["n"].iloc[0]))


def causal_words(table: pd.DataFrame) -> tuple[str, str]:
    """Return what erasing costs, and what erasing as much of anything costs, in words."""
    cells = table.set_index(["eraser", "measure"])["value"]
    text = (
        f"With the country erased there (LEACE) the model loses {_n(cells[LEACE, LOSS] - cells[NOTHING, LOSS])} nats a "
        f"token of the country's name, and says {cells[LEACE, RIGHT]:.0%} of them right (before: "
        f"{cells[NOTHING, RIGHT]:.0%})."
    )
    null = (
        f"as many random directions cost {_n(cells[DIRECTIONS, LOSS] - cells[NOTHING, LOSS])} nats "
        f"({cells[DIRECTIONS, RIGHT]:.0%} right), LEACE of permuted labels "
        f"{_n(cells[PERMUTED, LOSS] - cells[NOTHING, LOSS])} ({cells[PERMUTED, RIGHT]:.0%} right)"
    )
    return text, null


def section(result: Result, drawn: Mapping[str, Figure]) -> Section:
    """Return the section of the report."""
    from interp.plot import Section

    tables = result.tables
    about = result.provenance
    captions = {
        "layers": (
            "Score of a ridge probe by layer, beside its controls.",
            "Score by layer in the places that choose the layer (cross-validated over whole groups; band: 95 %). "
            "Permuted labels, the random-weights model, the embedding alone, and the control task, under folds that "
            "split groups.",
            lambda: _columns(result.table, _LAYER_COLUMNS),
        ),
        "chosen": (
            "Scores of the chosen layer on test places, of other probes there, and of labels drawn by lot.",
            "Left: the layer with the best score, judged on places that chose nothing; tick: permuted labels. Middle: "
            "other probes of that layer; cross: their control task, where places recur. Right: 20 labels drawn by lot, "
            "each with a layer chosen and judged in the same way.",
            lambda: _columns(tables["kinds"], _KIND_COLUMNS),
        ),
        "information": (
            "Compression of an online code, control task and variance explained, at the chosen layer of each task.",
            "What the score does not tell, at the chosen layer: how much shorter labels become (above 1: the layer "
            "tells something), what a probe knows by heart (score minus control task: selectivity), and how much of "
            "the variance of the activations the label accounts for.",
            lambda: _columns(by_ridge(tables["kinds"]), _KIND_COLUMNS),
        ),
        "causal": (
            "Loss and share of right answers with the country erased, beside erasing as much of anything.",
            f"'<name>{about.get('tail')} <country>' with {about.get('erased_site')} edited from the last token of the "
            "name on; places whose erasers were fitted on others. Black: 95 % interval of the change.",
            lambda: tables["causal"],
        ),
        "features": (
            "Area under the ROC curve of k SAE latents and of k activations, by country.",
            f"One country against the rest at {about.get('sae_site')}: k columns chosen inside each fold, or all.",
            lambda: tables["features"],
        ),
    }
    shown = [
        report_figure(fig, captions[name][0], caption=captions[name][1], table=captions[name][2]())
        for name, fig in drawn.items()
    ]
    more = {"What was asked": tables.get("tasks", result.table)}
    if "chosen" in tables:
        more["The chosen layer on test places, with its controls"] = _columns(tables["chosen"], _CHOSEN_COLUMNS)
    if "random_labels" in tables:
        more["Labels drawn by lot"] = tables["random_labels"]
    return Section(
        id="probing",
        title="What each layer tells of places",
        question="What can be read out of each layer?",
        headline=headline(result),
        figures=shown,
        tables=more,
        methods=methods(about) if "chosen" in tables else (),
        limits=limits(about) if "chosen" in tables else (),
    )


def methods(about: Mapping) -> list[str]:
    """Return how the numbers were made, in plain words."""
    carriers = ", ".join(repr(f"{c}<name>") for c in about["carriers"])
    return [
        f"Each place is written as {carriers} and read at the last token of its name. Country: folds hold out whole "
        "places. Continent: folds hold out whole countries, so that no probe can know a continent by the country. "
        "Names that two places share are left out.",
        "Ridge regression on one column a class; the strength is chosen inside the other folds, for permuted labels "
        "anew; whole groups are permuted. The layer is chosen by its cross-validated score on 70 % of the groups and "
        "judged on the other 30 %. Score: balanced accuracy, of two classes the area under the ROC curve. Intervals "
        "resample groups.",
        "Control task: every place (country) gets a random label, under folds in which it recurs; selectivity is score "
        "minus control score there. mdl_compression: bits without a probe over those of an online code (above 1: the "
        "layer tells something), beside permuted labels. variance_explained: share of the held-out variance of the "
        "activations that the label accounts for.",
        "Erasure: LEACE (Belrose et al. 2023) and mean projection, one eraser for each token from the last of the name "
        "on, fitted on other places. Controls of the same rank: random directions (5 draws), and LEACE fitted to "
        "permuted labels (19 draws), which is the null of LEACE: p is the share of these draws that cost as much, "
        "never below .05 (of the probes, with 5 draws, never below .17). The probe after the erasure is fitted anew on "
        "the edited activations.",
    ]


def limits(about: Mapping) -> list[str]:
    """Return what the result does not show."""
    out = [
        "That a label can be read does not show that the model reads it; that erasing it costs the answer shows that "
        "the answer passes through what was erased, which correlates with the country and need not be it alone.",
        "An eraser is exact on the places it was fitted on. On others a probe may still find a remainder, the larger "
        "the fewer places there are for each column: compare variance_removed and the probe after the erasure.",
        "The embedding of the last token tells countries whose names are spelled alike: what a layer adds is its score "
        "beside that of the embedding.",
        "Probes other than ridge and nearest mean are not fitted to permuted labels here: their scores have no p.",
    ]
    if about["model"].partition("@")[0] == "atlas":
        out.append("The geography of the bundled model was planted by its training text, which stated these facts.")
    return out


def by_ridge(kinds: Any) -> pd.DataFrame:
    """Return the rows of the ridge, which have the online code and the variance explained."""
    return kinds[kinds["kind"] == "ridge"].reset_index(drop=True)


def _columns(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    return table.reindex(columns=[c for c in names if c in table.columns])


def _reasons(table: pd.DataFrame) -> str:
    rows = table[table["status"] != "ok"]
    return "; ".join(f"{task} ({status})" for task, status in zip(rows["task"], rows["status"], strict=True))


def _value(rows: pd.DataFrame, role: str) -> str:
    return _n(rows.loc[role, "score"]) if role in rows.index else "not measured"


def _n(value: Any) -> str:
    return format_number(round(float(value), 3), 2 if abs(float(value)) < 1 else 3)
