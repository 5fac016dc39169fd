"""Where the model is read for a city: the prompts, the tokens of them, and the activations at every site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from interp.atlas.measure.questions import CITY_PROMPTS, DIRECTION_PROMPT
from interp.capturing import capture

if TYPE_CHECKING:
    from interp.atlas.corpus import Geography
    from interp.models import Model


@dataclass(frozen=True)
class Reading:
    """A prompt with `{name}` (and `{hub}`), and which tokens of it are read: the last one, or the mean of the name."""

    template: str
    pool: Literal["last", "name"]

    @property
    def label(self) -> str:
        """How the rows of the card call it."""
        return f"{'last token' if self.pool == 'last' else 'mean of the name'} in '{self.template}'"


READINGS = (
    Reading("{name}", "name"),
    Reading("{name} is a city in", "last"),
    Reading(CITY_PROMPTS["country"], "last"),
    Reading(DIRECTION_PROMPT, "last"),
    Reading(DIRECTION_PROMPT, "name"),
)


def sites_of(model: Model, reading: Reading) -> list[str]:
    """Return the sites that are read: the residual stream behind every layer, and the embedding of the bare name."""
    return [*(["embed"] if reading.template == "{name}" else []), *(f"resid_post.{i}" for i in range(model.n_layers))]


def hubs(geo: Geography, n: int = 3) -> list[str]:
    """Return the largest cities of the texts on `n` different continents: what a city is asked to lie from.

    Where there are fewer continents, the next largest cities follow.
    """
    first, others, met = [], [], set()
    for at in geo.world.cities["population"].to_numpy()[geo.world.seen].argsort(kind="stable")[::-1]:
        row = int(geo.world.seen[at])
        continent = geo.country_of(row)["continent"]
        (others if continent in met else first).append(geo.names[row])
        met.add(continent)
    return [*first, *others][:n]


def read(
    model: Model, reading: Reading, names: Sequence[str], hub_names: Sequence[str], sites: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return the activations of each city at every site, float64 [city, d].

    A prompt with a hub is the mean over the hubs other than the city itself. The name is read once: it stands before
    the hub, which it cannot see.
    """
    if "{hub}" not in reading.template:
        return _read(model, reading, names, None, sites)
    total: dict[str, Any] = dict.fromkeys(sites, 0.0)
    times = np.zeros((len(names), 1))
    for hub in hub_names if reading.pool == "last" else hub_names[:1]:
        # a name is no place from itself; the name alone is not affected by what follows
        others = np.array([reading.pool == "name" or name != hub for name in names])
        part = _read(model, reading, [n for n, keep in zip(names, others, strict=True) if keep], hub, sites)
        for site in sites:
            values = np.zeros((len(names), part[site].shape[1]))
            values[others] = part[site]
            total[site] = total[site] + values
        times += others[:, None]
    return {site: values / times for site, values in total.items()}


def _read(
    model: Model, reading: Reading, names: Sequence[str], hub: str | None, sites: Sequence[str]
) -> dict[str, np.ndarray]:
    start = reading.template.index("{name}")
    texts = [reading.template.format(name=name, hub=hub) for name in names]
    if reading.pool == "last":
        acts = capture(model, texts, sites, pool="last")
    else:
        acts = capture(model, texts, sites, pool="span", spans=[(start, start + len(name)) for name in names])
    return {site: acts[site].astype(np.float64) for site in sites}
