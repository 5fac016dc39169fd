"""What the bundled model was told: the ground truth that analyses are tested against."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import CorruptArtifact, InvalidInput, nearest

if TYPE_CHECKING:
    import pandas as pd

    from interp.atlas.corpus import Corpus, Text

_PAIRS = {"plural": "PLURALS", "past tense": "PAST_TENSE", "opposite": "ANTONYMS"}


def folder() -> Path:
    """Return the folder of the bundled model in Hugging Face format."""
    return Path(str(resources.files("interp") / "assets" / "atlas"))


@dataclass(frozen=True)
class Facts:
    """Everything that the training text told, and what it held back.

    cities: one row a city (name, lat and lon in degrees, country, admin1, population, utc_offset in hours, capital;
        `seen`: whether texts may mention it; `n_mentions` in the training text; `n_tokens` of its name).
    told: one row a relation as it was stated: relation, city, other (row numbers of `cities`, other = -1 where the
        object is no city) and how often the training text stated it, counted in what was read of each text.
    """

    cities: pd.DataFrame
    told: pd.DataFrame

    @cached_property
    def _corpus(self) -> Corpus:
        from interp.atlas.corpus import Corpus
        from interp.atlas.world import World

        return Corpus(World(self.cities))

    def corpus(self) -> Corpus:
        """Return the generator, for fresh texts with the names, facts, labels and trees in them."""
        return self._corpus

    def texts(self, seed: int) -> Iterator[Text]:
        """Yield texts of the mixture without end; equal seeds, equal texts. The training text has other draws."""
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))  # training rows have no spawn key
        while True:
            yield self._corpus.document(rng)

    def held_out_fact(self, relation: str, city: int, other: int = -1) -> bool:
        """Return whether a fact of city row `city` (and row `other`, either way round) is kept out of every text.

        Raises:
            InvalidInput: no such relation, a row that is no city, or one city too few or too many.
        """
        from interp.atlas.corpus.geography import ABOUT_ONE, BETWEEN_TWO

        known = ABOUT_ONE + BETWEEN_TWO
        if relation not in known:
            near = ", ".join(nearest(relation, known))
            raise InvalidInput(f"no facts of {relation!r} are held out. Nearest: {near}. All: {', '.join(known)}.")
        given = [city] if relation in ABOUT_ONE else [city, other]
        if (relation in ABOUT_ONE) != (other == -1) or not all(0 <= row < len(self.cities) for row in given):
            needs = "one row" if relation in ABOUT_ONE else "two rows"
            raise InvalidInput(f"{relation!r} takes {needs} of `cities` (0 to {len(self.cities) - 1}); got {given}.")
        return self._corpus.geography.held_out(relation, *given)

    @cached_property
    def held_out(self) -> pd.DataFrame:
        """Facts of cities in the texts that no text states: relation, city, other (-1 where the object is no city).

        Country, language, continent, currency, hemisphere and climate of a city, capital of its country, and pairs
        of cities one of which is among the eight nearest of the other (each pair once). The directions and times
        between two cities are decided pair by pair: ask `held_out_fact`. Of a city that is not `seen` nothing at
        all is told, so it has no row here.
        """
        import pandas as pd

        return pd.DataFrame(sorted(self._held_out()), columns=["relation", "city", "other"])

    def _held_out(self) -> Iterator[tuple[str, int, int]]:
        from interp.atlas.corpus.geography import ABOUT_ONE

        geo = self._corpus.geography
        pairs = {tuple(sorted((int(a), int(b)))) for a in geo.world.seen for b in geo.world.neighbours[a]}
        yield from (("near", a, b) for a, b in pairs if geo.held_out("near", a, b))
        for row in geo.world.seen.tolist():
            country = geo.country_of(row)
            for relation in ABOUT_ONE:
                exists = row in geo.capital_rows if relation == "capital" else country.get(relation, True)
                if exists and geo.held_out(relation, row):
                    yield relation, row, -1

    @cached_property
    def countries(self) -> Mapping[str, Mapping[str, Any]]:
        """Iso code -> name, capital, continent, language, currency, neighbours and rows of its seen cities."""
        return self._corpus.world.countries

    @cached_property
    def ordinals(self) -> Mapping[str, tuple[list[str], bool]]:
        """Class of ordinal words -> (members in order, whether the last is followed by the first)."""
        from interp.atlas import lexicon

        return lexicon.ORDINALS

    @cached_property
    def pairs(self) -> Mapping[str, Mapping[str, str]]:
        """Skill -> {word: answer} for plural, past tense and opposite."""
        from interp.atlas import lexicon

        return {skill: getattr(lexicon, table) for skill, table in _PAIRS.items()}

    @cached_property
    def translations(self) -> pd.DataFrame:
        """One row a noun and language: word, language, translation, told (whether texts state the pair)."""
        import pandas as pd

        return pd.DataFrame(self._corpus.languages.word_pairs(), columns=["word", "language", "translation", "told"])

    @cached_property
    def skills(self) -> pd.DataFrame:
        """One row a skill and template: skill, template, seen (whether the training text has the two together)."""
        import pandas as pd

        made = self._corpus.skills
        rows = [(skill, template, made.seen(skill, template)) for skill in made.names for template in made.templates]
        return pd.DataFrame(rows, columns=["skill", "template", "seen"])


@cache
def facts() -> Facts:
    """Load the facts of the bundled model (a fraction of a second; cached)."""
    return load_facts(folder())


def load_facts(path: Path) -> Facts:
    """Load the facts of a folder that was exported as the bundled model was.

    Raises:
        CorruptArtifact: the tables are missing or cannot be read.
    """
    import pandas as pd
    import pyarrow as pa

    try:
        cities, told = (
            pd.read_parquet(BytesIO((path / f"{name}.parquet").read_bytes())) for name in ("cities", "told")
        )
    except (OSError, pa.ArrowException, ValueError) as error:
        raise CorruptArtifact(f"the facts in {path} cannot be read: {error}. Restore the folder.") from error
    return Facts(cities, told)


def card() -> dict[str, Any]:
    """Return the card of the bundled model: settings, licence and everything that was measured."""
    return json.loads((folder() / "card.json").read_text(encoding="utf-8"))


def checkpoints() -> pd.DataFrame:
    """Return the bundled model along its training: name (for `load_model`), step, tokens seen by then; last the final.

    The earlier steps ship in eight bits, the final weights in sixteen.
    """
    import pandas as pd

    about = card()
    steps = [(f"{about['name']}@step{c['step']}", c["step"], c["tokens"]) for c in about.get("checkpoints", [])]
    final = about["training"]["log"][-1]
    return pd.DataFrame([*steps, (about["name"], final["step"], final["tokens"])], columns=["name", "step", "tokens"])
