"""Instruction samples: skills in six surface templates, skill and template independent.

Each skill leaves out one of the templates (a Latin square: skill i never meets template i mod 6), so that
what a model does with a known skill in a surface that it never met with that skill can be measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from interp.atlas import lexicon as lex
from interp.atlas.corpus.draw import Rng, common, distinct, draw, zipf_cdf
from interp.atlas.corpus.geography import Geography
from interp.atlas.corpus.languages import Languages
from interp.atlas.corpus.text import Piece, Text

# name -> (before, between, whether the sample is put as a question or as a command)
TEMPLATES: dict[str, tuple[str, str, bool]] = {
    "question": ("Question: ", " Answer:", True),
    "chat": ("User: ", " Assistant:", False),
    "q and a": ("Q: ", " A:", True),
    "instruction": ("Instruction: ", " Response:", False),
    "arrow": ("", " ->", True),
    "please": ("Please help me. ", " The answer is", False),
}
_WORDS = 10.0  # offset of Zipf's law over the words of a skill: every word is met often enough to be learnt


@dataclass(frozen=True)
class Sample:
    """One exercise: the same content as a question and as a command, its answer, and what it tells."""

    question: tuple[Piece, ...]
    command: tuple[Piece, ...]
    answer: tuple[Piece, ...]
    told: tuple[str, int, int] | None = None


class Skills:
    """Samples of every skill."""

    def __init__(self, geography: Geography, languages: Languages) -> None:
        self.geo = geography
        self.pairs = [pair for pair in languages.word_pairs() if pair[3]]
        self.tables = {"plural": lex.PLURALS, "past tense": lex.PAST_TENSE, "opposite": lex.ANTONYMS}
        self.make: dict[str, Callable[[Rng], Sample]] = {
            "country of": self._country, "next": self._next, "opposite": self._opposite, "translate": self._translate,
            "direction": self._direction, "plural": self._plural, "language of": self._language, "repeat": self._repeat,
            "capital of": self._capital, "past tense": self._past, "larger": self._larger, "last": self._last,
            "continent of": self._continent, "count": self._count, "previous": self._previous, "near to": self._near,
            "first letter": self._letter,
        }  # fmt: skip
        self.names, self.templates = list(self.make), list(TEMPLATES)
        self.capitals = [iso for iso, row in geography.capitals.items() if row >= 0]
        self._seen = {name: [t for t in self.templates if self.seen(name, t)] for name in self.names}

    def seen(self, skill: str, template: str) -> bool:
        """Return whether the skill occurs in this template in the corpus."""
        return self.names.index(skill) % len(self.templates) != self.templates.index(template)

    def document(self, rng: Rng, skill: str | None = None, template: str | None = None) -> Text:
        """Return one sample; what is not given is drawn by Zipf's law among the pairs of the corpus."""
        if skill is None:
            skill = self.names[draw(rng, zipf_cdf(len(self.names), 8.0))]
        if template is None:
            template = common(rng, self._seen[skill])
        sample = self.make[skill](rng)
        before, between, asks = TEMPLATES[template]
        text = Text(f"tasks/{skill}", labels={"skill": skill, "template": template})
        text.add(before, *(sample.question if asks else sample.command), between)
        text.reply(" ", *sample.answer)
        if sample.told is not None:
            text.tell(*sample.told)
        return text.add(".")

    def _country(self, rng: Rng) -> Sample:
        row = self.geo.draw(rng, "country")
        city, name = self.geo.city(row), self.geo.country_of(row)["name"]
        return Sample(
            ("Which country is ", city, " in?"), ("Name the country of ", city, "."), (name,), ("country", row, -1)
        )

    def _capital(self, rng: Rng) -> Sample:
        iso = self.capitals[int(rng.integers(len(self.capitals)))]
        while self.geo.held_out("capital", self.geo.capitals[iso]):
            iso = self.capitals[int(rng.integers(len(self.capitals)))]
        row, name = self.geo.capitals[iso], self.geo.world.countries[iso]["name"]
        ask, command = f"What is the capital of {name}?", f"Name the capital of {name}."
        return Sample((ask,), (command,), (self.geo.city(row),), ("capital", row, -1))

    def _language(self, rng: Rng) -> Sample:
        row = self.geo.draw(rng, "language")
        while not self.geo.country_of(row)["language"]:  # a few countries name none that we have a word for
            row = self.geo.draw(rng, "language")
        city, language = self.geo.city(row), self.geo.country_of(row)["language"]
        return Sample(
            ("Which language do people speak in ", city, "?"),
            ("Name the language of ", city, "."),
            (language,),
            ("language", row, -1),
        )

    def _continent(self, rng: Rng) -> Sample:
        row = self.geo.draw(rng, "continent")
        city, name = self.geo.city(row), self.geo.country_of(row)["continent"]
        return Sample(
            ("Which continent is ", city, " in?"),
            ("Name the continent of ", city, "."),
            (name,),
            ("continent", row, -1),
        )

    def _near(self, rng: Rng) -> Sample:
        row = self.geo.draw(rng)
        while not self.geo.near_told[row]:
            row = self.geo.draw(rng)
        other, city = self.geo.near(rng, row), self.geo.city(row)
        return Sample(
            ("Which city is near ", city, "?"),
            ("Name a city near ", city, "."),
            (self.geo.city(other),),
            ("near", row, other),
        )

    def _direction(self, rng: Rng) -> Sample:
        a, b = self.geo.pair(rng, "direction", 0.4)
        first, second = self.geo.city(b), self.geo.city(a)
        return Sample(
            ("Where is ", first, " from ", second, "?"),
            ("Say where ", first, " lies from ", second, "."),
            (self.geo.world.direction(a, b),),
            ("direction", a, b),
        )

    def _word(self, rng: Rng, skill: str) -> Sample:
        table = self.tables[skill]
        word = common(rng, list(table), _WORDS)
        return Sample((f"What is the {skill} of {word}?",), (f"Give the {skill} of {word}.",), (table[word],))

    def _opposite(self, rng: Rng) -> Sample:
        return self._word(rng, "opposite")

    def _plural(self, rng: Rng) -> Sample:
        return self._word(rng, "plural")

    def _past(self, rng: Rng) -> Sample:
        return self._word(rng, "past tense")

    def _step(self, rng: Rng) -> tuple[str, str]:
        members, cyclic = lex.ORDINALS[common(rng, list(lex.ORDINALS), _WORDS)]
        pairs = list(zip(members, members[1:] + members[:1] if cyclic else members[1:], strict=False))
        return common(rng, pairs, 2 * _WORDS)

    def _next(self, rng: Rng) -> Sample:
        a, b = self._step(rng)
        return Sample((f"What comes after {a}?",), (f"Say what follows {a}.",), (b,))

    def _previous(self, rng: Rng) -> Sample:
        a, b = self._step(rng)
        return Sample((f"What comes before {b}?",), (f"Say what precedes {b}.",), (a,))

    def _translate(self, rng: Rng) -> Sample:
        word, language, foreign, _ = common(rng, self.pairs, 100.0)
        return Sample((f"What is {word} in {language}?",), (f"Translate {word} to {language}.",), (foreign,))

    def _repeat(self, rng: Rng) -> Sample:
        words = " ".join(distinct(rng, lex.THINGS, int(rng.integers(2, 6))))
        return Sample((f"Which words are these: {words}?",), (f"Say again: {words}.",), (words,))

    def _last(self, rng: Rng) -> Sample:
        words = distinct(rng, lex.THINGS, int(rng.integers(2, 6)))
        shown = " ".join(words)
        return Sample((f"Which word is last: {shown}?",), (f"Name the last word: {shown}.",), (words[-1],))

    def _count(self, rng: Rng) -> Sample:
        n, word = int(rng.integers(1, 8)), common(rng, lex.THINGS)
        shown = " ".join([word] * n)
        return Sample((f"How many are here: {shown}?",), (f"Count these: {shown}.",), (str(n),))

    def _larger(self, rng: Rng) -> Sample:
        a, b = (int(n) + 1 for n in rng.permutation(99)[:2])
        return Sample((f"Which is larger: {a} or {b}?",), (f"Pick the larger: {a} or {b}.",), (str(max(a, b)),))

    def _letter(self, rng: Rng) -> Sample:
        word = common(rng, list(lex.PLURALS), _WORDS)
        ask, command = f"What is the first letter of {word}?", f"Give the first letter of {word}."
        return Sample((ask,), (command,), (word[0].upper(),))


def skill_table(skills: Skills) -> np.ndarray:
    """Return bool [skill, template]: which pairs occur in the corpus."""
    return np.array([[skills.seen(name, template) for template in skills.templates] for name in skills.names])
