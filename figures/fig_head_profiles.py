"""From where each attention head moves what it moves, from the tables of a finished run.

python figures/fig_head_profiles.py [runs/atlas] [--out FOLDER]
"""

from __future__ import annotations

from pathlib import Path

from common import main, result_of
from matplotlib.figure import Figure

from analyses.attention.panels import profile_bars


def draw(run: Path) -> Figure:
    """Draw the relation profile of every head, those with the fewest reasons first."""
    return profile_bars(result_of(run, "attention").tables["profiles"])


if __name__ == "__main__":
    main("head_profiles", draw)
