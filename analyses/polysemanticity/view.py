"""Figures and the section of the report, from the tables of a result alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.polysemanticity.expert_scores import FVU, TOGETHER, WEIGHTS
from analyses.polysemanticity.study import CONDITIONS, DIRECTIONS, KINDS, RANDOM, TRAINED
from analyses.polysemanticity.verdicts import MONO, POLY
from interp.plot import Curve, figure, line_panel, paper_style, report_figure
from interp.plot.numbers import format_number
from interp.plot.style import GREY, LIGHT_GREY, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from interp.plot import Headline, Section
    from interp.result import Result

_PLURAL = {"neuron": "neurons", "head": "attention heads", "latent": "SAE latents"}
_PARTS = (
    ("one concept", "n_monosemantic", PALETTE["blue"]),
    ("undecided", "n_undecided", LIGHT_GREY),
    ("several concepts", "n_polysemantic", PALETTE["vermillion"]),
)
_CAPTIONS = {
    "shares": (
        "Bars of the share of units with one concept, undecided, and several concepts, by kind and condition.",
        "Verdicts on neurons, heads and SAE latents, beside the random-weights twin and random directions. The whisker "
        "is the 95 % interval (Wilson) of the share with several concepts.",
        "shares",
    ),
    "power": (
        "Curves of the rate at which planted mixtures are called polysemantic, by strength of the weaker concepts.",
        "What the audit would see: units of one concept, mixed so that the number of concepts is known. One concept "
        "is the rate of false alarms.",
        "power",
    ),
    "masks": (
        "Heat maps of the loss gained on each kind of text when the units of each kind are masked.",
        "Loss gained on the texts of each column when the units of each row are set to 0, less that under random "
        "masks of equal size; in the trained model.",
        "masks",
    ),
    "experts": (
        "Points of the variance lost when the most active quarter of the groups of neurons or latents speaks, by "
        "layer, as a share of that of random groups.",
        "What is lost of the output of the neurons of each layer, or of the latents, when at each token the most "
        "active quarter of {n} groups speaks alone, as a share of what random groups lose: 1 is no better than random.",
        "experts",
    ),
}


def plot(result: Result) -> Figure:
    """Return the figure of a result in a notebook: the shares of the verdicts.

    Raises:
        InvalidInput: the study was left out.
    """
    from interp.errors import InvalidInput

    if "shares" not in result.tables:
        raise InvalidInput(f"there is nothing to draw: {result.provenance.get('skipped', 'no shares')}.")
    return shares_figure(result.tables["shares"])


def figures(result: Result) -> dict[str, Figure]:
    """Return the figures of the study; none where it was left out."""
    tables, out = result.tables, {}
    if "shares" in tables:
        out["shares"] = shares_figure(tables["shares"])
        if "ok" in set(tables["power"]["status"]):
            out["power"] = power_figure(tables["power"])
    if "masks" in tables:
        out["masks"] = masks_figure(tables["masks"])
        out["experts"] = experts_figure(tables["experts"])
    return out


def shares_figure(shares: Any) -> Figure:
    """Draw the verdicts on each kind of unit as stacked bars, one a condition."""
    kinds = [kind for kind in KINDS if kind in set(shares["kind"])]
    fig = figure("double", 46, cols=len(kinds), sharex=True)
    with paper_style():
        for ax, kind in zip(fig.axes, kinds, strict=True):
            _bars(ax, shares[shares["kind"] == kind])
            ax.set_title(_PLURAL[kind])
        handles, labels = fig.axes[0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper center", ncols=3)
        fig.axes[len(kinds) // 2].set_xlabel("share of tested units")
    return fig


def _bars(ax: Axes, part: Any) -> None:
    part = part.set_index("condition").reindex([c for c in CONDITIONS if c in set(part["condition"])])
    rows, left = np.arange(len(part)), np.zeros(len(part))
    n = part["n"].to_numpy(dtype=np.float64)
    for label, column, colour in _PARTS:
        width = part[column].to_numpy() / n
        ax.barh(rows, width, left=left, height=0.62, color=colour, label=label)
        left = left + width
    # several concepts end at 1, so their share is read from the right
    share, low, high = (part[name].to_numpy() for name in ("share", "ci_low", "ci_high"))
    ax.hlines(rows, 1 - high, 1 - low, color="black", linewidth=1.0)
    for row, value in zip(rows, share, strict=True):
        ax.annotate(f"{100 * value:.0f} %", (1.02, row), va="center", fontsize=6.5, annotation_clip=False)
    ax.set_yticks(rows, [f"{name}\n(n = {int(k)})" for name, k in zip(part.index, n, strict=True)])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(0, 1)


def power_figure(power: Any) -> Figure:
    """Draw the rate at which mixtures are found, by the ratio of strengths, one curve a number of concepts."""
    ratios = np.sort(power.loc[power["n_concepts"] > 1, "ratio"].unique())
    curves = {}
    for k, part in power.groupby("n_concepts", sort=True):
        at = part.set_index("ratio").reindex(ratios if k != 1 else [1.0] * len(ratios))
        rate, low, high = (at[name].to_numpy() for name in ("rate", "ci_low", "ci_high"))
        name = "one concept (false alarms)" if k == 1 else f"{k} concepts"
        curves[name] = Curve(rate, low, high, control=bool(k == 1), n=int(part["n"].iloc[0]))
    ordered = dict(sorted(curves.items(), key=lambda item: item[1].control))
    ax = line_panel(
        ratios, ordered, xlabel="strength of each concept as a share of the one before", ylabel="called polysemantic"
    )
    ax.set(xscale="log", ylim=(0, 1.02))
    ax.set_xticks(ratios, [f"{r:g}" for r in ratios])
    ax.minorticks_off()
    whole: Any = ax.get_figure(root=True)
    return whole


def masks_figure(masks: Any) -> Figure:
    """Draw the masking matrix of neurons and of latents of the trained model, above random masks of equal size."""
    masks = masks[masks["condition"] == TRAINED]
    kinds = list(masks["units"].unique())
    fig = figure("double", 80, cols=len(kinds))
    with paper_style():
        for ax, kind in zip(list(fig.axes), kinds, strict=True):
            part = masks[masks["units"] == kind]
            part = part.assign(excess=part["delta"] - part["null_mean"])
            _heat_map(ax, part.pivot(index="masked", columns="evaluated", values="excess"))
            ax.set_title(f"{kind} (up to {int(part['n_units'].max())} a domain)")
    return fig


def experts_figure(experts: Any) -> Figure:
    """Draw what is lost when a quarter of the groups speaks, as a share of that of random groups, layer by layer."""
    lost = experts[experts["score"] == FVU]
    lost = lost[lost["k"] == lost["k"].min()]
    fig = figure("double", 50, cols=2, sharey=True)
    with paper_style():
        for ax, condition in zip(list(fig.axes), (TRAINED, RANDOM), strict=True):
            _expert_points(ax, lost[lost["condition"] == condition])
            ax.set_title(condition)
        fig.axes[0].set_ylabel("variance lost / that of\nrandom groups")
        fig.axes[0].set_ylim(bottom=0)
        handles, labels = fig.axes[0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper center", ncols=3)
    return fig


def _expert_points(ax: Axes, part: Any) -> None:
    places = list(dict.fromkeys(zip(part["units"], part["layer"], strict=True)))
    at = {place: i for i, place in enumerate(places)}
    null: Any = part.groupby(["units", "layer"], sort=False)[["null_mean", "null_sd"]].first()
    spread = 2 * null["null_sd"] / null["null_mean"]
    x = [at[place] for place in null.index]
    ax.bar(x, 2 * spread, 0.8, bottom=1 - spread, color=LIGHT_GREY, label="random groups (2 sd)")
    for split, (mark, colour, shift) in {
        WEIGHTS: ("o", PALETTE["blue"], -0.12), TOGETHER: ("s", PALETTE["vermillion"], 0.12)
    }.items():  # fmt: skip
        own = part[part["split"] == split]
        x = [at[place] + shift for place in zip(own["units"], own["layer"], strict=True)]
        ax.scatter(
            x, own["value"] / own["null_mean"], s=12, color=colour, marker=mark, label=f"groups by {split}", zorder=3
        )
    ax.set_xticks(range(len(places)), [f"{'N' if units == 'neurons' else 'F'}{layer}" for units, layer in places])
    ax.set_xlabel("neurons (N) and latents (F) by layer")


def _heat_map(ax: Axes, square: pd.DataFrame) -> None:
    values = square.to_numpy()
    most = float(np.abs(values).max()) or 1.0
    image = ax.imshow(values, cmap="RdBu_r", vmin=-most, vmax=most)
    for (row, column), value in np.ndenumerate(values):
        shade = "white" if abs(value) > 0.6 * most else "black"
        ax.annotate(
            f"{value:.2f}".replace("-0.00", "0.00"), (column, row), ha="center", va="center", fontsize=5.5, color=shade
        )
    ax.set_xticks(range(square.shape[1]), list(square.columns), rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(square.shape[0]), list(square.index))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlabel="texts", ylabel="masked units")
    colour_bar = ax.figure.colorbar(image, ax=ax, shrink=0.8)
    colour_bar.set_label("nats a token above random masks")
    colour_bar.outline.set_edgecolor(GREY)  # type: ignore[operator]


def example_latents(result: Result) -> dict[str, list[int]]:
    """Return the latents of the trained model with the clearest verdicts, three of each kind, by site."""
    table, site = result.table, result.provenance.get("site")
    if site is None or "kind" not in table:
        return {}
    latents: Any = table[(table["condition"] == TRAINED) & (table["kind"] == "latent")]
    one = latents[latents["verdict"] == MONO].sort_values(["ms", "number"], ascending=[False, True]).head(3)
    several = latents[latents["verdict"] == POLY].sort_values(["K_low", "number"], ascending=[False, True]).head(3)
    chosen = [int(number) for number in (*one["number"], *several["number"])]
    return {str(site): chosen} if chosen else {}


def headline(result: Result) -> Headline:
    """Return the answer in one sentence, with the nulls beside it."""
    from interp.plot import Headline

    if "shares" not in result.tables:
        return Headline(f"Left out: {result.provenance['skipped']}.", "nothing was tested.")
    shares: Any = result.tables["shares"].set_index(["kind", "condition"])
    own = [_share_words(shares.loc[(kind, TRAINED)], kind) for kind in KINDS if (kind, TRAINED) in shares.index]
    mono = [
        f"{100 * shares.loc[(kind, TRAINED), 'share_monosemantic']:.0f} % of {_PLURAL[kind]}"
        for kind in KINDS
        if (kind, TRAINED) in shares.index
    ]
    text = f"Several concepts: {'; '.join(own)}. One concept: {', '.join(mono)}; the others are undecided."
    nulls = []
    for condition in (RANDOM, DIRECTIONS):
        found = [
            f"{100 * shares.loc[(kind, condition), 'share']:.0f} % ({_PLURAL[kind]})"
            for kind in KINDS
            if (kind, condition) in shares.index
        ]
        nulls.append(f"{condition}: {', '.join(found)}")
    alarms = result.tables["power"].query("n_concepts == 1").iloc[0]
    if alarms["status"] == "ok":
        nulls.append(f"called so of units with one concept: {int(alarms['detected'])} of {int(alarms['n'])}")
    if "specificity" in result.tables:
        text += " " + _mask_words(result, TRAINED)
        nulls.append(_mask_words(result, RANDOM)[:-1].replace("Masking", f"{RANDOM}: masking"))
    n = int(shares.xs(TRAINED, level="condition")["n"].sum())
    return Headline(text, "Several concepts under " + "; ".join(nulls) + ".", n=n)


def _mask_words(result: Result, condition: str) -> str:
    table: Any = result.tables["specificity"].query("masked == 'all' and condition == @condition").set_index("units")
    n = result.provenance["config"]["n_masked"]
    costs = [
        f"{round(row.own, 2) + 0:.2f} nats a token ({kind}; the others {round(row.others, 2) + 0:.2f})"
        for kind, row in table.iterrows()
    ]
    return f"Masking the {n} units of one kind of text costs it {', '.join(costs)}."


def _share_words(row: Any, kind: str) -> str:
    low, high = 100 * row["ci_low"], 100 * row["ci_high"]
    return f"{100 * row['share']:.0f} % of {int(row['n'])} {_PLURAL[kind]} ({low:.0f} to {high:.0f} %)"


def section(result: Result, drawn: Mapping[str, Figure]) -> Section:
    """Return the section of the report."""
    from interp.plot import Section

    shown = []
    for name, fig in drawn.items():
        alt, caption, table = _CAPTIONS[name]
        if name == "experts":
            caption = caption.format(n=result.provenance["config"]["n_experts"])
        frame: Any = result.tables[table]
        if name == "masks":  # as drawn; the run's folder has those of random weights too
            frame = frame[frame["condition"] == TRAINED].reset_index(drop=True)
        shown.append(report_figure(fig, alt, caption=caption, table=frame))
    tables = {"Verdicts, one row a unit": result.table}
    if "upstream" in result.tables:
        parts: Any = result.tables["upstream"].query("condition == @TRAINED and rank == 0").drop(columns="rank")
        most = parts.sort_values("share", ascending=False, kind="stable").reset_index(drop=True)
        tables["The earlier part that gave most to each unit of the trained model"] = most
    if "labels" in result.tables:
        tables["Known labels: modularity, compactness and feature monosemanticity"] = result.tables["labels"]
    if "specificity" in result.tables:
        tables["Specificity of masks: own domain less the others"] = result.tables["specificity"]
        tables["Units exclusive to a domain, beside shuffled domains"] = result.tables["exclusivity"]
    return Section(
        id="polysemanticity",
        title="Polysemanticity of neurons, heads and latents",
        question="Does this unit mean one thing or several?",
        headline=headline(result),
        figures=shown,
        tables=tables,
        methods=methods(result.provenance),
        limits=limits(result),
    )


def methods(about: Mapping) -> list[str]:
    """Return how the numbers were made, in plain words."""
    if "skipped" in about:
        return [str(about["skipped"])]
    c = about["config"]
    a = c["audit"]
    twin = " (read by an SAE trained on it)" if about["twin_sae_is_own"] else " (read by the same SAE)"
    latents = "" if about["site"] is None else f", {c['n_units']} latents at {about['site']}"
    return [
        f"A sample (seed {c['seed']}): {c['n_units']} neurons of all layers, all heads{latents}; {c['n_controls']} "
        f"each of the twin{twin if latents else ''} and of random directions (of heads: of a random rotation of z "
        f"across the heads of a layer). Read on "
        f"{about['n_texts']:,} texts ({about['n_tokens']:,} tokens). Of a neuron the side, up or down, that carries "
        "more is judged; a head at a token is what it moves most above even attention.",
        f"Of each unit up to {a['per_interval']} examples are drawn from each of {a['n_intervals']} equal intervals of "
        f"activation above {format_number(100 * a['floor'])} % of its largest, one a text; more, where those are fewer "
        "than 40. They are clustered in each view by average linkage, cut between their likeness to random tokens and "
        "to their neighbours; a cluster counts from 5 % of the examples. Views: the token, the words before it "
        "(TF-IDF, SVD), the residual stream after the first block, the next token; of neurons and latents also "
        "upstream: what each earlier head (by where it looked), neuron and the embedding gave to the unit, which sums "
        "to what it got; of heads also the token read from, and its relation to the one written to.",
        f"One concept: in some view a single cluster holds {format_number(100 * a['share_one'])} % of the examples. "
        f"Several: no view says one, or puts {format_number(100 * a['share_shades'])} % into one cluster when the cut "
        "is lowered to just above the background (shades of one concept), and in a view that knows likeness (words "
        "before, residual stream, upstream, which may not say one, since what drives a unit may mean several things "
        "itself; of heads also relation) two or more clusters hold "
        f"{format_number(100 * a['share_several'])} % and are found again in the other half (adjusted Rand index from "
        f"{a['min_replication']}). Either only where the examples are more alike than random tokens "
        f"(p <= {a['alpha']}, {a['n_null']} sets). p in the shares is Fisher's exact test against the trained model.",
        *([_group_words(c)] if about["has_domains"] else []),
    ]


def _group_words(c: Mapping) -> str:
    return (
        f"Groups of units: a unit belongs to the domain (kind of text, {c['n_choosing']} texts) in which its mean "
        "|activation| is largest, exclusively where that is twice the second (null: domains shuffled over texts). "
        f"Masks set the {c['n_masked']} units of a domain with the largest lead to 0 on other texts "
        f"({c['n_domain_texts']} a domain; null: {c['n_random_masks']} random masks). Neurons of a layer (up to 512), "
        f"or latents, are put into {c['n_experts']} groups of equal size by balanced k-means, of what they read or of "
        f"when they are on, on half of {c['n_expert_texts']} texts, and judged on the others (null: "
        f"{c['n_random_groups']} random groupings); intervals are over texts. p of masks and groups is Student's t "
        "that one more random one would do as much."
    )


def limits(result: Result) -> list[str]:
    """Return what the result does not show."""
    about = result.provenance
    if "skipped" in about:
        return ["Nothing was tested."]
    out = [
        "The rule is strict about several concepts: shades of one, and one concept beside much weaker ones, stay "
        "undecided: the power curve says how many are missed.",
        "Several clusters in every view need not be several concepts: a concept that none of the views shows would "
        "look so too. The share under random directions says how much of the verdict the texts alone can make.",
        "A concept below the floor of activation, or in less than 5 % of the examples, is not seen: the power curve "
        "says how strong a second concept has to be. Mixtures have no upstream view, false alarms do: the audit itself "
        "finds as many or more.",
    ]
    out += [f"What wrote {kind} was not read: {why}" for kind, why in about["no_upstream"].items()]
    if str(about["model"]).partition("@")[0] == "atlas":
        out.append("The bundled model is small and its texts are generated: shares of other models will differ.")
    if "specificity" in result.tables:
        out.append("A mask shows that units are needed on a kind of text, not that they are about nothing else.")
    return out
