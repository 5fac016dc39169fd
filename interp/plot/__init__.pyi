from .grid import map_grid as map_grid
from .lisa import plot_lisa as plot_lisa
from .maps import plot_map as plot_map
from .numbers import explain_status as explain_status, format_number as format_number, format_p as format_p
from .panels import (
    Curve as Curve,
    layer_panel as layer_panel,
    line_panel as line_panel,
    moran_scatter as moran_scatter,
    null_panel as null_panel,
    ranked_panel as ranked_panel,
)
from .report import (
    Headline as Headline,
    Link as Link,
    Passage as Passage,
    ReportFigure as ReportFigure,
    Section as Section,
    render_report as render_report,
    report_figure as report_figure,
)
from .style import (
    figure as figure,
    figure_bytes as figure_bytes,
    paper_style as paper_style,
    save_figure as save_figure,
)
from .tables import html_table as html_table
