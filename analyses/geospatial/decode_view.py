"""Figures and sentences of a decoding study, from the tables of its result alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.geospatial.decode_baselines import COUNTRY, NGRAMS, TOKENS
from analyses.geospatial.decode_tables import BASELINE, CHOSEN, EMBED, MEAN, RANDOM, TRAINED
from interp.plot import Curve, figure, format_number, paper_style
from interp.plot.basemap import aspect_of, draw_basemap, write_caption
from interp.plot.numbers import p_phrase
from interp.plot.panels import line_panel
from interp.plot.style import COLUMN_MM, CYCLE, GREY, MARKERS, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from interp.plot.basemap import MapFrame
    from interp.result import Result

_LAYER_SCHEMES = ("block", "country", "random")
_COMPARED = ((TRAINED, CHOSEN), (RANDOM, CHOSEN), (BASELINE, COUNTRY), (BASELINE, NGRAMS), (BASELINE, TOKENS),
             (BASELINE, MEAN))  # fmt: skip


def plot(result: Result) -> Figure:
    """Return the figure of a result in a notebook: error and R² by layer."""
    return layer_figure(result)


def decoding_figures(result: Result) -> dict[str, Figure]:
    """Return the figures of the study, by layer, by way of holding out, and maps; none where nothing was decoded."""
    if not len(_ok(result.table)):
        return {}
    out = {"decoding_layers": layer_figure(result), "decoding_schemes": scheme_figure(result)}
    if len(result.tables["predictions"]):
        out["decoding_map"] = guess_map(result)
    return out


def scheme_names(result: Result) -> dict[str, str]:
    """Return how each scheme is called in a figure or sentence."""
    config = result.provenance["config"]
    return {
        "block": f"blocks of {config['deg']:g}° held out",
        "buffered": f"blocks and {config['buffer_km']:,.0f} km around held out",
        "country": "countries held out",
        "continent": "continents held out",
        "given": "places kept apart",
        "random": "random folds",
    }


def layer_figure(result: Result) -> Figure:
    """Draw median error and R² by layer, trained beside random weights and baselines; a column a way of holding out."""
    table, names = _ok(result.table), scheme_names(result)
    schemes = [s for s in _LAYER_SCHEMES if s in set(table["scheme"])] or list(dict.fromkeys(table["scheme"]))[:3]
    fig = figure("double", 98, rows=2, cols=max(len(schemes), 1), sharey="row")
    axes = np.array(fig.axes).reshape(2, -1)
    with paper_style():
        for column, scheme in enumerate(schemes):
            part: Any = table[table["scheme"] == scheme]
            _layer_panel(axes[0, column], part, "median_km", "median error (km)", ("ci_low", "ci_high"))
            _layer_panel(axes[1, column], part, "r2", "R² (unit sphere)", ("r2_ci_low", "r2_ci_high"))
            axes[0, column].set_title(f"{names[scheme]}, n = {int(part['n'].max()):,}")
            axes[0, column].set_yscale("log")
            axes[0, column].set_xlabel("")
        _km_ticks(axes[0, 0].yaxis)
        axes[1, 0].set_ylim(max(-0.25, axes[1, 0].get_ylim()[0]), 1.02)
        for ax in axes[:, 1:].flat:
            ax.set_ylabel("")
        if schemes:
            fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=6)
    return fig


def _layer_panel(ax: Axes, part: pd.DataFrame, value: str, ylabel: str, ends: tuple[str, str]) -> None:
    measured: Any = part[part["layer"].notna()]
    sites = list(dict.fromkeys(measured["site"]))
    curves = {}
    for condition in (TRAINED, RANDOM):
        own = measured[measured["condition"] == condition].set_index("site").reindex(sites)
        if own[value].notna().any():
            y, low, high = (own[name].to_numpy(np.float64) for name in (value, *ends))
            band = (low, high) if condition == TRAINED and np.isfinite(low).all() else (None, None)
            curves[condition] = Curve(y, *band, control=condition != TRAINED)
    for name in (COUNTRY, NGRAMS, MEAN):
        flat = part.loc[part["site"] == name, value].to_numpy(np.float64)
        if len(flat):
            curves[name] = Curve(np.full(len(sites), flat[0]), control=True)
    line_panel(np.arange(len(sites)), curves, xlabel="layer", ylabel=ylabel, ax=ax)
    for line in ax.get_lines():
        if str(line.get_label()) in (COUNTRY, NGRAMS, MEAN):
            line.set_marker("")
    legend = ax.get_legend()
    if legend is not None:
        legend.remove()
    layers: Any = measured.drop_duplicates("site").set_index("site")["layer"]
    plain = layers.is_unique
    ax.set_xticks(np.arange(len(sites)), ["emb." if s == EMBED else f"{layers[s]:g}" if plain else s for s in sites])


def scheme_figure(result: Result) -> Figure:
    """Draw the median error under every way of holding out: the chosen site beside what it has to beat."""
    table, names = _ok(result.table), scheme_names(result)
    schemes = list(dict.fromkeys(table["scheme"]))
    fig = figure("double", 22 + 11 * len(schemes))
    ax = fig.axes[0]
    with paper_style():
        for i, (condition, site) in enumerate(_COMPARED):
            rows: Any = table[(table["condition"] == condition) & (table["site"] == site)].set_index("scheme")
            rows = rows.reindex(schemes)
            y = np.arange(len(schemes)) + (i - (len(_COMPARED) - 1) / 2) * 0.12
            ax.hlines(y, rows["ci_low"], rows["ci_high"], color=CYCLE[i], linewidth=1.1)
            label = f"{condition}, chosen layer" if site == CHOSEN else site
            ax.plot(rows["median_km"], y, linestyle="none", marker=MARKERS[i], color=CYCLE[i], label=label,
                    markerfacecolor=CYCLE[i] if i == 0 else "white")  # fmt: skip
        counts: Any = table[table["condition"] == TRAINED].groupby("scheme")["n"].max()
        ax.set_yticks(np.arange(len(schemes)), [f"{names[s]}\n(n = {int(counts.get(s, 0)):,})" for s in schemes])
        ax.set_ylim(len(schemes) - 0.5, -0.5)
        ax.set_xscale("log")
        _km_ticks(ax.xaxis)
        ax.grid(axis="x", linewidth=0.3, color="#dddddd")
        for edge in np.arange(len(schemes) - 1) + 0.5:
            ax.axhline(edge, color="#dddddd", linewidth=0.4)
        ax.set_xlabel("median great-circle error (km), 95 % interval over held-out groups")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=3)
    return fig


def guess_map(result: Result) -> Figure:
    """Draw where each place is guessed: its true point, and a line to the guess; given places below."""
    predictions, names = result.tables["predictions"], scheme_names(result)
    present = list(dict.fromkeys(predictions["scheme"]))
    shown = [present[0], *(["given"] if "given" in present[1:] else [])]
    aspect = aspect_of(predictions, "world", "equal_earth")
    fig = figure("double", len(shown) * (COLUMN_MM["double"] * 0.86 * aspect + 14), rows=len(shown))
    with paper_style():
        for ax, scheme in zip(fig.axes, shown, strict=True):
            part: Any = predictions[predictions["scheme"] == scheme]
            frame = draw_basemap(ax, part, extent="world", proj="equal_earth", ticks=False)
            _draw_guesses(ax, frame, part)
            ax.set_title(f"{names[scheme]}: median error {format_number(part['km'].median())} km")
            caption = (
                "Blue: where a place is; orange: where the chosen layer of the model puts it, at the end of the line."
            )
            wrapped = int((~_on_one_side(part)).sum())
            beyond = f"{wrapped:,} guessed across the edge of the map have no line." if wrapped else ""
            write_caption(ax, [caption, beyond, f"n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{len(part):,}.", frame.credit])
    return fig


def _draw_guesses(ax: Axes, frame: MapFrame, part: pd.DataFrame) -> None:
    from matplotlib.collections import LineCollection

    true = np.column_stack(frame.xy(part["lon"], part["lat"]))
    guess = np.column_stack(frame.xy(part["lon_guess"], part["lat_guess"]))
    ways = list(np.stack([true, guess], axis=1)[_on_one_side(part)])
    lines = LineCollection(ways, colors=GREY, linewidths=0.35, alpha=0.5, zorder=3)
    ax.add_collection(lines, autolim=False)
    size = 26 * (50 / max(len(part), 1)) ** 0.45
    for points, colour, order in ((guess, PALETTE["orange"], 4), (true, PALETTE["blue"], 5)):
        drawn = ax.scatter(*points.T, s=size, c=colour, linewidths=0.15, edgecolors="white", zorder=order)
        drawn.set_clip_path(frame.outline)
    lines.set_clip_path(frame.outline)


def _on_one_side(part: pd.DataFrame) -> np.ndarray:
    """Return whether the shorter way to the guess stays within the map; a line the other way round would mislead."""
    return np.abs(part["lon"].to_numpy(np.float64) - part["lon_guess"].to_numpy(np.float64)) <= 180


def decoding_sentences(result: Result) -> tuple[str, str]:
    """Return the answer in words, the strict ways of holding out first, and what it has to beat."""
    table, names = _ok(result.table), scheme_names(result)
    own: Any = table[(table["condition"] == TRAINED) & (table["site"] == CHOSEN)].set_index("scheme")
    if not len(own):
        return "The position of places could not be tested.", "none"
    schemes = [s for s in names if s in own.index]
    first, rest = schemes[0], [s for s in schemes[1:] if s != "given"]
    text = (
        f"With {names[first]} the position of a place is read out of {_sites(result, first)} with a median error of "
        f"{_km(own.loc[first])} (95 %: {own.loc[first, 'ci_low']:,.0f} to {own.loc[first, 'ci_high']:,.0f}, R² "
        f"{_two(own.loc[first, 'r2'])})"
    )
    text += "".join(f"; {names[s]}: {_km(own.loc[s])}, R² {_two(own.loc[s, 'r2'])}" for s in rest) + "."
    if "given" in schemes:
        row = own.loc["given"]
        text += f" Of the {int(row['n']):,} places kept apart: {_km(row)}, R² {_two(row['r2'])}."
    return text, "; ".join(_null(table, s, names[s]) for s in (first, *(["given"] if "given" in schemes else []))) + "."


def _null(table: pd.DataFrame, scheme: str, name: str) -> str:
    part: Any = table[table["scheme"] == scheme].set_index(["condition", "site"])
    words = [
        f"{'random weights' if condition == RANDOM else site} {_km(part.loc[(condition, site)])}"
        for condition, site in _COMPARED[1:]
        if (condition, site) in part.index
    ]
    own = part.loc[(TRAINED, CHOSEN)]
    shuffled = ""
    if own["n_perm"]:
        times = f"{p_phrase('p', own['p'])}, {int(own['n_perm'])} shuffles"
        shuffled = f", skill {_two(own['skill'])}, with shuffled places {_two(own['null_mean'])} ({times})"
    return f"{name}: {', '.join(words)}{shuffled}"


def _sites(result: Result, scheme: str) -> str:
    taken = result.tables["sites"]
    own: Any = taken[(taken["condition"] == TRAINED) & (taken["scheme"] == scheme)]
    own = own.sort_values("n_folds", ascending=False)
    sites = list(own["site"])
    return sites[0] if len(sites) == 1 else f"{sites[0]} (in {own['n_folds'].iloc[0]} of {own['n_folds'].sum()} folds)"


def _km(row: Any) -> str:
    return f"{row['median_km']:,.0f} km"


def _two(value: float) -> str:
    """Write two decimals, and no minus before zero."""
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")


def _ok(table: pd.DataFrame) -> pd.DataFrame:
    found: Any = table[table["status"] == "ok"]
    return found


def _km_ticks(axis: Any) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis.set_major_locator(FixedLocator([100, 200, 500, 1000, 2000, 5000, 10000]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
