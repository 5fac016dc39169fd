"""The figure of an evaluation: what each method gains over random picks, with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InvalidInput
from interp.plot import figure, ranked_panel
from interp.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
