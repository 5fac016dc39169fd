"""Rows of tokens: texts of the user, and random repeats beside controls that repeat nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InvalidInput
from interp.tokens import encode, find_tokenizer, special_ids

if TYPE_CHECKING:
    from interp.models import Model

_MARKS = ("Ġ", "▁", " ")  # how tokenizers write the space before a word


@dataclass(frozen=True, eq=False)
class TokenRows:
    """Right-padded rows of tokens, each [row, pos]."""

    ids: np.ndarray
    """int64."""
    mask: np.ndarray
    """bool: a token, not padding."""
    special: np.ndarray
    """bool: BOS, EOS or padding."""
    word: np.ndarray
    """int64: number of the word in the row that a token is a piece of."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def content(self) -> np.ndarray:
        """bool [row, pos]: neither special nor padding."""
        return self.mask & ~self.special

    def part(self, chosen: Any) -> TokenRows:
        """Return some of the rows (a slice or indices), cut to the longest of them."""
        width = int(self.mask[chosen].sum(axis=1).max(initial=1))
        return TokenRows(*(x[chosen][:, :width] for x in (self.ids, self.mask, self.special, self.word)))

    def with_ids(self, ids: np.ndarray) -> TokenRows:
        """Return rows of the same shape and specials with other tokens."""
        return TokenRows(ids, self.mask, self.special, self.word)


def token_rows(
    model: Model, rows: Sequence[Any] | TokenRows, *, bos: str | None = None, max_length: int | None = None
) -> TokenRows:
    """Return texts, or arrays of ids that are used as they are, as `TokenRows`.

    Raises:
        InvalidInput: no rows, rows that are neither, or ids that the model has not.
    """
    from interp.batches import packed

    if isinstance(rows, TokenRows):
        return rows
    if len(rows) == 0:
        raise InvalidInput("no rows were given; give texts, or arrays of token ids.")
    given = list(rows)
    encoded = encode(model, given, bos=bos, max_length=max_length) if isinstance(given[0], str) else packed(
        model, given, False)  # fmt: skip
    if encoded.ids.max(initial=0) >= model.d_vocab:
        raise InvalidInput(f"token id {encoded.ids.max()} is beyond the {model.d_vocab} embeddings of {model.name}.")
    every = np.arange(len(encoded))
    ids, mask = encoded.pad(encoded.ids, every, 0), encoded.mask(every)
    special = encoded.pad(encoded.special, every, True)
    begins = word_starts(model)
    word = np.cumsum(begins[ids] | special, axis=1)
    return TokenRows(ids, mask, special, word)


def word_starts(model: Model) -> np.ndarray:
    """Return bool [d_vocab]: the token begins a word. All of them, for a tokenizer that does not mark its words."""
    if model.tokenizer is None:
        return np.ones(model.d_vocab, dtype=bool)
    tokens = find_tokenizer(model).convert_ids_to_tokens(list(range(min(model.d_vocab, len(model.tokenizer)))))
    out = np.ones(model.d_vocab, dtype=bool)
    if any(str(token).startswith(_MARKS) for token in tokens):
        out[: len(tokens)] = [str(t).startswith(_MARKS) or not str(t)[:1].isalnum() for t in tokens]
    return out


def ordinary_ids(model: Model) -> np.ndarray:
    """Return the ids that stand for text, int64."""
    specials = special_ids(model.tokenizer) if model.tokenizer is not None else frozenset()
    n = min(model.d_vocab, len(model.tokenizer)) if model.tokenizer is not None else model.d_vocab
    return np.setdiff1d(np.arange(n), list(specials))


@dataclass(frozen=True, eq=False)
class Repeats:
    """Random rows in which one segment comes again and again, and controls that repeat nothing."""

    repeated: TokenRows
    """BOS, some random tokens, then a random segment over and over."""
    fresh: TokenRows
    """The same up to the end of the first segment, then other tokens, each once."""
    start: np.ndarray
    """int64 [row]: where the segment begins."""
    period: np.ndarray
    """int64 [row]: tokens of the segment."""


def random_repeats(model: Model, n: int, *, length: int, seed: int) -> Repeats:
    """Return `n` rows of `length` tokens: random period and offset, so that no head can pass by counting positions.

    Raises:
        InvalidInput: rows would be shorter than 16 tokens: a short context, or too few tokens to draw each once.
    """
    pool = ordinary_ids(model)
    length = min(length, model.n_ctx, len(pool) + 1)
    if length < 16:
        raise InvalidInput(f"repeats need rows of at least 16 tokens; {model.name} gives {length}.")
    rng = np.random.default_rng(seed)
    body = length - 1
    period = rng.integers(body // 4, body // 2, size=n)
    start = 1 + np.array([rng.integers(0, body - 2 * p + 1) for p in period])
    drawn = np.stack([rng.permutation(pool)[:body] for _ in range(n)])
    fresh = np.column_stack([bos_column(model, drawn), drawn])
    repeated = fresh.copy()
    for row, at, p in zip(repeated, start, period, strict=True):
        row[at:] = np.resize(row[at : at + p], length - at)
    mask = np.ones_like(fresh, dtype=bool)
    special = np.zeros_like(mask)
    special[:, 0] = True  # without a BOS the first token has no context, and is left out all the same
    word = np.broadcast_to(np.arange(length), fresh.shape)
    return Repeats(TokenRows(repeated, mask, special, word), TokenRows(fresh, mask, special, word), start, period)


def bos_column(model: Model, drawn: np.ndarray) -> np.ndarray:
    """Return the first token of each row: BOS under the policy of the model, else a random one."""
    bos = getattr(model.tokenizer, "bos_token_id", None)
    if bos is not None and model.bos in ("always", "tokenizer"):
        return np.full(len(drawn), bos)
    return np.roll(drawn[:, 0], 1)


def joined(first: TokenRows, second: TokenRows) -> TokenRows:
    """Return the rows of both, padded to one length."""
    width = max(first.ids.shape[1], second.ids.shape[1])
    fills = {"ids": 0, "mask": False, "special": True, "word": 0}

    def wide(rows: TokenRows, name: str) -> np.ndarray:
        x = getattr(rows, name)
        return np.pad(x, ((0, 0), (0, width - x.shape[1])), constant_values=fills[name])

    return TokenRows(*(np.concatenate([wide(first, name), wide(second, name)]) for name in fills))
