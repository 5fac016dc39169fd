"""Autocorrelated and geographic features by layer and by the way the model is read, from the survey of a finished run.

python figures/fig_geospatial_layers.py [runs/atlas] [--out FOLDER]
"""

from __future__ import annotations

from pathlib import Path

from common import main, result_of
from matplotlib.figure import Figure

from analyses.geospatial.survey_view import layer_profile


def draw(run: Path) -> Figure:
    """Draw both shares by layer, a column a reading, trained beside random weights."""
    return layer_profile(result_of(run, "geospatial").tables["survey"])


if __name__ == "__main__":
    main("geospatial_layers", draw)
