"""One offline HTML page for a run: pure text in, text out.

A reader should be able to open the page years later, on a telephone, without a network, and see for each answer
the question, the number, the null beside it, the figure, the table behind the figure, and the limits. The page
therefore carries everything inside itself and refers to nothing outside; a content-security policy that names the
one script and the one style by their hashes keeps it so even where an input is hostile.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup
from matplotlib.figure import Figure

from interp.errors import InvalidInput
from interp.plot.budget import PAGE_LIMIT, CsvLink, csv_links, fitting_figures, fitting_rows
from interp.plot.images import fewer_colours, picture
from interp.plot.numbers import explain_status, format_number, p_phrase
from interp.plot.style import figure_bytes
from interp.plot.tables import html_table, status_counts

_TAKEN = ("main", "summary", "references", "provenance")  # ids of the page itself


@dataclass(frozen=True)
class Headline:
    """The answer of a section with its null beside it: `null` says what chance or a control gives for the same."""

    text: str
    null: str
    p: float | None = None
    q: float | None = None
    n: int | None = None

    def evidence(self) -> str:
        """Return p, q and n in one line, those that are given."""
        parts = [p_phrase(name, value) for name, value in (("p", self.p), ("q", self.q)) if value is not None]
        return ", ".join([*parts, f"n = {self.n:,}"] if self.n is not None else parts)


@dataclass(frozen=True)
class ReportFigure:
    """A figure as the bytes of an SVG or PNG file, its text for who cannot see it, its caption and its data."""

    image: bytes
    alt: str
    caption: str
    table: pd.DataFrame | None = None


@dataclass(frozen=True)
class Passage:
    """A text whose tokens are marked: `tokens` are (text, level, note), level 0 (unmarked) to 4 (strongest)."""

    caption: str
    tokens: Sequence[tuple[str, int, str]]

    def __post_init__(self) -> None:
        wrong = [level for _, level, _ in self.tokens if level not in range(5)]
        if wrong:
            raise InvalidInput(f"a token is marked from 0 to 4, not {wrong[0]!r}.")


@dataclass(frozen=True)
class Link:
    """A page beside the report, and what it is called: `href` is a path from the folder of the report."""

    text: str
    href: str

    def __post_init__(self) -> None:
        path, _, anchor = self.href.partition("#")
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*", path) or not re.fullmatch(
            r"[A-Za-z0-9._-]*", anchor
        ):
            raise InvalidInput(
                f"{self.href!r} is no path of a page beside the report, such as latents/z.1.html#latent-3."
            )


@dataclass(frozen=True)
class Section:
    """One question of the report, from question to limits; `tables` maps a caption to its table.

    passages: texts with marked tokens. links: to the dashboards of what it shows.
    """

    id: str
    title: str
    question: str
    headline: Headline
    figures: Sequence[ReportFigure] = ()
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    methods: str | Sequence[str] = ()
    limits: str | Sequence[str] = ()
    links: Sequence[Link] = ()
    passages: Sequence[Passage] = ()


@dataclass(frozen=True)
class _Table:
    """A table of the page; its id holds a dot, which no section id has, so that no two ids can meet."""

    id: str
    caption: str
    frame: pd.DataFrame
    statuses: str


def report_figure(fig: Figure, alt: str, *, caption: str, table: pd.DataFrame | None = None) -> ReportFigure:
    """Turn a figure into a `ReportFigure`: PNG, 200 dpi, 256 colours; a third of what a light plot takes as SVG."""
    return ReportFigure(fewer_colours(figure_bytes(fig, "png", dpi=200)), alt, caption, table)


def render_report(
    title: str,
    sections: Sequence[Section],
    provenance: Mapping[str, Any],
    *,
    summary: str | Sequence[str] | None = None,
    references: Sequence[str] = (),
) -> str:
    """Return the page as text: no network, no time stamp, under 4.5 MB, the same for the same arguments.

    What does not fit is left out and said to be: CSV downloads are cut first, then rows of tables, then
    the largest figures.

    Args:
        title: of the page.
        sections: in reading order.
        provenance: key, config, versions, seeds, input hashes: scalars, lists and mappings of them.
        summary: paragraphs under the title.
        references: what is to be cited, one each.

    Raises:
        InvalidInput: section ids that are no ids or not unique, a figure without alt text or of another format,
            or text alone above 4.5 MB.
    """
    _check_sections(sections)
    tables = _all_tables(sections)
    frames = {table.id: table.frame for table in tables}
    kept = fitting_figures({f"{s.id}.figure.{i}": f.image for s in sections for i, f in enumerate(s.figures, 1)})
    rendered = fitting_rows(
        lambda rows: {t.id: html_table(t.frame, caption=t.caption, table_id=t.id, max_rows=rows) for t in tables}
    )
    page = _fill(title, sections, provenance, summary, references, tables, kept, rendered, {})
    spare = PAGE_LIMIT - len(page.encode()) - 400 * len(frames)
    page = _fill(title, sections, provenance, summary, references, tables, kept, rendered, csv_links(frames, spare))
    size = len(page.encode())
    if size > PAGE_LIMIT:
        raise InvalidInput(
            f"the report's text alone takes {size / 1e6:.1f} MB, above the {PAGE_LIMIT / 1e6:.1f} MB a page may have. "
            "Shorten the provenance or the methods, or write one report per analysis."
        )
    return page


def _fill(
    title: str,
    sections: Sequence[Section],
    provenance: Mapping[str, Any],
    summary: str | Sequence[str] | None,
    references: Sequence[str],
    tables: Sequence[_Table],
    images: Mapping[str, bytes | None],
    rendered: Mapping[str, Markup],
    links: Mapping[str, CsvLink],
) -> str:
    style, script = _asset("report.css"), _asset("report.js")
    return _template().render(
        title=title,
        summary=_paragraphs(summary or ()),
        sections=sections,
        paragraphs=_paragraphs,
        images={name: picture(image) if image else None for name, image in images.items()},
        tables={table.id: table for table in tables},
        rendered=rendered,
        links=links,
        statuses=_glossary(tables),
        references=references,
        provenance=provenance,
        is_mapping=lambda value: isinstance(value, Mapping),
        is_list=lambda value: isinstance(value, (list, tuple)),
        plain=_plain,
        style=Markup(style),
        script=Markup(script),
        style_hash=_csp_hash(style),
        script_hash=_csp_hash(script),
    )


def _check_sections(sections: Sequence[Section]) -> None:
    ids = [section.id for section in sections]
    for name in ids:
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", name) or ids.count(name) > 1 or name in _TAKEN:
            raise InvalidInput(
                f"section id {name!r} is taken or no id: expected lower-case letters, digits, '-' or '_', "
                f"starting with a letter, each once, and none of {', '.join(map(repr, _TAKEN))}."
            )
    for section in sections:
        for i, figure in enumerate(section.figures, 1):
            if not figure.alt.strip():
                raise InvalidInput(f"figure {i} of section {section.id!r} has no alt text: say in words what it shows.")
            picture(figure.image)


def _all_tables(sections: Sequence[Section]) -> list[_Table]:
    found = []
    for number, section in enumerate(sections, 1):
        behind = [
            (f"{section.id}.figure.{i}.data", f"Data of figure {number}.{i}", figure.table)
            for i, figure in enumerate(section.figures, 1)
        ]
        own = [
            (f"{section.id}.table.{i}", caption, table) for i, (caption, table) in enumerate(section.tables.items(), 1)
        ]
        found += [
            _Table(table_id, caption, frame, _status_line(frame)) for table_id, caption, frame in behind + own
            if frame is not None
        ]  # fmt: skip
    return found


def _status_line(frame: pd.DataFrame) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in status_counts(frame).items())


def _glossary(tables: Sequence[_Table]) -> dict[str, str]:
    seen = {name for table in tables for name in status_counts(table.frame)}
    return {name.replace("_", " "): explain_status(name) for name in sorted(seen, key=lambda s: (s != "ok", s))}


def _paragraphs(text: str | Sequence[str]) -> list[str]:
    return [text] if isinstance(text, str) and text else list(text)


def _plain(value: Any) -> str:
    """Write a provenance value exactly: a seed or a hash is never rounded nor grouped."""
    if isinstance(value, float):
        return repr(value)
    return format_number(value) if isinstance(value, bool) else str(value)


def _csp_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _asset(name: str) -> str:
    return files("interp").joinpath("assets", name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_asset("report.html.j2"))
