"""Pictures of a report: fewer colours, the same size, and the same bytes."""

import io

import numpy as np
from PIL import Image

from interp.plot import figure, figure_bytes
from interp.plot.images import fewer_colours, picture


def drawn() -> bytes:
    fig = figure("single")
    rng = np.random.default_rng(0)
    fig.axes[0].scatter(rng.random(500), rng.random(500), c=rng.random(500))
    return figure_bytes(fig, "png", dpi=200)


def test_a_picture_keeps_its_size_and_looks_the_same_in_a_fraction_of_the_bytes():
    png = drawn()
    small = fewer_colours(png)
    assert len(small) < 0.7 * len(png)
    assert (picture(small).width, picture(small).height) == (picture(png).width, picture(png).height)
    before, after = (np.asarray(Image.open(io.BytesIO(p)).convert("RGB"), dtype=float) for p in (png, small))
    assert np.abs(before - after).mean() < 1.0
    assert (np.abs(before - after) > 30).mean() < 0.005  # of 256 levels; points of 500 colours


def test_the_same_picture_gives_the_same_bytes():
    assert fewer_colours(drawn()) == fewer_colours(drawn())
