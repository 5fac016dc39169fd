"""How a number is written: one place decides digits, minus signs, p-values and the words for a missing one."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from interp.errors import InvalidInput

MISSING = "–"
_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_THRESHOLDS = (0.05, 0.01, 0.001)

# Why a test has no p. A status that is not listed is shown as it is written, with spaces for underscores.
STATUS_WORDS = {
    "ok": "tested",
    "constant": "the values are the same everywhere, so there is nothing to correlate",
    "dead": "the unit never fires on these inputs",
    "nan": "a value is missing or not finite",
    "non_finite": "a value is missing or not finite",
    "too_rare": "active in too few places for a trustworthy null",
    "too_sparse": "active in too few places for a trustworthy null",
    "too_few": "too few samples for this test",
    "island": "the place has no neighbours, so no local statistic exists",
    "no_neighbours": "the place has no neighbours, so no local statistic exists",
    "at_mean": "the value is the mean, so the local statistic is 0 whatever the neighbours are",
    "constant_within_groups": "the values are the same within every group, so exchanging them there changes nothing",
    "constant_null": "every rearrangement gives the same statistic, so no p can be computed",
    "no_draws": "it has so many neighbours that no draw leaves the place out, so there is no null",
    "degenerate": "the null has no spread, so no p can be computed",
    "degenerate_null": "the null has no spread, so no p can be computed",
    "one_class": "all samples carry the same label",
    "not_tested": "left out of the test on purpose",
}


def is_missing(value: Any) -> bool:
    """Return whether `value` stands for no value (None, NaN, NaT, pandas NA)."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, numbers.Real) and math.isnan(value)


def format_number(value: Any, digits: int = 3) -> str:
    """Write a number with `digits` significant digits: 20,343; 0.894; −1.20 × 10⁻⁷; "–" where it is missing.

    Whole numbers keep all their digits.
    """
    if is_missing(value):
        return MISSING
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, numbers.Integral):
        return f"{int(value):,}".replace("-", "−")
    x = float(value)
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    if x == 0:
        return "0"
    mantissa, exponent = f"{x:.{digits - 1}e}".split("e")
    power = int(exponent)
    if -4 < power < 6:
        return f"{x:,.{max(0, digits - 1 - power)}f}".replace("-", "−")
    return f"{mantissa} × 10{str(power).translate(_SUPERSCRIPT)}".replace("-", "−")


def format_p(p: Any) -> str:
    """Write a p- or q-value: "<.001", ".023", ">.999"; never rounded across .05, .01 or .001.

    Raises:
        InvalidInput: a value outside [0, 1], which is no probability.

    >>> format_p(0.0004), format_p(0.0499), format_p(0.2)
    ('<.001', '.0499', '.200')
    """
    if is_missing(p):
        return MISSING
    p = float(p)
    if not 0 <= p <= 1:
        raise InvalidInput(f"p = {p!r} is outside [0, 1] and therefore no p-value. Check the column it came from.")
    if p < 0.001:
        return "<.001"
    if 0.999 < p < 1:
        return ">.999"
    decimals = next((d for d in range(3, 9) if _same_side(p, round(p, d))), 9)
    return f"{p:.{decimals}f}".removeprefix("0")


def p_phrase(name: str, p: Any) -> str:
    """Write a p-value with its name: "p <.001", "q = .023", "q missing"."""
    text = format_p(p)
    if text == MISSING:
        return f"{name} missing"
    return f"{name} {text}" if text[0] in "<>" else f"{name} = {text}"


def explain_status(status: Any) -> str:
    """Return a status code in plain words ("too_rare" -> "active in too few places ...")."""
    if is_missing(status):
        return "no reason was recorded"
    return STATUS_WORDS.get(str(status), str(status).replace("_", " "))


def _same_side(p: float, rounded: float) -> bool:
    return all((p < t) == (rounded < t) for t in _THRESHOLDS)
