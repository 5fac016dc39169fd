"""Compiled loops under the generalized Jaccard similarity: sums of minima over the non-zeros of each row."""

from __future__ import annotations

from interp.stats.moran_kernels import compiled


@compiled
def min_sums_one(indptr, indices, data, prototype, sums, mass):
    """Fill sums (row,) with sum_k min(data, prototype[k]) and mass (row,) with the sum of data, float64."""
    for i in range(indptr.shape[0] - 1):
        low, total = 0.0, 0.0
        for e in range(indptr[i], indptr[i + 1]):
            value, other = data[e], prototype[indices[e]]
            total += value
            low += min(value, other)
        sums[i] = low
        mass[i] = total


@compiled
def min_sums_many(indptr, indices, data, prototypes, sums, mass):
    """Fill sums (row, prototype) as above; prototypes are feature-major, (feature, prototype), float32."""
    width = prototypes.shape[1]
    for i in range(indptr.shape[0] - 1):
        total = 0.0
        sums[i, :] = 0.0
        for e in range(indptr[i], indptr[i + 1]):
            value, k = data[e], indices[e]
            total += value
            for t in range(width):
                sums[i, t] += min(value, prototypes[k, t])
        mass[i] = total
