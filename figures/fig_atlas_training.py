"""How the bundled model learnt: loss on text and on random repeats along its training, from its card.

python figures/fig_atlas_training.py      # writes figures/atlas_training.png and .pdf
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from interp.atlas import card
from interp.plot import save_figure
from interp.plot.style import GREY, LIGHT_GREY, figure, paper_style


def training_curve(about: dict[str, Any]) -> Figure:
    """Return the figure of a card: loss in nats a token over millions of tokens read."""
    log = pd.DataFrame(about["training"]["log"])
    total = about["training"]["tokens"] / 1e6
    drawn = figure("single", 60)
    axes = drawn.axes[0]
    with paper_style():
        begin = 0.0
        for share, repeats in about["settings"]["train"]["phases"]:
            end = begin + share * total
            if repeats > 0.3:
                axes.axvspan(begin, end, color=LIGHT_GREY, alpha=0.4, lw=0)
                axes.text((begin + end) / 2, 0.98, "half repeats", transform=axes.get_xaxis_transform(), rotation=90,
                          ha="center", va="top", fontsize=6, color=GREY)  # fmt: skip
            begin = end
        axes.plot(log["tokens"] / 1e6, log["text_loss"], label="fresh text")
        axes.plot(log["tokens"] / 1e6, log["repeat_loss"], label="random repeats, later periods")
        for kept in about["checkpoints"]:
            axes.axvline(kept["tokens"] / 1e6, color=GREY, lw=0.6, ls=":")
        axes.set(xlabel="tokens read (millions); dotted: kept checkpoints", ylabel="loss (nats a token)", yscale="log")
        axes.legend(loc="upper right")
    return drawn


def main() -> None:
    """Draw the figure."""
    for path in save_figure(training_curve(card()), Path(__file__).parent / "atlas_training"):
        print(path)


if __name__ == "__main__":
    main()
