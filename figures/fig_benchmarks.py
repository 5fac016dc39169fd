"""How much faster than what one would otherwise call, from the saved benchmarks.

python figures/fig_benchmarks.py [benchmarks/results] [--out FOLDER]
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from common import BENCHMARKS, main
from matplotlib.figure import Figure

from interp.plot import figure, paper_style
from interp.plot.style import GREY, PALETTE

Row = dict[str, Any]
CASES = {"moran": "Moran's I", "local": "local Moran's I", "moments": "I and its exact null"}


def draw(folder: Path) -> Figure:
    """Draw every ratio of times with its range and its target, grouped by what it is measured beside."""
    table = pd.DataFrame(ratios({p.stem: json.loads(p.read_text(encoding="utf-8")) for p in folder.glob("*.json")}))
    groups = list(dict.fromkeys(table["beside"]))
    # an empty line between groups, for the head of the next
    at = [i + 1.3 * groups.index(beside) for i, beside in enumerate(table["beside"])]
    fig = figure("double", 14 + 4.1 * (max(at) + 2))
    ax, blue, red = fig.axes[0], PALETTE["blue"], PALETTE["vermillion"]
    with paper_style():
        ax.axvline(1, color=GREY, linewidth=0.6)
        ax.hlines(at, table["low"], table["high"], color=blue, linewidth=1.4)
        ax.plot(table["ratio"], at, "o", color=blue, linestyle="none", label="measured; bar: lowest and highest")
        ax.plot(table["target"], at, "|", color=red, markersize=8, linestyle="none", label="target")
        for y, ratio, high in zip(at, table["ratio"], table["high"], strict=True):
            ax.annotate(f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}", (max(ratio, high), y), (5, 0),
                        textcoords="offset points", va="center", fontsize=6)  # fmt: skip
        for beside in groups:
            first = at[int((table["beside"] == beside).to_numpy().argmax())]
            ax.annotate(f"beside {beside}", (0, first - 1.0), xycoords=("axes fraction", "data"), va="center",
                        fontsize=6.5, color=GREY, xytext=(3, 0), textcoords="offset points")  # fmt: skip
        ax.set_yticks(at, table["what"].tolist())
        ax.tick_params(axis="y", length=0)
        ax.set(xscale="log", xlim=(0.8, 6000), ylim=(max(at) + 0.8, -1.8), xlabel="times as fast")
        ax.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
        ax.grid(axis="x", linewidth=0.3, color="#dddddd")
        ax.legend(loc="lower right")
    return fig


def ratios(found: dict[str, Any]) -> Iterator[Row]:
    """Yield what was measured, beside what, the ratio of times with its range, and the target."""
    for row in found["moran"]["rows"]:
        what = f"{CASES[row['case']]}, {row['n_features']:,} features, {row['kind']}"
        yield line(what, "a loop over esda", row["ratio"], target=row["target"])
    for name, row in found["probes"]["rows"].items():
        yield line(f"ridge probes, {name}", "scikit-learn", row["ratio"], row["ratio_lowest"], row["ratio_highest"],
                   row["target"])  # fmt: skip
    attribution = found["attribution"]
    for name, ratio in attribution["speed"].items():
        yield line(f"attribution by source, {name}", "the dense formula", ratio, target=attribution["target"]["speed"])
    scored = found["polysemanticity"]
    yield line("monosemanticity score", "a loop over units", scored["monosemanticity_score"]["speedup"],
               target=scored["target"]["speedup"])  # fmt: skip
    for case, ways in found["sae_training"]["cpu"]["cases"].items():
        for peer in ("sae-lens", "sparsify"):
            row = ways[peer]
            yield line(f"TopK training step, {case}: {peer}", "SAE libraries, CPU", row["time_over_ours"],
                       row["time_over_ours_lowest"], row["time_over_ours_highest"])  # fmt: skip
    for model, row in found["capture"]["models"].items():
        ways = row["ways"]
        ratio = ways["run_with_cache_one_hook"]["time_over_hf_sliced"] / ways["capture_last"]["time_over_hf_sliced"]
        yield line(f"capture of one site, {model}", "run_with_cache of one hook", ratio)


def line(
    what: str,
    beside: str,
    ratio: float,
    low: float | None = None,
    high: float | None = None,
    target: float | None = None,
) -> Row:
    """Return one row; without a range it is a point."""
    return {
        "what": what,
        "beside": beside,
        "ratio": ratio,
        "low": low or ratio,
        "high": high or ratio,
        "target": target,
    }


if __name__ == "__main__":
    main("benchmarks", draw, source=BENCHMARKS)
