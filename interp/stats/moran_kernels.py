"""Compiled loops under Moran's I. One function a loop; everything is added in a fixed order, whatever the batch.

Both permutation kernels compare h = sum over pairs of a_e z_i z_j, half of z'Wz, with the observed h, and keep counts
and sums, never the permuted values. The dense one adds in float32, eight features an instruction, and settles every
comparison that float32 cannot decide in float64, so its counts are those of float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile for the machine, keeping the machine code on disk where there is a place for it."""
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither the package's folder nor a cache folder of the user can be written
        return numba.njit(nogil=True)(function)


@compiled
def pair_sum(z, order, indptr, indices, data):
    """h of one float64 feature: place i of the graph holds z[order[i]]."""
    total = 0.0
    for i in range(order.shape[0]):
        lag = 0.0
        for e in range(indptr[i], indptr[i + 1]):
            lag += data[e] * z[order[indices[e]]]
        total += z[order[i]] * lag
    return total


@compiled
def pair_sums(dealt, indptr, indices, data, out):
    """h of each feature of dealt (place of the graph, feature), float64, into out (feature,)."""
    width = dealt.shape[1]
    lag = np.empty(width)
    out[:] = 0.0
    for i in range(dealt.shape[0]):
        if indptr[i] == indptr[i + 1]:
            continue
        lag[:] = 0.0
        for e in range(indptr[i], indptr[i + 1]):
            a, j = data[e], indices[e]
            for b in range(width):
                lag[b] += a * dealt[j, b]
        for b in range(width):
            out[b] += dealt[i, b] * lag[b]


@compiled
def count_dense(z32, z64, perm, table, upper, goal, counts):
    """Add the counts and sums of the permutations `perm` (permutation, place of the graph) for a block of features.

    z32 is (place, feature) float32, z64 the same as (feature, place) float64; `table` are the groups of five pairs and
    how many of them float32 may add up; `goal` holds the observed h and two half-widths around it: what counts as
    equal, and what float32 cannot tell from equal. Indices are unsigned: a signed one costs a test of its sign.
    """
    place, neighbour, weight, run = table
    indptr, indices, data = upper
    observed, tie, unsure = goal
    at_least, at_most, total, squares = counts
    n, width = z32.shape
    dealt = np.zeros((n + 1, width), np.float32)  # the last row is the empty place that fills up a group
    short = np.empty(width, np.float32)
    h = np.empty(width, np.float64)
    for p in range(perm.shape[0]):
        row = perm[p]
        for i in range(n):
            k = row[i]
            for b in range(width):
                dealt[i, b] = z32[k, b]
        h[:] = 0.0
        for first in range(0, place.shape[0], run):
            short[:] = 0.0
            for g in range(first, min(first + run, place.shape[0])):
                i = place[g]
                j0, j1, j2, j3, j4 = neighbour[g, 0], neighbour[g, 1], neighbour[g, 2], neighbour[g, 3], neighbour[g, 4]
                a0, a1, a2, a3, a4 = weight[g, 0], weight[g, 1], weight[g, 2], weight[g, 3], weight[g, 4]
                for b in range(width):
                    lag = (
                        a0 * dealt[j0, b]
                        + a1 * dealt[j1, b]
                        + a2 * dealt[j2, b]
                        + a3 * dealt[j3, b]
                        + a4 * dealt[j4, b]
                    )
                    short[b] += dealt[i, b] * lag
            for b in range(width):
                h[b] += short[b]
        for b in range(width):
            x = h[b]
            if abs(x - observed[b]) <= unsure[b]:
                x = pair_sum(z64[b], row, indptr, indices, data)
            at_least[b] += x >= observed[b] - tie[b]
            at_most[b] += x <= observed[b] + tie[b]
            total[b] += x
            squares[b] += x * x


@compiled
def count_sparse(features, land, table, goal, counts):
    """The same for sparse features; land (permutation, place): where the value of each place lands in the graph.

    With x the values and m their mean, h = sum a_e x_i x_j - m sum_i degree_i x_i + m^2 S0 / 2; only places with a
    value are visited, and a byte a place says whether a neighbour has one.
    """
    indptr, places, values, mean = features
    neighbour, weight, degree, half_s0 = table
    observed, tie = goal
    at_least, at_most, total, squares = counts
    n, width = neighbour.shape
    here = np.zeros(n + 1, np.uint8)
    x = np.zeros(n + 1)
    spot = np.empty(n, np.int64)
    for p in range(land.shape[0]):
        row = land[p]
        for f in range(indptr.shape[0] - 1):
            first = indptr[f]
            active = indptr[f + 1] - first
            linear = 0.0
            for t in range(active):
                i = row[places[first + t]]
                spot[t] = i
                here[i] = 1
                x[i] = values[first + t]
                linear += degree[i] * x[i]
            pairs = 0.0
            for t in range(active):
                i = spot[t]
                for e in range(width):
                    j = neighbour[i, e]
                    if here[j]:
                        pairs += weight[i, e] * x[i] * x[j]
            for t in range(active):
                here[spot[t]] = 0
            h = pairs - mean[f] * linear + mean[f] * mean[f] * half_s0
            at_least[f] += h >= observed[f] - tie[f]
            at_most[f] += h <= observed[f] + tie[f]
            total[f] += h
            squares[f] += h * h
