"""The indirect object: "When Anna and Ben went to the market, Anna gave the book to Ben.".

The name that was not repeated ends the sentence. Other texts look alike and end otherwise, so that no
shorter rule will do: a third person gives, nobody is named twice, or the only name is repeated. The words
between the names vary in number, and every meeting goes with every verb: where each template is one fixed
string, a model can learn for each of them at which distance the receiver stands, and such a model names the
wrong person in every new template.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from interp.atlas import lexicon as lex
from interp.atlas.corpus.draw import Rng, common, draw, pick
from interp.atlas.corpus.fill import fill
from interp.atlas.corpus.names import company, never_paired
from interp.atlas.corpus.text import Text
from interp.errors import InvalidInput, nearest


@dataclass(frozen=True)
class Template:
    """A sentence in two parts: {X} and {Y} meet, then {S} gives; the name of the receiver is to follow."""

    meeting: str
    giving: str
    set_aside: bool = False
    """Whether no text of the corpus has it."""


TEMPLATES = {
    "when": Template("When {X} {and} {Y} went to the {spot},", " {S} {gave} the {thing} to"),
    "then": Template("Then {X} {and} {Y} met at the {spot},", " and {S} {gave} the {thing} to"),
    "after": Template("After {X} {and} {Y} left the {spot},", " {S} {gave} the {thing} to"),
    "while": Template("While {X} {and} {Y} were at the {spot},", " {S} {gave} the {thing} to"),
    "because": Template("Because {X} {and} {Y} worked at the {spot},", " {S} {gave} the {thing} to"),
    "friends": Template("{X} and {Y} were friends.", " One day {S} {gave} the {thing} to"),
    "saw": Template("{X} saw {Y} at the {spot}.", " {S} {gave} the {thing} to"),
    "with": Template("{X} walked to the {spot} with {Y}.", " There {S} {gave} the {thing} to"),
    "found": Template("{X} {and} {Y} found the {thing}.", " Later {S} {gave} it to"),
    "talk": Template("{X} had a long talk with {Y}.", " Then {S} said goodbye to"),
    "visit": Template("Yesterday {X} came to see {Y}.", " At the door {S} {gave} the {thing} to"),
    "evening": Template("In the evening {X} {and} {Y} sat at the {spot}.", " {S} {gave} the {thing} to"),
    "until": Template("In the afternoon {X} {and} {Y} played at the {spot} until", " {S} {gave} the {thing} to", True),
    "soon": Template("As soon as {X} {and} {Y} came to the {spot},", " {S} {gave} the {thing} to", True),
}
ORDERS = ("ABBA", "BABA")
"""ABBA names the receiver first, BABA the giver."""
FILLERS = (
    "The day was cold.", "It was late.", "The {animal} slept.", "The {spot} was full.", "Nobody was {feeling}.",
)  # fmt: skip
_GAVE = "gave handed sent showed sold brought threw offered passed read lent".split()
_AND = ("and", "and", "and", "together with", "as well as")
_KINDS_OF = "old new big small red green white black good heavy".split()
_DESCRIBED, _OPENED, _FILLED_SHARE = 0.3, 0.25, 0.2
PLAIN = (
    "{X} {gave} the {thing} to {Y}.",
    "Yesterday {X} {gave} the {thing} to {Y}.",
    "At the {spot} {X} {gave} the {thing} to {Y}.",
    "{X} was {feeling} and {gave} the {thing} to {Y}.",
)
ALONE = (
    "When {X} came to the {spot}, {X} {gave} the {thing} to {them}.",
    "{X} was at the {spot}. Then {X} {gave} the {thing} to {them}.",
    "After {X} found the {thing}, {X} {gave} it to {them}.",
)
_THEM = ("them", "us", "me", "him", "her", "you")
_IN_TEXTS = [name for name, template in TEMPLATES.items() if not template.set_aside]
_FILLED = [name for name in _IN_TEXTS if TEMPLATES[name].meeting.endswith(".")]


def _words(rng: Rng) -> dict[str, str]:
    return {
        "spot": _described(rng, lex.SPOTS), "thing": _described(rng, lex.THINGS), "animal": common(rng, lex.ANIMALS),
        "feeling": common(rng, lex.FEELINGS), "them": pick(rng, _THEM), "gave": pick(rng, _GAVE),
        "and": pick(rng, _AND),
    }  # fmt: skip


def _described(rng: Rng, nouns: Sequence[str]) -> str:
    """Return a noun, behind one adjective or two in some texts."""
    words = [common(rng, nouns)]
    while rng.random() < _DESCRIBED and len(words) < 3:
        words.insert(0, pick(rng, [kind for kind in _KINDS_OF if kind not in words]))
    return " ".join(words)


def _receive(text: Text, person: str) -> Text:
    start = text.length
    text.add(" ").name(person)
    text.answer = (start, text.length)
    return text


def _check(what: str, given: str | None, known: list[str]) -> None:
    if given is not None and given not in known:
        raise InvalidInput(f"unknown {what} {given!r}; nearest: {', '.join(nearest(given, known))}.")


def _clauses(rng: Rng, kind: str, template: str, people: dict[str, str], filler: bool) -> Text:
    words, form = _words(rng) | people, TEMPLATES[template]
    text = Text(kind)
    if rng.random() < _OPENED:
        fill(text, pick(rng, FILLERS), words).add(" ")
    fill(text, form.meeting, words)
    if filler:
        fill(text.add(" "), pick(rng, FILLERS), words)
    return fill(text, form.giving, words)


def sample(
    rng: Rng, template: str | None = None, *, order: str | None = None, never_paired: bool = False, filler: bool = False
) -> Text:
    """Return one indirect-object text; `answer` is the receiver, `labels` template, order, subject and object.

    Args:
        rng: source of randomness.
        template: one of `TEMPLATES`, also one set aside; drawn among those of the corpus when None.
        order: "ABBA" or "BABA"; drawn when None.
        never_paired: whether the two are people who meet in no text of the corpus, instead of people who may.
        filler: whether a sentence stands between the meeting and the giving (both must be sentences).

    Raises:
        InvalidInput: the template or the order is unknown, or a filler does not fit the template.
    """
    _check("template", template, list(TEMPLATES))
    _check("order", order, list(ORDERS))
    if template is None:
        template = pick(rng, _FILLED if filler else _IN_TEXTS)
    if filler and not TEMPLATES[template].meeting.endswith("."):
        raise InvalidInput(f"template {template!r} is one sentence and takes no filler; those that do: {_FILLED}.")
    order = order or pick(rng, ORDERS)
    giver, receiver = company(rng, 2, apart=never_paired)
    first, second = (receiver, giver) if order == "ABBA" else (giver, receiver)
    people = {"X": first, "Y": second, "S": giver}
    text = _receive(_clauses(rng, "ioi/two", template, people, filler), receiver)
    text.labels = {"template": template, "order": order, "subject": giver, "object": receiver}
    return text.add(".")


def _two(rng: Rng) -> Text:
    return sample(rng, filler=bool(rng.random() < _FILLED_SHARE))


def _third(rng: Rng) -> Text:
    """A third person gives to either of two: the text has no right answer."""
    first, second, giver = company(rng, 3)
    template, receiver = pick(rng, _IN_TEXTS), pick(rng, (first, second))
    text = _clauses(rng, "ioi/third", template, {"X": first, "Y": second, "S": giver}, False).add(" ").name(receiver)
    text.labels = {"template": template, "order": "ABC", "subject": giver, "object": receiver}
    return text.add(".")


def _plain(rng: Rng) -> Text:
    return fill(Text("ioi/plain"), pick(rng, PLAIN), _words(rng) | dict(zip("XY", company(rng, 2), strict=True)))


def _alone(rng: Rng) -> Text:
    return fill(Text("ioi/alone"), pick(rng, ALONE), _words(rng) | {"X": company(rng, 1)[0]})


_KINDS: tuple[tuple[float, Callable[[Rng], Text]], ...] = ((0.67, _two), (0.13, _third), (0.1, _plain), (0.1, _alone))
_KIND_CDF = np.cumsum([share for share, _ in _KINDS])


def document(rng: Rng) -> Text:
    """Return one text: two thirds are indirect-object texts of the corpus' templates, the rest only look like it."""
    return _KINDS[draw(rng, _KIND_CDF)][1](rng)


