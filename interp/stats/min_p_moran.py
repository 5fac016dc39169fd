"""Moran's I of many features with the chance of any false rejection held, by comparing whole permuted tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from interp.errors import InvalidInput
from interp.stats.autocorrelation import MoranResult, moran_i
from interp.stats.corrections import min_p
from interp.stats.moran_engines import EngineName
from interp.stats.permuted_sums import held_permutations, sums_by_block
from interp.stats.pvalues import Alternative, pearson3_p
from interp.stats.seeds import check_seed
from interp.stats.spatial_input import checked_pair

_MOST_KEPT = 200_000_000  # permuted p-values kept at once: 1.6 GB
_TIED = 1e-6  # relative; permuted p this near the observed one count as ties


@dataclass(frozen=True)
class MinPMoran:
    """Moran's I with family-wise p-values.

    Attributes:
        moran: the exact moments and Pearson III p of each feature; no permutation counts.
        p: (feature,), the Pearson III p on which features are compared.
        p_adjusted: (feature,), step-down minP adjusted; at least 1 / (n_perm + 1).
        n_perm: permutations, all features together.
    """

    moran: MoranResult
    p: np.ndarray
    p_adjusted: np.ndarray
    n_perm: int


def min_p_moran_i(
    X: Any,
    W: Any,
    *,
    permutations: int = 999,
    alternative: Alternative = "greater",
    seed: int = 0,
    min_active: int = 10,
    engine: EngineName = "auto",
) -> MinPMoran:
    """Test every column of X with the chance of any false rejection held, however the features are correlated.

    Each permutation deals all features alike, so it keeps their correlation. Features are compared by the Pearson III
    p of their I, which makes a rare feature and a dense one comparable, and which has no floor: counted p of 999
    permutations are never below .001, so that among thousands of features the smallest would always tie. Only the
    comparison uses that p; the level comes from the permutations, and holds even where the Pearson III tail is off.

    Args:
        X: places x features, array or scipy sparse; never changed.
        W: places x places scipy sparse weights, used as they are, or a `MoranGraph` prepared from them.
        permutations: shared by all features, those of `moran_i`.
        alternative: "greater" (clustered), "less" or "two-sided".
        seed: seed of the permutations.
        min_active: features with fewer places off their majority value get status "too_rare" and no p.
        engine: "numba", "numpy", or whichever is there.

    Raises:
        InvalidInput: shapes that do not fit, no permutations, or more than 200 million permuted p-values.

    Reference: Westfall & Young 1993, algorithm 2.8; Ge, Dudoit & Speed 2003, box 3.
    """
    columns, graph = checked_pair(X, W, min_active)
    size = columns.status.size
    if permutations < 1 or permutations * size > _MOST_KEPT:
        raise InvalidInput(
            f"{permutations:,} permutations of {size:,} features: 1 or more, and a product up to {_MOST_KEPT:,}."
        )
    found = moran_i(X, graph, permutations=0, alternative=alternative, seed=seed, min_active=min_active, engine=engine)
    perm = held_permutations(graph.n, permutations, seed=check_seed(seed))
    permuted = np.full((permutations, size), np.nan)
    for block in sums_by_block(columns, graph, perm, centred=True, engine=engine):
        pairs, linear, _ = block.permuted
        h = pairs - block.mean * linear + block.mean**2 * graph.s0 / 2
        ids = block.ids
        spread = np.where(found.null_sd[ids] > 0, found.null_sd[ids], np.nan)
        z = (2.0 * h / graph.s0 - found.expected[ids]) / spread
        permuted[:, ids] = pearson3_p(z, found.skew[ids], alternative=alternative)
    adjusted = min_p(np.minimum(found.p_analytic * (1 + _TIED), 1.0), permuted)
    return MinPMoran(found, found.p_analytic, adjusted, permutations)
