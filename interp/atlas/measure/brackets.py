"""Closing brackets of the right type: which of the three, where the text closes one.

The answer depends on the last bracket that is still open, however long ago that was. The baseline chooses by the bigram
table, which knows the bracket just before and nothing else: it is nearly always right where that bracket was opened
just before, and near chance elsewhere. Distance counts brackets from the opening one to the closing one (1: adjacent).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.atlas.corpus.brackets import PAIRS, closing_positions
from interp.atlas.measure.forward import batched_logits
from interp.atlas.measure.ngrams import NGrams, contexts, probabilities
from interp.atlas.measure.rows import share_row
from interp.errors import InvalidInput
from interp.tokens import Tokens, tokenize

if TYPE_CHECKING:
    from interp.atlas.corpus.text import Text
    from interp.models import Model

TYPES = tuple(PAIRS.values())
DISTANCES = ((1, 1), (3, 5), (7, 13), (15, 10**6))


@dataclass(frozen=True)
class Closings:
    """Every closing bracket of some texts."""

    row: np.ndarray
    """int64 [n]: which text."""
    place: np.ndarray
    """int64 [n]: which token of it."""
    kind: np.ndarray
    """int64 [n]: 0, 1, 2 in the order of `TYPES`."""
    depth: np.ndarray
    """int64 [n]: brackets open before it closes (1: the outermost)."""
    distance: np.ndarray
    """int64 [n]: brackets from its opening one."""
    ids: np.ndarray
    """int64 [3]: token id of each closing bracket."""


def find_closings(tokens: Tokens, texts: Sequence[Text]) -> Closings:
    """Return the closing brackets of tokenised texts of brackets; those beyond a cut are left out.

    Raises:
        InvalidInput: a closing bracket that is no token of its own, or has several ids, or a type that never closes.
    """
    assert tokens.offsets is not None
    found, ids = [], np.full(len(TYPES), -1)
    for row, text in enumerate(texts):
        ends = {int(end): j for j, (start, end) in enumerate(tokens.offsets[row].tolist()) if end > start}
        for closing in closing_positions(text):
            place, kind = ends.get(closing.end), TYPES.index(closing.right)
            if place is None and tokens.truncated[row]:
                continue
            alone = place is not None and not text.text[int(tokens.offsets[row, place, 0]) : closing.start].strip()
            if not alone or ids[kind] not in (-1, tokens.ids[row, place]):
                raise InvalidInput(f"the bracket at character {closing.start} of {text.text[:60]!r} is no token alone.")
            ids[kind] = tokens.ids[row, place]
            found.append((row, place, kind, closing.depth, closing.distance))
    if (ids < 0).any():
        raise InvalidInput(f"the texts do not close brackets of all types, {' '.join(TYPES)}; give more of them.")
    columns = np.array(found, dtype=np.int64).T
    return Closings(*columns, ids=ids)


def chosen_by_model(model: Model, tokens: Tokens, closings: Closings) -> np.ndarray:
    """Return which of the three closing brackets has the largest logit where each closes, int64 [n]."""
    out = np.full(len(closings.row), -1)
    for rows, logits in batched_logits(model, tokens.ids, tokens.mask):
        inside = {int(row): i for i, row in enumerate(rows)}
        here = np.flatnonzero(np.isin(closings.row, rows))
        batch = np.array([inside[row] for row in closings.row[here].tolist()], dtype=np.int64)
        three = logits[:, :, closings.ids].double().cpu().numpy()
        out[here] = three[batch, closings.place[here] - 1].argmax(axis=-1)
    return out


def chosen_by_bigrams(ngrams: NGrams, tokens: Tokens, closings: Closings) -> np.ndarray:
    """Return which of the three closing brackets the bigram table finds likeliest where each closes, int64 [n]."""
    second, before, _ = (x[closings.row, closings.place - 1] for x in contexts(tokens.ids))
    law = [probabilities(ngrams, second, before, np.full_like(before, token))[1] for token in closings.ids]
    return np.argmax(law, axis=0)


def bracket_rows(model: Model, twin: Model, texts: Sequence[Text], ngrams: NGrams) -> list[dict[str, Any]]:
    """Return the rows of the card: closing brackets of the right type among three, overall, by depth and by distance.

    Intervals take the brackets of one text together; chance is 1/3.

    Raises:
        InvalidInput: closing brackets that are not tokens of their own, or not of all three types.
    """
    tokens = tokenize(model, [text.text for text in texts], max_length=model.n_ctx)
    at = find_closings(tokens, texts)
    right, random = (chosen_by_model(m, tokens, at) == at.kind for m in (model, twin))
    table = chosen_by_bigrams(ngrams, tokens, at) == at.kind
    groups = {"all": np.ones(len(right), dtype=bool)}
    groups |= {f"depth {d}": at.depth == d for d in np.unique(at.depth)}
    for low, high in DISTANCES:
        name = f"{low}" if low == high else f"{low} to {high}" if high < 10**6 else f"{low} or more"
        groups[f"distance {name}"] = (low <= at.distance) & (at.distance <= high)
    return [
        share_row(
            "closing bracket of the right type", right[kept], group=group, units=at.row[kept], random=random[kept],
            baseline=table[kept], baseline_name="bigrams",
        )
        for group, kept in groups.items()
        if kept.any()
    ]  # fmt: skip
