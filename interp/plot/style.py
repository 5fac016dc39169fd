"""One figure style: column widths, a colour-blind-safe palette, and bytes that do not change from run to run.

Figures are plain `matplotlib.figure.Figure` objects, never pyplot ones: pyplot keeps every figure alive in a
global list, which leaks in a long run, and picks a display back end. The style lives in a context, so nothing
of the caller's `rcParams` is changed.
"""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from interp.errors import InvalidInput, nearest

MM_PER_INCH = 25.4
COLUMN_MM = {"single": 89.0, "double": 183.0}
PNG_DPI = 300

# Okabe & Ito 2008, "Color Universal Design": eight colours told apart under the common colour-vision deficiencies.
# Black leads because the measured series comes first; the yellow is left out (too light for lines on white).
PALETTE = {
    "black": "#000000",
    "vermillion": "#D55E00",
    "blue": "#0072B2",
    "green": "#009E73",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "purple": "#CC79A7",
}
CYCLE = tuple(PALETTE.values())
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (7, 2)))
SEQUENTIAL = "viridis_r"  # reversed: the largest values are the darkest, so they stand out on white paper
# Purple to orange, safe for red-green deficiencies; grey in the middle, where white points would vanish on the map.
DIVERGING = LinearSegmentedColormap.from_list("purple_orange", ["#3f1d75", "#8073ac", "#bdbdbd", "#e08214", "#8a3f04"])
GREY = "#6b6b6b"
LIGHT_GREY = "#c9c9c9"

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships inside matplotlib: the same glyphs on every machine
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=CYCLE),
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "patch.linewidth": 0.6,
    "image.cmap": SEQUENTIAL,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.bbox": "standard",  # "tight" would change the width that the journal's column fixes
    "figure.dpi": 100,
    "pdf.fonttype": 42,  # TrueType: text in the PDF stays text
    "svg.fonttype": "path",  # no font is fetched or guessed where the SVG is shown
    "svg.hashsalt": "interp",  # element ids would otherwise be random
    "path.simplify": True,
}

Width = Literal["single", "double"]
Format = Literal["pdf", "png", "svg"]
# A key set to None is left out of the file: no date, no version of matplotlib, hence the same bytes twice.
_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
}


class StyledFigure(Figure):
    """A figure that draws itself in this style in a notebook, without pyplot."""

    def _repr_png_(self) -> bytes:
        return figure_bytes(self, "png", dpi=150)


@contextmanager
def paper_style() -> Generator[None, None, None]:
    """Apply the style inside a `with` block and give the caller's `rcParams` back after it."""
    with mpl.rc_context(RC):
        yield


def figure(
    width: Width = "single", height_mm: float | None = None, *, rows: int = 1, cols: int = 1, **axes_options: Any
) -> Figure:
    """Make an empty figure of a journal's column width; its axes are in `figure(...).axes`, row by row.

    Args:
        width: "single" (89 mm) or "double" (183 mm).
        height_mm: height in millimetres; two thirds of the width where none is given.
        rows, cols: grid of axes; 0 rows for a figure without axes.
        axes_options: passed to `Figure.subplots` (such as `sharex`).

    Raises:
        InvalidInput: an unknown width or a height that is not positive.
    """
    if width not in COLUMN_MM:
        raise InvalidInput(
            f"width={width!r} is no column width. Valid: {', '.join(nearest(str(width), COLUMN_MM))}. "
            'Use "single" (89 mm) or "double" (183 mm).'
        )
    width_mm = COLUMN_MM[width]
    height = width_mm * 2 / 3 if height_mm is None else float(height_mm)
    if not 0 < height < 2000:
        raise InvalidInput(f"height_mm={height_mm!r} must be a positive number of millimetres (a page has 240).")
    with paper_style():
        fig = StyledFigure(figsize=(width_mm / MM_PER_INCH, height / MM_PER_INCH), layout="constrained")
        FigureCanvasAgg(fig)
        if rows:
            for ax in fig.subplots(rows, cols, squeeze=False, **axes_options).flat:
                dress(ax)
    return fig


def dress(ax: Axes) -> None:
    """Fix the tick sizes of `ax`: matplotlib makes ticks late, when the style's context may be closed."""
    ax.tick_params(labelsize=RC["xtick.labelsize"], width=RC["xtick.major.width"], length=RC["xtick.major.size"])


def axes_width_mm(ax: Axes) -> float:
    """Return about how wide `ax` is, in millimetres (exact only after the figure was drawn)."""
    figure_ = ax.get_figure(root=True)
    return (figure_.get_figwidth() if figure_ else 3.5) * MM_PER_INCH * ax.get_position().width


def axes_or_new(ax: Axes | None, width: Width, height_mm: float | None = None) -> Axes:
    """Return `ax`, or the only axes of a new figure."""
    return figure(width, height_mm).axes[0] if ax is None else ax


def figure_bytes(fig: Figure, fmt: Format, *, dpi: int = PNG_DPI) -> bytes:
    """Return the figure as a file's content, the same bytes each time on one machine with the same versions.

    Raises:
        InvalidInput: a format other than pdf, png or svg.
    """
    if fmt not in _METADATA:
        raise InvalidInput(f"format {fmt!r} is unknown. Nearest: {', '.join(nearest(str(fmt), _METADATA))}.")
    buffer = io.BytesIO()
    with paper_style():
        fig.savefig(buffer, format=fmt, dpi=dpi, metadata=_METADATA[fmt])
    return buffer.getvalue()


def save_figure(fig: Figure, path_stem: str | Path) -> list[Path]:
    """Write `path_stem`.pdf (vector) and `path_stem`.png (300 dpi) and return the two paths."""
    from interp.store.atomic import atomic_write_bytes

    stem = Path(path_stem)
    paths = [stem.with_name(f"{stem.name}.{fmt}") for fmt in ("pdf", "png")]
    for path in paths:
        atomic_write_bytes(path, figure_bytes(fig, "pdf" if path.name.endswith(".pdf") else "png"))
    return paths
