"""Headline, figures and the section of the report, from the tables of a result alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses.attention.family_rules import FAMILIES
from analyses.attention.panels import circuit_panels, family_bars, head_maps, profile_bars, relatedness_panels
from interp.plot import report_figure
from interp.plot.numbers import format_number
from interp.sae.density import DENSE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from interp.plot import Headline, Section
    from interp.result import Result

QUESTION = "What do the attention layers move, and why?"
_SHOWN = ("induction", "previous token", "token/position", "local context", "long-range context", "duplicate")


def plot(result: Result) -> Figure:
    """Return the figure of a result in a notebook: families where there are latents, else heads, or the circuit."""
    if result.name == "attention.circuit":
        return circuit_panels(result.table, result.tables.get("curve"))
    drawn = figures(result)
    return drawn.get("families", drawn["heads"])


def figures(result: Result) -> dict[str, Figure]:
    """Return the figures of the study: families, profiles of heads, their related latents, head scores, the circuit."""
    tables = result.tables
    out: dict[str, Figure] = {}
    if "counts" in tables:
        out["families"] = family_bars(tables["counts"])
    out["profiles"] = profile_bars(tables["profiles"])
    if "related_heads" in tables:
        out["related"] = relatedness_panels(tables["related_heads"])
    out["heads"] = head_maps(tables["heads"], tables.get("maps"))
    if "circuit" in tables:
        out["circuit"] = circuit_panels(tables["circuit"], tables.get("circuit_curve"))
    return out


def example_latents(result: Result) -> dict[str, list[int]]:
    """Return two latents of each decided family, those placed most firmly that are not on everywhere, by site."""
    if "counts" not in result.tables:
        return {}
    decided = result.table["family"].isin(FAMILIES[: FAMILIES.index("mixed")])
    table: Any = result.table[decided & (result.table["density"] <= DENSE)]
    firm = table.sort_values(["confidence", "n_eff"], ascending=[False, True], kind="stable").groupby("family").head(2)
    return {f"z.{layer}": sorted(own["latent"].tolist()) for layer, own in firm.groupby("layer")}


def headline(result: Result) -> Headline:
    """Return the answer in a sentence or two, with the controls beside it."""
    from interp.plot import Headline

    text, null, n = _latent_words(result) if "counts" in result.tables else _head_words(result)
    related = result.tables.get("related_heads")
    if related is not None:
        extra, control = _related_words(related)
        text, null = f"{text} {extra}", f"{null} {control}".rstrip()
    circuit = result.tables.get("circuit")
    if circuit is not None:
        extra, control = _circuit_words(result)
        text, null = f"{text} {extra}", f"{null} {control}"
    return Headline(text, null, n=n)


def _latent_words(result: Result) -> tuple[str, str, int]:
    counts: Any = result.tables["counts"]
    own = counts[(counts["condition"] == "trained") & (counts["family"] != "dead")]
    n = int(own["count"].sum())
    by = own.groupby("family")["count"].sum()
    named = ", ".join(f"{100 * by.get(name, 0) / n:.0f} % {name}" for name in _SHOWN if by.get(name, 0) / n >= 0.005)
    induction = own[own["family"] == "induction"].sort_values("count", ascending=False).iloc[0]
    text = (
        f"Of {n:,} latents that are ever on, {named}; {100 * by.get('undecided', 0) / n:.0f} % stay undecided. "
        f"{int(induction['count'])} of {int(by.get('induction', 0))} induction latents are in layer "
        f"{int(induction['layer'])}."
    )
    control = counts[(counts["condition"] != "trained") & (counts["family"] != "dead")]
    if not len(control):
        return text, "no SAE of random weights stands beside.", n
    total, found = int(control["count"].sum()), control.groupby("family")["count"].sum()
    words = ", ".join(f"{100 * found.get(name, 0) / total:.0f} % {name}" for name in _SHOWN[:-1])
    layer = int(control["layer"].iloc[0])
    return text, f"random weights, layer {layer}, n = {total:,}: {words}.", n


def _related_words(shares: Any) -> tuple[str, str]:
    k = int(shares["k"].min())
    rows = shares[(shares["measure"] == "share") & (shares["k"] == k) & (shares["view"] == "all")]
    rows = rows.set_index("condition")
    own = rows.loc["trained"]
    text = (
        f"In {int(own['n_related'])} of {int(own['n'])} heads the top {k} latents are more alike than random ones, in "
        f"{int(own['n_all'])} each of them is."
    )
    if "random weights" not in rows.index:
        return text, ""
    other = rows.loc["random weights"]
    return text, f"related latents: {int(other['n_related'])} of {int(other['n'])} heads of random weights."


def _head_words(result: Result) -> tuple[str, str, int]:
    table: Any = result.tables["heads"]
    parts, nulls = [], []
    for name in ("previous token", "induction"):
        best = table[table["score"] == name].sort_values("value", ascending=False).iloc[0]
        parts.append(f"{name} {int(best['layer'])}.{int(best['head'])} ({format_number(best['value'])})")
        nulls.append(f"{name} {format_number(best['largest_random'])}")
    n = int(table["n"].max())
    return f"Highest heads: {', '.join(parts)}.", f"largest of any head of random weights: {', '.join(nulls)}.", n


def _circuit_words(result: Result) -> tuple[str, str]:
    heads: Any = result.tables["circuit"].sort_values("denoised", ascending=False)
    first, second = (heads.iloc[i] for i in (0, 1))
    text = (
        f"The indirect object: heads {int(first['layer'])}.{int(first['head'])} and {int(second['layer'])}."
        f"{int(second['head'])} alone bring back {100 * first['denoised']:.0f} and {100 * second['denoised']:.0f} % of "
        "the logit difference"
    )
    curve: Any = result.tables.get("circuit_curve")
    if curve is None:
        return f"{text}.", f"median head: {100 * heads['denoised'].median():.1f} %."
    most = curve[curve["n_latents"] == curve["n_latents"].max()].groupby("which")["denoised"].mean()
    k = int(curve["n_latents"].max())
    return (
        f"{text}, {k} latents together {100 * most['largest']:.0f} %.",
        f"{k} random latents as active: {100 * most['random']:.1f} %.",
    )


_TEXT = {
    "families": (
        "Stacked bars of the families of attention latents, one bar a layer.",
        "Families of all latents that are ever on, by layer, decided by rule; hatched: undecided. Numbers: per cent.",
        "counts",
    ),
    "profiles": (
        "Stacked bars of the relation profile of every attention head.",
        "What each head moves (attention times length of the value), by relation of source and query, BOS left out; "
        "below, the effective number of relations with 95 % intervals over rows.",
        "profiles",
    ),
    "related": (
        "Share of heads whose top latents are related, by number of latents and by view.",
        "Heads whose top latents are more alike than random latents of the layer as active (q <= 0.05), with 95 % "
        "intervals (Wilson): in all views together by number of latents, and in each view.",
        "related_heads",
    ),
    "heads": (
        "Maps of head scores by layer and head.",
        "Scores of every head. Rings: more than one and a half times the largest of any head of random weights.",
        "heads",
    ),
    "circuit": (
        "Shares of the logit difference that heads and latents carry on the indirect-object task.",
        "The indirect object. Left, heads exchanged alone; right, latents exchanged together, beside random latents of "
        "equal activity.",
        "circuit",
    ),
}  # fmt: skip


def section(result: Result, drawn: Mapping[str, Figure]) -> Section:
    """Return the section of the report."""
    from interp.plot import Section

    shown = [
        report_figure(fig, _TEXT[name][0], caption=_TEXT[name][1], table=result.tables[_TEXT[name][2]])
        for name, fig in drawn.items()
    ]
    return Section(
        id="attention", title="Attention: features, heads and why they read where they read", question=QUESTION,
        headline=headline(result), figures=shown, tables=_listed(result), methods=methods(result.provenance),
        limits=limits(result.provenance),
    )  # fmt: skip


def _listed(result: Result) -> dict[str, pd.DataFrame]:
    out = {}
    if result.provenance["has_latents"]:
        order = result.table.sort_values(["confidence", "n"], ascending=False, kind="stable")
        out["Latents, with the evidence for their family"] = order.reset_index(drop=True)
        out["Likeness of the top latents of every head"] = result.tables["relatedness"]
    if "circuit_latents" in result.tables:
        out["Latents exchanged alone on the indirect object"] = result.tables["circuit_latents"]
    prefixes: Any = result.tables["prefixes"]
    repeating = prefixes[prefixes["n50"].notna()].drop(columns=["n", "seed", "status"]).reset_index(drop=True)
    out["How long a match the heads need that look back to one, and what they say then"] = repeating
    if "maps" in result.tables:
        best = result.tables["maps"].sort_values(["kind", "rank"], kind="stable")
        out["Token maps: does a head turn a word into the next of its class?"] = best.reset_index(drop=True)
    return out


def methods(about: Mapping[str, Any]) -> list[str]:
    """Return how the numbers were made, in plain words."""
    source = "fresh texts of the bundled model and random repeats" if about["natural_text"] else "random repeats alone"
    out = [
        f"{about['n_rows']:,} rows ({about['n_tokens']:,} text tokens): {source}, seed {about['seed']}. BOS and "
        "padding ask nothing; the share of attention that rests on BOS is reported apart.",
        "Relations of a source to the query, the first that holds: BOS, self, induction, duplicate, previous, first "
        "content, same word, other. Mass of a head: attention times length of the value. Mass of a latent: positive "
        "part of direct feature attribution (Kissane et al. 2024), summed over heads.",
        "Head scores are on random tokens with random periods and offsets; each stands beside fresh tokens or even "
        "attention, the other heads of its layer, and the random-weights twin.",
        "Prefixes: random tokens of which some are copied; attention from the end of the copy to what followed the "
        "first, the same with the match cut to one token (cut_ratio), and what the head adds to that token's logit.",
        "Copy suppression on text (McDougall et al. 2023): of what a head moves only what lowers the token that it was "
        "moved from is kept, from the five tokens of the context that the residual stream before the layer predicts "
        "most; the rest is the head's mean. Score: 1 - KL of this ablation / KL of the mean alone; null: the "
        "unembeddings of other tokens.",
    ]
    if about["has_latents"]:
        rule = ", ".join(f"{name} {value:g}" for name, value in about["rule"].items())
        out.append(
            "Related latents: the mean likeness of the top 10, 20 and 50 latents of a head (by share of the decoder, "
            "by attribution, by the fall of the pre-activation when the head is set to its mean) beside random latents "
            "of the layer with equal firing rates; likeness is the Bhattacharyya coefficient of the tokens, the words "
            'before, the tokens read and their relations, "all" the mean of the four, each in units of its sd.'
        )
        out.append("Families, in this order: " + " ".join(about["order"]) + f" Thresholds: {rule}.")
    return out


def limits(about: Mapping[str, Any]) -> list[str]:
    """Return what the result does not show."""
    out = [
        "Relations are literal: a translation, a rhyme or a place in a list that is looked up counts as other.",
        "Attribution explains the pre-activation with patterns held fixed: why a head attends there is not in it.",
        "The thresholds of the rule are choices; the undecided share says how far they reach.",
        "Latents that are more alike than random ones need not be about one thing: the likeness and the share of "
        "latents that are related stand in the table.",
        "Local context, long-range context and token/position are common with random weights too: only what exceeds "
        "the control was learned.",
    ]
    if not about["natural_text"]:
        out.insert(0, "No natural text was given, so relation profiles are of random repeats.")
    return out
