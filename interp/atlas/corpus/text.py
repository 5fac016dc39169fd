"""A generated text and everything that is known about it: names, facts told, labels, trees, surprise."""

from __future__ import annotations

from dataclasses import dataclass, field

Piece = str | tuple[str, int]
"""A string, or a mention of a city: (name, row of the city)."""


@dataclass(frozen=True)
class Told:
    """A relation that a text states in full once its character `end` has been read."""

    relation: str
    a: int
    b: int
    """Row of the other city, or -1 where the relation has none."""
    end: int


@dataclass(frozen=True)
class Node:
    """A node of the syntax tree of an expression: characters [start, end) and what they evaluate to."""

    start: int
    end: int
    op: str
    """Operator, or "digit" at a leaf."""
    value: int
    depth: int
    """Distance from the root."""


@dataclass
class Text:
    """A text under construction; every position is a count of characters from its start."""

    kind: str
    parts: list[str] = field(default_factory=list)
    spans: list[tuple[int, int, int]] = field(default_factory=list)
    """Mentions of cities: start, end, row of the city."""
    people: list[tuple[int, int, str]] = field(default_factory=list)
    """Mentions of people: start, end, name."""
    told: list[Told] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    """What kind of sample this is: skill, template, order of names, language."""
    tree: list[Node] = field(default_factory=list)
    answer: tuple[int, int] | None = None
    """Characters of the answer, with the space before it."""
    nats: float | None = None
    """Surprise -log p of this text under its own generator, where the generator knows it."""
    length: int = 0

    def add(self, *pieces: Piece) -> Text:
        """Append strings and mentions of cities."""
        for piece in pieces:
            text, city = (piece, -1) if isinstance(piece, str) else piece
            if city >= 0:
                self.spans.append((self.length, self.length + len(text), city))
            self.parts.append(text)
            self.length += len(text)
        return self

    def name(self, person: str) -> Text:
        """Append the name of a person and remember its place."""
        self.people.append((self.length, self.length + len(person), person))
        return self.add(person)

    def tell(self, relation: str, a: int, b: int = -1) -> Text:
        """Remember that the text, as far as it goes now, states a relation of city `a` (to city `b`)."""
        self.told.append(Told(relation, int(a), int(b), self.length))
        return self

    def reply(self, *pieces: Piece) -> Text:
        """Append the answer, which begins with its space."""
        start = self.length
        self.add(*pieces)
        self.answer = (start, self.length)
        return self

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.parts)
