"""Places to prompts: the text of each place and the characters of its name in it."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Any, Literal, get_args

import pandas as pd

from interp.errors import InvalidInput, nearest

NAME_ALONE = "{name}"
Over = Literal["name", "prompt"]


@dataclass(frozen=True)
class Prompts:
    """One prompt a place.

    texts: the prompts, in the order of the places.
    spans: (start, end) of what is pooled in each prompt, in characters: the name, or all of it.
    gives_region: whether the template writes something else about the place than its name. Moran's I of
        any feature that copies a region is near 1, so a result with such prompts is marked.
    """

    texts: list[str]
    spans: list[tuple[int, int]]
    template: str
    gives_region: bool

    def part(self, start: int, n: int) -> Prompts:
        """Return the prompts of `n` places from number `start` on."""
        rows = slice(start, start + n)
        return Prompts(self.texts[rows], self.spans[rows], self.template, self.gives_region)


def make_prompts(places: pd.DataFrame, template: str = NAME_ALONE, *, over: Over = "name") -> Prompts:
    """Fill a template such as `{name}` or `{name} is a city in {country}` for every place.

    Args:
        places: frame with a column `name` and whatever else the template names.
        template: text with `{name}` exactly once; other fields are columns of `places`.
        over: which characters the spans hold: those of the name, or the whole prompt.

    Raises:
        InvalidInput: another `over`, no or several `{name}`, an unknown field, a place without a value for it, or an
            empty name.

    >>> prompts = make_prompts(pd.DataFrame({"name": ["Lyon"], "country": ["FR"]}), "{name} is in {country}")
    >>> prompts.texts, prompts.spans, prompts.gives_region
    (['Lyon is in FR'], [(0, 4)], True)
    """
    if over not in get_args(Over):
        raise InvalidInput(f"over is one of {', '.join(get_args(Over))}, not {over!r}.")
    fields = _fields(template)
    if fields.count("name") != 1:
        raise InvalidInput(
            f"template {template!r} has {{name}} {fields.count('name')} times; expected exactly once, as in '{{name}}'."
        )
    for field in fields:
        if field not in places.columns:
            near = ", ".join(nearest(field, map(str, places.columns)))
            raise InvalidInput(
                f"template {template!r} asks for {{{field}}}, which places do not have; nearest: {near}."
            )
    empty = places["name"].astype(str).str.strip() == ""
    if empty.any():
        raise InvalidInput(f"{int(empty.sum())} places have an empty name, the first in row {int(empty.argmax())}.")
    for field in sorted(set(fields)):
        blank = places[field].isna().to_numpy()
        if blank.any():
            raise InvalidInput(
                f"template {template!r} writes {{{field}}}, which {int(blank.sum())} places do not have, the first in "
                f"row {int(blank.argmax())}; drop these places or the field."
            )
    before, after = template.split("{name}")
    texts, spans = [], []
    named: Any = places[sorted(set(fields))]
    for row in named.to_dict("records"):
        start = before.format(**row)
        name = str(row["name"])
        texts.append(start + name + after.format(**row))
        spans.append((len(start), len(start) + len(name)) if over == "name" else (0, len(texts[-1])))
    return Prompts(texts, spans, template, gives_region=len(set(fields)) > 1)


def _fields(template: str) -> list[str]:
    """Return the field names of a template; anything but plain `{column}` is refused."""
    if not isinstance(template, str):
        raise InvalidInput(f"a template is a string such as '{{name}}', not {type(template).__name__}.")
    if "{{" in template or "}}" in template:
        raise InvalidInput(f"template {template!r} has doubled braces; braces are for {{column}} alone.")
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise InvalidInput(f"template {template!r} cannot be read: {error}. Expected text with {{name}}.") from error
    out = []
    for _, field, spec, conversion in parsed:
        if field is None:
            continue
        if not field.isidentifier() or spec or conversion:
            raise InvalidInput(f"template {template!r}: write fields as {{column}} alone, not {{{field}}} with more.")
        out.append(field)
    return out
