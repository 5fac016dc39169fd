"""Figures and the section of the report, from the tables of a result alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses.geospatial.feature_view import CORRECTION, feature_card
from analyses.geospatial.study import LATENT, NAMES, NEURON, NGRAM, RANDOM, SHUFFLED, TOKEN, TRAINED, WITHIN
from analyses.geospatial.survey_view import layer_profile, verdict_bars
from interp.plot import figure, map_grid, null_panel, paper_style, report_figure
from interp.plot.numbers import format_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from interp.plot import Headline, Section
    from interp.result import Result

_UNIT_WORD = {LATENT: "latents", NEURON: "neurons", NGRAM: "n-grams", TOKEN: "tokens"}
_POOL_WORD = {
    "mean": "mean activation over",
    "max": "largest activation over",
    "last": "activation at the last token of",
}
_TEST_COLUMNS = [
    "condition", "unit", "feature", "verdict", "I", "expected", "null_sd", "p", "p_source", "q", "p_within_country",
    "I_residual", "p_residual", "q_geographic", "n", "n_active", "n_perm", "seed", "status",
]  # fmt: skip


def plot(result: Result) -> Figure:
    """Return the figure of a result in a notebook: Moran's I of the features beside its nulls."""
    return null_figure(result.table)


def figures(result: Result) -> dict[str, Figure]:
    """Return the figures of the study: null panels, verdicts, layers, maps of the top features, the first in full."""
    out = {"moran_null": null_figure(result.table), "verdicts": verdict_bars(result.table)}
    if "survey" in result.tables:
        out["layers"] = layer_profile(result.tables["survey"])
    unit = str(result.provenance["top_unit"])
    values, places = result.tables["top_values"], result.tables["places"]
    if len(values.columns):
        words = _value_words(result.provenance["config"])
        out["maps"] = feature_maps(result.table, values, places, unit, words=words)
        out["feature"] = feature_card(result, unit=words)
    return out


def _value_words(config: Mapping[str, Any]) -> str:
    return f"{_POOL_WORD[config['pool']]} the {config['over']}"


def null_figure(tests: pd.DataFrame) -> Figure:
    """Draw the distribution of Moran's I of latents and of neurons, each beside its nulls."""
    units = [u for u in (LATENT, NEURON) if u in set(tests["unit"])]
    fig = figure("double", 68, cols=len(units))
    with paper_style():
        for ax, unit in zip(list(fig.axes), units, strict=True):
            part = tests[(tests["unit"] == unit) & (tests["status"] == "ok")]
            series = {name: part.loc[part["condition"] == name, "I"] for name in (TRAINED, WITHIN, RANDOM, SHUFFLED)}
            nulls = {name: values for name, values in series.items() if name != TRAINED and len(values)}
            if len(series[TRAINED]) and nulls:
                null_panel(series[TRAINED], nulls, xlabel=f"Moran's I of {_UNIT_WORD[unit]}", name=TRAINED, ax=ax)
            else:
                ax.set_title(f"no {_UNIT_WORD[unit]} to test")
    return fig


def feature_maps(tests: pd.DataFrame, values: pd.DataFrame, places: pd.DataFrame, unit: str, *, words: str) -> Figure:
    """Draw the maps of the top features."""
    own: Any = tests[(tests["condition"] == TRAINED) & (tests["unit"] == unit)].reset_index(drop=True)
    named = values.rename(columns=int)
    return map_grid(named, places, table=own, features=list(named.columns), unit=words)


