"""Error of decoded coordinates under every way of holding places out, from the tables of a finished run.

python figures/fig_decoding_schemes.py [runs/atlas] [--out FOLDER]
"""

from __future__ import annotations

from pathlib import Path

from common import main, result_of
from matplotlib.figure import Figure

from analyses.geospatial.decode_view import scheme_figure


def draw(run: Path) -> Figure:
    """Draw the median error of the chosen layer beside random weights and what the name gives without a model."""
    return scheme_figure(result_of(run, "decoding"))


if __name__ == "__main__":
    main("decoding_schemes", draw)
