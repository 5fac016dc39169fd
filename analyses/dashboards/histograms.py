"""Histograms as inline SVG: one path, bars of the height of log(1 + count)."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from interp.errors import InvalidInput
from interp.plot.numbers import format_number

_WIDTH, _HEIGHT = 240, 60


def log_histogram(counts: np.ndarray, edges: np.ndarray, *, what: str) -> Markup:
    """Return a histogram of counts [n] between edges [n + 1] with its range and largest count below it.

    Args:
        what: what is counted, for those who do not see it and for the line below.

    Raises:
        InvalidInput: numbers that do not fit.
    """
    if len(edges) != len(counts) + 1 or len(counts) == 0:
        raise InvalidInput(f"a histogram of {len(counts)} counts has {len(counts) + 1} edges, not {len(edges)}.")
    most = max(int(counts.max()), 1)
    heights = np.log1p(counts) / np.log1p(most) * _HEIGHT
    step = _WIDTH / len(counts)
    path = f"M0 {_HEIGHT}" + "".join(f"V{_HEIGHT - h:.3g}h{step:.3g}" for h in heights) + f"V{_HEIGHT}z"
    low, high = format_number(float(edges[0])), format_number(float(edges[-1]))
    label = f"Histogram of {what}, from {low} to {high}; largest bin {most:,}, of {int(counts.sum()):,}"
    return Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}" preserveAspectRatio="none"><path d="{}"/></svg>'
        '<p class="axis"><span>{}</span><span>log count, largest bin {}</span><span>{}</span></p>'
    ).format(_WIDTH, _HEIGHT, label, path, low, f"{most:,}", high)
