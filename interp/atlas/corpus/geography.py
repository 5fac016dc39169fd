"""Sentences about real places, by relations alone: coordinates are never written.

Some facts of each relation are held out by hash and stated in no text, so that what a model knows of
them it has inferred.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from interp.atlas import lexicon as lex
from interp.atlas.corpus.draw import Rng, common, draw, held_out, pick
from interp.atlas.corpus.text import Text
from interp.atlas.world import World, climate

ABOUT_ONE = ("country", "language", "continent", "currency", "capital", "hemisphere", "climate")
BETWEEN_TWO = ("near", "direction", "clock")
_NEAR = np.cumsum(1.0 / np.arange(1, 9))


def rounded_km(km: float) -> int:
    """Return a distance as the texts state it: to 10 km below 200, to 100 below 2,000, else to 1,000."""
    step = 10 if km < 200 else 100 if km < 2000 else 1000
    return max(step, round(km / step) * step)


class Geography:
    """Sentences about the cities and countries of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.names: list[str] = world.cities["name"].tolist()
        self.iso: list[str] = world.cities["country"].tolist()
        self.ids: list[int] = world.cities["geonameid"].tolist()
        self.lat: list[float] = world.cities["lat"].tolist()
        self.lon: list[float] = world.cities["lon"].tolist()
        self.utc: list[float] = world.cities["utc_offset"].tolist()
        self.isos = list(world.countries)
        sizes = np.sqrt([len(c["cities"]) for c in world.countries.values()])
        self.country_cdf = np.cumsum(sizes) / sizes.sum()
        self.city_cdf = np.cumsum(world.weights)
        self.capitals = {iso: self._capital_row(c) for iso, c in world.countries.items()}
        self.capital_rows = {row for row in self.capitals.values() if row >= 0}
        self.near_told = [
            [int(j) for j in row if not self.held_out("near", i, int(j))] for i, row in enumerate(world.neighbours)
        ]
        kinds: list[tuple[float, Callable[[Rng], Text]]] = [
            (0.27, self.facts), (0.13, self.walk), (0.30, self.directions), (0.08, self.order), (0.05, self.clock),
            (0.05, self.country_list), (0.05, self.country_facts), (0.07, self.people),
        ]  # fmt: skip
        self.kinds = [make for _, make in kinds]
        self.kind_cdf = np.cumsum([share for share, _ in kinds])

    def _capital_row(self, country: dict[str, Any]) -> int:
        return next((r for r in country["cities"] if self.names[r] == country["capital"]), -1)

    def held_out(self, relation: str, a: int, b: int = -1) -> bool:
        """Return whether a fact is kept out of every text; a fact between two cities, both ways round.

        The country of a capital is never held out, because naming the capital would tell it.

        Raises:
            KeyError: the relation is not one of `ABOUT_ONE` or `BETWEEN_TWO`.
        """
        if relation in BETWEEN_TWO:
            i, j = sorted((self.ids[a], self.ids[b]))
            return held_out(f"{relation} {i} {j}")
        if relation not in ABOUT_ONE:
            raise KeyError(f"unknown relation {relation!r}; there are {', '.join(ABOUT_ONE + BETWEEN_TWO)}.")
        return not (relation == "country" and a in self.capital_rows) and held_out(f"{relation} {self.ids[a]}")

    def city(self, row: int) -> tuple[str, int]:
        """Return the pair (name, row) that `Text.add` takes for a mention."""
        return (self.names[row], row)

    def country_of(self, row: int) -> dict[str, Any]:
        """Return the country of a city."""
        return self.world.countries[self.iso[row]]

    def draw(self, rng: Rng, relation: str | None = None) -> int:
        """Draw a seen city, in proportion to population to the power .35; with a relation, one whose fact is told."""
        while True:
            row = int(self.world.seen[draw(rng, self.city_cdf)])
            if relation is None or not self.held_out(relation, row):
                return row

    def near(self, rng: Rng, row: int) -> int:
        """Draw one of the eight nearest seen cities whose nearness is told, nearer ones more often.

        A city all of whose neighbours are held out (there is hardly one) gets any city.
        """
        options = self.near_told[row]
        if not options:
            return self.draw(rng)
        return options[draw(rng, _NEAR[: len(options)] / _NEAR[len(options) - 1])]

    def pair(self, rng: Rng, relation: str, near: float) -> tuple[int, int]:
        """Draw two cities whose fact is told; a share `near` of the pairs are neighbours."""
        while True:
            a = self.draw(rng)
            b = self.near(rng, a) if rng.random() < near else self.draw(rng)
            if a != b and not self.held_out(relation, a, b):
                return a, b

    def country(self, rng: Rng) -> dict[str, Any]:
        """Draw a country, in proportion to the root of its number of cities."""
        return self.world.countries[self.isos[draw(rng, self.country_cdf)]]

    def document(self, rng: Rng) -> Text:
        """Return one text about places."""
        return self.kinds[draw(rng, self.kind_cdf)](rng)

    def _statements(self, rng: Rng, row: int) -> Iterator[tuple[str, Callable[[Text], Text]]]:
        """Yield (relation, how to state it) for every fact of a city that may be told."""
        country, city = self.country_of(row), self.city(row)
        yield "country", lambda t: t.add(city, f" is a city in {country['name']}.")
        side = "northern" if self.lat[row] > 0 else "southern"
        yield "hemisphere", lambda t: t.add(city, f" lies in the {side} hemisphere.")
        yield "climate", lambda t: t.add("The climate of ", city, f" is {climate(self.lat[row])}.")
        yield "continent", lambda t: t.add(city, f" is in {country['continent']}.")
        if country["language"]:
            yield "language", lambda t: t.add("In ", city, f" people speak {country['language']}.")
        if country["currency"]:
            yield "currency", lambda t: t.add("In ", city, f" people pay with the {country['currency']}.")

    def _neighbourhood(self, rng: Rng, text: Text, row: int) -> Text:
        near = list(dict.fromkeys(self.near(rng, row) for _ in range(2))) if self.near_told[row] else []
        for i, other in enumerate(near):
            text.add(*((self.city(row), " is near ") if i == 0 else (" and ",)), self.city(other)).tell(
                "near", row, other
            )
        return text.add(".") if near else text

    def facts(self, rng: Rng) -> Text:
        """Two to four facts about one city."""
        row = self.draw(rng)
        told = [(name, make) for name, make in self._statements(rng, row) if not self.held_out(name, row)]
        text = Text("geography/facts")
        size, order = int(rng.integers(2, 5)), rng.permutation(len(told)).tolist()
        if told and told[0][0] == "country" and rng.random() < 0.5:
            order = [0, *(i for i in order if i)]
        for which in order[:size]:
            name, make = told[which]
            make(text.add(" ") if text.length else text).tell(name, row)
        if rng.random() < 0.6 or not text.length:
            self._neighbourhood(rng, text.add(" ") if text.length else text, row)
        return text if text.length else self.facts(rng)

    def walk(self, rng: Rng) -> Text:
        """A journey over the graph of neighbours."""
        stops = [self.draw(rng)]
        for _ in range(int(rng.integers(2, 6))):
            options = [j for j in self.near_told[stops[-1]] if j not in stops]
            if not options:
                break
            stops.append(options[min(int(rng.geometric(0.4)) - 1, len(options) - 1)])
        if len(stops) == 1:
            return self.walk(rng)
        vehicle = common(rng, ["train", "bus", "road", "river"])
        text = Text("geography/walk").add(f"The {vehicle} runs from ", self.city(stops[0]))
        for i, stop in enumerate(stops[1:]):
            text.add(" to " if i == 0 else ", then to ", self.city(stop)).tell("near", stops[i], stop)
        return text.add(".")

    def directions(self, rng: Rng) -> Text:
        """Compass direction and rounded distance between cities, at any scale."""
        text = Text("geography/directions")
        a, b = self.pair(rng, "direction", 0.4)
        others = [b, *(self.draw(rng) for _ in range(int(rng.integers(0, 3))))]
        for b in dict.fromkeys(others):
            if b == a or self.held_out("direction", a, b):
                continue
            about, where = rounded_km(float(self.world.km[a, b])), self.world.direction(a, b)
            text.add(" " if text.length else "")
            way = rng.random()
            if way < 0.4:
                text.add("From ", self.city(a), " to ", self.city(b), f" it is about {about} km {where}.")
            elif way < 0.7:
                text.add(self.city(b), f" lies {where} of ", self.city(a), f", about {about} km away.")
            else:
                text.add(self.city(b), f" lies {where} of ", self.city(a), ".")
            text.tell("direction", a, b)
        return text

    def order(self, rng: Rng) -> Text:
        """A few cities from west to east or from north to south; no two of them with a held-out direction."""
        rows: list[int] = []
        for row in (self.draw(rng) for _ in range(int(rng.integers(3, 6)))):
            if row not in rows and not any(self.held_out("direction", row, other) for other in rows):
                rows.append(row)
        if len(rows) < 2:
            return self.order(rng)
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
        a, b = self.pair(rng, "clock", 0.2)
        hour = int(rng.integers(24))
        there = int(np.floor(hour + self.utc[b] - self.utc[a])) % 24
        text = Text("geography/clock").add("When it is ", f"{hour} o'clock in ", self.city(a), ", it is ")
        return text.add(f"{there} o'clock in ", self.city(b)).tell("clock", a, b).add(".")

    def country_list(self, rng: Rng) -> Text:
        """Cities of one country."""
        country = self.country(rng)
        rows = [row for row in country["cities"] if not self.held_out("country", row)]
        if not rows:
            return self.country_list(rng)
        text = Text("geography/list").add(f"Cities in {country['name']}: ")
        for i, which in enumerate(rng.permutation(len(rows))[: int(rng.integers(3, 8))]):
            text.add(", " if i else "", self.city(rows[which])).tell("country", rows[which])
        return text.add(".")

    def country_facts(self, rng: Rng) -> Text:
        """Capital, borders, continent, language and currency of a country."""
        iso = self.isos[draw(rng, self.country_cdf)]
        country, capital = self.world.countries[iso], self.capitals[iso]
        text = Text("geography/country")
        if capital >= 0 and not self.held_out("capital", capital):
            text.add(f"The capital of {country['name']} is ", self.city(capital)).tell("capital", capital).add(". ")
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
        who, a = pick(rng, lex.PEOPLE), self.draw(rng)
        b = self.near(rng, a) if rng.random() < 0.6 else self.draw(rng)
        text = (
            Text("geography/people").name(who).add(" was born in ", self.city(a), " and moved to ", self.city(b), ".")
        )
        country = self.country_of(b)
        if country["language"] and rng.random() < 0.4 and not self.held_out("language", b):
            return text.add(" ").name(who).add(f" learned {country['language']}.").tell("language", b)
        if rng.random() < 0.6 and not self.held_out("country", b):
            return text.add(" ").name(who).add(f" now lives in {country['name']}.").tell("country", b)
        return text
