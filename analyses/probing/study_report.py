"""The answer of the study of places in words, and its section of the report, from the tables of the result alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses.probing.causal import DIRECTIONS, LEACE, LOSS, NOTHING, PERMUTED, RIGHT
from analyses.probing.layers import CHOSEN
from analyses.probing.study_view import HELD, METRIC_WORD, by_ridge, reasons
from interp.plot import format_number, report_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from interp.plot import Headline, Section
    from interp.result import Result

_LAYER_COLUMNS = [
    "task", "condition", "unit", "score", "ci_low", "ci_high", "baseline", "null_mean", "null_sd", "p", "q",
    "control_score", "selectivity", "variance_explained", "variance_explained_null", "alpha", "n", "n_groups",
    "n_perm", "seed", "status",
]  # fmt: skip
_CHOSEN_COLUMNS = [
    "task", "role", "condition", "unit", "score", "ci_low", "ci_high", "baseline", "accuracy", "majority", "null_mean",
    "null_sd", "p", "q", "n", "n_groups", "n_fitted", "n_perm", "seed", "status",
]  # fmt: skip
_KIND_COLUMNS = [
    "task", "condition", "unit", "kind", "score", "ci_low", "ci_high", "null_mean", "p", "score_row_folds",
    "control_score", "selectivity", "mdl_bits", "mdl_compression", "mdl_compression_null", "variance_explained",
    "variance_explained_null", "n", "n_perm", "seed", "status",
]  # fmt: skip


def headline(result: Result) -> Headline:
    """Return the answer in one sentence, with its nulls beside it."""
    from interp.plot import Headline

    if "chosen" not in result.tables:
        return Headline(f"Not measured: {reasons(result.table)}.", "nothing was measured, so there is none.")
    chosen = result.tables["chosen"]
    parts, nulls = [], []
    for task in chosen["task"].unique():
        rows = chosen[chosen["task"] == task].set_index("role")
        if CHOSEN not in rows.index or rows.loc[CHOSEN, "status"] != "ok":
            continue
        own: Any = rows.loc[CHOSEN]
        parts.append(
            f"{task} of held-out {HELD[task]} at {own['unit']} with {METRIC_WORD[own['metric']]} {_n(own['score'])} "
            f"[{_n(own['ci_low'])}, {_n(own['ci_high'])}]"
        )
        nulls.append(
            f"{task}: permuted labels {_n(own['null_mean'])}, random weights {_value(rows, 'same site')}, "
            f"embedding alone {_value(rows, 'embedding')}"
        )
    text = f"Read out linearly: {'; '.join(parts)}." if parts else "No layer has a score (see status)."
    if "causal" in result.tables and "ok" in set(result.tables["causal"]["status"]):
        words, null = causal_words(result.tables["causal"])
        text, nulls = f"{text} {words}", [*nulls, null]
    if "random_labels" in result.tables:
        lots: Any = result.tables["random_labels"]
        nulls.append(
            f"labels by lot: mean AUC {_n(lots['score'].mean())}, {int((lots['q'] <= 0.05).sum())} of {len(lots)} with "
            "q <= .05"
        )
    return Headline(text, ". ".join([*nulls, ""]).strip(), n=int(chosen["n"].iloc[0]))


def causal_words(table: pd.DataFrame) -> tuple[str, str]:
    """Return what erasing costs, and what erasing as much of anything costs, in words."""
    cells = table.set_index(["eraser", "measure"])["value"]
    text = (
        f"With the country erased there (LEACE) the model loses {_n(cells[LEACE, LOSS] - cells[NOTHING, LOSS])} nats a "
        f"token of the country's name, and says {cells[LEACE, RIGHT]:.0%} of them right (before: "
        f"{cells[NOTHING, RIGHT]:.0%})."
    )
    null = (
        f"as many random directions cost {_n(cells[DIRECTIONS, LOSS] - cells[NOTHING, LOSS])} nats "
        f"({cells[DIRECTIONS, RIGHT]:.0%} right), LEACE of permuted labels "
        f"{_n(cells[PERMUTED, LOSS] - cells[NOTHING, LOSS])} ({cells[PERMUTED, RIGHT]:.0%} right)"
    )
    return text, null


def section(result: Result, drawn: Mapping[str, Figure]) -> Section:
    """Return the section of the report."""
    from interp.plot import Section

    tables = result.tables
    about = result.provenance
    captions = {
        "layers": (
            "Score of a ridge probe by layer, beside its controls.",
            "Score by layer in the places that choose the layer (cross-validated over whole groups; band: 95 %). "
            "Permuted labels, the random-weights model, the embedding alone, and the control task, under folds that "
            "split groups.",
            lambda: _columns(result.table, _LAYER_COLUMNS),
        ),
        "chosen": (
            "Scores of the chosen layer on test places, of other probes there, and of labels drawn by lot.",
            "Left: the layer with the best score, judged on places that chose nothing; tick: permuted labels. Middle: "
            "other probes of that layer; cross: their control task, where places recur. Right: 20 labels drawn by lot, "
            "each with a layer chosen and judged in the same way.",
            lambda: _columns(tables["kinds"], _KIND_COLUMNS),
        ),
        "information": (
            "Compression of an online code, control task and variance explained, at the chosen layer of each task.",
            "What the score does not tell, at the chosen layer: how much shorter labels become (above 1: the layer "
            "tells something), what a probe knows by heart (score minus control task: selectivity), and how much of "
            "the variance of the activations the label accounts for.",
            lambda: _columns(by_ridge(tables["kinds"]), _KIND_COLUMNS),
        ),
        "causal": (
            "Loss and share of right answers with the country erased, beside erasing as much of anything.",
            f"'<name>{about.get('tail')} <country>' with {about.get('erased_site')} edited from the last token of the "
            "name on; places whose erasers were fitted on others. Black: 95 % interval of the change.",
            lambda: tables["causal"],
        ),
        "features": (
            "Area under the ROC curve of k SAE latents and of k activations, by country.",
            f"One country against the rest at {about.get('sae_site')}: k columns chosen inside each fold, or all.",
            lambda: tables["features"],
        ),
    }
    shown = [
        report_figure(fig, captions[name][0], caption=captions[name][1], table=captions[name][2]())
        for name, fig in drawn.items()
    ]
    more = {"What was asked": tables.get("tasks", result.table)}
    if "chosen" in tables:
        more["The chosen layer on test places, with its controls"] = _columns(tables["chosen"], _CHOSEN_COLUMNS)
    if "random_labels" in tables:
        more["Labels drawn by lot"] = tables["random_labels"]
    return Section(
        id="probing",
        title="What each layer tells of places",
        question="What can be read out of each layer?",
        headline=headline(result),
        figures=shown,
        tables=more,
        methods=methods(about) if "chosen" in tables else (),
        limits=limits(about) if "chosen" in tables else (),
    )


def methods(about: Mapping) -> list[str]:
    """Return how the numbers were made, in plain words."""
    carriers = ", ".join(repr(f"{c}<name>") for c in about["carriers"])
    return [
        f"Each place is written as {carriers} and read at the last token of its name. Country: folds hold out whole "
        "places. Continent: folds hold out whole countries, so that no probe can know a continent by the country. "
        "Names that two places share are left out.",
        "Ridge regression on one column a class; the strength is chosen inside the other folds, for permuted labels "
        "anew; whole groups are permuted. The layer is chosen by its cross-validated score on 70 % of the groups and "
        "judged on the other 30 %. Score: balanced accuracy, of two classes the area under the ROC curve. Intervals "
        "resample groups.",
        "Control task: every place (country) gets a random label, under folds in which it recurs; selectivity is score "
        "minus control score there. mdl_compression: bits without a probe over those of an online code (above 1: the "
        "layer tells something), beside permuted labels. variance_explained: share of the held-out variance of the "
        "activations that the label accounts for.",
        "Erasure: LEACE (Belrose et al. 2023) and mean projection, one eraser for each token from the last of the name "
        "on, fitted on other places. Controls of the same rank: random directions (5 draws), and LEACE fitted to "
        "permuted labels (19 draws), which is the null of LEACE: p is the share of these draws that cost as much, "
        "never below .05 (of the probes, with 5 draws, never below .17). The probe after the erasure is fitted anew on "
        "the edited activations.",
    ]


def limits(about: Mapping) -> list[str]:
    """Return what the result does not show."""
    out = [
        "That a label can be read does not show that the model reads it; that erasing it costs the answer shows that "
        "the answer passes through what was erased, which correlates with the country and need not be it alone.",
        "An eraser is exact on the places it was fitted on. On others a probe may still find a remainder, the larger "
        "the fewer places there are for each column: compare variance_removed and the probe after the erasure.",
        "The embedding of the last token tells countries whose names are spelled alike: what a layer adds is its score "
        "beside that of the embedding.",
        "Probes other than ridge and nearest mean are not fitted to permuted labels here: their scores have no p.",
    ]
    if about["model"].partition("@")[0] == "atlas":
        out.append("The geography of the bundled model was planted by its training text, which stated these facts.")
    return out


def _columns(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    return table.reindex(columns=[c for c in names if c in table.columns])


def _value(rows: pd.DataFrame, role: str) -> str:
    return _n(rows.loc[role, "score"]) if role in rows.index else "not measured"


def _n(value: Any) -> str:
    return format_number(round(float(value), 3), 2 if abs(float(value)) < 1 else 3)
