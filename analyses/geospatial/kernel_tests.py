"""Spatial pattern by a positive definite kernel, as a table: for what Moran's I lets cancel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from analyses.geospatial.feature_tables import one_row_a_feature, read_features, read_weights
from interp.stats.car_kernel import car_kernel, car_q
from interp.stats.pvalues import Alternative


def car_test(
    X: Any,
    W: Any,
    *,
    rho: float = 0.9,
    permutations: int = 999,
    alternative: Alternative = "greater",
    seed: int = 0,
    min_active: int = 10,
    names: Sequence[Any] | None = None,
) -> pd.DataFrame:
    """Test each feature for spatial pattern by z'Kz, K the covariance of a conditional autoregression on W.

    Moran's I adds what smooth parts give and takes off what alternating parts give, so a feature with both can have
    an I of 0. Here every part adds. The cost is a dense kernel: up to 8,000 places, and dense features take long (a
    product with K a permutation); rare ones are quick.

    Args:
        X: places x features: array, scipy sparse or DataFrame (its columns are the names); never changed.
        W: `SpatialWeights`, a libpysal W or Graph (row-standardised on reading), or scipy sparse weights, none
            negative.
        rho: reach of the kernel, [0, 1).
        permutations: shared by all features, the ones that `moran` draws.
        alternative: "greater", "less" or "two-sided".
        seed: seed of the permutations.
        min_active: features with fewer places off their majority value get status "too_rare" and no p.
        names: feature ids; default 0, 1, ...

    Returns:
        One row a feature: feature, Q (1 for noise), null_mean (1), null_sd (exact), z, p (permutation), q
        (Benjamini-Hochberg), n, n_active, n_perm, seed, alternative, n_tests, correction, rho, status.

    Raises:
        InvalidInput: shapes that do not fit, negative weights, more than 8,000 places, options out of range.

    Reference: Besag 1974; arXiv 2602.02825 (2026).
    """
    values, ids = read_features(X, names)
    result = car_q(
        values, car_kernel(read_weights(W), rho=rho), permutations=permutations, alternative=alternative, seed=seed,
        min_active=min_active,
    )  # fmt: skip
    return one_row_a_feature(result, ids, "Q", alternative=alternative, rho=rho)
