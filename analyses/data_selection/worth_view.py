"""The figure and the page of an evaluation: what each method gains over random picks, with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from analyses.data_selection.worth_verdicts import BASE, BETTER, NO_POWER, ORACLE, REFERENCE
from interp.errors import InvalidInput
from interp.plot import Headline, Section, figure, ranked_panel, render_report, report_figure
from interp.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


COLUMNS = ["method", "measure", "difference", "ci_low", "ci_high", "p", "q", "verdict", "tasks_better", "n", "value",
           "reference_value", "status"]  # fmt: skip


def plot(result: Result) -> Figure:
    """Draw the gain of each method over random (loss of random less its own, in nats), a panel a held-out set.

    Raises:
        InvalidInput: the result holds no loss.
    """
    table: Any = result.table
    measures = [one for one in dict.fromkeys(table["measure"]) if one.startswith("loss, ")]
    if not measures:
        raise InvalidInput("this result holds no loss to draw.")
    height = 22 + 3.6 * int(table["method"].nunique())
    fig = figure("double" if len(measures) > 1 else "single", height, cols=len(measures))
    for ax, measure in zip(fig.axes, measures, strict=True):
        rows = table[(table["measure"] == measure) & np.isfinite(table["difference"])]
        low, high = -rows["ci_high"].to_numpy(), -rows["ci_low"].to_numpy()
        ranked_panel(
            rows["method"].tolist(), -rows["difference"].to_numpy(), low=low, high=high, null=0.0, null_label="random",
            xlabel=f"{measure.removeprefix('loss, ')}\ngain (nats)", n=int(rows["n"].max()), top=len(rows), ax=ax,
        )  # fmt: skip
    return fig


def worth_page(result: Result) -> str:
    """Return the offline page of an evaluation: the verdicts by held-out loss, what was picked, whole rankings."""
    table: Any = result.table
    losses = [one for one in dict.fromkeys(table["measure"]) if one.startswith("loss, ")]
    first: Any = table[table["measure"] == losses[0]]
    worth = Section(
        "worth", "Is it worth selecting?", "Does a model learn more from these picks than from random ones?",
        Headline(*_verdict(first), n=int(first["n"].max())),
        [report_figure(plot(result), "Gain of each method over random picks, with its 95 % interval.",
                       caption="Gain over random picks of equal tokens; 95 % intervals over pairs of task and seed.")],
        {"Verdicts": table[COLUMNS], **_named(result, contrasts="Beside other methods")},
        "The same checkpoint is tuned on what each method picks, with equal tokens and steps, and its loss on held-out "
        "examples compared with that after random picks, paired by task and seed. q is p after Holm.",
        [*result.notes, "A verdict of no gain is one that a perfect method would have escaped; no power is not."],
    )  # fmt: skip
    shares: Any = result.tables["picks"]
    rho: Any = shares[shares["measure"] == "rho_length"].dropna(subset="value")
    most = max(rho["value"], key=abs, default=np.nan)
    picked = Section(
        "picked", "What was picked", "Do the picks differ in length or kind, and are whole rankings ones of relevance?",
        Headline(f"the method that hangs on length most has Spearman's rho = {most:.2f}",
                 f"random picks {rho.loc[rho['method'] == REFERENCE, 'value'].mean():.2f}"),
        (), {"Means over tasks and seeds": shares, **_named(result, deciles="Tenths of a ranking and loss"),
             **_named(result, runs="Every training", decile_runs="Every training on a tenth")},
    )  # fmt: skip
    return render_report("Is it worth selecting?", [worth, picked], result.provenance, references=result.cite())


def _verdict(rows: Any) -> tuple[str, str]:
    """Return the verdict by one loss as a sentence, and what no tuning and the oracle get of the same."""
    judged = rows[~rows["method"].isin([BASE, ORACLE])]
    better = judged[judged["verdict"] == BETTER]
    measure = rows["measure"].iloc[0].removeprefix("loss, ")
    if len(better):
        text = f"better than random picks on {measure}: {', '.join(better['method'])}"
    elif len(judged) and (judged["verdict"] == NO_POWER).all():
        text = f"no power on {measure}: with these pairs a gain as large as the oracle's would not have been found"
    else:
        text = f"no method is better than random picks on {measure}"
    known = rows[rows["method"].isin([BASE, ORACLE])]
    changes = [f"{row.method} {row.difference:+.3f} ({row.ci_low:+.3f} to {row.ci_high:+.3f})"
               for row in known.itertuples()]  # fmt: skip
    return text, f"difference of the loss to random picks, nats: {', '.join(changes)}"


def _named(result: Result, **captions: str) -> dict[str, Any]:
    return {caption: result.tables[name] for name, caption in captions.items() if name in result.tables}