def counterfactual(text: Text, giver: str | None = None) -> Text:
    """Return an indirect-object text with another giver, all else in place: as many tokens if the names have as many.

    Args:
        text: a text of `sample`.
        giver: the new giver. None is the receiver, and then the two change roles: the answer becomes the old
            giver. A third name leaves no right answer: `answer` is None and the old receiver ends the text.

    Raises:
        InvalidInput: the text is no indirect-object text, or the giver is the one it has.
    """
    if text.labels.get("order") not in ORDERS or len(text.people) != 4:
        raise InvalidInput(f"a text of ioi.sample was expected; this one is of kind {text.kind!r}.")
    old, receiver = text.labels["subject"], text.labels["object"]
    new = receiver if giver is None else giver
    if new == old:
        raise InvalidInput(f"{old!r} gives already; another name was expected, such as {receiver!r}.")
    swapped = new == receiver
    names = [text.people[0][2], text.people[1][2], new, old if swapped else receiver]
    out, at = Text(text.kind if swapped else "ioi/third"), 0
    for (start, end, _), name in zip(text.people, names, strict=True):
        out.add(text.text[at:start]).name(name)
        at = end
    end = out.length
    out.add(text.text[at:])
    out.answer = (end - len(old) - 1, end) if swapped else None
    order = ORDERS[1 - ORDERS.index(text.labels["order"])] if swapped else "ABC"
    out.labels = {**text.labels, "order": order, "subject": new, "object": names[3]}
    return out


__all__ = [
    "ALONE", "FILLERS", "ORDERS", "PLAIN", "TEMPLATES", "Template", "counterfactual", "document", "never_paired",
    "sample",
]  # fmt: skip
