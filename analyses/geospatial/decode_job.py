"""Decoding of coordinates as a part of `interp run`, with its section of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from analyses.geospatial.decode_run import decoding_study, unmentioned_cities
from analyses.geospatial.decode_tables import BASELINE, CHOSEN
from analyses.geospatial.decode_view import decoding_figures, decoding_sentences
from interp.plot import Headline, Section, report_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from analyses.job import Job
    from interp.result import Result

__all__ = ["figures", "headline", "run", "section"]

figures = decoding_figures
_BUNDLED = "atlas"
_COLUMNS = [
    "scheme", "condition", "site", "r2", "leakage_gap", "median_km", "ci_low", "ci_high", "mean_km", "proximity_error",
    "skill", "null_mean", "null_sd", "p", "q", "n_perm", "n", "n_train", "n_groups", "alpha", "seed", "status",
]  # fmt: skip
_CAPTIONS = {
    "decoding_layers": (
        "Median error in km and R² of decoded coordinates by layer, for each way of holding places out.",
        "Coordinates read out of every layer by ridge regression to the unit sphere, beside random weights and what "
        "the name gives without a model.",
    ),
    "decoding_schemes": (
        "Error of the chosen layer under every way of holding places out.",
        "The same probe judged in different ways: what random folds show and blocks, countries or continents held out "
        "do not is memory of neighbours, not a map.",
    ),
    "decoding_map": (
        "World map of where held-out places are guessed to be.",
        "Guesses for places whose block was held out; a line joins each with where it is.",
    ),
}


def run(job: Job) -> Result:
    """Run the study of a job; on the bundled model also on the cities that no text of its training mentions."""
    places = job.places  # refuse a file before anything heavy is loaded
    held_out = unmentioned_cities() if job.config.model == _BUNDLED and job.config.places == _BUNDLED else None
    seen: Any = places
    if held_out is not None:
        seen = places[~places["name"].isin(held_out["name"])].reset_index(drop=True)
    return decoding_study(
        job.model, seen, held_out=held_out, template=job.config.template, twin=job.twin, seed=job.config.seed,
        store=job.store,
    )  # fmt: skip


def headline(result: Result) -> Headline:
    """Return the answer in one sentence, with its nulls beside it."""
    text, null = decoding_sentences(result)
    return Headline(text, null, n=int(result.provenance["n_places"]))


def section(result: Result, drawn: Mapping[str, Figure]) -> Section:
    """Return the section of the report."""
    shown: list[Any] = []
    table: Any = result.table[_COLUMNS]
    for name, fig in drawn.items():
        alt, caption = _CAPTIONS[name]
        strict: Any = table[(table["site"] == CHOSEN) | (table["condition"] == BASELINE)]
        beside = strict if name == "decoding_schemes" else None
        shown.append(report_figure(fig, alt, caption=caption, table=beside))
    return Section(
        id="decoding",
        title="Coordinates decoded from placenames",
        question="Can the position of a city be read out?",
        headline=headline(result),
        figures=shown,
        tables={"Every scheme, condition and site": table},
        methods=list(result.notes),
        limits=_limits(result),
    )


def _limits(result: Result) -> list[str]:
    out = [
        "What can be read out by a linear probe need not be used by the model.",
        "Country identity alone places a city within some hundred km: compare with the baselines, and with countries "
        "held out, before speaking of a map.",
    ]
    if str(result.provenance["model"]).partition("@")[0] == _BUNDLED:
        out.append("The geography of the bundled model was planted by its training text.")
    return out
