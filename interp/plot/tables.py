"""A table of tests as accessible HTML: numbers by one rule, a missing p replaced by the reason for it.

Every cell is escaped; the exact value of a rounded number is in its `title`.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from interp.errors import InvalidInput
from interp.plot.numbers import MISSING, explain_status, format_number, format_p, is_missing

# Numbers that name something are written as they are: feature 4312, not 4,312.
_ID_NAME = re.compile(r"^(feature|unit|latent|neuron|head|layer|seed|year|.*_(id|seed))$")
_P_NAME = re.compile(r"^[pq](_.*)?$|.*_[pq]$")


def html_table(frame: pd.DataFrame, *, caption: str, table_id: str, max_rows: int = 50) -> Markup:
    """Render the first `max_rows` rows as an HTML table with a caption, column and row headers.

    A p- or q-value is written "<.001" style; a missing number in a row whose `status` is not "ok" shows the status
    and explains it in its title. Rows that are left out are counted in the caption.

    Args:
        frame: the table; an index with a name becomes its first column.
        caption: what the table holds, in a sentence.
        table_id: id of the element, unique in its page: a letter, then letters, digits, "-", "_" or ".".

    Raises:
        InvalidInput: an id that is no id, or a column named p or q with a value outside [0, 1].
    """
    if not re.fullmatch(r"[A-Za-z][\w.-]*", table_id):
        raise InvalidInput(f"table_id={table_id!r} is no id: a letter, then letters, digits, '-', '_' or '.'.")
    shown = flat(frame).head(max_rows)
    names = [str(c) for c in shown.columns]
    numeric = [_is_numeric(shown.iloc[:, j]) for j in range(len(names))]
    is_p = [numeric[j] and _holds_p(name, shown.iloc[:, j]) for j, name in enumerate(names)]
    head = Markup("").join(
        Markup('<th scope="col"{}>{}</th>').format(Markup(' class="num"') if numeric[j] else "", name)
        for j, name in enumerate(names)
    )
    statuses = shown["status"].tolist() if "status" in names else [None] * len(shown)
    columns = [shown.iloc[:, j].tolist() for j in range(len(names))]
    body = Markup("\n").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(
                _cell(column[i], names[j], statuses[i], first=j == 0, numeric=numeric[j], is_p=is_p[j])
                for j, column in enumerate(columns)
            )
        )
        for i in range(len(shown))
    )
    return Markup(
        '<table id="{}">\n<caption>{}.{}</caption>\n<thead><tr>{}</tr></thead>\n<tbody>\n{}\n</tbody>\n</table>'
    ).format(table_id, caption.rstrip(". "), _cut_note(len(shown), len(frame)), head, body)


def flat(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table with a named index as ordinary first columns (an unnamed row number is dropped)."""
    named = any(name is not None for name in frame.index.names)
    if named or not isinstance(frame.index, pd.RangeIndex):
        return frame.reset_index()
    return frame


def status_counts(frame: pd.DataFrame) -> dict[str, int]:
    """Return how many rows carry each status, most frequent first; empty where there is no such column."""
    if "status" not in frame.columns:
        return {}
    return dict(Counter("none recorded" if is_missing(s) else str(s) for s in frame["status"].tolist()).most_common())


def _is_numeric(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _holds_p(name: str, column: pd.Series) -> bool:
    """Return whether a column holds p- or q-values; other names that merely look like it may hold any number."""
    if not _P_NAME.match(name):
        return False
    values = column.to_numpy(np.float64, na_value=np.nan)
    values = values[~np.isnan(values)]
    return name in ("p", "q") or bool(((values >= 0) & (values <= 1)).all())


_LONG = 24  # characters of text that get a column of their own width


def _cell(value: Any, name: str, status: Any, *, first: bool, numeric: bool, is_p: bool) -> Markup:
    tag = Markup('th scope="row"') if first else Markup("td")
    end = Markup("th") if first else Markup("td")
    if name == "status":
        return Markup('<{} title="{}">{}</{}>').format(tag, explain_status(value), _status_text(value), end)
    if not numeric:
        text = MISSING if is_missing(value) else format_number(value) if isinstance(value, bool) else str(value)
        wide = Markup(' class="long"') if len(text) > _LONG else Markup("")
        return Markup("<{}{}>{}</{}>").format(tag, wide, text, end)
    if is_missing(value):
        return Markup('<{} class="num why"{}</{}>').format(tag, _reason(status), end)
    text = format_p(value) if is_p else str(value) if _is_name(name, value) else format_number(value)
    exact = repr(float(value)) if isinstance(value, float) else str(value)
    title = Markup("") if text == exact else Markup(' title="{}"').format(exact)
    return Markup('<{} class="num"{}>{}</{}>').format(tag, title, text, end)


def _is_name(name: str, value: Any) -> bool:
    return isinstance(value, int) and _ID_NAME.match(name) is not None


def _reason(status: Any) -> Markup:
    if is_missing(status) or str(status) == "ok":
        return Markup(' title="{}">{}').format("no value and no reason was recorded", MISSING)
    return Markup(' title="{}">{}').format(explain_status(status), _status_text(status))


def _status_text(status: Any) -> str:
    return "none recorded" if is_missing(status) else str(status).replace("_", " ")


def _cut_note(shown: int, total: int) -> Markup:
    if shown == total:
        return Markup(' <span class="rows">{} rows.</span>').format(f"{total:,}")
    return Markup(' <span class="rows">First {} of {} rows.</span>').format(f"{shown:,}", f"{total:,}")
