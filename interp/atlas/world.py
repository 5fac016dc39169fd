"""The geography that the corpus tells: which cities, which countries, and the relations between them.

Coordinates are never written in a text; they enter only through relations (near, direction, distance,
order from west to east, hemisphere, time difference). Some cities are never mentioned at all.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd

from interp.atlas.lexicon import LANGUAGES

EARTH_KM = 6371.0088
COMPASS = ("north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west")
_RENAMED = {
    "Democratic Republic of the Congo": "DR Congo",
    "Republic of the Congo": "Congo",
    "United Arab Emirates": "Emirates",
    "The Netherlands": "Netherlands",
    "Dominican Republic": "Dominicana",
    "Palestinian Territory": "Palestine",
    "Bosnia and Herzegovina": "Bosnia",
    "Central African Republic": "Central Africa",
    "Papua New Guinea": "Papua",
    "Trinidad and Tobago": "Trinidad",
}


_PLAIN = re.compile(r"[A-Za-z]+(?:[ '-][A-Za-z]+){0,2}")
"""A name that the corpus may have: one to three words of plain letters."""


def unit_xyz(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Return points on the unit sphere, float64 [n, 3], from degrees."""
    phi, lam = np.radians(lat), np.radians(lon)
    return np.column_stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])


def bearing(lat0: float, lon0: float, lat1: float, lon1: float) -> float:
    """Return the bearing of the rhumb line from point 0 to point 1, in degrees from north.

    A rhumb line keeps its compass direction all the way, the shorter way round: Madrid lies east of New York,
    although the shortest path sets out to the north-east. It is straight on a Mercator map.
    """
    east = (lon1 - lon0 + 180) % 360 - 180
    north = np.degrees(np.arctanh(np.sin(np.radians(lat1))) - np.arctanh(np.sin(np.radians(lat0))))
    return float(np.degrees(np.arctan2(east, north)) % 360)


def climate(lat: float) -> str:
    """Return the climate that the corpus names for a latitude (a rule by latitude alone)."""
    band = abs(lat)
    return "tropical" if band < 23.5 else "subtropical" if band < 35 else "temperate" if band < 52 else "cold"


def _asset(name: str) -> bytes:
    return (resources.files("interp") / "assets" / name).read_bytes()


def city_table() -> pd.DataFrame:
    """Return the bundled cities of at least 15,000 people (GeoNames), largest first."""
    return pd.read_parquet(BytesIO(_asset("cities.parquet")))


def country_table() -> dict[str, Any]:
    """Return iso code -> name, capital, continent, language code, currency, neighbours (GeoNames)."""
    return json.loads(_asset("countries.json"))


def _held_out(geonameid: int, share: float) -> bool:
    """Decide by the id alone, so that the split never depends on which other cities are in."""
    digest = hashlib.sha256(f"held out:{geonameid}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < share


def choose_cities(n: int, *, held_out: float = 0.1, per_country: int = 70) -> pd.DataFrame:
    """Return the `n` cities of the corpus: the largest of plain and unique name, at most `per_country` a country.

    A column `seen` says whether texts may mention the city; capitals are always seen.
    """
    cities: Any = city_table()
    countries = country_table()
    # by the regular expressions of Python: those of a column differ between versions of pandas in what a letter is
    plain = np.array([_PLAIN.fullmatch(name) is not None for name in cities["name"]])
    cities = cities[plain & (cities["population"] > 100_000)].drop_duplicates("name")
    capital = cities["name"] == cities["country"].map({iso: c["capital"] for iso, c in countries.items()})
    rank = cities.groupby("country")["population"].rank(ascending=False, method="first")
    cities = cities.assign(capital=capital)[(rank <= per_country) | capital]
    order = cities.sort_values(["capital", "population"], ascending=[False, False], kind="stable").head(n)
    out = order.sort_values(["population", "geonameid"], ascending=[False, True], kind="stable").reset_index(drop=True)
    hidden = np.array([_held_out(int(i), held_out) for i in out["geonameid"]])
    return out.assign(seen=~hidden | out["capital"].to_numpy())


@dataclass(frozen=True)
class World:
    """The cities and countries of the corpus, with the relations that texts may tell."""

    cities: pd.DataFrame

    @cached_property
    def seen(self) -> np.ndarray:
        """Row numbers of the cities that texts may mention."""
        return np.flatnonzero(self.cities["seen"].to_numpy())

    @cached_property
    def weights(self) -> np.ndarray:
        """Probability of each seen city: population to the power .35, so that texts are Zipf-like."""
        w = self.cities["population"].to_numpy(float)[self.seen] ** 0.35
        return w / w.sum()

    @cached_property
    def km(self) -> np.ndarray:
        """Great-circle distances between all cities, float64 [n, n], in km."""
        xyz = unit_xyz(self.cities["lat"].to_numpy(), self.cities["lon"].to_numpy())
        chord = np.clip(np.linalg.norm(xyz[:, None] - xyz[None], axis=2) / 2, 0, 1)
        return 2 * EARTH_KM * np.arcsin(chord)

    @cached_property
    def neighbours(self) -> np.ndarray:
        """The eight nearest seen cities of each city, row numbers [n, 8], nearest first."""
        km = self.km[:, self.seen].copy()
        km[self.seen, np.arange(len(self.seen))] = np.inf
        return self.seen[np.argsort(km, axis=1, kind="stable")[:, :8]]

    @cached_property
    def countries(self) -> dict[str, dict[str, Any]]:
        """Countries that have a seen city: name, capital, continent, language, currency, neighbours, cities."""
        table = country_table()
        members = {iso: [] for iso in sorted(set(self.cities["country"]))}
        for row in self.seen:
            members[self.cities["country"].iat[row]].append(int(row))
        out = {}
        for iso, rows in members.items():
            raw = table[iso]
            out[iso] = {
                **raw,
                "name": _RENAMED.get(raw["name"], raw["name"]),
                "language": LANGUAGES.get(raw["language"], ""),
                "currency": raw["currency"].split()[-1].lower() if raw["currency"] else "",
                "cities": rows,
            }
        out = {iso: c for iso, c in out.items() if c["cities"]}
        for c in out.values():
            c["neighbours"] = [n for n in c["neighbours"] if n in out]
        return out

    def direction(self, a: int, b: int) -> str:
        """Return where city `b` lies as seen from city `a`, one of eight compass directions (`bearing`)."""
        (lat0, lon0), (lat1, lon1) = self._places[a], self._places[b]
        return COMPASS[round(bearing(lat0, lon0, lat1, lon1) / 45) % 8]

    @cached_property
    def _places(self) -> list[tuple[float, float]]:
        return list(zip(self.cities["lat"].tolist(), self.cities["lon"].tolist(), strict=True))


def default_world(n_cities: int = 2000) -> World:
    """Return the world of the bundled model."""
    return World(choose_cities(n_cities))
