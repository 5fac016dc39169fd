"""Intervals in closed form."""

from __future__ import annotations

import math

_Z_95 = 1.959963984540054


def wilson_interval(hits: float, n: float) -> tuple[float, float]:
    """Return the 95 % score interval of hits / n, NaN for n = 0; both may be effective numbers.

    Reference: Wilson 1927; (p + z²/2n ± z sqrt(p(1 - p)/n + z²/4n²)) / (1 + z²/n).
    """
    if n == 0:
        return float("nan"), float("nan")
    share, scale = hits / n, 1 + _Z_95**2 / n
    middle = share + _Z_95**2 / (2 * n)
    half = _Z_95 * math.sqrt(share * (1 - share) / n + _Z_95**2 / (4 * n**2))
    low, high = (middle - half) / scale, (middle + half) / scale
    return (0.0 if hits == 0 else low), (1.0 if hits == n else high)  # exact, whatever the rounding
