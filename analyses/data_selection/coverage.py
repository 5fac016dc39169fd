"""Greedy coverage: each pick adds most of what the target has and the picks before it do not."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np

from analyses.data_selection.relevance import as_pool, prototype_of


def coverage_order(pool: Any, target: Any, n: int, *, at_least: float = 0.0) -> np.ndarray:
    """Return n rows in the order in which they are picked, int64 [n]: the longest if fewer cover everything.

    A feature of the target is covered by a sample on which it is active (above `at_least`), and counts by its share
    of the target's mass. When all that can be covered is, coverage starts anew with the rows that are left. (After the
    greedy selection of Yang et al. 2025, which counts every feature alike and knows no target.)
    """
    coded = as_pool(pool)
    prototype = prototype_of(target, coded.n_features)
    codes: Any = coded.matrix()
    active = [
        codes.indices[a:b][codes.data[a:b] > at_least] for a, b in zip(codes.indptr, codes.indptr[1:], strict=False)
    ]
    left = np.ones(len(coded), dtype=bool)
    order: list[int] = []
    while len(order) < min(n, len(coded)):
        order += _one_cover(active, prototype.copy(), left, min(n, len(coded)) - len(order))
    return np.array(order, dtype=np.int64)


def _one_cover(active: list[np.ndarray], gain: np.ndarray, left: np.ndarray, n: int) -> list[int]:
    """Pick until nothing more is gained; gains only shrink, so an entry that is still best when looked at is best."""
    heap = [(-float(gain[active[i]].sum()), int(i)) for i in np.flatnonzero(left)]
    heapq.heapify(heap)
    picked: list[int] = []
    while heap and len(picked) < n:
        promised, row = heapq.heappop(heap)
        now = -float(gain[active[row]].sum())
        if now > promised + 1e-12:
            heapq.heappush(heap, (now, row))
        elif now == 0 and picked:
            return picked
        else:
            picked.append(row)
            left[row] = False
            gain[active[row]] = 0.0
    return picked
