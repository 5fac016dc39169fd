"""Tokens as a reader can see them: spaces, line breaks, controls and marks that turn the text round are shown."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from interp.tokens import find_tokenizer

if TYPE_CHECKING:
    from interp.models import Model

_SIGNS = {"\n": "↵", "\r": "␍", "\t": "⇥", " ": "␣"}
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}
"""Unicode categories without a picture: controls, formats (bidirectional marks too), surrogates, separators."""


@lru_cache(maxsize=65536)
def visible(text: str, *, spaces: bool = True) -> str:
    """Return a text in which every character has a picture; with spaces=False single spaces stay as they are."""
    if text.isalnum() and text.isascii():
        return text
    shown = "".join(_picture(c) for c in text)
    return shown if spaces else shown.replace("␣", " ")


def token_texts(model: Model, ids: np.ndarray) -> dict[int, str]:
    """Return the text of each id; a piece of a character is given as the tokenizer writes it.

    An id beyond the tokenizer, as models with padded embeddings have them, is "[id]".
    """
    tokenizer, wanted = find_tokenizer(model), [int(i) for i in ids]
    known = [i for i in wanted if i < len(tokenizer)]
    pieces = [str(piece) for piece in tokenizer.convert_ids_to_tokens(known)]
    texts = tokenizer.batch_decode([[i] for i in known], clean_up_tokenization_spaces=False)
    found = {i: f"[{i}]" for i in wanted}
    for i, piece, text in zip(known, pieces, texts, strict=True):
        lost = piece.startswith("▁") and not text.startswith(" ")  # decoders strip the space of a first word
        found[i] = piece if "\ufffd" in text or not text else " " + text if lost else text
    return found


def _picture(c: str) -> str:
    if c in _SIGNS:
        return _SIGNS[c]
    if unicodedata.category(c) not in _HIDDEN:
        return c
    return chr(0x2400 + ord(c)) if ord(c) < 0x20 else f"⟨{ord(c):04X}⟩"
