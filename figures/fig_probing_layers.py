"""What a probe reads out of each layer, beside its controls, from the tables of a finished run.

python figures/fig_probing_layers.py [runs/atlas] [--out FOLDER]
"""

from __future__ import annotations

from pathlib import Path

from common import main, result_of
from matplotlib.figure import Figure

from analyses.probing.study_view import layers_figure


def draw(run: Path) -> Figure:
    """Draw the score of every layer by task, beside random weights, permuted labels and the embedding."""
    return layers_figure(result_of(run, "probing"))


if __name__ == "__main__":
    main("probing_layers", draw)
