"""World maps of the latents with the largest Moran's I, from the tables of a finished run.

python figures/fig_geospatial_maps.py [runs/atlas] [--out FOLDER]
"""

from __future__ import annotations

from pathlib import Path

from common import main, result_of
from matplotlib.figure import Figure

from analyses.geospatial.run import figures


def draw(run: Path) -> Figure:
    """Draw the maps of the six features with the largest I among those called geographic."""
    return figures(result_of(run, "geospatial"))["maps"]


if __name__ == "__main__":
    main("geospatial_maps", draw)
