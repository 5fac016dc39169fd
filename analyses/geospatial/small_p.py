"""Moran's I with p-values small enough for thousands of features, as tables: one row a feature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analyses.geospatial.feature_tables import CORRECTIONS, read_features, read_graph, with_q
from interp.stats.certified import certified_moran_i
from interp.stats.min_p_moran import min_p_moran_i
from interp.stats.pvalues import Alternative


def certified_moran(
    X: Any,
    W: Any,
    *,
    q_cut: float = 0.05,
    permutations: int = 999,
    max_permutations: int = 99_999,
    error: float = 0.01,
    alternative: Alternative = "greater",
    groups: Any = None,
    seed: int = 0,
    min_active: int = 10,
    names: Sequence[Any] | None = None,
) -> pd.DataFrame:
    """Test each feature with counted p-values alone, more permutations for those near the Benjamini-Hochberg cut.

    Nothing is computed from a tail: a verdict of "rejected" or "kept" is what endless permutations would give, but for
    a chance of `error` over the whole table. Which features go on depends on the others, and is the same every time.

    Args:
        X: places x features: array, scipy sparse or DataFrame (its columns are the names); never changed.
        W: `SpatialWeights`, a libpysal W or Graph (row-standardised on reading), or scipy sparse weights as they are.
        q_cut: false discovery rate of the verdicts.
        permutations: of the first round, for all features.
        max_permutations: of the last round; a tenth in the one before it.
        error: chance that any certified verdict is wrong.
        alternative: "greater" (clustered), "less" or "two-sided".
        groups: one label a place: exchange within groups alone.
        seed: seed of the permutations, numbered from 0 and shared.
        min_active: features with fewer places off their majority value get status "too_rare" and no p.
        names: feature ids; default 0, 1, ...

    Returns:
        One row a feature: feature, I, null_mean, null_sd (exact; NaN within groups), p, p_low, p_high, q, decision
        ("rejected", "kept", "undecided", ""), n, n_active, n_perm, seed, alternative, q_cut, error, n_tests,
        correction, status.

    Reference: Gandy & Hahn 2014; Besag & Clifford 1991 (the rule of `moran(max_permutations=)`).
    """
    values, ids = read_features(X, names)
    r = certified_moran_i(
        values, read_graph(W), q_cut=q_cut, permutations=permutations, max_permutations=max_permutations, error=error,
        alternative=alternative, groups=groups, seed=seed, min_active=min_active,
    )  # fmt: skip
    measured = {"feature": ids, "I": r.I, "null_mean": r.null_mean, "null_sd": r.null_sd}
    measured |= {"p": r.p, "p_low": r.p_low, "p_high": r.p_high}
    about = {"decision": r.decision.astype(object), "n": r.n, "n_active": r.n_active, "n_perm": r.n_perm}
    about |= {"seed": r.seed, "alternative": r.alternative, "q_cut": r.q_cut, "error": r.error}
    return with_q(measured, about, r.status)


def min_p_moran(
    X: Any,
    W: Any,
    *,
    permutations: int = 999,
    alternative: Alternative = "greater",
    seed: int = 0,
    min_active: int = 10,
    names: Sequence[Any] | None = None,
) -> pd.DataFrame:
    """Test each feature with the family-wise error rate held under any correlation of the features.

    Args:
        X: as for `certified_moran`.
        W: as for `certified_moran`.
        permutations: shared by all features; the smallest adjusted p is 1 / (permutations + 1), however many there are.
        alternative: "greater" (clustered), "less" or "two-sided".
        seed: seed of the permutations.
        min_active: features with fewer places off their majority value get status "too_rare" and no p.
        names: feature ids; default 0, 1, ...

    Returns:
        One row a feature: feature, I, null_mean, null_sd, z, p (Pearson III), p_adjusted (step-down minP), n,
        n_active, n_perm, seed, alternative, n_tests, correction, status. p_adjusted depends on the other features.

    Reference: Westfall & Young 1993.
    """
    values, ids = read_features(X, names)
    r = min_p_moran_i(
        values, read_graph(W), permutations=permutations, alternative=alternative, seed=seed, min_active=min_active
    )
    return pd.DataFrame(
        {
            "feature": ids,
            "I": r.moran.I,
            "null_mean": r.moran.expected,
            "null_sd": r.moran.null_sd,
            "z": r.moran.z,
            "p": r.p,
            "p_adjusted": r.p_adjusted,
            "n": r.moran.n,
            "n_active": r.moran.n_active,
            "n_perm": r.n_perm,
            "seed": r.moran.seed,
            "alternative": alternative,
            "n_tests": int((~np.isnan(r.p)).sum()),
            "correction": CORRECTIONS["minp"],
            "status": r.moran.status.astype(object),
        }
    )
