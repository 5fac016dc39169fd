"""Result: what every analysis returns. Tables, where they come from, and how to look at them."""

from __future__ import annotations

import html
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp.errors import CorruptArtifact, InvalidInput, UnknownName
from interp.store import Store, atomic_write_bytes
from interp.store.atomic import make_folders, remove_leftovers, resource_errors, temporary_folder
from interp.store.keys import plain
from interp.store.sealed import replace_folder, require_replaceable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMAT = 1
_INDEX = "result.json"
_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_TABLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_VIEW = re.compile(r"(analyses|interp\.plot)(\.[a-z][a-z0-9_]*)+:[a-z][a-z0-9_]*")
_SHOWN_ROWS = 5


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """The outcome of one analysis.

    Args:
        name: of the analysis, such as "geospatial.moran".
        table: one row a tested thing, with its statistic; what every analysis calls by the same name: `p`, `q`, `n`,
            `status` ("ok", or why there is no p), `null_mean` and `null_sd`, `ci_low` and `ci_high` (95 %), `n_perm`,
            `seed`.
        tables: further tables by name.
        provenance: key, config, versions, seed, hashes of the inputs (see `interp.provenance`).
        view: "analyses.geospatial.view:plot": the function that draws this result, called with it.
        notes: what a reader has to know to read the numbers right, a sentence each.

    Raises:
        InvalidInput: a name or view of another form, provenance that JSON cannot hold, a p or q outside [0, 1], one in
            a row whose status says that there can be none, or one without the columns n and status.
    """

    name: str
    table: pd.DataFrame
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    view: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidInput(f"{self.name!r} cannot name a result; expected lower case, such as 'geospatial.moran'.")
        if self.view is not None:
            _require_view(self.view)
        for name, table in {"table": self.table, **self.tables}.items():
            if not _TABLE_NAME.fullmatch(name) or not isinstance(table, pd.DataFrame):
                raise InvalidInput(
                    f"tables[{name!r}] is a {type(table).__name__}; expected plain names and DataFrames."
                )
            _require_honest(name, table)
        if "table" in self.tables:
            raise InvalidInput("A further table may not be called 'table'; that is the main one.")
        object.__setattr__(self, "provenance", plain(dict(self.provenance), "provenance"))
        object.__setattr__(self, "tables", dict(self.tables))
        object.__setattr__(self, "notes", tuple(self.notes))

    def summary(self) -> str:
        """Return the result in a few lines of text: sizes, states, tests, the smallest p, provenance."""
        lines = [f"{self.name}: {_count(self.table)}"]
        lines += [f"  {name}: {_count(table)}" for name, table in self.tables.items()]
        lines += [f"  {line}" for line in _tests(self.table)]
        lines += [f"  note: {note}" for note in self.notes]
        with pd.option_context("display.width", 120, "display.max_columns", 12):
            lines.append(self._head().to_string(index=not isinstance(self.table.index, pd.RangeIndex)))
        return "\n".join([*lines, *_origin(self.provenance)])

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        lines = [html.escape(line) for line in [*_tests(self.table), *self.notes, *_origin(self.provenance)]]
        title = f"<strong>{html.escape(self.name)}</strong>: {html.escape(_count(self.table))}"
        body = self._head().to_html(max_rows=_SHOWN_ROWS, border=0)  # escapes the cells
        return f"<div><p>{'<br>'.join([title, *lines])}</p>{body}</div>"

    def cite(self) -> list[str]:
        """Return the papers, data and software behind this result, a reference each; found by its name."""
        return importlib.import_module("analyses.citations").cite(self.name)

    def plot(self, **options: Any) -> Figure:
        """Return the figure of this result, drawn by its view.

        Raises:
            InvalidInput: the result has no view.
            UnknownName: the view's module or function does not exist.
        """
        if self.view is None:
            raise InvalidInput(
                f"{self.name} has no view to draw it with. Draw from .table, or give view= when making it."
            )
        return _load_view(self.view)(self, **options)

    def to_html(self, path: str | Path) -> Path:
        """Write one HTML file that needs no network: summary, figure (if there is a view), tables, provenance.

        Raises:
            ResourceExhausted: no space or no permission.
        """
        from interp.plot.report import Headline, Section, render_report, report_figure

        figures = []
        if self.view is not None:
            alt = f"Figure of {self.name}; its numbers are in the table below."
            figures = [report_figure(self.plot(), alt, caption=f"{self.name}.", table=None)]
        section = Section(
            id=self.name.replace(".", "-"),
            title=self.name,
            question=f"What did {self.name} find?",
            headline=Headline(_count(self.table), "; ".join(_tests(self.table)) or "this table holds no test"),
            figures=figures,
            tables={self.name: self.table, **self.tables},
            limits=self.notes,
        )
        page = render_report(self.name, [section], self.provenance, references=self.cite())
        atomic_write_bytes(path, page.encode("utf-8"))
        return Path(path)

    def save(self, folder: str | Path) -> Path:
        """Write the result as a folder, all of it or nothing; an earlier result there is replaced as a whole.

        Raises:
            InvalidInput: the folder holds other files, or a column that parquet would change.
            ResourceExhausted: no space or no permission; an earlier result stays whole.
        """
        target = Path(folder)
        require_replaceable(target, _files_of_result(target))
        with resource_errors(target, None):
            make_folders(target.absolute().parent)
            remove_leftovers(target.absolute().parent)
            with temporary_folder(target) as staged:
                with Store(staged) as store:
                    self._write(store)
                replace_folder(staged, target)
        return target

    @classmethod
    def load(cls, folder: str | Path) -> Result:
        """Return a saved result; every file is checked against its recorded length and sha256.

        Raises:
            InvalidInput: no such folder.
            CorruptArtifact: a file is missing, cut or altered; names it.
        """
        with Store(folder, readonly=True) as store:
            index = _get(store, _INDEX)
            if not isinstance(index, dict) or index.get("format") != FORMAT:
                raise InvalidInput(f"{store.root / _INDEX} is no result of format {FORMAT}.")
            tables = {}
            for name in index["order"]:
                tables[name] = _get(store, f"{name}.parquet")
                if store.entry(f"{name}.parquet").sha256 != index["tables"][name]:
                    raise CorruptArtifact(f"{store.root / name}.parquet belongs to another result than {_INDEX} says.")
        return cls(
            name=index["name"],
            table=tables.pop("table"),
            tables=tables,
            provenance=index["provenance"],
            view=index["view"],
            notes=tuple(index["notes"]),
        )

    def _write(self, store: Store) -> None:
        digests = {
            name: store.put_table(f"{name}.parquet", table).sha256
            for name, table in {"table": self.table, **self.tables}.items()
        }
        about = {"name": self.name, "view": self.view, "notes": list(self.notes), "provenance": self.provenance}
        # canonical JSON sorts names, so the order of the tables is kept apart
        store.put_json(_INDEX, {**about, "format": FORMAT, "tables": digests, "order": list(digests)})

    def _head(self) -> pd.DataFrame:
        column = next((name for name in ("q", "p") if name in self.table.columns), None)
        table = self.table if column is None else self.table.sort_values(column, kind="stable")
        return table.head(_SHOWN_ROWS)


