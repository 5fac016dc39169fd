"""The seeded text generator of the bundled model: every kind of text, in its share.

A text is a pure function of the generator it is drawn with, and carries what is known about it
(`Text`). Facts that are held out are stated in no text (`Geography.held_out`, `Languages.word_pairs`,
`never_paired` names, skill and template pairs).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from interp.atlas.corpus import brackets, expressions, ioi, ordinals, stories
from interp.atlas.corpus.draw import Rng, draw
from interp.atlas.corpus.geography import Geography
from interp.atlas.corpus.languages import Languages
from interp.atlas.corpus.skills import Skills
from interp.atlas.corpus.text import Node, Text, Told
from interp.atlas.world import World

MIXTURE = {
    "geography": 0.42, "tasks": 0.23, "languages": 0.08, "ordinals": 0.06, "ioi": 0.10, "stories": 0.03,
    "brackets": 0.03, "expressions": 0.05,
}  # fmt: skip
"""Share of each kind among the texts; random repeats are rows of token ids and are made in `rows`."""


class Corpus:
    """Every generator, over one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.geography = Geography(world)
        self.languages = Languages()
        self._cdf = np.cumsum(list(MIXTURE.values()))

    @cached_property
    def skills(self) -> Skills:
        """The instruction samples."""
        return Skills(self.geography, self.languages)

    @cached_property
    def makers(self) -> dict[str, Callable[[Rng], Text]]:
        """Kind of text -> its generator."""
        return {
            "geography": self.geography.document, "tasks": self.skills.document, "languages": self.languages.document,
            "ordinals": ordinals.document, "ioi": ioi.document, "stories": stories.document,
            "brackets": brackets.document, "expressions": expressions.document,
        }  # fmt: skip

    def sample(self, kind: str, rng: Rng) -> Text:
        """Return one text of a kind.

        Raises:
            KeyError: the kind is not one of `MIXTURE`.
        """
        return self.makers[kind](rng)

    def document(self, rng: Rng) -> Text:
        """Return one text of the mixture."""
        return self.makers[list(MIXTURE)[draw(rng, self._cdf)]](rng)


__all__ = ["MIXTURE", "Corpus", "Geography", "Languages", "Node", "Skills", "Text", "Told"]
