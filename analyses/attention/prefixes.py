"""How long a match a head needs before it looks at what came next the last time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.attention.heads import attention_at, score_table
from analyses.attention.token_rows import TokenRows, bos_column, ordinary_ids
from interp.errors import InvalidInput

if TYPE_CHECKING:
    from interp.models import Model

LENGTHS = tuple(range(1, 10))
_GAP = 4  # tokens between the two, so that a head that looks a step or two back does not pass


def prefix_length_curve(
    model: Model,
    *,
    seed: int,
    heads: Sequence[tuple[int, int]] | None = None,
    lengths: Sequence[int] = LENGTHS,
    n_rows: int = 64,
    length: int = 64,
    n_boot: int = 500,
) -> pd.DataFrame:
    """Return the attention of heads to the token after a prefix that stood before, by the length of the prefix.

    Rows are different random tokens, of which n from a place a1 on are copied to a later place a2; both places are
    random. The score is A[a2 + n - 1, a1 + n]: the last token of the copy looks at what followed the first. A head of
    long-prefix induction needs n > 1, one of short-prefix induction does not.

    Args:
        heads: (layer, head); default all.

    Returns:
        One row a head and length: layer, head, prefix, value, ci_low, ci_high (95 %, over rows), null_mean (the same
        places without the copy), n50 (shortest prefix that reaches half of the head's largest value, NaN where no
        value is twice its null), n (rows), seed, status.

    Raises:
        InvalidInput: lengths that are not from 1 or do not fit into the rows; a head that is not there.
    """
    pool = ordinary_ids(model)
    length = min(length, model.n_ctx, len(pool) + 1)
    if not lengths or min(lengths) < 1 or 2 * max(lengths) + _GAP >= length:
        raise InvalidInput(
            f"prefixes are from 1 to {(length - _GAP - 1) // 2} tokens in rows of {length}; got {lengths}."
        )
    chosen = _checked(model, heads)
    parts = []
    for n in lengths:
        copied, plain, places = _rows(model, pool, n, n_rows, length, np.random.default_rng([seed, n]))
        found = attention_at(model, copied, {"prefix": places})["prefix"]
        control = attention_at(model, plain, {"prefix": places})["prefix"]
        table = score_table("prefix", found, seed=seed, n_boot=n_boot).drop(columns="score")
        parts.append(table.assign(prefix=n, null_mean=control.mean(axis=0).ravel(), n=n_rows, seed=seed))
    table: Any = pd.concat(parts, ignore_index=True)
    if chosen is not None:
        kept = [pair in chosen for pair in zip(table["layer"], table["head"], strict=True)]
        table = table[kept]
    table = table.sort_values(["layer", "head", "prefix"], ignore_index=True)
    halves = {pair: _half(part) for pair, part in table.groupby(["layer", "head"])}
    table["n50"] = [halves[pair] for pair in zip(table["layer"], table["head"], strict=True)]
    columns = ["layer", "head", "prefix", "value", "ci_low", "ci_high", "null_mean", "n50", "n", "seed", "status"]
    return table[columns]


def _rows(
    model: Model, pool: np.ndarray, n: int, n_rows: int, length: int, rng: np.random.Generator
) -> tuple[TokenRows, TokenRows, np.ndarray]:
    """Return rows with the copy, the same without it, and the cells that are read, bool [row, query, source]."""
    drawn = np.stack([rng.permutation(pool)[: length - 1] for _ in range(n_rows)])
    plain = np.column_stack([bos_column(model, drawn), drawn])
    first = rng.integers(1, length - 2 * n - _GAP, size=n_rows)
    second = np.array([rng.integers(a + n + _GAP, length - n + 1) for a in first])
    copied, places = plain.copy(), np.zeros((n_rows, length, length), dtype=bool)
    for i, (a, b) in enumerate(zip(first, second, strict=True)):
        copied[i, b : b + n] = plain[i, a : a + n]
        places[i, b + n - 1, a + n] = True
    mask = np.ones_like(plain, dtype=bool)
    special = np.arange(length) == np.zeros((n_rows, 1))
    word = np.broadcast_to(np.arange(length), plain.shape)
    return TokenRows(copied, mask, special, word), TokenRows(plain, mask, special, word), places


def _half(curve: pd.DataFrame) -> float:
    value = curve["value"].to_numpy()
    if value.max() < 2 * curve["null_mean"].max():
        return float("nan")
    return float(curve["prefix"].to_numpy()[np.argmax(value >= value.max() / 2)])


def _checked(model: Model, heads: Sequence[tuple[int, int]] | None) -> set[tuple[int, int]] | None:
    if heads is None:
        return None
    wrong = [h for h in heads if not (0 <= h[0] < model.n_layers and 0 <= h[1] < model.n_heads)]
    if wrong:
        raise InvalidInput(
            f"heads are (layer, head) below ({model.n_layers}, {model.n_heads}) in {model.name}; got {wrong[0]}."
        )
    return {(int(a), int(b)) for a, b in heads}
