"""Compiled loops that deal values to places and add them up over a graph, three sums a permutation and feature.

For values x dealt to the places: pairs = sum over pairs a_e x_i x_j, linear = sum degree_i x_i, squares = sum
degree_i x_i^2. Everything is added in a fixed order, so a feature has the same sums in any company.
"""

from __future__ import annotations

import numpy as np

from interp.stats.moran_kernels import compiled


@compiled
def deal_dense(by_place, perm, indptr, indices, data, degree, out):
    """Fill out (3, permutation, feature) for by_place (place, feature); place i of the graph takes row perm[p, i]."""
    n, width = by_place.shape
    dealt = np.empty((n, width))
    lag = np.empty(width)
    out[:] = 0.0
    for p in range(perm.shape[0]):
        for i in range(n):
            dealt[i] = by_place[perm[p, i]]
        for i in range(n):
            lag[:] = 0.0
            for e in range(indptr[i], indptr[i + 1]):
                a, j = data[e], indices[e]
                for b in range(width):
                    lag[b] += a * dealt[j, b]
            d = degree[i]
            for b in range(width):
                x = dealt[i, b]
                out[0, p, b] += x * lag[b]
                out[1, p, b] += d * x
                out[2, p, b] += d * x * x


@compiled
def deal_sparse(indptr, places, values, land, neighbour, weight, degree, out):
    """The same for sparse features; land (permutation, place) is where the value of each place lands in the graph."""
    n, width = neighbour.shape
    here = np.zeros(n + 1, np.uint8)
    x = np.zeros(n + 1)
    spot = np.empty(n, np.int64)
    out[:] = 0.0
    for p in range(land.shape[0]):
        for f in range(indptr.shape[0] - 1):
            first = indptr[f]
            active = indptr[f + 1] - first
            linear, squares, pairs = 0.0, 0.0, 0.0
            for t in range(active):
                i = land[p, places[first + t]]
                v = values[first + t]
                spot[t] = i
                here[i] = 1
                x[i] = v
                linear += degree[i] * v
                squares += degree[i] * v * v
            for t in range(active):
                i = spot[t]
                for e in range(width):
                    j = neighbour[i, e]
                    if here[j]:
                        pairs += weight[i, e] * x[i] * x[j]
            for t in range(active):
                here[spot[t]] = 0
            out[0, p, f] = pairs
            out[1, p, f] = linear
            out[2, p, f] = squares
