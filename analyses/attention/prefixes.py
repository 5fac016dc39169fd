"""How long a match a head needs before it looks at what came next the last time, and before it says so.

Reference: Kissane et al. (2024), long- and short-prefix induction: heads 5.1 and 5.5 of GPT-2 small.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from analyses.attention.heads import score_table
from analyses.attention.reading import require_attention
from analyses.attention.token_rows import TokenRows, bos_column, ordinary_ids
from interp.errors import InvalidInput, ModelMismatch
from interp.linear_parts import final_scale, output_map, unembedding_directions
from interp.sites import Site
from interp.upstream import read_upstream

if TYPE_CHECKING:
    from interp.models import Model

LENGTHS = tuple(range(1, 10))
_BATCH = 32
_COLUMNS = (
    "layer", "head", "prefix", "value", "ci_low", "ci_high", "null_mean", "cut", "cut_ratio", "cut_low", "cut_high",
    "logit", "logit_low", "logit_high", "logit_null", "n50", "n", "seed", "status",
)  # fmt: skip
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
    long-prefix induction needs n > 1, one of short-prefix induction does not. Cut: the token at a1 + n - 2 is replaced,
    so that one token of the match is left; the ratio of attention tells the two apart at any one length.

    Args:
        heads: (layer, head); default all.

    Returns:
        One row a head and length: layer, head, prefix, value, ci_low, ci_high (95 %, over rows), null_mean (the same
        places without the copy), cut (attention with the prefix cut to one token; NaN for n = 1), cut_ratio with
        cut_low, cut_high (cut / value, of sums over rows), logit (what the head adds directly to the logit of the token
        at a1 + n, less the mean over tokens, the final norm's scale held; NaN behind a norm after attention) with
        logit_low, logit_high, logit_null (without the copy), n50 (shortest prefix that reaches half of the head's
        largest value, NaN where no value is twice its null), n (rows), seed, status.

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
    parts = [_at_length(model, _copies(model, pool, n, n_rows, length, seed), n, seed, n_boot) for n in lengths]
    table: Any = pd.concat(parts, ignore_index=True).assign(n=n_rows, seed=seed)
    if chosen is not None:
        kept = [pair in chosen for pair in zip(table["layer"], table["head"], strict=True)]
        table = table[kept]
    table = table.sort_values(["layer", "head", "prefix"], ignore_index=True)
    halves = {pair: _half(part) for pair, part in table.groupby(["layer", "head"])}
    table["n50"] = [halves[pair] for pair in zip(table["layer"], table["head"], strict=True)]
    return table[list(_COLUMNS)]


class _Copies(NamedTuple):
    """Rows with a copied prefix, without it, and with it cut to one token; and the cell that is read in each."""

    copied: TokenRows
    plain: TokenRows
    cut: TokenRows
    query: np.ndarray
    source: np.ndarray


def _at_length(model: Model, rows: _Copies, n: int, seed: int, n_boot: int) -> pd.DataFrame:
    cells = rows.query, rows.source, rows.copied.ids[np.arange(len(rows.query)), rows.source]
    (seen, said), (plain, unsaid) = (read_cells(model, part, *cells) for part in (rows.copied, rows.plain))
    cut = read_cells(model, rows.cut, *cells)[0] if n > 1 else np.full_like(seen, np.nan)
    table = score_table("prefix", seen, seed=seed, n_boot=n_boot).drop(columns="score")
    logit = score_table("logit", said, seed=seed, n_boot=n_boot)
    ratio = ratio_interval(cut, seen, seed=seed, n_boot=n_boot)
    return table.assign(
        prefix=n, null_mean=plain.mean(axis=0).ravel(), cut=cut.mean(axis=0).ravel(), **ratio,
        logit=logit["value"], logit_low=logit["ci_low"], logit_high=logit["ci_high"],
        logit_null=unsaid.mean(axis=0).ravel(),
    )  # fmt: skip


def ratio_interval(top: np.ndarray, bottom: np.ndarray, *, seed: int, n_boot: int) -> dict[str, np.ndarray]:
    """Return cut_ratio, cut_low, cut_high of sums over samples [sample, layer, head], with a bootstrap over them."""
    n = len(top)
    above, below = top.reshape(n, -1), bottom.reshape(n, -1)

    def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.divide(a, b, out=np.full(np.shape(a), np.nan), where=b > 0)

    low = high = np.full(above.shape[1], np.nan)
    if n_boot and n > 1:
        weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_boot).astype(np.float64)
        low, high = np.percentile(ratio(weights @ above, weights @ below), [2.5, 97.5], axis=0)
    return {"cut_ratio": ratio(above.sum(axis=0), below.sum(axis=0)), "cut_low": low, "cut_high": high}


@torch.no_grad()
def read_cells(
    model: Model, rows: TokenRows, query: np.ndarray, source: np.ndarray, token: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return of each row A[query, source], and what each head adds to the logit of `token` at the query.

    Returns:
        Two float64 [row, layer, head]; logits are NaN of a layer with a norm after attention.
    """
    layers, last = range(model.n_layers), Site("resid_post", model.n_layers - 1)
    require_attention(model, list(layers))
    U, maps = unembedding_directions(model), {}
    seen = np.zeros((len(rows), model.n_layers, model.n_heads))
    said = np.full_like(seen, np.nan)
    sites = [Site(name, layer) for layer in layers for name in ("pattern", "z", "attn_out")]
    for start in range(0, len(rows), _BATCH):
        at = slice(start, start + _BATCH)
        part = rows.part(at)
        found = read_upstream(model, part.ids, part.mask, [*sites, last])
        row, q, s, t = (
            torch.from_numpy(x).to(U.device) for x in (np.arange(len(part)), query[at], source[at], token[at])
        )
        reader = U[:, t].T * final_scale(model, found[last][row, q])[:, None]
        for layer in layers:
            seen[at, layer] = found[Site("pattern", layer)][row, :, q, s].double().cpu().numpy()
            z, added = found[Site("z", layer)].flatten(2)[row, q], found[Site("attn_out", layer)][row, q]
            if layer not in maps:
                maps[layer] = _map_or_none(model, layer, z, added)
            if maps[layer] is not None:
                parts = (reader @ maps[layer].T * z).unflatten(1, (model.n_heads, -1))
                said[at, layer] = parts.sum(dim=2).double().cpu().numpy()
    return seen, said


def _map_or_none(model: Model, layer: int, z: torch.Tensor, added: torch.Tensor) -> torch.Tensor | None:
    try:
        return output_map(model, layer, z, added)[0]
    except ModelMismatch:
        return None


def _copies(model: Model, pool: np.ndarray, n: int, n_rows: int, length: int, seed: int) -> _Copies:
    rng = np.random.default_rng([seed, n])
    copied, plain, places = _rows(model, pool, n, n_rows, length, rng)
    _, query, source = np.nonzero(places)
    ids = copied.ids.copy()
    if n > 1:
        for i, s in enumerate(source):  # the token that stands in no row yet, or any other where all do
            free = np.setdiff1d(pool, ids[i])
            ids[i, s - 2] = rng.choice(free if len(free) else np.setdiff1d(pool, ids[i, s - 2]))
    return _Copies(copied, plain, copied.with_ids(ids), query, source)


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
