"""The rows of the card: one schema for every figure, with its interval, its controls and its status.

A row says what was measured (`measure`, `group`), the figure with its 95 % interval over `n` samples,
the same figure of the random-weights twin, and of a named baseline that needs no transformer. A figure
that cannot be had is NaN and `status` says why; otherwise `status` is "ok".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from interp.errors import InvalidInput

COLUMNS = (
    "measure", "group", "value", "ci_low", "ci_high", "n", "unit", "random_weights", "baseline", "baseline_name",
    "status",
)  # fmt: skip
Z_95 = 1.959963984540054
_CHUNK = 1 << 22  # resampled numbers held at a time
Level = np.ndarray | float


def card_table(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Return rows of the card as a table with the columns of `COLUMNS`, in their order.

    Raises:
        InvalidInput: a row with other columns, or two rows of one measure and group.
    """
    kept = list(rows)
    for row in kept:
        if set(row) != set(COLUMNS):
            raise InvalidInput(f"a row of the card has the columns {', '.join(COLUMNS)}, not {', '.join(row)}.")
    table = pd.DataFrame(kept, columns=list(COLUMNS))
    names = list(zip(table["measure"], table["group"], strict=True))
    for i, (measure, group) in enumerate(names):
        if (measure, group) in names[:i]:
            raise InvalidInput(f"two rows of measure {measure!r}, group {group!r}; name them apart.")
    return table


def wilson(share: float, n: float) -> tuple[float, float]:
    """Return the 95 % score interval of a share of `n` independent trials (`n` may be an effective number).

    Reference: Wilson (1927); (p + z²/2n ± z sqrt(p(1 - p)/n + z²/4n²)) / (1 + z²/n).
    """
    middle, scale = share + Z_95**2 / (2 * n), 1 + Z_95**2 / n
    half = Z_95 * np.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n**2))
    low, high = (middle - half) / scale, (middle + half) / scale
    return (0.0 if share == 0 else float(low)), (1.0 if share == 1 else float(high))  # exact, whatever the rounding


def effective_n(right: np.ndarray, units: np.ndarray) -> float:
    """Return how many independent trials bool [n] answers are worth that come in groups `units`, int [n].

    The variance of the share by groups, m/(m - 1) sum_i (y_i - p n_i)² / n², against p(1 - p)/n; never more
    than n, and the number of groups m where all answers are alike and tell no variance.
    Reference: Kish (1965), design effect; Korn and Graubard (1998), its use in an interval.
    """
    n, share = len(right), float(np.mean(right))
    _, group = np.unique(units, return_inverse=True)
    size, hits = np.bincount(group), np.bincount(group, weights=right)
    m = len(size)
    if share in (0.0, 1.0) or m == 1:
        return float(m)
    variance = m / (m - 1) * float(np.sum((hits - share * size) ** 2)) / n**2
    return float(min(n, share * (1 - share) / variance)) if variance > 0 else float(n)


def share_row(
    measure: str,
    right: np.ndarray,
    *,
    group: str = "",
    unit: str = "share right",
    random: Level = np.nan,
    baseline: Level = np.nan,
    baseline_name: str = "",
    units: np.ndarray | None = None,
) -> dict[str, Any]:
    """Return the row of a share: `right` bool [n] with its Wilson interval.

    Args:
        random: the same answers of the random-weights twin, bool [n], or their share.
        baseline: the same of the baseline `baseline_name`, bool [n], or its share.
        units: int [n], which independent unit (text) each answer is of; None: every answer is its own. The
            interval then counts `effective_n` answers.
    """
    right = np.asarray(right, dtype=bool)
    value, low, high, status = np.nan, np.nan, np.nan, "no sample"
    if len(right):
        value, status = float(right.mean()), "ok"
        low, high = wilson(value, len(right) if units is None else effective_n(right, np.asarray(units)))
    return _row(measure, group, value, (low, high), len(right), unit, (random, baseline), baseline_name, status)


def mean_row(
    measure: str,
    totals: np.ndarray,
    *,
    seed: int,
    unit: str,
    group: str = "",
    sizes: np.ndarray | None = None,
    random: Level = np.nan,
    baseline: Level = np.nan,
    baseline_name: str = "",
    n_boot: int = 2000,
) -> dict[str, Any]:
    """Return the row of a mean over independent units: sum(totals) / sum(sizes), percentile bootstrap over units.

    Args:
        totals: float [n], one number a unit (say, the nats of a text).
        sizes: float [n], what each counts for (its tokens); None: one.
        random: totals of the random-weights twin, float [n], or their level.
        baseline: totals of the baseline `baseline_name`, float [n], or its level.
    """
    y = np.asarray(totals, dtype=np.float64)
    size = np.ones(len(y)) if sizes is None else np.asarray(sizes, dtype=np.float64)
    levels = [_level(x, size) for x in (random, baseline)]
    value, interval, status = np.nan, (np.nan, np.nan), "no sample"
    if len(y) and not np.isfinite(y).all():
        status = "not finite"
    elif size.sum() > 0:
        value, status = float(y.sum() / size.sum()), "ok"
        if len(y) == 1:
            status = "one unit: no interval"
        else:
            interval = bootstrap_interval(y, size, seed=seed, name=f"{measure}|{group}", n_boot=n_boot)
    return _row(measure, group, value, interval, len(y), unit, (levels[0], levels[1]), baseline_name, status)


def bootstrap_interval(
    totals: np.ndarray, sizes: np.ndarray, *, seed: int, name: str, n_boot: int = 2000
) -> tuple[float, float]:
    """Return the percentile 95 % interval of sum(totals) / sum(sizes) over resampled units, float [n] each.

    The draws are a function of (seed, name), so that no row depends on which others are measured.
    Reference: Efron (1979); percentile interval.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, *name_words(name)]))
    n, out = len(totals), np.empty(n_boot)
    step = max(1, _CHUNK // n)
    for at in range(0, n_boot, step):
        drawn = rng.integers(n, size=(min(step, n_boot - at), n))
        size = sizes[drawn].sum(axis=1)
        out[at : at + step] = np.where(size > 0, totals[drawn].sum(axis=1) / np.where(size > 0, size, 1.0), np.nan)
    low, high = np.nanpercentile(out, [2.5, 97.5])
    return float(low), float(high)


def name_words(name: str) -> list[int]:
    """Return four words of the sha256 of a name, to key a seed by it."""
    digest = hashlib.sha256(name.encode()).digest()
    return [int.from_bytes(digest[i : i + 4], "big") for i in range(0, 16, 4)]


def _level(x: Level, sizes: np.ndarray | None = None) -> float:
    values = np.asarray(x, dtype=np.float64)
    if values.ndim == 0:
        return float(values)
    total = float(len(values)) if sizes is None else float(sizes.sum())
    return float(values.sum() / total) if total > 0 else np.nan


def _row(
    measure: str,
    group: str,
    value: float,
    interval: tuple[float, float],
    n: int,
    unit: str,
    controls: tuple[Level, Level],
    baseline_name: str,
    status: str,
) -> dict[str, Any]:
    return {
        "measure": measure, "group": group, "value": value, "ci_low": interval[0], "ci_high": interval[1], "n": n,
        "unit": unit, "random_weights": _level(controls[0]), "baseline": _level(controls[1]),
        "baseline_name": baseline_name, "status": status,
    }  # fmt: skip
