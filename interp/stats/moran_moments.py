"""Exact mean, variance and skewness of Moran's I when values are dealt to places at random.

E[(sum a_e z_i z_j)^r] splits by how the r pairs overlap (sums of the graph) times the mean product of the values over
distinct places (power sums of the feature). The second comes from the classical expansion of sums over distinct
indices in power sums; it is generated here rather than typed in.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from math import factorial, perm, prod

import numpy as np

from interp.stats.moran_graph import MoranGraph, PairSums


def _partitions(parts: tuple[int, ...]) -> list[list[tuple[int, ...]]]:
    """All set partitions of the positions of `parts`, each as a list of blocks of the parts themselves."""
    if not parts:
        return [[]]
    head, rest = parts[0], _partitions(parts[1:])
    grown = [[*p[:k], (head, *p[k]), *p[k + 1 :]] for p in rest for k in range(len(p))]
    return grown + [[(head,), *p] for p in rest]


@cache
def _distinct_terms(pattern: tuple[int, ...]) -> dict[tuple[int, ...], int]:
    """Expand sum over distinct i, j, .. of z_i^p1 z_j^p2 .. in power sums: {sorted exponents: coefficient}.

    Terms with a first power sum are left out: it is zero for centred values.
    """
    terms: Counter[tuple[int, ...]] = Counter()
    for partition in _partitions(pattern):
        exponents = tuple(sorted(sum(block) for block in partition))
        if 1 not in exponents:
            terms[exponents] += prod((-1) ** (len(b) - 1) * factorial(len(b) - 1) for b in partition)
    return {exponents: c for exponents, c in terms.items() if c}


def _mean_product(pattern: tuple[int, ...], power_sums: np.ndarray, n: int) -> np.ndarray:
    """Mean of z_i^p1 z_j^p2 .. over all ways to choose distinct places; 0 where there are too few places."""
    ways = perm(n, len(pattern))
    total = np.zeros(power_sums.shape[1])
    for exponents, coefficient in _distinct_terms(pattern).items():
        total += coefficient * np.prod([power_sums[k] for k in exponents], axis=0)
    return total / ways if ways else total


def null_moments(graph: MoranGraph, power_sums: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Return mean, standard deviation and skewness of I under randomisation, exactly.

    Args:
        graph: the prepared weights.
        power_sums: shape (7, feature); row k is the sum over places of z^k, with z centred and scaled so that row 2
            is n (rows 0 and 1 are not read).

    Returns:
        The mean -1 / (n - 1), and float64 arrays of shape (feature,).

    Reference: Cliff & Ord 1981, eqs 1.37-1.39 (mean, variance); third moment by enumeration of pair overlaps.
    """
    n, sums = graph.n, graph.sums
    mean_square = 4 * (
        sums.same * _mean_product((2, 2), power_sums, n)
        + sums.sharing * _mean_product((2, 1, 1), power_sums, n)
        + sums.apart * _mean_product((1, 1, 1, 1), power_sums, n)
    )
    mean_cube = 8 * sum((c * _mean_product(p, power_sums, n) for p, c in sums.triple.items()), start=np.zeros(1))
    mean = -1.0 / (n - 1)
    second, third = mean_square / graph.s0**2, mean_cube / graph.s0**3
    variance = second - mean**2
    # a null that cannot vary (all rearrangements give one I) has neither spread nor skew
    spread = variance > 1e-12 * np.maximum(second, mean**2)
    sd = np.where(spread, np.sqrt(np.where(spread, variance, 1.0)), 0.0)
    skew = np.where(spread, (third - 3 * mean * variance - mean**3) / np.where(spread, sd, 1.0) ** 3, np.nan)
    return mean, sd, skew


def pair_sum_variance(n: int, sums: PairSums, fourth: np.ndarray) -> np.ndarray:
    """Return the variance of sum over pairs a_e z_i z_j under randomisation, exactly; its mean is -s / (n - 1).

    Args:
        n: number of places.
        sums: of the weights; `triple` is not read.
        fourth: shape (feature,), sum of z^4 for z with mean 0 and mean square 1.
    """
    two_two = (n**2 - fourth) / (n * (n - 1))
    two_one_one = (2 * fourth - n**2) / (n * (n - 1) * (n - 2))
    four_ones = (3 * n**2 - 6 * fourth) / (n * (n - 1) * (n - 2) * (n - 3))
    second = sums.same * two_two + sums.sharing * two_one_one + sums.apart * four_ones
    return second - (sums.s / (n - 1)) ** 2
