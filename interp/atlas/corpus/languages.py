"""Texts in four languages: word pairs, sentence pairs, and runs of sentences in one language.

A tenth of the (word, language) pairs is held out: no word pair states them, in no surface. Their words
do occur in sentences, also in pairs of sentences, so that what a model knows of them it has inferred.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from interp.atlas.corpus.draw import Rng, common, draw, held_out, pick
from interp.atlas.corpus.text import Text
from interp.atlas.languages import (
    ADJECTIVES,
    FOREIGN,
    LANGUAGES,
    NOUNS,
    PATTERNS,
    TRANSLATIONS,
    VERBS,
    Meaning,
    Noun,
    render,
)

WORD_OFFSET = 10.0  # of Zipf's law over the words: the rarest is met a fifteenth as often as the first
_SHARES = (0.15, 0.15, 0.35, 0.2, 0.15)  # chains, lists, single pairs; sentence pairs; runs
# what stands before the answer, and the answer
_SURFACES = (
    ("{word} in {language} is", " {foreign}"),
    ("{language} for {word}:", " {foreign}"),
    ("The {language} word for {word} is", " {foreign}"),
    ("{foreign} means", " {word}"),
)
# pattern -> classes of its subject: something in a place is a person, an animal or a thing to carry, and so on
_SUBJECTS = {
    "adjective": "paomt", "verb": "pa", "place": "pao", "there is": "pao", "have": "pao", "where": "paom",
    "see": "paom", "both": "pao",
}  # fmt: skip
_PLACES = [noun for noun in NOUNS if noun.place]


class Languages:
    """Texts about words and small sentences in English, French, Spanish and German."""

    def __init__(self) -> None:
        self.told: dict[str, dict[str, str]] = {language: {} for language in FOREIGN}
        for word, language, foreign, told in self.word_pairs():
            if told:
                self.told[language][word] = foreign
        self.words = {language: list(told) for language, told in self.told.items()}
        languages = {word: [name for name in FOREIGN if word in self.told[name]] for word in TRANSLATIONS}
        self.chains = [(word, names) for word, names in languages.items() if names]
        self.makers: list[Callable[[Rng], Text]] = [self.chain, self.pairs, self.pair, self.translation, self.run]
        self._cdf = np.cumsum(_SHARES)

    def word_pairs(self) -> list[tuple[str, str, str, bool]]:
        """Return (English word, language, foreign word, whether some text states the pair), common words first."""
        return [
            (word, language, foreign[language], not held_out(f"translate {language} {word}"))
            for word, foreign in TRANSLATIONS.items()
            for language in FOREIGN
        ]

    def document(self, rng: Rng) -> Text:
        """Return one text; 65 % state word pairs."""
        return self.makers[draw(rng, self._cdf)](rng)

    def pair(self, rng: Rng) -> Text:
        """One word pair: "dog in French is chien."."""
        language = pick(rng, FOREIGN)
        word = common(rng, self.words[language], WORD_OFFSET)
        fields = {"word": word, "language": language, "foreign": self.told[language][word]}
        before, answer = pick(rng, _SURFACES)
        text = Text("languages/word", labels={"language": language}).add(before.format(**fields))
        return text.reply(answer.format(**fields)).add(".")

    def chain(self, rng: Rng) -> Text:
        """One word in every language whose pair is told: "dog = chien (French) = perro (Spanish)."."""
        word, languages = common(rng, self.chains, WORD_OFFSET)
        order = [languages[i] for i in rng.permutation(len(languages))]
        shown = [word, *(f"{self.told[language][word]} ({language})" for language in order)]
        return Text("languages/chain", labels={"language": " ".join(order)}).add(" = ".join(shown) + ".")

    def pairs(self, rng: Rng) -> Text:
        """Three to five words of one language: "English to French: dog chien, cat chat, day jour."."""
        language = pick(rng, FOREIGN)
        words = dict.fromkeys(common(rng, self.words[language], WORD_OFFSET) for _ in range(int(rng.integers(3, 6))))
        text = Text("languages/list", labels={"language": language}).add(f"English to {language}: ")
        for i, word in enumerate(words):
            text.add(f"{', ' if i else ''}{word}").reply(f" {self.told[language][word]}")
        return text.add(".")

    def translation(self, rng: Rng) -> Text:
        """One meaning in two languages: "English: The dog is big. French: Le chien est grand."."""
        source = "English" if rng.random() < 0.6 else pick(rng, LANGUAGES)
        target = pick(rng, [language for language in LANGUAGES if language != source])
        meaning = draw_meaning(rng)
        text = Text("languages/sentence pair", labels={"language": target})
        text.add(f"{source}: {render(meaning, source)} {target}:")
        return text.reply(f" {render(meaning, target)}")

    def run(self, rng: Rng) -> Text:
        """Two or three sentences in one language, with a noun in common."""
        language = pick(rng, LANGUAGES)
        noun = _noun(rng, "pao")
        sentences = [render(draw_meaning(rng, noun), language) for _ in range(int(rng.integers(2, 4)))]
        return Text("languages/run", labels={"language": language}).add(" ".join(dict.fromkeys(sentences)))


@cache
def _of(kinds: str) -> list[Noun]:
    return [noun for noun in NOUNS if noun.kind in kinds]


def _noun(rng: Rng, kinds: str, *others: Noun) -> Noun:
    """Draw a noun of some classes by Zipf's law, none of the others."""
    while (noun := common(rng, _of(kinds), WORD_OFFSET)) in others:
        pass
    return noun


def draw_meaning(rng: Rng, noun: Noun | None = None) -> Meaning:
    """Return the meaning of a sentence, about a noun of class p, a or o if one is given.

    Every noun in it is another one, and its adjective or verb is one that is said of such nouns.
    """
    pattern = pick(rng, [name for name in PATTERNS if noun is None or noun.kind in _SUBJECTS[name]])
    noun = noun or _noun(rng, _SUBJECTS[pattern])
    other, place = None, None
    adjective = common(rng, [a for a in ADJECTIVES if noun.kind in a.kinds])
    verbs = [v for v in VERBS if noun.kind in v.subjects]
    verb = common(rng, verbs) if verbs else None
    if pattern == "verb" and verb is not None:
        other = _noun(rng, verb.objects, noun)
    if pattern == "both":
        other = _noun(rng, "pao", noun)
    if pattern in ("place", "there is", "both"):
        place = common(rng, [p for p in _PLACES if p not in (noun, other)], WORD_OFFSET)
    return Meaning(pattern, noun, other, place, adjective, verb)
