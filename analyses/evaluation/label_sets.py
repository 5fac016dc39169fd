"""Texts with a label each, read at their last token: of the bundled model's own facts, or from a file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from interp.errors import InvalidInput, nearest

if TYPE_CHECKING:
    from interp.atlas.facts import Facts

OTHER = "(other)"
MIN_ROWS = 20
N_PER_SKILL = 40


class LabelSet(NamedTuple):
    """Texts, one a thing, and the label of each."""

    texts: list[str]
    labels: np.ndarray


def label_sets_of(facts: Facts, *, seed: int) -> dict[str, LabelSet]:
    """Return what the texts of a bundled model tell apart, each read at the last token of a short text.

    continent and country of a city (its name alone), language of a word, class of an ordinal, skill of an instruction
    (up to where its answer begins). A label of fewer than 20 texts is "(other)"; a text with two labels is left out.

    Args:
        seed: of the instructions.
    """
    cities = facts.cities[facts.cities["seen"]]
    country = [str(facts.countries[iso]["name"]) for iso in cities["country"]]
    continent = [str(facts.countries[iso]["continent"]) for iso in cities["country"]]
    names = cities["name"].tolist()
    foreign = facts.translations
    words = [*foreign["translation"], *foreign["word"].unique()]
    languages = [*foreign["language"], *["English"] * foreign["word"].nunique()]
    ordinals = [(member, kind) for kind, (members, _) in facts.ordinals.items() for member in members]
    return {
        "continent of the city": labelled(names, continent),
        "country of the city": labelled(names, country),
        "language of the word": labelled(words, languages),
        "class of the ordinal": labelled([m for m, _ in ordinals], [k for _, k in ordinals]),
        "skill of the instruction": labelled(*_instructions(facts, seed)),
    }


def read_label_set(path: Path) -> LabelSet:
    """Read a CSV, TSV or parquet file with the columns text and label.

    Raises:
        InvalidInput: no such file, another format, other columns, or an empty text.
    """
    if not path.is_file():
        raise InvalidInput(f"there is no file {path}; --labels expects a CSV, TSV or parquet file of texts and labels.")
    if path.suffix not in (".csv", ".tsv", ".parquet"):
        raise InvalidInput(f"{path.name} ends in {path.suffix!r}; --labels reads .csv, .tsv and .parquet.")
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        else:
            mark = "," if path.suffix == ".csv" else "\t"
            table = pd.read_csv(path, sep=mark, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise InvalidInput(f"{path} cannot be read ({error}); expected a table with the columns text, label.") from None
    for name in ("text", "label"):
        if name not in table.columns:
            near = ", ".join(nearest(name, map(str, table.columns)))
            raise InvalidInput(f"{path} has no column {name!r} (nearest: {near}); expected text and label.")
    texts = table["text"].astype(str).tolist()
    if not texts or not all(text.strip() for text in texts):
        raise InvalidInput(f"{path} has no row, or a row with an empty text; every row needs a text.")
    return labelled(texts, table["label"].astype(str).tolist())


def labelled(texts: list[str], labels: list[str]) -> LabelSet:
    """Return each text once, without those that have two labels; a label of fewer than 20 texts is "(other)".

    Raises:
        InvalidInput: fewer than two labels are left.
    """
    of_text: dict[str, set[str]] = {}
    for text, label in zip(texts, labels, strict=True):
        of_text.setdefault(text, set()).add(label)
    kept = {text: next(iter(found)) for text, found in of_text.items() if len(found) == 1}
    counts = Counter(kept.values())
    names = [label if counts[label] >= MIN_ROWS else OTHER for label in kept.values()]
    if len(set(names)) < 2:
        raise InvalidInput(
            f"{len(kept)} different texts leave one label or none ({', '.join(sorted(set(names)))}); a label needs "
            f"{MIN_ROWS} texts, and there must be texts of another one."
        )
    return LabelSet(list(kept), np.array(names, dtype=object))


def _instructions(facts: Facts, seed: int) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(seed)
    skills = facts.corpus().skills
    texts, labels = [], []
    for skill in skills.names:
        for _ in range(N_PER_SKILL):
            text = skills.document(rng, skill)
            if text.answer is not None:
                texts.append(text.text[: text.answer[0]])
                labels.append(skill)
    return texts, labels
