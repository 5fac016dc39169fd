"""Labels of places that a model may know: country, and continent of countries that were never fitted.

A place is written behind a word ("In Paris", "From Paris") and read at the last token of its name, where a causal model
has seen the name and nothing that follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from interp.stats.seeds import check_seed

CARRIERS = ("In ", "From ")
MIN_PLACES, MAX_COUNTRIES, MAX_PLACES = 8, 10, 25
"""Of the country task: places that a country needs, most countries, most places of each."""
EACH, MIN_COUNTRIES = 2, 5
"""Of the continent task: most places of a country, countries that a continent needs."""
COUNTRY, CONTINENT = "country", "continent"


@dataclass(frozen=True)
class Task:
    """A label of some places: their row numbers [n], labels [n], and groups [n] that no fold splits."""

    name: str
    rows: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    grouped_by: str


@dataclass(frozen=True)
class Atlas:
    """What is known of countries: code -> name and continent, and code of each name."""

    names: Mapping[str, str]
    continents: Mapping[str, str]

    def code(self, country: str) -> str:
        """Return the code of a country that is given by code or by name; one that is not known stays as it is."""
        if country.upper() in self.names:
            return country.upper()
        codes = {name.casefold(): code for code, name in self.names.items()}
        return codes.get(country.casefold(), country)

    def name(self, code: str) -> str:
        """Return the name of a country."""
        return self.names.get(code, code)


def country_atlas(model_name: str) -> Atlas:
    """Return names and continents of countries, with the names that the bundled model was told where it is asked."""
    from interp.atlas.facts import facts
    from interp.atlas.world import country_table

    known = country_table()
    names = {code: str(country["name"]) for code, country in known.items()}
    if model_name.partition("@")[0] == "atlas":
        names |= {code: str(country["name"]) for code, country in facts().countries.items()}
    return Atlas(names, {code: str(country["continent"]) for code, country in known.items()})


def place_tasks(places: pd.DataFrame, atlas: Atlas, *, seed: int) -> tuple[list[Task], dict[str, str]]:
    """Return the tasks that a table of places allows, and for each of the others why not.

    Args:
        places: frame with `name`, and `country` as a code (ISO 3166) or a name.
    """
    if "country" not in places.columns:
        return [], dict.fromkeys((COUNTRY, CONTINENT), "the places have no column country")
    known = places[places["country"].notna() & ~places["name"].duplicated(keep=False)]
    if not len(known):
        return [], dict.fromkeys((COUNTRY, CONTINENT), "no place has a country")
    order = np.random.default_rng(np.random.SeedSequence(check_seed(seed), spawn_key=(21,))).permutation(len(known))
    shuffled: Any = known.iloc[order]
    codes = shuffled["country"].astype(str).map({c: atlas.code(c) for c in set(known["country"].astype(str))})
    tasks, skipped = [], {}
    counts = codes.value_counts(sort=True)
    large = sorted(counts.index[counts >= MIN_PLACES], key=lambda c: (-counts[c], c))[:MAX_COUNTRIES]
    if len(large) >= 2:
        part = codes[codes.isin(large)].groupby(codes).head(MAX_PLACES).sort_index()
        name = np.array([atlas.name(code) for code in part], dtype=object)
        tasks.append(Task(COUNTRY, part.index.to_numpy(), name, part.index.to_numpy(), "place"))
    else:
        skipped[COUNTRY] = f"fewer than two countries have {MIN_PLACES} places"
    continent = _continent(codes, atlas)
    if continent is None:
        skipped[CONTINENT] = f"fewer than two continents have {MIN_COUNTRIES} countries"
    else:
        tasks.append(continent)
    return tasks, skipped


def _continent(codes: Any, atlas: Atlas) -> Task | None:
    continent: Any = codes.map(atlas.continents).dropna()
    countries = codes[continent.index].groupby(continent).nunique()
    large = countries.index[countries >= MIN_COUNTRIES]
    if len(large) < 2:
        return None
    own = codes[continent.index[continent.isin(large)]]
    part: Any = own.groupby(own).head(EACH).sort_index()
    return Task(
        CONTINENT, part.index.to_numpy(), continent[part.index].to_numpy(dtype=object), part.to_numpy(dtype=object),
        "country",
    )  # fmt: skip


def carried(names: list[str]) -> tuple[list[str], list[tuple[int, int]]]:
    """Return each name behind each carrier, and the characters of the name; all names with the first carrier first."""
    texts = [carrier + name for carrier in CARRIERS for name in names]
    spans = [(len(carrier), len(carrier) + len(name)) for carrier in CARRIERS for name in names]
    return texts, spans
