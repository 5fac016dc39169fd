"""Verdicts on neurons, heads and latents beside their nulls, from the tables of a finished run.

python figures/fig_polysemanticity.py [runs/atlas] [--out FOLDER]
"""

from __future__ import annotations

from pathlib import Path

from common import main, result_of
from matplotlib.figure import Figure

from analyses.polysemanticity.view import shares_figure


def draw(run: Path) -> Figure:
    """Draw the shares of one concept, undecided and several concepts, trained beside random weights and directions."""
    return shares_figure(result_of(run, "polysemanticity").tables["shares"])


if __name__ == "__main__":
    main("polysemanticity", draw)
