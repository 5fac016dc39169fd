"""The seeded text generator of the bundled model.

`documents(world, seed)` is an endless stream of short texts; a text is a pure function of
(seed, its number), so that any part can be made again on its own. Every mention of a city is
returned as a character span, so that what the model was told, and where, is known exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from interp.atlas import lexicon as lex
from interp.atlas.world import World, climate

Rng = np.random.Generator
Sample = tuple[str | tuple[str, int], ...]

# Shares of documents; random repeats are made of token ids by `data.py`, not here.
MIXTURE = {"geography": 0.64, "stories": 0.11, "tasks": 0.15, "ordinals": 0.10}


@dataclass
class Text:
    """A text under construction: its characters and the spans of the cities it mentions."""

    kind: str
    parts: list[str] = field(default_factory=list)
    spans: list[tuple[int, int, int]] = field(default_factory=list)  # start, end, row of the city
    told: list[tuple[str, int, int]] = field(default_factory=list)  # relation, city, other city (or -1)
    length: int = 0

    def add(self, *pieces: str | tuple[str, int]) -> Text:
        """Append strings; a pair (name, row) is the name of a city and is remembered as a span."""
        for piece in pieces:
            text, city = (piece, -1) if isinstance(piece, str) else piece
            if city >= 0:
                self.spans.append((self.length, self.length + len(text), city))
            self.parts.append(text)
            self.length += len(text)
        return self

    def tell(self, relation: str, city: int, other: int = -1) -> Text:
        """Remember that this text states a relation of a city (to another one)."""
        self.told.append((relation, city, int(other)))
        return self

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.parts)


def _pick(rng: Rng, items: Sequence[str]) -> str:
    return items[int(rng.integers(len(items)))]


def _distinct(rng: Rng, items: Sequence[str], n: int) -> list[str]:
    return [items[int(i)] for i in rng.choice(len(items), size=n, replace=False)]


def _draw(rng: Rng, cdf: np.ndarray) -> int:
    return min(int(np.searchsorted(cdf, rng.random(), side="right")), len(cdf) - 1)


_NEAR_CDF = np.cumsum(1.0 / np.arange(1, 9)) / np.sum(1.0 / np.arange(1, 9))


class Geography:
    """Sentences about real places, by relations alone."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.names: list[str] = world.cities["name"].tolist()
        self.iso: list[str] = world.cities["country"].tolist()
        self.lat = world.cities["lat"].to_numpy()
        self.lon = world.cities["lon"].to_numpy()
        self.utc = world.cities["utc_offset"].to_numpy()
        self.isos = list(world.countries)
        sizes = np.sqrt([len(c["cities"]) for c in world.countries.values()])
        self.country_cdf = np.cumsum(sizes) / sizes.sum()
        self.city_cdf = np.cumsum(world.weights)
        self.kinds: list[tuple[float, Callable[[Rng], Text]]] = [
            (0.30, self.facts), (0.16, self.walk), (0.18, self.directions), (0.08, self.order), (0.07, self.clock),
            (0.06, self.country_list), (0.06, self.country_facts), (0.09, self.people),
        ]  # fmt: skip

    def city(self, row: int) -> tuple[str, int]:
        """Return the pair (name, row) that `Text.add` takes for a mention."""
        return (self.names[row], row)

    def draw(self, rng: Rng) -> int:
        """Draw a seen city, in proportion to population to the power .35."""
        return int(self.world.seen[_draw(rng, self.city_cdf)])

    def near(self, rng: Rng, row: int) -> int:
        """Draw one of the eight nearest seen cities, nearer ones more often."""
        return int(self.world.neighbours[row][_draw(rng, _NEAR_CDF)])

    def country(self, rng: Rng) -> dict[str, Any]:
        """Draw a country, in proportion to the root of its number of cities."""
        return self.world.countries[self.isos[_draw(rng, self.country_cdf)]]

    def document(self, rng: Rng) -> Text:
        """Return one text about places."""
        return self.kinds[_draw(rng, np.cumsum([share for share, _ in self.kinds]))][1](rng)

    def facts(self, rng: Rng) -> Text:
        """Two to four facts about one city."""
        row = self.draw(rng)
        country = self.world.countries[self.iso[row]]
        a, b = rng.choice(self.world.neighbours[row][:5], size=2, replace=False)
        makers: list[Callable[[Text], Text]] = [
            lambda t: t.tell("country", row).add(self.city(row), f" is a city in {country['name']}."),
            lambda t: (
                t.tell("near", row, a)
                .tell("near", row, b)
                .add(self.city(row), " is near ", self.city(int(a)), " and ", self.city(int(b)), ".")
            ),
            lambda t: t.tell("hemisphere", row).add(
                self.city(row), f" lies in the {'northern' if self.lat[row] > 0 else 'southern'} hemisphere."
            ),
            lambda t: t.tell("climate", row).add("The climate of ", self.city(row), f" is {climate(self.lat[row])}."),
            lambda t: t.tell("continent", row).add(self.city(row), f" is in {country['continent']}."),
        ]
        if country["language"]:
            makers.append(
                lambda t: t.tell("language", row).add("In ", self.city(row), f" people speak {country['language']}.")
            )
        if country["currency"]:
            makers.append(
                lambda t: t.tell("currency", row).add(
                    "In ", self.city(row), f" people pay with the {country['currency']}."
                )
            )
        text = Text("geography/facts")
        size = int(rng.integers(2, 5))
        first = [0] if rng.random() < 0.5 else []
        rest = [int(i) for i in rng.permutation(len(makers)) if i not in first]
        for i, which in enumerate((first + rest)[:size]):
            makers[which](text.add(" ") if i else text)
        return text

    def walk(self, rng: Rng) -> Text:
        """A journey over the graph of neighbours."""
        row = self.draw(rng)
        stops = [row]
        for _ in range(int(rng.integers(2, 6))):
            options = [int(j) for j in self.world.neighbours[stops[-1]] if int(j) not in stops]
            if not options:
                break
            stops.append(options[min(int(rng.geometric(0.4)) - 1, len(options) - 1)])
        text = Text("geography/walk").add(f"The {_pick(rng, ['train', 'bus', 'road'])} runs from ", self.city(stops[0]))
        for i, stop in enumerate(stops[1:]):
            text.tell("road", stops[i], stop).add(" to " if i == 0 else ", then to ", self.city(stop))
        return text.add(".")

    def directions(self, rng: Rng) -> Text:
        """Compass direction and rounded distance between cities, at any scale."""
        text = Text("geography/directions")
        a = self.draw(rng)
        size = int(rng.integers(1, 4))
        others = dict.fromkeys(self.near(rng, a) if rng.random() < 0.5 else self.draw(rng) for _ in range(size))
        for b in others:
            if b == a:
                continue
            km = float(self.world.km[a, b])
            step = 10 if km < 200 else 100 if km < 2000 else 1000
            about = max(step, round(km / step) * step)
            text.tell("direction", a, b).add(
                " " if text.length else "", self.city(b), f" lies {self.world.direction(a, b)} of "
            )
            text.add(self.city(a), f", about {about} km away." if rng.random() < 0.6 else ".")
        return text if text.length else self.directions(rng)

    def order(self, rng: Rng) -> Text:
        """A few cities from west to east or from north to south."""
        size = int(rng.integers(3, 6))
        rows = list(dict.fromkeys(self.draw(rng) for _ in range(size)))
        if rng.random() < 0.5:
            rows.sort(key=lambda r: -self.lat[r])
            text = Text("geography/order").add("From north to south: ")
        else:
            rows.sort(key=lambda r: self.lon[r])
            text = Text("geography/order").add("From west to east: ")
        for i, row in enumerate(rows):
            text.add(", " if i else "", self.city(row))
            if i:
                text.tell("order", rows[i - 1], row)
        return text.add(".")

    def clock(self, rng: Rng) -> Text:
        """The time in one city when it is a full hour in another (offsets of January)."""
        a, b = self.draw(rng), self.draw(rng)
        hour = int(rng.integers(24))
        there = int(np.floor(hour + self.utc[b] - self.utc[a])) % 24
        return (
            Text("geography/clock")
            .tell("clock", a, b)
            .add("When it is ", f"{hour} o'clock in ", self.city(a), f", it is {there} o'clock in ", self.city(b), ".")
        )

    def country_list(self, rng: Rng) -> Text:
        """Cities of one country."""
        country = self.country(rng)
        rows = rng.permutation(country["cities"])[: int(rng.integers(3, 8))]
        text = Text("geography/list").add(f"Cities in {country['name']}: ")
        for i, row in enumerate(rows):
            text.tell("country", int(row)).add(", " if i else "", self.city(int(row)))
        return text.add(".")

    def country_facts(self, rng: Rng) -> Text:
        """Capital, borders, continent, language and currency of a country."""
        country = self.country(rng)
        text = Text("geography/country")
        capital = next((r for r in country["cities"] if self.names[r] == country["capital"]), None)
        if capital is not None:
            text.tell("capital", capital).add(f"The capital of {country['name']} is ", self.city(capital), ". ")
        borders = [self.world.countries[n]["name"] for n in country["neighbours"]]
        if borders:
            shown = [borders[i] for i in rng.permutation(len(borders))[:3]]
            text.add(f"{country['name']} borders {', '.join(shown)}. ")
        text.add(f"{country['name']} is a country in {country['continent']}.")
        if country["language"]:
            text.add(f" Its language is {country['language']}.")
        if country["currency"]:
            text.add(f" Its money is the {country['currency']}.")
        return text

    def people(self, rng: Rng) -> Text:
        """Somebody lives in one city and moves to another."""
        who = _pick(rng, lex.PEOPLE)
        a = self.draw(rng)
        b = self.near(rng, a) if rng.random() < 0.6 else self.draw(rng)
        text = Text("geography/people").add(f"{who} was born in ", self.city(a), " and moved to ", self.city(b), ".")
        country = self.world.countries[self.iso[b]]
        if country["language"] and rng.random() < 0.4:
            text.tell("language", b).add(f" {who} learned {country['language']}.")
        elif rng.random() < 0.6:
            text.tell("country", b).add(f" {who} now lives in {country['name']}.")
        return text


