"""Does a head of induction need more than one token of the match? Cut the match in texts, and see if it still looks.

On text a head may attend to what followed an earlier copy for many reasons. With the token two places before the source
replaced, one token of the match is left: a head of long-prefix induction lets go, one of short-prefix induction holds.
Reference: Kissane et al. (2024): attention of 5.1 in GPT-2 small falls from 0.55 to 0.05, that of 5.5 stays at 0.43.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from analyses.attention.prefixes import read_cells
from analyses.attention.token_rows import TokenRows, ordinary_ids
from interp.errors import InvalidInput

if TYPE_CHECKING:
    from interp.models import Model

LEAST_CELLS = 10
_COLUMNS = (
    "layer", "head", "before", "cut", "ratio", "ci_low", "ci_high", "null", "null_mean", "null_low", "null_high", "n",
    "n_rows", "mean_prefix", "seed", "status",
)  # fmt: skip


def prefix_corruption(
    model: Model,
    rows: TokenRows,
    *,
    seed: int,
    least_attention: float = 0.3,
    max_cells: int = 300,
    n_boot: int = 500,
) -> pd.DataFrame:
    """Return what is left of the attention of every head when the match it follows is cut to one token.

    Cells are pairs of a token q and a source s that followed an earlier copy of the last two tokens or more, of which a
    head is judged on those that it attends to with more than `least_attention`.

    Args:
        rows: texts with repeats. max_cells: drawn at random where there are more.

    Returns:
        One row a head: layer, head, before and cut (mean attention), ratio (cut / before, of sums) with ci_low, ci_high
        (95 %, bootstrap over texts), null ("another token replaced"), null_mean, null_low, null_high (the same ratio
        where the token that is replaced is none of the match), n (cells), n_rows (texts), mean_prefix (tokens of the
        match), seed, status (where a head attends to fewer than ten cells there is no ratio).

    Raises:
        InvalidInput: no text repeats two tokens. ModelMismatch: a layer without a pattern.
    """
    cells = _cells(rows, max_cells, np.random.default_rng([seed, 1]))
    if not len(cells.row):
        raise InvalidInput("no text has two tokens that stood there before, so there is no match to cut.")
    pool, rng = ordinary_ids(model), np.random.default_rng([seed, 2])
    given = rows.part(cells.row)
    at = np.arange(len(cells.row))
    token = given.ids[at, cells.source]
    seen = [
        read_cells(model, part, cells.query, cells.source, token)[0]
        for part in (given, _replaced(given, cells.source - 2, pool, rng), _replaced(given, cells.other, pool, rng))
    ]
    table = [
        _of_head(seen, layer, head, cells, least_attention, n_boot, seed)
        for layer in range(model.n_layers)
        for head in range(model.n_heads)
    ]
    return pd.DataFrame(table).assign(null="another token replaced", seed=seed).loc[:, list(_COLUMNS)]


class _Cells(NamedTuple):
    """int64 [cell]: row, query and source; length of the match; a place that is none of the match, before the query."""

    row: np.ndarray
    query: np.ndarray
    source: np.ndarray
    prefix: np.ndarray
    other: np.ndarray


def _cells(rows: TokenRows, most: int, rng: np.random.Generator) -> _Cells:
    found = []
    for row, (ids, content) in enumerate(zip(rows.ids, rows.content, strict=True)):
        places = np.flatnonzero(content)
        for q in places:
            for s in places[(places <= q) & (places >= 2)]:
                n = match_length(ids, content, int(q), int(s))
                if n >= 2:
                    match = {*range(s - n, s + 1), *range(q - n + 1, q + 1)}
                    free = [x for x in places if x < q and x not in match]
                    if free:
                        found.append((row, q, s, n, int(rng.choice(free))))
    chosen = np.array(found, dtype=np.int64).reshape(-1, 5)
    if len(chosen) > most:
        chosen = chosen[np.sort(rng.choice(len(chosen), size=most, replace=False))]
    return _Cells(*chosen.T)


def match_length(ids: np.ndarray, content: np.ndarray, query: int, source: int) -> int:
    """Return how many tokens up to the query equal those before the source, in a row of text."""
    n = 0
    while source - 1 - n >= 0 and content[source - 1 - n] and ids[source - 1 - n] == ids[query - n] and source <= query:
        n += 1
    return n


def _replaced(rows: TokenRows, place: np.ndarray, pool: np.ndarray, rng: np.random.Generator) -> TokenRows:
    """Return rows with the token at a place of each replaced by one that the row does not hold, where there is one."""
    ids = rows.ids.copy()
    for i, at in enumerate(place):
        free = np.setdiff1d(pool, ids[i])
        ids[i, at] = rng.choice(free if len(free) else np.setdiff1d(pool, ids[i, at]))
    return rows.with_ids(ids)


def _of_head(
    seen: list[np.ndarray], layer: int, head: int, cells: _Cells, least: float, n_boot: int, seed: int
) -> dict[str, object]:
    before, cut, other = (found[:, layer, head] for found in seen)
    on = before > least
    n, texts = int(on.sum()), np.unique(cells.row[on])
    row: dict[str, object] = {
        "layer": layer, "head": head, "n": n, "n_rows": len(texts), "before": before[on].mean() if n else np.nan,
        "cut": cut[on].mean() if n else np.nan, "mean_prefix": cells.prefix[on].mean() if n else np.nan,
    }  # fmt: skip
    names = ("ratio", "ci_low", "ci_high", "null_mean", "null_low", "null_high")
    if n < LEAST_CELLS or len(texts) < 2:
        few = f"attends to {n} cells in {len(texts)} texts, fewer than {LEAST_CELLS} in 2"
        return row | dict.fromkeys(names, np.nan) | {"status": few}
    of_text = np.searchsorted(texts, cells.row[on])
    sums = [np.bincount(of_text, x[on], minlength=len(texts)) for x in (before, cut, other)]
    weights = np.random.default_rng([seed, 3]).multinomial(len(texts), np.full(len(texts), 1 / len(texts)), size=n_boot)
    values = []
    for top in sums[1:]:
        drawn = (weights @ top) / (weights @ sums[0])
        low, high = np.percentile(drawn, [2.5, 97.5]) if n_boot else (np.nan, np.nan)
        values += [top.sum() / sums[0].sum(), low, high]
    return row | dict(zip(names, values, strict=True)) | {"status": "ok"}
