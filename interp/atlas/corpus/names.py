"""Who may meet whom in a text: a fifth of the pairs of people are never named together."""

from __future__ import annotations

from itertools import combinations

from interp.atlas import lexicon as lex
from interp.atlas.corpus.draw import Rng, distinct, held_out

NEVER_PAIRED = 0.2
"""Share of the pairs of people that are kept out of every text."""


def never_paired(a: str, b: str) -> bool:
    """Return whether two people, in either order, are named together in no text of the corpus."""
    return held_out(f"pair {min(a, b)} {max(a, b)}", NEVER_PAIRED)


def company(rng: Rng, n: int, *, apart: bool = False) -> list[str]:
    """Return `n` different people by Zipf's law, in an order that says nothing about how common they are.

    Every two of them may meet; with `apart`, every two of them never do.
    """
    while True:
        people = distinct(rng, lex.PEOPLE, n)
        if all(never_paired(a, b) == apart for a, b in combinations(people, 2)):
            return [people[i] for i in rng.permutation(n)]