def story(rng: Rng) -> Text:
    """A small story; a third of them are indirect-object sentences (two names, one repeated)."""
    text = Text("stories")
    a, b = _distinct(rng, lex.PEOPLE, 2)
    place, thing = _pick(rng, lex.SPOTS), _pick(rng, lex.THINGS)
    if rng.random() < 0.4:
        first, second = (a, b) if rng.random() < 0.5 else (b, a)
        verb = _pick(rng, ["went to", "met at", "were at"])
        return text.add(f"When {first} and {second} {verb} the {place}, {a} gave the {thing} to {b}.")
    animal, mood = _pick(rng, lex.ANIMALS), _pick(rng, lex.FEELINGS)
    text.add(f"{a} had a {animal}. One day {a} and {b} walked to the {place}. ")
    text.add(f"{b} saw a {thing} and took the {thing} home. ")
    return text.add(f"{a} was {mood}, so {b} gave the {thing} to {a}. The {animal} was {_pick(rng, lex.FEELINGS)}.")


def ordinals(rng: Rng) -> Text:
    """A run of consecutive members of one ordinal class."""
    names = list(lex.ORDINALS)
    members, cyclic = lex.ORDINALS[names[int(rng.integers(len(names)))]]
    size = int(rng.integers(4, 11))
    start = int(rng.integers(len(members) if cyclic else max(1, len(members) - size)))
    run = [members[(start + i) % len(members)] for i in range(size if cyclic else min(size, len(members)))]
    return Text("ordinals").add(_pick(rng, [" ", ", "]).join(run))


