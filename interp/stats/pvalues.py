"""From a statistic and its null to a p-value: counted, computed, and the two together.

A permutation p is exact but cannot fall below 1 / (n_perm + 1), and Benjamini-Hochberg over thousands of features asks
for less than that. A Pearson III tail has no floor but is an approximation. `resolve_p` takes the counted one wherever
the counts are large enough to resolve it, and lets the counts veto the computed one everywhere else.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from scipy import special

from interp.errors import InvalidInput, nearest

Alternative = Literal["greater", "less", "two-sided"]

ENOUGH = 10  # exceedances after which the counted p is within about a third of the true one
_VETO = 1e-4  # counts as unlikely as this under the computed p overrule it
_FLAT_SKEW = 1e-6  # below it the Pearson III tail is the normal one to seven figures
_SMALLEST = 1e-300  # a p of exactly 0 claims more than floats can know
_SKEWED = 1.0  # above it, and below p = .001, the computed tail was measured to be off by up to a factor of 3-7


def check_alternative(alternative: str) -> Alternative:
    """Return `alternative`.

    Raises:
        InvalidInput: it is none of "greater", "less", "two-sided".
    """
    for valid in get_args(Alternative):
        if alternative == valid:
            return valid
    close = nearest(str(alternative), get_args(Alternative), n=1)[0]
    raise InvalidInput(f"alternative={alternative!r} is not one of {get_args(Alternative)}; did you mean {close!r}?")


def _two_sided(upper: np.ndarray, lower: np.ndarray, alternative: Alternative) -> np.ndarray:
    if alternative == "greater":
        return upper
    if alternative == "less":
        return lower
    return np.minimum(1.0, 2.0 * np.minimum(upper, lower))


def permutation_p(
    at_least: np.ndarray, at_most: np.ndarray, n_perm: np.ndarray | int, *, alternative: Alternative = "greater"
) -> np.ndarray:
    """Return p = (1 + exceedances) / (n_perm + 1); two-sided is twice the smaller tail, at most 1.

    Args:
        at_least: how many permuted statistics are >= the observed one (ties counted).
        at_most: how many are <= it (ties counted).
        n_perm: how many permutations; 0 gives NaN.
        alternative: the tail, chosen before looking.

    Reference: Phipson & Smyth 2010, eq. 2.

    >>> float(permutation_p(4, 95, 99))
    0.05
    >>> float(permutation_p(4, 95, 99, alternative="two-sided"))
    0.1
    """
    total = np.asarray(n_perm, dtype=np.float64) + 1.0
    upper = (1.0 + np.asarray(at_least, dtype=np.float64)) / total
    lower = (1.0 + np.asarray(at_most, dtype=np.float64)) / total
    return np.where(total > 1, _two_sided(upper, lower, check_alternative(alternative)), np.nan)


def _pearson3_tail(t: np.ndarray, skew: np.ndarray) -> np.ndarray:
    """P(T >= t) of a standardised Pearson III; in its light tail not below the normal one."""
    normal = special.ndtr(-t)
    flat = np.abs(skew) < _FLAT_SKEW
    gamma = np.where(flat, 1.0, skew)
    shape = 4.0 / gamma**2
    x = np.maximum(shape + 2.0 * t / gamma, 0.0)
    heavy = special.gammaincc(shape, x)
    light = np.maximum(special.gammainc(shape, x), normal)  # its support ends there: a p of 0 would be invented
    return np.where(flat, normal, np.where(gamma > 0, heavy, light))


def pearson3_p(t: np.ndarray, skew: np.ndarray, *, alternative: Alternative = "greater") -> np.ndarray:
    """Return the tail of a Pearson III null of mean 0, variance 1 and the given skewness.

    Args:
        t: standardised statistics, (observed - mean) / sd.
        skew: skewness of the null, the shape of `t`.
        alternative: the tail, chosen before looking.

    Returns:
        float64; never 0 (values below 1e-300 read 1e-300). Away from the long tail the support of a Pearson III ends;
        there the normal tail is returned where it is larger, which errs on the safe side.

    Reference: Mielke 1984; Siemiatycki 1978 (Pearson III for permutation statistics of products).
    """
    t, skew = np.broadcast_arrays(np.asarray(t, dtype=np.float64), np.asarray(skew, dtype=np.float64))
    upper, lower = _pearson3_tail(t, skew), _pearson3_tail(-t, -skew)
    p = _two_sided(upper, lower, check_alternative(alternative))
    return np.where(np.isnan(t) | np.isnan(skew), np.nan, np.clip(p, _SMALLEST, 1.0))


def exceedances(at_least: np.ndarray, at_most: np.ndarray, alternative: Alternative) -> np.ndarray:
    """Return the count that decides the p-value: of one tail, or the smaller of the two."""
    if alternative == "greater":
        return at_least
    return at_most if alternative == "less" else np.minimum(at_least, at_most)


def resolve_p(
    p_analytic: np.ndarray,
    at_least: np.ndarray,
    at_most: np.ndarray,
    n_perm: np.ndarray,
    skew: np.ndarray,
    *,
    alternative: Alternative = "greater",
) -> tuple[np.ndarray, np.ndarray]:
    """Choose between a counted and a computed p-value, feature by feature.

    With c exceedances among n_perm permutations:

    - c >= 10: the counted p; it is resolved.
    - c < 10: the computed p, unless c is too many or too few for it (binomial tail below 1e-4): then the counted p.
    - n_perm = 0: the computed p.

    Returns:
        `p`, and its source: "permutation", "pearson3", or "pearson3_approximate" (p < .001 from a null of skewness
        above 1, where the computed tail can be off by a factor of 3 to 7), "" where there is no p.

    Reference: Knijnenburg et al. 2009 (when to leave the empirical tail); Besag & Clifford 1991 (ten exceedances).
    """
    count = exceedances(np.asarray(at_least), np.asarray(at_most), check_alternative(alternative)).astype(np.float64)
    total = np.asarray(n_perm).astype(np.int64)
    counted = permutation_p(at_least, at_most, n_perm, alternative=alternative)
    one_tail = np.where(alternative == "two-sided", p_analytic / 2.0, p_analytic)
    with np.errstate(invalid="ignore"):
        too_many = np.where(count > 0, special.bdtrc(np.maximum(count - 1, 0), total, one_tail), 1.0) < _VETO
        too_few = special.bdtr(count, total, one_tail) < _VETO
    use_counts = (total > 0) & ((count >= ENOUGH) | too_many | too_few)
    p = np.where(use_counts, counted, p_analytic)
    rough = (np.abs(skew) > _SKEWED) & (p < 1e-3)
    source = np.where(use_counts, "permutation", np.where(rough, "pearson3_approximate", "pearson3"))
    return p, np.where(np.isnan(p), "", source)
