"""Pairs of prompts that differ in one name and in their answer: the indirect object, clean and corrupted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from interp.errors import InvalidInput
from interp.tokens import find_tokenizer, tokenize

if TYPE_CHECKING:
    from interp.models import Model

ORDERS = ("ABBA", "BABA")


@dataclass(frozen=True)
class PromptPair:
    """Two prompts of as many tokens, the answer of the first, and that of the second."""

    clean: str
    corrupt: str
    answer: str
    other: str
    kind: str = ""


@dataclass(frozen=True, eq=False)
class EncodedPairs:
    """Pairs as ids, right padded, int64 [pair, pos]."""

    clean: np.ndarray
    corrupt: np.ndarray
    mask: np.ndarray
    last: np.ndarray
    """int64 [pair]: position of the last token."""
    answer: np.ndarray
    """int64 [pair]: id of the answer."""
    other: np.ndarray
    changed: np.ndarray
    """int64 [pair]: first position that differs."""
    kinds: np.ndarray

    def __len__(self) -> int:
        return len(self.clean)


def indirect_object_pairs(n: int, *, seed: int) -> list[PromptPair]:
    """Return pairs of the task of the bundled model, in templates of its training text, both orders in turn.

    "When Anna and Ben went to the market, Ben gave the book to" (Anna) becomes "... Anna gave the book to" (Ben):
    only the second mention of the giver differs. Names may meet in the training text.
    """
    from interp.atlas.corpus import ioi

    rng = np.random.default_rng(seed)
    out = []
    for i in range(n):
        text = ioi.sample(rng, order=ORDERS[i % 2])
        start, end, giver = text.people[2]
        receiver, prompt = text.labels["object"], text.text[: text.answer[0] if text.answer else None]
        corrupt = prompt[:start] + receiver + prompt[end:]
        out.append(PromptPair(prompt, corrupt, f" {receiver}", f" {giver}", text.labels["order"]))
    return out


def encode_pairs(model: Model, pairs: Sequence[PromptPair]) -> tuple[EncodedPairs, int]:
    """Return the pairs whose prompts have as many tokens and whose answers begin differently, and how many have not.

    Raises:
        InvalidInput: fewer than 4 pairs are left.
    """
    tokenizer = find_tokenizer(model)
    clean, corrupt = (tokenize(model, [getattr(p, name) for p in pairs]) for name in ("clean", "corrupt"))
    first = np.array(
        [[tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in (p.answer, p.other)] for p in pairs]
    )
    same = (clean.lengths == corrupt.lengths) & (first[:, 0] != first[:, 1])
    keep = np.flatnonzero(same)
    if len(keep) < 4:
        raise InvalidInput(f"{len(keep)} of {len(pairs)} pairs have as many tokens and two answers; at least 4 needed.")
    width = int(clean.lengths[keep].max())
    a, b = clean.ids[keep, :width], corrupt.ids[keep, :width]
    kinds = np.array([p.kind for p in pairs], dtype=object)[keep]
    found = EncodedPairs(
        a, b, clean.mask[keep, :width], clean.lengths[keep] - 1, first[keep, 0], first[keep, 1],
        (a != b).argmax(axis=1), kinds,
    )  # fmt: skip
    return found, len(pairs) - len(keep)
