import gc
import subprocess
import sys
import weakref

import matplotlib as mpl
import pytest

from interp.errors import InvalidInput
from interp.plot import style
from interp.plot.panels import null_panel
from interp.plot.style import COLUMN_MM, PALETTE, figure, figure_bytes, paper_style


def drawn():
    fig = figure("single", 50)
    fig.axes[0].plot([0, 1, 2], [2, 0, 1], label="line")
    fig.axes[0].scatter([0, 1], [1, 2])
    fig.axes[0].legend()
    return fig


@pytest.mark.parametrize("fmt", ["pdf", "png", "svg"])
def test_the_same_figure_gives_the_same_bytes_twice(fmt):
    assert figure_bytes(drawn(), fmt) == figure_bytes(drawn(), fmt)


@pytest.mark.parametrize("fmt", ["pdf", "png", "svg"])
def test_the_bytes_do_not_depend_on_the_process_or_its_hash_seed(fmt):
    code = (
        "import hashlib; from interp.plot.style import figure, figure_bytes\n"
        f"f = figure(); f.axes[0].plot([1, 2]); print(hashlib.sha256(figure_bytes(f, {fmt!r})).hexdigest())"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(hashes) == 1


@pytest.mark.parametrize("fmt", ["pdf", "png", "svg"])
def test_no_date_or_version_is_stamped_into_the_file(fmt):
    content = figure_bytes(drawn(), fmt)
    # The SVG writer names itself in a comment; versions change only with an upgrade, dates with every run.
    for stamp in (b"CreationDate", b"dc:date", b"Software", b"/Producer"):
        assert stamp not in content


def test_bytes_are_of_the_format_that_was_asked_for():
    assert figure_bytes(drawn(), "pdf").startswith(b"%PDF-")
    assert figure_bytes(drawn(), "png").startswith(b"\x89PNG")
    assert b"<svg" in figure_bytes(drawn(), "svg")[:1000]


@pytest.mark.parametrize("width", ["single", "double"])
def test_png_has_the_column_width_at_300_dpi(width):
    content = figure_bytes(figure(width, 40), "png")
    pixels = int.from_bytes(content[16:20], "big")
    assert pixels == pytest.approx(COLUMN_MM[width] / 25.4 * 300, abs=1)


def test_global_rcparams_are_untouched():
    before = dict(mpl.rcParams)
    figure_bytes(drawn(), "png")
    assert dict(mpl.rcParams) == before


def test_global_rcparams_do_not_change_the_figure():
    def panel():
        return figure_bytes(null_panel([1, 2, 4], {"shuffled": [0, 1]}, xlabel="x").figure, "png")

    expected = panel()
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "xtick.labelsize": 20, "savefig.dpi": 50}):
        assert panel() == expected


def test_figures_are_freed_without_closing_them():
    fig = drawn()
    figure_bytes(fig, "png")
    alive = weakref.ref(fig)
    del fig
    gc.collect()
    assert alive() is None


def test_a_notebook_gets_a_picture_without_pyplot():
    assert drawn()._repr_png_().startswith(b"\x89PNG")


def test_unknown_width_names_the_valid_ones():
    with pytest.raises(InvalidInput, match="single"):
        figure("singel")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("height", [0, -3, float("nan"), float("inf")])
def test_height_must_be_positive(height):
    with pytest.raises(InvalidInput, match="millimetres"):
        figure("single", height)


def test_unknown_format_names_the_nearest():
    with pytest.raises(InvalidInput, match="png"):
        figure_bytes(drawn(), "pngg")  # pyright: ignore[reportArgumentType]


def test_series_differ_in_marker_and_line_as_well_as_colour():
    assert len(set(style.MARKERS)) == len(set(style.LINES)) == len(set(PALETTE.values())) == 7


def test_style_ends_with_its_context_even_after_an_error():
    before = mpl.rcParams["font.size"]
    with pytest.raises(ZeroDivisionError), paper_style():
        raise ZeroDivisionError
    assert mpl.rcParams["font.size"] == before


def test_save_figure_writes_pdf_and_png_with_those_bytes(tmp_path):
    fig = drawn()
    pdf, png = style.save_figure(fig, tmp_path / "fig_1.5x")
    assert (pdf.name, png.name) == ("fig_1.5x.pdf", "fig_1.5x.png")
    assert pdf.read_bytes() == figure_bytes(fig, "pdf")
    assert png.read_bytes() == figure_bytes(fig, "png")
