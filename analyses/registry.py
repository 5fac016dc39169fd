"""The analyses that `interp run` knows: one line each.

A module that is listed here has four functions, and no base class:

    run(job) -> Result                       compute, keeping finished work units in job.store
    figures(result) -> {name: Figure}        drawn from the tables of the result alone
    headline(result) -> Headline             the answer in a sentence, with its null
    section(result, figures) -> Section      its part of the report

and, where its report shows latents, `example_latents(result) -> {site: [latent]}`, which get dashboards.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType

from interp.errors import UnknownName, nearest


@dataclass(frozen=True)
class Analysis:
    """An analysis: its name, the question it answers, the module that holds it, and about how long it takes.

    seconds: on the bundled model, one core; where several go side by side the longest begins.
    """

    name: str
    question: str
    module: str
    seconds: int = 0

    def load(self) -> ModuleType:
        """Import the module (which imports torch)."""
        return importlib.import_module(self.module)


ANALYSES: dict[str, Analysis] = {
    a.name: a
    for a in (
        Analysis("geospatial", "Is geography laid out in the features?", "analyses.geospatial.run", 130),
        Analysis("decoding", "Can the position of a city be read out?", "analyses.geospatial.decode_job", 20),
        Analysis("probing", "What can be read out of each layer?", "analyses.probing.study", 60),
        Analysis("attention", "What do the attention layers move, and why?", "analyses.attention.run", 60),
        Analysis("polysemanticity", "Does this unit mean one thing or several?", "analyses.polysemanticity.run", 110),
    )
}


def find_analyses(names: Iterable[str]) -> list[Analysis]:
    """Return the analyses of these names, all of them if there are none.

    Raises:
        UnknownName: no such analysis; gives the nearest.
    """
    chosen = list(dict.fromkeys(names)) or list(ANALYSES)
    for name in chosen:
        if name not in ANALYSES:
            raise UnknownName(
                f"there is no analysis {name!r}. Nearest: {', '.join(nearest(name, ANALYSES))}. "
                f"All: {', '.join(ANALYSES)}."
            )
    return [ANALYSES[name] for name in chosen]
