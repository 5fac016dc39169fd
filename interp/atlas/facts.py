"""What the bundled model was told: the ground truth that analyses are tested against."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.atlas import lexicon

if TYPE_CHECKING:
    import pandas as pd

    from interp.atlas.corpus import Corpus


def folder() -> Path:
    """Return the folder of the bundled model in Hugging Face format."""
    return Path(str(resources.files("interp") / "assets" / "atlas"))


@dataclass(frozen=True)
class Facts:
    """Everything the training text told.

    cities: one row a city (name, lat, lon, country, admin1, population, utc_offset, capital; `seen`: whether
        texts may mention it; `n_mentions` in the training text; `n_tokens` of its name).
    told: one row a stated relation: relation, city, other (row numbers of `cities`, other = -1 where the
        object is no city) and how often it was stated.
    countries: iso code -> name, capital, continent, language, currency, neighbours, rows of its cities.
    ordinals: class -> (members in order, whether the last is followed by the first).
    pairs: skill -> {word: answer} for plural, past tense, opposite, and one a language for translation.
    """

    cities: pd.DataFrame
    told: pd.DataFrame
    countries: Mapping[str, Mapping[str, Any]]
    ordinals: Mapping[str, tuple[list[str], bool]]
    pairs: Mapping[str, Mapping[str, str]]

    def corpus(self) -> Corpus:
        """Return the generator, for fresh texts with the spans of the cities in them."""
        from interp.atlas.corpus import Corpus
        from interp.atlas.world import World

        return Corpus(World(self.cities))


@cache
def facts() -> Facts:
    """Load the facts of the bundled model (a fraction of a second; cached)."""
    import pandas as pd

    from interp.atlas.world import World

    cities = pd.read_parquet(BytesIO((folder() / "cities.parquet").read_bytes()))
    told = pd.read_parquet(BytesIO((folder() / "told.parquet").read_bytes()))
    pairs: dict[str, Mapping[str, str]] = {
        "plural": lexicon.PLURALS,
        "past tense": lexicon.PAST_TENSE,
        "opposite": lexicon.ANTONYMS,
    }
    for language in ("French", "Spanish", "German"):
        pairs[f"translate to {language}"] = {word: t[language] for word, t in lexicon.TRANSLATIONS.items()}
    return Facts(cities, told, World(cities).countries, lexicon.ORDINALS, pairs)


def card() -> dict[str, Any]:
    """Return the card of the bundled model: settings, licence and everything that was measured."""
    return json.loads((folder() / "card.json").read_text())
