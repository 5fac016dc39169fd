"""World maps of the latents with the largest Moran's I, from the tables of a finished run.

python figures/fig_geospatial_maps.py [runs/atlas]      # writes figures/geospatial_maps.png and .pdf
"""

from __future__ import annotations

import sys
from pathlib import Path

from analyses.geospatial.view import feature_maps
from interp.plot import save_figure
from interp.store import Store


def main(run: Path) -> None:
    """Draw the figure of one run."""
    with Store(run, readonly=True) as store:
        tests, values, places = (store.get(f"geospatial/{n}.parquet") for n in ("geospatial", "top_values", "places"))
    figure = feature_maps(tests, values, places, "latent")
    for path in save_figure(figure, Path(__file__).parent / "geospatial_maps"):
        print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/atlas"))
