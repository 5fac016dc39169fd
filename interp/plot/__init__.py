"""Figures, offline maps and the one-file report; names load their module on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.plot.grid import map_grid
    from interp.plot.lisa import plot_lisa
    from interp.plot.maps import plot_map
    from interp.plot.numbers import explain_status, format_number, format_p
    from interp.plot.panels import Curve, layer_panel, line_panel, moran_scatter, null_panel, ranked_panel
    from interp.plot.report import Headline, ReportFigure, Section, render_report, report_figure
    from interp.plot.style import figure, figure_bytes, paper_style, save_figure
    from interp.plot.tables import html_table

_HOME = {
    "grid": ("map_grid",),
    "lisa": ("plot_lisa",),
    "maps": ("plot_map",),
    "numbers": ("explain_status", "format_number", "format_p"),
    "panels": ("Curve", "layer_panel", "line_panel", "moran_scatter", "null_panel", "ranked_panel"),
    "report": ("Headline", "ReportFigure", "Section", "render_report", "report_figure"),
    "style": ("figure", "figure_bytes", "paper_style", "save_figure"),
    "tables": ("html_table",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Curve",
    "Headline",
    "ReportFigure",
    "Section",
    "explain_status",
    "figure",
    "figure_bytes",
    "format_number",
    "format_p",
    "html_table",
    "layer_panel",
    "line_panel",
    "map_grid",
    "moran_scatter",
    "null_panel",
    "paper_style",
    "plot_lisa",
    "plot_map",
    "ranked_panel",
    "render_report",
    "report_figure",
    "save_figure",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