def example_latents(result: Result) -> dict[str, list[int]]:
    """Return the latents whose maps are drawn, by site; none where neurons are drawn."""
    if result.provenance["top_unit"] != LATENT:
        return {}
    return {str(result.provenance["site"]): [int(name) for name in result.tables["top_values"].columns]}


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
            "weights, shuffled places, and values shuffled inside countries, which keep what the country gives.",
            result.tables["neighbours"],
        ),
        "verdicts": (
            "Stacked bars of the verdicts on the features of each condition.",
            "What an autocorrelated feature may owe its map to. Character n-grams and tokens of the names are "
            "autocorrelated with no model at all.",
            summary,
        ),
        "layers": (
            "Share of autocorrelated and of geographic features by layer, a column a way of reading the model.",
            "By layer, the share of features that are autocorrelated (above) and that are geographic (below), for each "
            "prompt and pooling. A region in the prompt is what the last column adds.",
            result.tables.get("survey"),
        ),
        "maps": (
            "World maps of the activations of the features with the largest Moran's I.",
            "The geographic features with the largest I; a point is a place.",
            result.tables["top_places"],
        ),
        "feature": (
            "Map, local clusters, Moran scatter and correlogram of the feature with the largest Moran's I.",
            f"The first of them in full: activations; local clusters (conditional permutation, ties counted; "
            f"{CORRECTION}); each value against the mean of its neighbours; Moran's I between places of each distance.",
            result.tables.get("correlogram"),
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
    """Return the row of the summary for a condition and unit, by column; empty where there is none."""
    rows: Any = summary[(summary["condition"] == condition) & (summary["unit"] == unit)]
    return rows.iloc[0].to_dict() if len(rows) else {}


def headline(result: Result) -> Headline:
    """Return the answer in one sentence, with the nulls beside it."""
    from interp.plot import Headline

    summary, unit = result.tables["summary"], str(result.provenance["top_unit"])
    own = counts(summary, TRAINED, unit)
    text = f"{_count_words(own)}. The largest Moran's I is {format_number(own['max_I'])}."
    latents = counts(summary, TRAINED, LATENT)
    if unit == NEURON and latents:
        text += f" Of {latents['n_tested']:,} tested latents {latents['n_significant']:,} are autocorrelated."
    nulls = [(RANDOM, unit, "random weights"), (SHUFFLED, unit, "shuffled places")]
    nulls += [(WITHIN, unit, "shuffled within countries"), (NAMES, NGRAM, "n-grams of the names")]
    said = [
        f"{words}: {row['n_geographic']:,} geographic and {row['n_significant']:,} autocorrelated of "
        f"{row['n_tested']:,}, largest {format_number(row['max_I'])}"
        for condition, kind, words in nulls
        if (row := counts(summary, condition, kind))
    ]
    return Headline(text, "; ".join(said) + ".", n=int(own["n_places"]))


def _count_words(row: Mapping[str, Any]) -> str:
    word = _UNIT_WORD[row["unit"]]
    return (
        f"{row['n_significant']:,} of {row['n_tested']:,} tested {word} are spatially autocorrelated (q < "
        f"{row['q_cut']:g}): {row['n_geographic']:,} are geographic, {row['n_by_country']:,} explained by country, "
        f"{row['n_by_name']:,} by name or size, {row['n_undecided']:,} undecided"
    )


def methods(about: Mapping) -> list[str]:
    """Return how the numbers were made, in plain words."""
    config = about["config"]
    latents = f"latents are read at {about['site']}, " if about["has_sae"] else ""
    twin = "an SAE trained on it" if about["twin_sae_is_own"] else "the same SAE"
    twin = f", read by {twin}" if about["has_sae"] else ""
    return [
        f"Each place is the prompt {config['template']!r}; {latents}neurons are read at {about['neuron_site']}, and "
        f"pooled ({config['pool']}) over the tokens of the {config['over']}, BOS left out; "
        "each token is encoded, then pooled.",
        f"Moran's I with the {config['k']} nearest neighbours on the globe (great circle, row-standardised). p is "
        f"one-sided: the permutation p ({config['permutations']} relabellings, seed {config['seed']}) where it is "
        "resolved, else a Pearson III tail on the exact mean, variance and skewness under randomisation (p_source says "
        "which). q is Benjamini-Hochberg over the features of one condition and unit. A feature that is constant, not "
        f"finite or off its majority value at fewer than {config['min_active']} places has no p.",
        f"Nulls: the random-weights twin through the same code{twin}; the trained activations with places "
        f"shuffled, and shuffled inside countries; 0/1 features of the names' letters and tokens. Within countries: "
        f"{about['within_country']}.",
        "A significant feature is called geographic when two harder nulls are rejected as well: values exchanged "
        "inside countries alone, and residuals after country, population, number of tokens, spelling and tokens of "
        "the name (principal components) exchanged inside countries and regressed again (Freedman & Lane 1983). "
        "p_geographic is the largest of the three p (Berger 1982), q_geographic is Benjamini-Hochberg over all tested "
        "features. Else it is explained by country (the second null stands), by name or size (the third stands), or "
        "undecided (rejected for this feature, not after correction).",
        "The survey of the layers tests every feature with the analytic p and judges a random 128 of each site and "
        "unit (Wilson interval), with at most 199 permutations, ten times as many where these leave a feature open.",
    ]


def limits(about: Mapping) -> list[str]:
    """Return what the result does not show."""
    out = [
        'Not rejecting a null is no proof of it: "explained by country" says that nothing beyond the country was '
        "shown. Nor is a geographic feature one that the model uses; that takes an intervention.",
        "The covariates are those named under methods. What else varies inside a country and over the map, such as a "
        "regional language, is not taken out.",
        "The threshold I > 0.3 in the summary is the one of earlier work, given for comparison; it is no test.",
    ]
    if not about["within_country"].startswith("values"):
        out.insert(0, f"No test within countries ({about['within_country']}), so nothing is called geographic.")
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
