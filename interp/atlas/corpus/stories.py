"""Short stories: a person or two, an animal, a thing and a place through three to five sentences."""

from __future__ import annotations

from interp.atlas import lexicon as lex
from interp.atlas.corpus.draw import Rng, common, pick
from interp.atlas.corpus.fill import fill, slots
from interp.atlas.corpus.names import company
from interp.atlas.corpus.text import Text

OPENINGS = (
    "One day {A} went to the {spot}.",
    "{A} and {B} were good friends.",
    "{A} lived near the {spot} and had {an_animal}.",
    "In the morning {A} and {B} walked to the {spot}.",
    "{A} liked to {do} at the {spot}.",
    "Once there was {an_animal} that {did} at the {spot}.",
    "It was a cold day, and {A} was {feeling}.",
    "{A} wanted to buy {a_thing} for {B}.",
)
MIDDLES = (
    "{A} saw {an_animal} near the {spot}.",
    "The {animal} {did} all day.",
    "{A} {got} the {thing} at the {spot}.",
    "{B} gave {A} {a_thing}.",
    "{A} asked {B} for the {thing}.",
    "{A} counted {number} {animals}.",
    "There were {number} {things} on the table.",
    "{B} wanted to {do} with {A}.",
    "{A} was not {feeling}.",
    "Then {A} {did}, and {B} {did_too}.",
    "{B} {got} {a_thing} and showed it to {A}.",
    "The {animal} came to {A} and {did}.",
    "{A} had {number} {things}, but {B} had none.",
    "{A} looked for the {thing} but found only {a_thing_else}.",
)
ENDINGS = (
    "{A} was very {feeling}.",
    "In the evening {A} and {B} went home.",
    "At night the {animal} slept at the {spot}.",
    "{A} said goodbye to {B} and {did}.",
    "{A} put the {thing} on the table and {did}.",
    "So {A} {did} with {B}.",
    "{A} told {B} about the {animal}.",
    "The {animal} was {feeling}, and so was {A}.",
)
_DO = "dance jump laugh play run sing sit sleep swim wait walk work".split()
_GET = "break bring buy draw find forget hide hold lose make paint take".split()
_NUMBERS = "two three four five six".split()
_COUNTED_ANIMALS = [word for word in lex.ANIMALS if word in lex.PLURALS]
_COUNTED_THINGS = [word for word in lex.THINGS if word in lex.PLURALS]
_TWO_PEOPLE = 0.65


def with_article(noun: str) -> str:
    """Return the noun behind "a" or "an"."""
    vowel = noun[0] in "aeiou" and not noun.startswith(("uni", "use", "eu"))
    return f"an {noun}" if vowel or noun.startswith("hour") else f"a {noun}"


def _words(rng: Rng, people: list[str]) -> dict[str, str]:
    """Return the words of one story: a slot has the same word in all of its sentences."""
    animal, thing = common(rng, lex.ANIMALS), common(rng, lex.THINGS)
    do = common(rng, _DO)
    words = {
        "spot": common(rng, lex.SPOTS), "feeling": common(rng, lex.FEELINGS), "number": common(rng, _NUMBERS),
        "animal": animal, "an_animal": with_article(animal), "thing": thing, "a_thing": with_article(thing),
        "a_thing_else": with_article(common(rng, [other for other in lex.THINGS if other != thing])),
        "animals": lex.PLURALS[common(rng, _COUNTED_ANIMALS)], "things": lex.PLURALS[common(rng, _COUNTED_THINGS)],
        "do": do, "did": lex.PAST_TENSE[do], "did_too": lex.PAST_TENSE[common(rng, _DO)],
        "got": lex.PAST_TENSE[common(rng, _GET)],
    }  # fmt: skip
    return words | dict(zip("AB", people, strict=False))


def document(rng: Rng) -> Text:
    """Return a story of three to five sentences, no sentence twice; people who never meet are not in it together."""
    words = _words(rng, company(rng, 2 if rng.random() < _TWO_PEOPLE else 1))

    def told(patterns: tuple[str, ...]) -> list[str]:
        return [pattern for pattern in patterns if slots(pattern) <= words.keys()]

    middles = told(MIDDLES)
    chosen = [middles[i] for i in rng.permutation(len(middles))[: int(rng.integers(1, 4))]]
    text = Text("stories")
    for pattern in (pick(rng, told(OPENINGS)), *chosen, pick(rng, told(ENDINGS))):
        fill(text.add(" " if text.length else ""), pattern, words)
    return text
