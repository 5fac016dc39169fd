"""Sentence patterns with slots: "{A} went to the {spot}." with words for the slots."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from interp.atlas.corpus.text import Text


@cache
def parts(pattern: str) -> tuple[str, ...]:
    """Return the pattern cut at its slots: plain text at even places, names of slots at odd ones."""
    return tuple(re.split(r"\{(\w+)\}", pattern))


def slots(pattern: str) -> frozenset[str]:
    """Return the names of the slots of a pattern."""
    return frozenset(parts(pattern)[1::2])


def fill(text: Text, pattern: str, words: Mapping[str, str]) -> Text:
    """Append a pattern to a text; a slot in capitals is a person, whose place the text remembers.

    Raises:
        KeyError: a slot has no word.
    """
    for i, part in enumerate(parts(pattern)):
        if i % 2 == 0:
            text.add(part)
        elif part.isupper():
            text.name(words[part])
        else:
            text.add(words[part])
    return text
