"""A line of text around a token, each token as strong in colour as the latent is there."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup, escape

from analyses.dashboards.collect import DashboardData, LatentData
from analyses.dashboards.sources import Source
from analyses.dashboards.visible import visible
from interp.plot.numbers import format_number


def example(data: DashboardData, part: LatentData, position: int, window: tuple[int, int]) -> Markup:
    """Return the line of one event: its activation, the text around it, and where an attention latent reads it from.

    Args:
        position: of the event in `part.events`.
        window: tokens before and after it.
    """
    value = format_number(float(part.events.values[position]))
    line = f"<p><b>{value}</b>{_text(data, part, position, window)}</p>"
    found = part.sources.get(position)
    return Markup(line + (_sources(found) if found else ""))


def _sources(found: list[Source]) -> str:
    """Return the line of the largest sources of an event: token and share in per cent."""
    most = max((abs(s.share) for s in found), default=1.0) or 1.0
    chips = [
        f'<i class="{"d" if s.share >= 0 else "d m"}" style="--a:{_strength(abs(s.share) / most)}" '
        f'title="head {s.head}, {s.back} back">{escape(visible(s.token.replace("Ġ", " ").replace("▁", " ")))} '
        f"{format_number(round(100 * s.share))}</i>"
        for s in found
    ]
    return f'<p class="dfa">from {" ".join(chips)}</p>'


def _text(data: DashboardData, part: LatentData, position: int, window: tuple[int, int]) -> str:
    row, special = int(part.events.rows[position]), data.encoded.special
    text = data.text_index[row]
    begin, end = int(data.encoded.starts[text]), int(data.encoded.starts[text + 1])
    first, last = max(begin, row - window[0]), min(end, row + window[1] + 1)
    at = np.searchsorted(part.events.rows, [first, last])
    on = dict(zip(part.events.rows[slice(*at)].tolist(), part.events.values[slice(*at)].tolist(), strict=True))
    out = ["…"] if (~special[begin:first]).any() else []
    for token in range(first, last):
        if special[token]:
            continue
        token_id = int(data.encoded.ids[token])
        shown, value = data.names[token_id], on.get(token)
        shown = shown.removeprefix(" ") if value is None and not out else shown
        out.append(_token(shown, token_id, value, part.activity.largest, token == row))
    return "".join(out) + ("…" if last < end else "")


def _token(shown: str, token_id: int, value: float | None, largest: float, centre: bool) -> str:
    """Return a token as HTML: all of it that is not a number of ours is escaped."""
    if value is None:
        return str(escape(visible(shown, spaces=False)))
    kind = ' class="c"' if centre else ""
    title = f"{format_number(value)} #{token_id}"
    return f'<i{kind} style="--a:{_strength(value / largest)}" title="{title}">{escape(visible(shown))}</i>'


def _strength(share: float) -> str:
    return f"{share:.2f}".removeprefix("0") if share < 0.995 else "1"