def load_result(folder: str | Path) -> Result:
    """Return the result that was saved in `folder` (see `Result.load`)."""
    return Result.load(folder)


def _get(store: Store, name: str) -> Any:
    try:
        return store.get(name)
    except UnknownName as error:
        raise CorruptArtifact(f"{store.root} holds no whole result: {name} is missing. Compute it again.") from error


def _files_of_result(target: Path) -> set[str]:
    if not (target / _INDEX).is_file():
        return set()
    own = {p.name for p in target.iterdir() if p.name.startswith((".interp-lock", "manifest."))}
    with Store(target, readonly=True) as store:
        return own | set(store.names())


def _require_view(view: str) -> None:
    if not _VIEW.fullmatch(view):
        raise InvalidInput(
            f"{view!r} cannot be a view: expected 'module:function' inside analyses or interp.plot, such as "
            f"'analyses.geospatial.view:plot'. Other modules are not imported, because a result may come from anyone."
        )


def _load_view(view: str) -> Any:
    _require_view(view)
    module_name, _, function_name = view.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise UnknownName(f"The view {view!r} does not exist in this version ({error}). Draw from .table.") from error
    home = str(getattr(function, "__module__", ""))
    if not callable(function) or not home.startswith(("analyses.", "interp.plot")):
        raise InvalidInput(f"The view {view!r} is no function of analyses or interp.plot (it belongs to {home!r}).")
    return function


def _require_honest(name: str, table: pd.DataFrame) -> None:
    """Refuse a p that is no probability, stands beside a reason why there is none, or does not say of how many."""
    lacking = [column for column in ("n", "status") if column not in table.columns]
    if lacking and {"p", "q"} & set(table.columns):
        raise InvalidInput(
            f"{name} has a p without {' and '.join(lacking)}; give each row n, what the test counts, and status: 'ok', "
            "or why there is no p."
        )
    for column in [c for c in ("p", "q") if c in table.columns]:
        values = _numbers(table, column)
        outside = (values < 0) | (values > 1)
        if outside.any():
            raise InvalidInput(f"{name}: {column} is {values[outside][0]} in {outside.sum()} rows; expected 0 to 1.")
        unearned = np.isfinite(values) & (table["status"].astype(str).to_numpy() != "ok")
        if unearned.any():
            row = table.loc[unearned].iloc[0]
            raise InvalidInput(
                f"{name}: {unearned.sum()} rows have a {column} although their status is not 'ok' (first: "
                f"{column}={row[column]}, status={row['status']!r}). Where no test is possible {column} must be NaN."
            )


def _numbers(table: pd.DataFrame, column: str) -> np.ndarray:
    try:
        return table[column].to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"Column {column!r} holds what is no number ({error}); expected probabilities.") from error


def _count(table: pd.DataFrame) -> str:
    rows = f"{len(table):,} row{'' if len(table) == 1 else 's'}"
    if "status" not in table.columns:
        return rows
    counts = table["status"].astype(str).value_counts().sort_index()
    return f"{rows} ({', '.join(f'{n:,} {status}' for status, n in counts.items())})"


def _tests(table: pd.DataFrame) -> list[str]:
    lines = []
    if "p" in table.columns:
        p = _numbers(table, "p")
        line = f"{np.isfinite(p).sum():,} tests"
        if np.isfinite(p).any():
            line += f", smallest p {np.nanmin(p):.3g}, {(p <= 0.05).sum():,} with p <= 0.05 uncorrected"
        if "q" in table.columns:
            line += f", {(_numbers(table, 'q') <= 0.05).sum():,} with q <= 0.05"
        lines.append(line)
    for column in ("n_perm", "seed"):
        if column in table.columns:
            values = sorted({str(v) for v in table[column].dropna()})
            lines.append(f"{column}: {', '.join(values[:5])}{' ...' if len(values) > 5 else ''}")
    return lines


def _origin(provenance: Mapping[str, Any]) -> list[str]:
    parts = [f"key {str(provenance['key'])[:12]}"] if "key" in provenance else []
    parts += [f"seed {provenance['seed']}"] if provenance.get("seed") is not None else []
    found = provenance.get("versions")
    if isinstance(found, dict):
        parts += [f"{name} {found[name]}" for name in ("interp", "torch", "commit") if name in found]
    return [", ".join(parts)] if parts else []
