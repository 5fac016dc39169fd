"""Figures and the section of the report, from the tables of a result alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses.geospatial.study import LATENT, NEURON, RANDOM, SHUFFLED, TRAINED, UNDECIDED, UNTESTED
from interp.plot import figure, map_grid, null_panel, paper_style, plot_lisa, report_figure
from interp.plot.numbers import format_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from interp.plot import Headline, Section
    from interp.result import Result

_UNIT_WORD = {LATENT: "latents", NEURON: "neurons"}
_POOL_WORD = {
    "mean": "mean activation over the name",
    "max": "largest activation over the name",
    "last": "activation at the last token of the name",
}
_TEST_COLUMNS = [
    "condition", "unit", "feature", "I", "expected", "null_sd", "p", "p_source", "q", "q_within_country", "n",
    "n_active", "n_perm", "seed", "status",
]  # fmt: skip


def plot(result: Result) -> Figure:
    """Return the figure of a result in a notebook: Moran's I of the features beside its nulls."""
    return null_figure(result.table)


def figures(result: Result) -> dict[str, Figure]:
    """Return the figures of the study: null panels, maps of the top features, clusters of the first."""
    out = {"moran_null": null_figure(result.table)}
    unit = str(result.provenance["top_unit"])
    values, places = result.tables["top_values"], result.tables["places"]
    if len(values.columns):
        pool = result.provenance["config"]["pool"]
        out["maps"] = feature_maps(result.table, values, places, unit, pool=pool)
        out["clusters"] = cluster_map(result.tables["clusters"], places, unit)
    return out


def null_figure(tests: pd.DataFrame) -> Figure:
    """Draw the distribution of Moran's I of latents and of neurons, each beside its nulls."""
    units = [u for u in (LATENT, NEURON) if u in set(tests["unit"])]
    fig = figure("double", 68, cols=len(units))
    with paper_style():
        for ax, unit in zip(list(fig.axes), units, strict=True):
            part = tests[(tests["unit"] == unit) & (tests["status"] == "ok")]
            series = {name: part.loc[part["condition"] == name, "I"] for name in (TRAINED, RANDOM, SHUFFLED)}
            nulls = {name: values for name, values in series.items() if name != TRAINED and len(values)}
            if len(series[TRAINED]) and nulls:
                null_panel(series[TRAINED], nulls, xlabel=f"Moran's I of {_UNIT_WORD[unit]}", name=TRAINED, ax=ax)
            else:
                ax.set_title(f"no {_UNIT_WORD[unit]} to test")
    return fig


def feature_maps(
    tests: pd.DataFrame, values: pd.DataFrame, places: pd.DataFrame, unit: str, *, pool: str = "mean"
) -> Figure:
    """Draw the maps of the significant features with the largest I."""
    own: Any = tests[(tests["condition"] == TRAINED) & (tests["unit"] == unit)].reset_index(drop=True)
    named = values.rename(columns=int)
    return map_grid(named, places, table=own, features=list(named.columns), unit=_POOL_WORD[pool])


def cluster_map(clusters: pd.DataFrame, places: pd.DataFrame, unit: str) -> Figure:
    """Draw the local clusters of the feature with the largest I."""
    feature = clusters["feature"].iloc[0]
    part = clusters[clusters["feature"] == feature]
    ax = plot_lisa(
        part["cluster"].tolist(), places, correction="Benjamini-Hochberg over places, q <= .05",
        title=f"local Moran's I of {unit} {feature}",
    )  # fmt: skip
    whole: Any = ax.get_figure(root=True)
    return whole


def section(result: Result, drawn: Mapping[str, Figure]) -> Section:
    """Return the section of the report."""
    from interp.plot import Section

    summary = result.tables["summary"]
    about = result.provenance
    shown = []
    captions = {
        "moran_null": (
            "Cumulative distributions of Moran's I of the trained model and of its nulls.",
            f"Moran's I of every tested latent at {about['site']} and neuron at {about['neuron_site']}, beside random "
            "weights and shuffled places.",
            summary,
        ),
        "maps": (
            "World maps of the activations of the features with the largest Moran's I.",
            "The significant features with the largest I; a point is a place.",
            result.tables["top_places"],
        ),
        "clusters": (
            "World map of local clusters of the feature with the largest Moran's I.",
            "Local clusters (conditional permutation, ties counted) of the feature with the largest I.",
            None,
        ),
    }
    for name, fig in drawn.items():
        alt, caption, table = captions[name]
        shown.append(report_figure(fig, alt, caption=caption, table=table))
    return Section(
        id="geospatial",
        title="Geospatial autocorrelation of placename features",
        question="Is geography laid out in the features?",
        headline=headline(result),
        figures=shown,
        tables={"Tests, one row a feature, largest I first": _ranked(result.table)},
        methods=methods(about),
        limits=limits(about),
    )


