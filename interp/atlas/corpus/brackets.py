"""Nested brackets of three types: a language whose every probability is known.

A text opens a bracket; then, while some are open, it opens another with probability `p_open` (each type as
likely) and else closes the last one; with none open it ends with probability `p_end` and else opens one. At
`max_depth` it closes; when the brackets still open would fill it up to `max_length`, it closes them all; it
ends where no pair fits any more. Brackets stand apart by spaces, so that each is a token, and so does the
full stop at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

from interp.atlas.corpus.draw import Rng, pick
from interp.atlas.corpus.text import Node, Text

PAIRS = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Process:
    """The probabilities and limits of the language."""

    p_open: float = 0.45
    p_end: float = 0.4
    max_depth: int = 6
    max_length: int = 40
    """Brackets of a text at most, opening and closing ones; even."""


@dataclass(frozen=True)
class Closing:
    """A closing bracket: characters [start, end), the type that is right, and where it was opened."""

    start: int
    end: int
    right: str
    depth: int
    """Brackets open before it closes, itself among them: 1 for an outermost pair."""
    distance: int
    """Brackets from its opener to itself: 1 where it closes at once."""


def p_opens(process: Process, depth: int, length: int) -> float:
    """Return the probability that a bracket opens next, behind `length` brackets of which `depth` are open.

    Else the last one is closed or, with none open, the text ends.
    """
    if length == 0:
        return 1.0
    if depth == process.max_depth or length + depth + 2 > process.max_length:
        return 0.0
    return process.p_open if depth else 1.0 - process.p_end


def document(rng: Rng, *, process: Process = Process()) -> Text:
    """Return one text of the process; `tree` holds the matched pairs in order of opening, of depth 1 and deeper."""
    text, nats, n = Text("brackets"), 0.0, 0
    opened: list[tuple[int, str]] = []
    pairs: list[Node] = []
    while True:
        p = p_opens(process, len(opened), n)
        opens = bool(rng.random() < p)
        nats -= log(p) if opens else log(1.0 - p)
        if not opens and not opened:
            break
        text.add(" " if n else "")
        n += 1
        if opens:
            opened.append((text.length, pick(rng, list(PAIRS))))
            nats += log(len(PAIRS))
            text.add(opened[-1][1])
            continue
        start, bracket = opened.pop()
        text.add(PAIRS[bracket])
        pairs.append(Node(start, text.length, bracket, 0, len(opened) + 1))
    text.add(" .")
    text.tree, text.nats = sorted(pairs, key=lambda node: node.start), nats
    return text


def closing_positions(text: Text) -> list[Closing]:
    """Return every closing bracket of a text of brackets, in order of reading."""
    closings = [
        Closing(node.end - 1, node.end, PAIRS[node.op], node.depth, (node.end - 1 - node.start) // 2)
        for node in text.tree
    ]
    return sorted(closings, key=lambda closing: closing.start)
