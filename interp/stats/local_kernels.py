"""Compiled counting under the local tests: where each place lies among the draws that leave it out."""

from __future__ import annotations

import numpy as np

from interp.stats.moran_kernels import compiled


@compiled
def _first_of_bins(ordered, scale, first):
    """Fill first (bin + 1,): where each of the equal bins from ordered[0] on begins among the ascending values."""
    at = 0
    for b in range(first.shape[0] - 1):
        while at < ordered.shape[0] and (ordered[at] - ordered[0]) * scale < b:
            at += 1
        first[b] = at
    first[-1] = ordered.shape[0]


@compiled
def _below(ordered, first, scale, x):
    """How many of the ascending `ordered` are < x: those of the bins before, and some of its own."""
    if not x > ordered[0]:
        return 0
    b = min(int((x - ordered[0]) * scale), first.shape[0] - 2)
    start, stop = first[b], first[b + 1]
    while start < stop:
        half = (start + stop) // 2
        if ordered[half] < x:
            start = half + 1
        else:
            stop = half
    return start


@compiled
def count_tails(sums, ordered, low, high, draw, place, at_least, at_most):
    """Fill, for each place, how many draws are >= low and <= high, but for the pairs (draw, place) to leave out.

    `sums` (draw,) and the same `ordered`, ascending; low, high, at_least and at_most are (place,).
    """
    total = ordered.shape[0]
    span = ordered[-1] - ordered[0]
    scale = total / span if span > 0.0 else 0.0
    first = np.empty(total + 2, np.int64)
    _first_of_bins(ordered, scale, first)
    for i in range(low.shape[0]):
        below = _below(ordered, first, scale, low[i])
        at_least[i] = total - below
        if below < total and ordered[below] <= high[i]:  # ties, of which a silent place has many
            below = _below(ordered, first, scale, np.nextafter(high[i], np.inf))
        at_most[i] = below
    for t in range(draw.shape[0]):
        i, value = place[t], sums[draw[t]]
        at_least[i] -= value >= low[i]
        at_most[i] -= value <= high[i]
