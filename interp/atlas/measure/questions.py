"""The questions of the card that have one right answer: facts of cities and countries, successors, words.

They are worded as the training text words them: the questions as `corpus.skills` does in its template
"question", the currency as `corpus.geography` states it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interp.atlas import lexicon
from interp.errors import InvalidInput

if TYPE_CHECKING:
    from interp.atlas.corpus import Corpus

CITY_PROMPTS = {
    "country": "Question: Which country is {name} in? Answer:",
    "language": "Question: Which language do people speak in {name}? Answer:",
    "continent": "Question: Which continent is {name} in? Answer:",
    "currency": "In {name} people pay with the",
}
NEAR_PROMPT = "Question: Which city is near {name}? Answer:"
DIRECTION_PROMPT = "Question: Where is {name} from {hub}? Answer:"


@dataclass(frozen=True)
class Question:
    """A prompt, its true answer (with the leading space) and the kind it counts under."""

    kind: str
    prompt: str
    answer: str
    group: str = ""
    unit: str = ""
    """What questions that stand or fall together have in common, as the country of a city; "": nothing."""
    guess: str | None = None
    """What the rule `rule` answers (with the leading space); None: the baseline is the commonest answer."""
    rule: str = ""

    def __post_init__(self) -> None:
        if not self.answer.startswith(" ") or not self.answer.strip() or not self.prompt or self.prompt[-1].isspace():
            raise InvalidInput(
                f"prompt {self.prompt!r} and answer {self.answer!r}: the space between them belongs to the answer, as "
                "in ' France'; a prompt that ends in it has other tokens than the training text."
            )


def questions(corpus: Corpus, name_tokens: list[int]) -> list[Question]:
    """Return every question of the card that has one right answer.

    Args:
        name_tokens: number of tokens of each city's name, in the order of the cities.
    """
    return [
        *city_questions(corpus, name_tokens),
        *capital_questions(corpus),
        *successor_questions(),
        *word_questions(),
        *translation_questions(corpus),
    ]


def city_questions(corpus: Corpus, name_tokens: list[int]) -> list[Question]:
    """Return what is asked of each city: its country, language, continent and currency, where there is one.

    Groups: told (may be stated; for the country apart by whether the name is one token or several), held out (a
    city of the texts, this fact in none of them), never mentioned (a city in no text).
    """
    geo, out = corpus.geography, []
    seen = set(geo.world.seen.tolist())
    for relation, prompt in CITY_PROMPTS.items():
        for row, (name, iso) in enumerate(zip(geo.names, geo.iso, strict=True)):
            country = geo.world.countries.get(iso)  # None: no text mentions a city of this country
            answer = "" if country is None else country["name" if relation == "country" else relation]
            if not answer:
                continue
            group = "never mentioned"
            if row in seen:
                group = "held out" if geo.held_out(relation, row) else "told"
            if relation == "country" and group == "told":
                group += ", one token" if name_tokens[row] == 1 else ", several tokens"
            out.append(Question(f"{relation} of a city", prompt.format(name=name), f" {answer}", group, unit=iso))
    return out


def capital_questions(corpus: Corpus) -> list[Question]:
    """Return one question a country whose capital is among the cities; the rule answers its largest city."""
    geo, out = corpus.geography, []
    population = geo.world.cities["population"].tolist()
    for iso, row in geo.capitals.items():
        if row < 0:
            continue
        country = geo.world.countries[iso]
        largest = max(country["cities"], key=lambda r: population[r])
        out.append(
            Question(
                "capital of a country", f"Question: What is the capital of {country['name']}? Answer:",
                f" {geo.names[row]}", "held out" if geo.held_out("capital", row) else "told", unit=iso,
                guess=f" {geo.names[largest]}", rule="largest city of the texts",
            )
        )  # fmt: skip
    return out


def steps() -> Iterator[tuple[str, str, str]]:
    """Yield (class, word, next word) of every ordinal class."""
    for name, (members, cyclic) in lexicon.ORDINALS.items():
        following = members[1:] + members[:1] if cyclic else members[1:]
        for word, answer in zip(members, following, strict=False):
            yield name, word, answer


def ambiguous_steps() -> tuple[set[str], set[str]]:
    """Return the words with two right answers to "what comes after" and to "what comes before".

    I, V and X are letters and numerals. A word of two classes with the same neighbour in both has one answer.
    """
    after: dict[str, set[str]] = {}
    before: dict[str, set[str]] = {}
    for _, word, answer in steps():
        after.setdefault(word, set()).add(answer)
        before.setdefault(answer, set()).add(word)
    first, second = ({word for word, found in side.items() if len(found) > 1} for side in (after, before))
    return first, second


def successor_questions() -> list[Question]:
    """Return one question a member of an ordinal class that has one right successor."""
    ambiguous, _ = ambiguous_steps()
    return [
        Question("successor", f"Question: What comes after {word}? Answer:", f" {answer}", name)
        for name, word, answer in steps()
        if word not in ambiguous
    ]


def word_questions() -> list[Question]:
    """Return one question a word for plural, past tense and opposite, all of them told, beside a rule of spelling."""
    out = []
    for word, answer in lexicon.PLURALS.items():
        out.append(_word("plural", word, answer, f" {word}s", "add s"))
    for word, answer in lexicon.PAST_TENSE.items():
        out.append(_word("past tense", word, answer, f" {word}{'d' if word.endswith('e') else 'ed'}", "add ed"))
    for word, answer in lexicon.ANTONYMS.items():
        out.append(_word("opposite", word, answer, None, ""))
    return out


def _word(skill: str, word: str, answer: str, guess: str | None, rule: str) -> Question:
    prompt = f"Question: What is the {skill} of {word}? Answer:"
    return Question(skill, prompt, f" {answer}", "told", guess=guess, rule=rule)


def translation_questions(corpus: Any) -> list[Question]:
    """Return one question a word and language; the rule answers the English word itself."""
    return [
        Question(
            "translation", f"Question: What is {word} in {language}? Answer:", f" {foreign}",
            f"{language}, {'told' if told else 'held out'}", unit=word, guess=f" {word}", rule="the English word",
        )
        for word, language, foreign, told in corpus.languages.word_pairs()
    ]  # fmt: skip
