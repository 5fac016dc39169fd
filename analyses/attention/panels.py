"""The figures of the attention study, each from one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.attention.copy_suppression import KEPT
from analyses.attention.family_rules import FAMILIES
from analyses.attention.relatedness import MEASURES, VIEWS
from analyses.attention.relations import BOS, RELATIONS
from interp.plot import figure, paper_style
from interp.plot.style import GREY, LIGHT_GREY, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SAND = "#F0E0A0"
FAMILY_COLOUR = dict(
    zip(
        FAMILIES[:-1],
        (PALETTE["vermillion"], PALETTE["orange"], PALETTE["blue"], PALETTE["green"], PALETTE["black"], PALETTE["sky"],
         PALETTE["purple"], _SAND, LIGHT_GREY, GREY),
        strict=True,
    )
)  # fmt: skip
RELATION_COLOUR = {
    "self": PALETTE["green"], "induction": PALETTE["vermillion"], "duplicate": PALETTE["orange"],
    "previous": PALETTE["blue"], "first content": PALETTE["purple"], "same word": PALETTE["sky"], "other": LIGHT_GREY,
}  # fmt: skip
_MAPS = {
    "previous token": "previous token", "current token": "current token", "duplicate token": "duplicate token",
    "induction": "induction", "copying (top 5)": "copies (top 5)", "copy suppression (bottom 10)": "suppresses copies",
    KEPT: "suppression on text (CSPA)",
}  # fmt: skip


def family_bars(counts: pd.DataFrame) -> Figure:
    """Draw the share of each family among the latents of a layer that are ever on; the random-weights control last."""
    fig = figure("double", 78)
    ax = fig.axes[0]
    groups = [(c, int(layer)) for c, layer in counts[["condition", "layer"]].drop_duplicates().to_numpy()]
    place = np.array([i + (0.6 if condition != "trained" else 0.0) for i, (condition, _) in enumerate(groups)])
    wide = counts.pivot(index=["condition", "layer"], columns="family", values="share").loc[groups]
    alive = counts.groupby(["condition", "layer"])["n"].first().loc[groups].to_numpy()
    with paper_style():
        left = np.zeros(len(groups))
        for family, colour in FAMILY_COLOUR.items():
            share = wide[family].to_numpy()
            if np.nansum(share) == 0:
                continue
            hatch = "////" if family == "undecided" else None
            ax.bar(
                place,
                share,
                0.78,
                bottom=left,
                color=colour,
                label=family,
                hatch=hatch,
                edgecolor="white",
                linewidth=0.4,
            )
            _percentages(ax, place, left, share, dark=colour in (PALETTE["blue"], PALETTE["black"], PALETTE["green"]))
            left += share
        labels = [f"{'layer' if c == 'trained' else 'random weights, layer'} {layer}\nn = {n:,}"
                  for (c, layer), n in zip(groups, alive, strict=True)]  # fmt: skip
        ax.set_xticks(place, labels)
        ax.tick_params(axis="x", length=0)
        ax.set(ylabel="share of latents that are ever on", ylim=(0, 1))
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), reverse=True)
    return fig


def _percentages(ax: Axes, x: np.ndarray, bottom: np.ndarray, share: np.ndarray, *, dark: bool) -> None:
    for at, low, value in zip(x, bottom, share, strict=True):
        if value >= 0.045:
            ax.text(at, low + value / 2, f"{100 * value:.0f}", ha="center", va="center", fontsize=6,
                    color="white" if dark else "black")  # fmt: skip


def profile_bars(profiles: pd.DataFrame) -> Figure:
    """Draw the relation profile of every head as a stacked bar, those with the fewest reasons first."""
    units = profiles.drop_duplicates(["layer", "index"]).sort_values("n_eff", kind="stable")
    units = units[units["status"] == "ok"]
    pairs = list(zip(units["layer"], units["index"], strict=True))
    wide = profiles.pivot(index=["layer", "index"], columns="relation", values="share").loc[pairs]
    fig = figure("double", 92, rows=2, sharex=True, gridspec_kw={"height_ratios": [3, 1.2]})
    top, below = fig.axes
    x = np.arange(len(pairs))
    with paper_style():
        low = np.zeros(len(pairs))
        for relation in [r for i, r in enumerate(RELATIONS) if i != BOS]:
            share = wide[relation].to_numpy()
            top.bar(x, share, 0.86, bottom=low, color=RELATION_COLOUR[relation], label=relation)
            low += share
        top.set(ylabel="share of what is moved", ylim=(0, 1))
        top.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), reverse=True, title="source is", title_fontsize=6.5)
        below.vlines(x, units["n_eff_low"], units["n_eff_high"], color=GREY, linewidth=1)
        below.plot(x, units["n_eff"], "o", markersize=2.5, color="black")
        below.set(ylabel="effective\nnumber", xlim=(-0.7, len(pairs) - 0.3))
        below.set_xticks(x, [f"{layer}.{head}" for layer, head in pairs], rotation=90, fontsize=5.5)
        below.set_xlabel("head (layer.head), fewest relations first")
        below.set_ylim(bottom=1)
    return fig


def head_maps(heads: pd.DataFrame, maps: pd.DataFrame | None) -> Figure:
    """Draw each score as a map of layer by head; a ring marks heads above every head of random weights."""
    panels: dict[str, Any] = {_MAPS[name]: heads[heads["score"] == name] for name in _MAPS}
    if maps is not None:
        panels["successor (mean)"] = maps[maps["kind"] == "all classes"]
    panels = {title: table for title, table in panels.items() if len(table)}
    cols = 4
    fig = figure("double", 42 * -(-len(panels) // cols) + 6, rows=-(-len(panels) // cols), cols=cols)
    image: Any = None
    with paper_style():
        for ax, (title, table) in zip(fig.axes, panels.items(), strict=False):
            wide = table.pivot(index="layer", columns="head", values="value")
            image = ax.imshow(wide.to_numpy(), vmin=0, vmax=1, aspect="auto", origin="lower")
            ringed = table[table["value"] > 1.5 * table["largest_random"].fillna(np.inf).clip(lower=0.05)]
            ax.plot(ringed["head"], ringed["layer"], "o", markersize=7, markerfacecolor="none", markeredgewidth=0.9,
                    color=PALETTE["vermillion"])  # fmt: skip
            ax.set_title(title, fontsize=7)
            ax.set(xlabel="head", ylabel="layer")
            ax.set_xticks(wide.columns[:: max(1, len(wide.columns) // 6)])
            ax.set_yticks(wide.index[:: max(1, len(wide.index) // 6)])
        for ax in fig.axes[len(panels) :]:
            ax.set_visible(False)
        fig.colorbar(image, ax=fig.axes[: len(panels)], label="score", shrink=0.7, aspect=25, pad=0.01)
    return fig


def circuit_panels(heads: pd.DataFrame, curve: pd.DataFrame | None) -> Figure:
    """Draw the heads that keep most of the logit difference, and how much latents keep together."""
    fig = figure("double", 66, cols=1 if curve is None else 2)
    left = fig.axes[0]
    best = heads.sort_values("denoised", ascending=False).head(10)
    y = np.arange(len(best))
    with paper_style():
        for name, offset, colour, marker in (
            ("denoised", -0.14, PALETTE["blue"], "o"),
            ("noised", 0.14, PALETTE["vermillion"], "s"),
        ):
            value, low, high = (best[c] for c in (name, f"{name}_low", f"{name}_high"))
            if name == "noised":
                value, low, high = 1 - value, 1 - high, 1 - low
            label = "brought back by the head alone" if name == "denoised" else "lost without the head"
            left.hlines(y + offset, low, high, color=colour, linewidth=1.2)
            left.plot(value, y + offset, marker, markersize=3.2, color=colour, label=label)
        left.set_yticks(y, [f"{layer}.{head}" for layer, head in zip(best["layer"], best["head"], strict=True)])
        left.invert_yaxis()
        left.axvline(0, color=GREY, linewidth=0.5)
        left.set(xlabel="share of the logit difference", ylabel="head")
        left.legend(loc="lower right")
        if curve is not None:
            _latent_curve(fig.axes[1], curve)
    return fig


def relatedness_panels(shares: Any) -> Figure:
    """Draw the share of heads whose top latents are related: by number of latents, and by view at the smallest."""
    fig = figure("double", 62, cols=2, sharey=True)
    k = int(shares["k"].min())
    views = [view for view in VIEWS if view in set(shares["view"])]
    left, right = fig.axes
    with paper_style():
        for ax, by, values, fixed in ((left, "k", sorted(shares["k"].unique()), ("view", "all")),
                                      (right, "view", views, ("k", k))):  # fmt: skip
            part = shares[(shares[fixed[0]] == fixed[1]) & (shares["status"] == "ok")]
            _related_dots(ax, part, by, values)
            ax.set_xticks(range(len(values)), [str(v) for v in values])
            ax.set_xlim(-0.5, len(values) - 0.5)
        left.set(xlabel="top latents of a head", ylabel="share of heads with related latents", ylim=(-0.03, 1.03))
        right.set(xlabel=f"alike in (top {k} latents)")
        right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), title="latents ranked by", title_fontsize=6.5)
    return fig


_RANKED = dict(zip(MEASURES, ((PALETTE["blue"], "o"), (PALETTE["vermillion"], "s"), (PALETTE["green"], "^")),
                   strict=True))  # fmt: skip


def _related_dots(ax: Axes, part: Any, by: str, values: list[Any]) -> None:
    looks = [(m, "trained", *_RANKED[m], "full") for m in MEASURES]
    looks += [(m, "random weights", GREY, _RANKED[m][1], "none") for m in MEASURES]
    for number, (measure, condition, colour, marker, fill) in enumerate(looks):
        own = part[(part["measure"] == measure) & (part["condition"] == condition)].set_index(by).reindex(values)
        if own["share"].notna().any():
            x = np.arange(len(values)) + 0.12 * (number - (len(looks) - 1) / 2)
            ax.vlines(x, own["ci_low"], own["ci_high"], color=colour, linewidth=1)
            label = measure if condition == "trained" else f"{measure}, {condition}"
            ax.plot(x, own["share"], marker, markersize=3.6, color=colour, fillstyle=fill, label=label)


def _latent_curve(ax: Axes, curve: pd.DataFrame) -> None:
    looks = {"largest": ("-", "o", "largest estimates"), "random": ("--", "s", "random, as active")}
    for which, (line, marker, label) in looks.items():
        part: Any = curve[curve["which"] == which].groupby("n_latents")
        for name, colour in (("denoised", PALETTE["blue"]), ("noised", PALETTE["vermillion"])):
            value = part[name].mean()
            value = 1 - value if name == "noised" else value
            word = "brought back" if name == "denoised" else "lost"
            ax.plot(
                value.index, value, linestyle=line, marker=marker, markersize=3, color=colour, label=f"{word}, {label}"
            )
    ax.set_xscale("log", base=2)
    ticks = sorted(curve["n_latents"].unique())
    ax.set_xticks(ticks, [str(t) for t in ticks])
    ax.axhline(0, color=GREY, linewidth=0.5)
    ax.set(xlabel="latents exchanged together", ylabel="share of the logit difference", ylim=(-0.05, 1))
    ax.legend(loc="upper left")
