"""Families of attention latents by layer, beside random weights, from the tables of a finished run.

python figures/fig_latent_families.py [runs/atlas] [--out FOLDER]
"""

from __future__ import annotations

from pathlib import Path

from common import main, result_of
from matplotlib.figure import Figure

from analyses.attention.panels import family_bars


def draw(run: Path) -> Figure:
    """Draw the share of each family among the latents of a layer that are ever on."""
    return family_bars(result_of(run, "attention").tables["counts"])


if __name__ == "__main__":
    main("latent_families", draw)