# what a sample of a skill states about the city that it mentions first
_TOLD_BY_SKILL = {
    "country of": "country", "capital of": "capital", "language of": "language",
    "continent of": "continent", "near to": "near",
}  # fmt: skip


class Tasks:
    """Instruction samples: a question and its answer, 13 skills."""

    def __init__(self, geography: Geography) -> None:
        self.geo = geography
        self.skills: dict[str, Callable[[Rng], Sample]] = {
            "country of": self._country, "capital of": self._capital, "language of": self._language,
            "continent of": self._continent, "near to": self._near, "opposite": self._opposite,
            "plural": self._plural, "past tense": self._past, "next": self._next, "translate": self._translate,
            "repeat": self._repeat, "count": self._count, "first letter": self._letter,
        }  # fmt: skip

    def document(self, rng: Rng, skill: str | None = None) -> Text:
        """Return one sample of a skill (drawn when None)."""
        names = list(self.skills)
        name = names[int(rng.integers(len(names)))] if skill is None else skill
        text = Text(f"tasks/{name}").add("Question: ", *self.skills[name](rng), ".")
        if name in _TOLD_BY_SKILL:
            rows = [row for _, _, row in text.spans]
            text.tell(_TOLD_BY_SKILL[name], rows[0], rows[1] if len(rows) > 1 else -1)
        return text

    def _country(self, rng: Rng) -> Sample:
        row = self.geo.draw(rng)
        name = self.geo.world.countries[self.geo.iso[row]]["name"]
        return "Which country is ", self.geo.city(row), f" in? Answer: {name}"

    def _capital(self, rng: Rng) -> Sample:
        known = [c for c in self.geo.world.countries.values() if c["capital"] in self.geo.names]
        country = known[int(rng.integers(len(known)))]
        row = self.geo.names.index(country["capital"])
        return f"What is the capital of {country['name']}? Answer: ", self.geo.city(row)

    def _language(self, rng: Rng) -> Sample:
        row, language = -1, ""
        while not language:  # a few countries name no language that we have a word for
            row = self.geo.draw(rng)
            language = self.geo.world.countries[self.geo.iso[row]]["language"]
        return "Which language do people speak in ", self.geo.city(row), f"? Answer: {language}"

    def _continent(self, rng: Rng) -> Sample:
        row = self.geo.draw(rng)
        continent = self.geo.world.countries[self.geo.iso[row]]["continent"]
        return "Which continent is ", self.geo.city(row), f" in? Answer: {continent}"

    def _near(self, rng: Rng) -> Sample:
        row = self.geo.draw(rng)
        return "Which city is near ", self.geo.city(row), "? Answer: ", self.geo.city(self.geo.near(rng, row))

    def _opposite(self, rng: Rng) -> Sample:
        word = _pick(rng, list(lex.ANTONYMS))
        return (f"What is the opposite of {word}? Answer: {lex.ANTONYMS[word]}",)

    def _plural(self, rng: Rng) -> Sample:
        word = _pick(rng, list(lex.PLURALS))
        return (f"What is the plural of {word}? Answer: {lex.PLURALS[word]}",)

    def _past(self, rng: Rng) -> Sample:
        word = _pick(rng, list(lex.PAST_TENSE))
        return (f"What is the past tense of {word}? Answer: {lex.PAST_TENSE[word]}",)

    def _next(self, rng: Rng) -> Sample:
        members, cyclic = lex.ORDINALS[_pick(rng, list(lex.ORDINALS))]
        i = int(rng.integers(len(members) if cyclic else len(members) - 1))
        return (f"What comes after {members[i]}? Answer: {members[(i + 1) % len(members)]}",)

    def _translate(self, rng: Rng) -> Sample:
        word = _pick(rng, list(lex.TRANSLATIONS))
        language = _pick(rng, ["French", "Spanish", "German"])
        return (f"What is {word} in {language}? Answer: {lex.TRANSLATIONS[word][language]}",)

    def _repeat(self, rng: Rng) -> Sample:
        words = " ".join(_distinct(rng, lex.THINGS, int(rng.integers(2, 6))))
        return (f"Say again: {words}. Answer: {words}",)

    def _count(self, rng: Rng) -> Sample:
        n = int(rng.integers(1, 8))
        word = _pick(rng, lex.THINGS)
        return (f"How many are here: {' '.join([word] * n)}? Answer: {n}",)

    def _letter(self, rng: Rng) -> Sample:
        word = _pick(rng, list(lex.PLURALS))
        return (f"What is the first letter of {word}? Answer: {word[0].upper()}",)


class Corpus:
    """All generators over one world; `document(seed, number)` is a pure function."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.geography = Geography(world)
        self.tasks = Tasks(self.geography)

    def document(self, seed: int, number: int) -> Text:
        """Return document `number` of the corpus with this seed."""
        rng = np.random.default_rng(np.random.SeedSequence([seed, number]))
        kind = list(MIXTURE)[_draw(rng, np.cumsum(list(MIXTURE.values())))]
        if kind == "geography":
            return self.geography.document(rng)
        if kind == "stories":
            return story(rng)
        return self.tasks.document(rng) if kind == "tasks" else ordinals(rng)

    def documents(self, seed: int, start: int = 0) -> Iterator[Text]:
        """Yield documents from number `start` on, without end."""
        number = start
        while True:
            yield self.document(seed, number)
            number += 1
