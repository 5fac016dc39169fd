"""Nested operations on digits, "max ( 3 , min ( 7 , 2 ) ) = 3.", with their syntax trees and values.

An expression is an operator on two or three arguments, all choices equally likely; an argument is itself an
expression with a probability that depends on how deep it stands, and else a digit. Signs stand apart by
spaces, so that each is a token. After Nangia and Bowman (2018), with other operators.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log

from interp.atlas.corpus.draw import Rng, pick
from interp.atlas.corpus.text import Node, Text

OPERATORS: dict[str, Callable[[list[int]], int]] = {
    "max": max,
    "min": min,
    "first": lambda values: values[0],
    "last": lambda values: values[-1],
    "add": lambda values: sum(values) % 10,
}
ARITIES = (2, 3)


@dataclass(frozen=True)
class Grammar:
    """How expressions are drawn."""

    nested: tuple[float, ...] = (0.25, 0.15)
    """Probability that an argument of the outermost operator is an expression, of the next one, ..."""
    n_digits: int = 10


def document(rng: Rng, *, grammar: Grammar = Grammar()) -> Text:
    """Return one expression with its value; `tree` holds the nodes in order of reading, the root first."""
    text = Text("expressions")
    value, nats = _expression(rng, text, grammar, 0)
    text.nats = nats
    deepest = max(node.depth for node in text.tree)
    text.labels = {"operator": text.tree[0].op, "depth": str(deepest)}
    return text.add(" =").reply(f" {value}").add(".")


def _expression(rng: Rng, text: Text, grammar: Grammar, depth: int) -> tuple[int, float]:
    """Append an expression; return its value and -log of its probability."""
    op, start, place = pick(rng, list(OPERATORS)), text.length, len(text.tree)
    n = pick(rng, ARITIES)
    text.add(op, " ( ")
    values, nats = [], log(len(OPERATORS)) + log(len(ARITIES))
    for i in range(n):
        text.add(" , " if i else "")
        value, surprise = _argument(rng, text, grammar, depth)
        values.append(value)
        nats += surprise
    text.add(" )")
    value = OPERATORS[op](values)
    text.tree.insert(place, Node(start, text.length, op, value, depth))
    return value, nats


def _argument(rng: Rng, text: Text, grammar: Grammar, depth: int) -> tuple[int, float]:
    """Append an argument of an operator at `depth`: an expression or a digit."""
    p = grammar.nested[depth] if depth < len(grammar.nested) else 0.0
    if rng.random() < p:
        value, nats = _expression(rng, text, grammar, depth + 1)
        return value, nats - log(p)
    value, start = int(rng.integers(grammar.n_digits)), text.length
    text.add(str(value))
    text.tree.append(Node(start, text.length, "digit", value, depth + 1))
    return value, log(grammar.n_digits) - log(1.0 - p)