def _ranked(tests: pd.DataFrame) -> pd.DataFrame:
    shown = tests[[c for c in _TEST_COLUMNS if c in tests.columns]]
    order = shown.assign(control=shown["condition"] != TRAINED).sort_values(
        ["control", "I"], ascending=[True, False], kind="stable", na_position="last"
    )
    return order.drop(columns="control").reset_index(drop=True)


def counts(summary: pd.DataFrame, condition: str, unit: str) -> dict[str, Any]:
    """Return the row of the summary for a condition and unit, by column."""
    rows: Any = summary[(summary["condition"] == condition) & (summary["unit"] == unit)]
    return rows.iloc[0].to_dict()


def headline(result: Result) -> Headline:
    """Return the answer in one sentence, with the nulls beside it."""
    from interp.plot import Headline

    summary, unit = result.tables["summary"], str(result.provenance["top_unit"])
    own, random, shuffled = (counts(summary, c, unit) for c in (TRAINED, RANDOM, SHUFFLED))
    word = _UNIT_WORD[unit]
    within, within_random = _within_words(own), _within_words(random)
    text = (
        f"{own['n_significant']:,} of {own['n_tested']:,} tested {word} are spatially autocorrelated "
        f"(q < {own['q_cut']:g}), the largest Moran's I is {format_number(own['max_I'])}{within}."
    )
    if unit == NEURON:
        latents = counts(summary, TRAINED, LATENT)
        text += f" Of {latents['n_tested']:,} tested latents {latents['n_significant']:,} are."
    null = (
        f"random weights: {random['n_significant']:,} of {random['n_tested']:,}, largest "
        f"{format_number(random['max_I'])}{within_random}. Shuffled places: {shuffled['n_significant']:,} of "
        f"{shuffled['n_tested']:,}, largest {format_number(shuffled['max_I'])}."
    )
    return Headline(text, null, n=int(own["n_places"]))


def _within_words(row: Any) -> str:
    if row["within_country"] == UNTESTED or row["n_significant"] == 0:
        return ""
    if row["within_country"] == UNDECIDED:
        return "; within countries undecided (too few permutations)"
    return f"; {int(row['n_within_country']):,} significant ones also pass with values exchanged within countries only"


def methods(about: Mapping) -> list[str]:
    """Return how the numbers were made, in plain words."""
    config = about["config"]
    twin = "an SAE trained on it" if about["twin_sae_is_own"] else "the same SAE"
    return [
        f"Each place is the prompt {config['template']!r}; latents are read at {about['site']}, neurons at "
        f"{about['neuron_site']}, and pooled ({config['pool']}) over the tokens of the name alone, BOS left out; each "
        "token is encoded, then pooled.",
        f"Moran's I with the {config['k']} nearest neighbours on the globe (great circle, row-standardised). p is "
        f"one-sided: the permutation p ({config['permutations']} relabellings, seed {config['seed']}) where it is "
        "resolved, else a Pearson III tail on the exact mean, variance and skewness under randomisation (p_source says "
        "which). q is Benjamini-Hochberg over the features of one condition and unit. A feature that is constant, not "
        f"finite or off its majority value at fewer than {config['min_active']} places has no p.",
        f"Nulls: the random-weights twin through the same code, read by {twin}; the trained activations with places "
        f"shuffled. Within countries: {about['within_country']}.",
    ]


def limits(about: Mapping) -> list[str]:
    """Return what the result does not show."""
    out = [
        "An autocorrelated feature need not be about place: spelling, language, population and token count are "
        "autocorrelated too. " + _within_limit(about),
        "The threshold I > 0.3 in the summary is the one of earlier work, given for comparison; it is no test.",
    ]
    if about["gives_region"]:
        out.insert(0, "The template gives more about the place than its name: a feature that copies it scores near 1.")
    if about["sae_mismatch"]:
        out.insert(0, f"The SAE may not belong to this model: {'; '.join(about['sae_mismatch'])}.")
    if about["n_coincident"]:
        out.append(
            f"{about['n_coincident']:,} places share their coordinates with another and count as its neighbours at "
            "distance 0; if they also share a name, that alone raises I."
        )
    if about["model"].partition("@")[0] == "atlas":
        out.append("The geography of the bundled model was planted by its training text.")
    return out


def _within_limit(about: Mapping) -> str:
    within, n = about["within_country"], about["config"]["permutations"]
    if not within.startswith("values"):
        return f"There is no test within countries ({within}), so a feature may know the country alone."
    return (
        "What survives within countries is at least not the country alone. That p is counted and never below 1 / "
        f"{n + 1:,}; where no feature passes and some are at that floor the count is left open, and more permutations "
        "decide it."
    )
