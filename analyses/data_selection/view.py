"""Figures and the report of a selection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.data_selection.method_names import NAMES
from analyses.data_selection.selection_config import SelectionConfig
from analyses.data_selection.study import Selection
from interp.plot import Headline, Passage, Section, figure, null_panel, ranked_panel, render_report, report_figure
from interp.plot.numbers import p_phrase

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKED_TOKENS = 80
"""Tokens shown of a sample."""
METHODS = (
    "Each sample is one vector: the latents of its tokens, pooled. Its raw score is the generalized Jaccard similarity "
    "J = sum min / sum max with the mean vector of the target examples (MoNA, Ma et al. 2025).",
)
LIMITS = (
    "A high score says that a sample uses features that the target uses. Whether training on the pick helps is another "
    "question, on which selection often does no better than chance: train on a random pick of equal tokens too.",
    "Scores of different tasks, pools or SAEs cannot be compared.",
)


def score_figure(selection: Selection, task: str) -> Figure:
    """Draw the scores of a task: of what was picked for it, and of the pool."""
    table: Any = selection.ranking[selection.ranking["task"] == task]
    picked = (table["selected"] & (table["picked_for"] == task)).to_numpy()
    fig = figure("single")
    values = table["score"].to_numpy()
    null_panel(
        values[picked], {"pool": values}, xlabel=f"score ({table['method'].iloc[0]})", name="picked", ax=fig.axes[0]
    )
    return fig


def length_figure(selection: Selection) -> Figure:
    """Draw the lengths of pick, pool and target examples."""
    tokens = selection.pool.rows["n_tokens"].to_numpy()
    target = np.concatenate([coded.rows["n_tokens"].to_numpy() for coded in selection.targets.values()])
    fig = figure("single")
    others = {"pool": tokens, "target": target}
    null_panel(tokens[selection.selected], others, xlabel="tokens of a sample", name="picked", ax=fig.axes[0])
    return fig


def control_figure(controls: pd.DataFrame) -> Figure:
    """Draw how much of the pick other methods pick too, beside what chance gives; of several tasks their mean."""
    means: Any = controls[controls["method"] != "score"].groupby("method", sort=False)[["overlap", "chance"]].mean()
    axes = ranked_panel(means.index.tolist(), means["overlap"], xlabel="share of the pick in common",
                        null=means["chance"].to_numpy(), null_label="chance")  # fmt: skip
    return axes.figure  # type: ignore[return-value]


def report_page(selection: Selection, config: SelectionConfig, tables: dict[str, pd.DataFrame], about: Any) -> str:
    """Return the offline page of a selection.

    Args:
        tables: those of the selection and of `why_tables`, and "listed".
        about: provenance.
    """
    sections = [_pick(selection, config, tables), _length(selection, tables), _controls(selection, tables)]
    sections += [_reasons(tables), _left_out(selection, tables)]
    return render_report("Data selection", sections, about)


def _pick(selection: Selection, config: SelectionConfig, tables: dict[str, pd.DataFrame]) -> Section:
    n, total = int(selection.selected.sum()), len(selection.pool)
    stable = tables["stability"]
    first = stable.iloc[0]
    steady = f"how stable the pick is was not measured: {first['status']}"
    if first["status"] == "ok":
        steady = f"of the picks {first['overlap']:.0%} stay when the target examples are resampled " \
                 f"({first['overlap_low']:.0%} to {first['overlap_high']:.0%})"  # fmt: skip
    figures = [
        report_figure(score_figure(selection, task), f"Cumulative share of scores for {task}: picked and pool.",
                      caption=f"Scores for {task}.") for task in selection.targets
    ]  # fmt: skip
    table = selection.ranking
    picked: Any = table[table["selected"] & (table["task"] == table["picked_for"])]
    best = (
        picked.sort_values(["task", "rank"], kind="stable")
        .drop(columns=["selected", "picked_for"])
        .head(200)
        .set_index("id")
    )
    budget = selection.pick.attrs["budget"]
    told = f"The score is {config.method}: {NAMES.get(config.method, 'chance')}."
    return Section(
        "pick", "The pick", "Which samples are most like the target?",
        Headline(f"{n:,} of {total:,} samples picked by {config.method}, for a budget of {budget}", steady, n=total),
        figures, {"Best of what was picked": best, "Stability": stable}, (*METHODS, told), (*LIMITS, *selection.notes),
    )  # fmt: skip


def _length(selection: Selection, tables: dict[str, pd.DataFrame]) -> Section:
    table = tables["length"].set_index("measure")["value"]
    # of several tasks the one whose score hangs on length most
    rho, raw = (max(table[[f"spearman of {name} with n_tokens"]], key=abs) for name in ("score", "raw"))
    flagged = tables["length"]["flag"].tolist().count("follows length")
    audit = tables["format"]
    looks: Any = audit[audit["flag"] != ""]
    figures = [report_figure(length_figure(selection), "Cumulative share of lengths of pick, pool and target.",
                             caption="Lengths in pooled tokens.")]  # fmt: skip
    return Section(
        "length", "Length and format", "Is the pick about the task, or about length and looks?",
        Headline(f"score and length: Spearman rho = {rho:.2f}", f"the published score has rho = {raw:.2f}"),
        figures, {"Length audit": tables["length"], "Format audit": tables["format"]}, (),
        [*([f"Measures that follow length (column flag): {flagged}."] if flagged else []),
         *([f"The pick stands out by: {', '.join(looks['trait'].drop_duplicates())}."] if len(looks) else [])],
    )  # fmt: skip


def _controls(selection: Selection, tables: dict[str, pd.DataFrame]) -> Section:
    table = tables["controls"]

    def overlap(start: str) -> float:
        return float(table.loc[table["method"].str.startswith(start), "overlap"].mean())

    dense = overlap("residual-centred")
    return Section(
        "controls", "Controls", "What would have been picked without the SAE, without the target, or by words?",
        Headline(
            "this pick is that of the mean activation without the SAE" if np.isnan(dense)
            else f"the mean activation without the SAE picks {dense:.0%} of the same samples",
            f"a target with shuffled features {overlap('shuffled target'):.0%}, chance {table['chance'].mean():.0%}",
        ),
        [report_figure(control_figure(table), "Share of the pick that other methods pick too, with chance.",
                       caption="Agreement with the pick.")],
        {"Agreement": table},
        "Each method's best rows, as many as were picked, before duplicates and quotas.",
    )  # fmt: skip


def _reasons(tables: dict[str, pd.DataFrame]) -> Section:
    features, reasons, causal = tables["features"], tables["reasons"], tables["causal"]
    missing, enriched = (features["status"].tolist().count(name) for name in ("missing", "enriched"))
    of = f" The contributions are those to {reasons['of'].iloc[0]}." if "of" in reasons else ""
    return Section(
        "reasons", "Why", "Which features make the scores, which does the pick lack, and do they matter to the task?",
        Headline(*_effect(causal)) if len(causal) else
        Headline(f"{enriched:,} features are at least twice as strong in the pick as in the pool",
                 f"{missing:,} features of the target are in no picked sample"),
        (), {"Contributions to the scores of the best": reasons,
             "Features of the target that they lack": tables["lacking"],
             "Features of pick, pool and target": features.head(500),
             **({"Ablation of the features that explain": causal} if len(causal) else {})},
        f"The numerator of J is a sum over features: contributions of a sample add up to its score.{of} "
        "--weigh FEATURE=0 mutes a feature and picks again from the codes that are there.",
        "A feature that contributes to a score need not matter to the task: --causal-check ablates those that do."
        if not len(causal) else "", passages=_passages(tables),
    )  # fmt: skip


def _effect(causal: pd.DataFrame) -> tuple[str, str]:
    row = causal.iloc[0]
    if row["status"] != "ok":
        return f"whether the features matter to {row['task']} was not measured: {row['status']}", "no null"
    return (
        f"{row['verdict'].capitalize()}: without the {row['n_latents']} features that explain most, the loss on "
        f"{row['task']} moves by {row['change']:+.3f} nats ({row['ci_low']:+.3f} to {row['ci_high']:+.3f})",
        f"without as many others that are about as active by {row['null_mean']:+.3f} (sd {row['null_sd']:.3f}, "
        f"{row['n_perm']} draws, {p_phrase('p', row['p'])})",
    )


def _passages(tables: dict[str, pd.DataFrame]) -> list[Passage]:
    """Return the best samples with the tokens that fired the features which contribute most to their scores."""
    tokens = tables["tokens"]
    if "position" not in tokens:
        return []
    groups: Any = tokens.groupby(["task", "row"], sort=False)
    lacking = tables["lacking"]
    found = []
    for (task, row), part in groups:
        absent: Any = lacking[(lacking["task"] == task) & (lacking["row"] == row)]
        missing = absent["feature"].head(3).tolist()
        lacks = f" It lacks {', '.join(map(str, missing))} of the target." if missing else ""
        fired = part[part["feature"] >= 0]["feature"].drop_duplicates().tolist()
        caption = f"{part['id'].iloc[0]}, picked for {task}: marked where features {', '.join(map(str, fired))} fire."
        found.append(Passage(caption + lacks, _marked(part)))
    return found


def _marked(part: pd.DataFrame) -> list[tuple[str, int, str]]:
    """Return the tokens round the strongest one, marked in four steps of it."""
    strength = part["activation"].to_numpy()
    top = float(strength.max())
    start = max(0, int(strength.argmax()) - MARKED_TOKENS // 2)
    levels = np.ceil(4 * strength / top).astype(int) if top else np.zeros(len(part), dtype=int)
    rows = list(zip(part["token"], levels.tolist(), part["feature"], strength, strict=True))
    shown = rows[start : start + MARKED_TOKENS]
    marked = [(str(text), level, f"feature {feature}: {value:.3g}") for text, level, feature, value in shown]
    cut = [("… ", 0, "")] if start else []
    return [*cut, *marked, *([(" …", 0, "")] if start + MARKED_TOKENS < len(rows) else [])]


def _left_out(selection: Selection, tables: dict[str, pd.DataFrame]) -> Section:
    reasons = selection.pick["reason"].str.replace(r" (of|by) \S+$", "", regex=True)
    counts = reasons[~selection.selected].value_counts().rename_axis("reason").reset_index(name="n")
    listed, contaminated = tables["listed"], selection.exclusions.contaminated
    return Section(
        "left-out", "Left out", "Which rows were not scored, and which not picked, and why?",
        Headline(f"{len(listed):,} rows were not scored", f"{len(contaminated):,} hold text of target or test"),
        (), {"Why rows were not picked": counts, "Rows that were not scored": listed.head(500),
             "Samples with text of target or test": contaminated.head(500)},
    )  # fmt: skip
