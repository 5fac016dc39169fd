"""The panels every analysis needs: a statistic beside its nulls, ranks with intervals, curves by layer.

Each series differs in colour and in marker or line style, so the panels survive greyscale print and the common
colour-vision deficiencies, and each legend entry carries its n.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from interp.errors import InvalidInput
from interp.plot.numbers import format_number
from interp.plot.style import CYCLE, GREY, LINES, MARKERS, PALETTE, Width, axes_or_new, paper_style

BLUE, RED = PALETTE["blue"], PALETTE["vermillion"]


@dataclass(frozen=True)
class Curve:
    """One line of a panel: `y` (n_x,), with an optional band `low`..`high`; a control is drawn thin and dashed."""

    y: ArrayLike
    low: ArrayLike | None = None
    high: ArrayLike | None = None
    control: bool = False
    n: int | None = None


def null_panel(
    values: ArrayLike,
    nulls: Mapping[str, ArrayLike],
    *,
    xlabel: str,
    name: str = "measured",
    kind: Literal["ecdf", "hist"] = "ecdf",
    threshold: float | None = None,
    ax: Axes | None = None,
    width: Width = "single",
) -> Axes:
    """Draw the distribution of a statistic beside its nulls, so that a tail is seen against what chance gives.

    Args:
        values: (n,) the statistic, one per tested thing; missing ones are left out and counted in the legend.
        nulls: name -> the same statistic under that null, such as {"random weights": ..., "shuffled places": ...}.
        xlabel: the statistic with its unit.
        kind: "ecdf" (cumulative share: no bins to choose, tails are readable) or "hist" (share per bin).
        threshold: a value to mark with a vertical line.

    Raises:
        InvalidInput: no null at all, a series without any finite value, or another kind.
    """
    if kind not in ("ecdf", "hist"):
        raise InvalidInput(f"kind={kind!r} does not exist. Valid: 'ecdf', 'hist'.")
    if not nulls or name in nulls:
        raise InvalidInput("nulls needs at least one null of another name than the statistic, e.g. {'shuffled': ...}.")
    series = {label: np.ravel(np.asarray(x, np.float64)) for label, x in {name: values, **nulls}.items()}
    with paper_style():
        ax = axes_or_new(ax, width)
        _draw_distributions(ax, series, kind)
        if threshold is not None:
            ax.axvline(threshold, color=GREY, linewidth=0.7, label=f"threshold {format_number(threshold)}")
        ax.set(xlabel=xlabel, ylabel="cumulative share" if kind == "ecdf" else "share per bin")
        if kind == "ecdf":
            ax.set_ylim(0, 1.01)
        _legend_above(ax)
    return ax


def ranked_panel(
    labels: Sequence[Any],
    values: ArrayLike,
    *,
    xlabel: str,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    null: ArrayLike | float | None = None,
    null_label: str = "null mean",
    n: int | None = None,
    top: int = 20,
    ax: Axes | None = None,
    width: Width = "single",
) -> Axes:
    """Draw the `top` largest values as dots in rank order, with intervals and the null of each.

    Args:
        labels, values: n names and the statistic (n,) of each; missing ones are never ranked.
        low, high: (n,) ends of the interval of each value.
        null: (n,) the null of each value, or one number for all.
        n: samples behind each value, for the axis label.

    Raises:
        InvalidInput: lengths that differ, or nothing to rank.
    """
    x = np.asarray(values, np.float64)
    ranked = _ranked(x, {"labels": labels, "low": low, "high": high})[:top]
    rows = np.arange(len(ranked))
    with paper_style():
        ax = axes_or_new(ax, width, 16 + 4.2 * len(ranked))
        if low is not None and high is not None:
            ax.hlines(rows, np.asarray(low)[ranked], np.asarray(high)[ranked], color=BLUE, linewidth=1.4)
        ax.plot(x[ranked], rows, linestyle="none", marker="o", color=BLUE, label="measured")
        if null is not None:
            baseline = np.broadcast_to(np.asarray(null, np.float64), x.shape)[ranked]
            ax.plot(baseline, rows, linestyle="none", marker="|", markersize=7, color=RED, label=null_label)
            _legend_above(ax)
        ax.set_yticks(rows, [str(labels[i]) for i in ranked])
        ax.set_ylim(len(ranked) - 0.5, -0.5)
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="x", linewidth=0.3, color="#dddddd")
        ax.set_xlabel(xlabel + (f", n = {n:,}" if n is not None else ""))
        if len(ranked) < len(x):
            ax.set_title(f"{len(ranked)} highest of {len(x):,}", fontsize=6.5, color=GREY, loc="right")
    return ax


def line_panel(
    x: ArrayLike,
    curves: Mapping[str, Curve],
    *,
    xlabel: str,
    ylabel: str,
    reference: float | None = None,
    ax: Axes | None = None,
    width: Width = "single",
) -> Axes:
    """Draw named curves over `x` with their bands; measured ones solid and thick, controls thin and dashed.

    Args:
        x: (n_x,) positions, such as distances in km.
        curves: name -> `Curve`; its n, where given, goes into the legend.
        reference: a value to mark with a horizontal line, such as chance.

    Raises:
        InvalidInput: a curve whose length differs from `x`, or a band that does not hold its curve's order.
    """
    x = np.asarray(x, np.float64)
    with paper_style():
        ax = axes_or_new(ax, width)
        if reference is not None:
            ax.axhline(reference, color=GREY, linewidth=0.6)
        for i, (name, curve) in enumerate(curves.items()):
            y, band = _checked_curve(name, curve, len(x))
            line = LINES[1 + i % 6] if curve.control else "-"
            label = name + (f" (n = {curve.n:,})" if curve.n is not None else "")
            ax.plot(
                x, y, color=CYCLE[i % 7], marker=MARKERS[i % 7], linestyle=line, markersize=3, label=label,
                linewidth=0.9 if curve.control else 1.5, markerfacecolor="white" if curve.control else CYCLE[i % 7],
            )  # fmt: skip
            if band is not None:
                ax.fill_between(x, band[0], band[1], color=CYCLE[i % 7], alpha=0.15, linewidth=0)
        ax.set(xlabel=xlabel, ylabel=ylabel)
        _legend_above(ax)
    return ax


def layer_panel(
    layers: Sequence[int],
    curves: Mapping[str, Curve],
    *,
    ylabel: str,
    reference: float | None = None,
    ax: Axes | None = None,
    width: Width = "single",
) -> Axes:
    """Draw a score by layer with its controls; as `line_panel`, with whole numbers on the layer axis."""
    ax = line_panel(layers, curves, xlabel="layer", ylabel=ylabel, reference=reference, ax=ax, width=width)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def moran_scatter(
    values: ArrayLike,
    lagged: ArrayLike,
    *,
    I: float | None = None,  # noqa: E741 - the statistic's own name in every table
    xlabel: str = "value (standard deviations)",
    ylabel: str = "mean of the neighbours (standard deviations)",
    ax: Axes | None = None,
    width: Width = "single",
) -> Axes:
    """Draw Moran's scatter plot: each place's value against its spatial lag, both in deviations of the values.

    The line is the regression of the lag on the value; with row-standardised weights and no islands its slope is
    Moran's I. Where `I` is given and differs from the slope, both are printed.

    Args:
        values: (n,) values.
        lagged: (n,) weighted means over each place's neighbours, in the same unit.

    Raises:
        InvalidInput: lengths that differ, missing values, or values that are all the same.

    Reference: Anselin 1996, "The Moran scatterplot as an ESDA tool".
    """
    z, lag = _standardised(np.asarray(values, np.float64), np.asarray(lagged, np.float64))
    slope = float(z @ (lag - lag.mean()) / (z @ z))
    with paper_style():
        ax = axes_or_new(ax, width, 80)
        ax.axhline(0, color=GREY, linewidth=0.5)
        ax.axvline(0, color=GREY, linewidth=0.5)
        ax.scatter(
            z, lag, s=float(np.clip(4000 / len(z), 1, 9)), color=BLUE, alpha=0.6 if len(z) < 2000 else 0.35,
            linewidths=0, rasterized=len(z) > 3000,
        )  # fmt: skip
        ends = np.array([z.min(), z.max()])
        ax.plot(ends, slope * ends + lag.mean(), color=RED, linewidth=1.3)
        ax.set_title(f"{_slope_text(I, slope)}, n = {len(z):,}", fontsize=7)
        ax.set(xlabel=xlabel, ylabel=ylabel)
    return ax


def _standardised(x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
    """Return values and lags as deviations from the values' mean in the values' standard deviations."""
    if x.shape != y.shape or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InvalidInput(f"values {x.shape} and lagged {y.shape} must have one shape and no missing entry.")
    if np.ptp(x) == 0:  # the standard deviation of equal numbers may be a rounding error above zero
        raise InvalidInput("all values are the same: there is no standard deviation to scale by.")
    return (x - x.mean()) / x.std(), (y - x.mean()) / x.std()


def _slope_text(I: float | None, slope: float) -> str:  # noqa: E741 - the statistic's own name
    if I is None:
        return f"slope = {format_number(slope)}"
    same = np.isclose(I, slope, rtol=1e-6, atol=1e-9)
    return f"I = {format_number(I)}" + ("" if same else f", slope = {format_number(slope)}")


def _ranked(x: NDArray, columns: Mapping[str, Any]) -> NDArray:
    """Return the rows of finite values, largest first; every column that is given must have as many rows."""
    for name, column in columns.items():
        if column is not None and np.shape(column)[:1] != x.shape:
            raise InvalidInput(
                f"{name} has shape {np.shape(column)} for {len(x)} values: expected one entry per value."
            )
    rows = np.flatnonzero(np.isfinite(x))
    if len(rows) == 0:
        raise InvalidInput("no value is finite: there is nothing to rank.")
    return rows[np.argsort(-x[rows], kind="stable")]


def _draw_distributions(ax: Axes, series: Mapping[str, NDArray], kind: str) -> None:
    finite = {label: _finite(label, x) for label, x in series.items()}
    edges = np.histogram_bin_edges(np.concatenate(list(finite.values())), bins=40)
    for i, (label, x) in enumerate(finite.items()):
        lost = len(series[label]) - len(x)
        text = f"{label} (n = {len(x):,}" + (f", {lost:,} without a value)" if lost else ")")
        look: dict[str, Any] = {"color": CYCLE[i % 7], "linestyle": LINES[i % 7], "linewidth": 1.6 if i == 0 else 1.1}
        if kind == "ecdf":
            ax.ecdf(x, label=text, **look)
        else:
            share, _ = np.histogram(x, edges)
            ax.stairs(share / len(x), edges, label=text, fill=i == 0, alpha=0.35 if i == 0 else 1, **look)


def _finite(name: str, x: NDArray) -> NDArray:
    x = x[np.isfinite(x)]
    if len(x) == 0:
        raise InvalidInput(f"{name!r} has no finite value: there is no distribution to draw.")
    return x


def _checked_curve(name: str, curve: Curve, n: int) -> tuple[NDArray, tuple[NDArray, NDArray] | None]:
    y = np.asarray(curve.y, np.float64)
    if y.shape != (n,):
        raise InvalidInput(f"curve {name!r} has shape {y.shape}; expected ({n},), one value per position.")
    if curve.low is None or curve.high is None:
        return y, None
    low, high = np.asarray(curve.low, np.float64), np.asarray(curve.high, np.float64)
    if low.shape != (n,) or high.shape != (n,) or (low > high).any():
        raise InvalidInput(
            f"the band of {name!r} needs low <= high, each of shape ({n},); got {low.shape}, {high.shape}."
        )
    return y, (low, high)


def _legend_above(ax: Axes) -> None:
    """Put the legend over the panel, where it can hide no data."""
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2, ncols=1, labelspacing=0.25)
