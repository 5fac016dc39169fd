"""Geary's C, Getis and Ord's G and join counts of features over places, as tables: one row a feature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analyses.geospatial.feature_tables import (
    check_alpha,
    one_row_a_feature,
    one_row_a_place,
    read_features,
    read_graph,
    read_places,
    read_weights,
)
from interp.stats.geary import geary_c
from interp.stats.getis_ord import LocalGResult, getis_ord_g, getis_ord_local
from interp.stats.join_counts import count_joins
from interp.stats.pvalues import Alternative, resolve_p


def geary(
    X: Any,
    W: Any,
    *,
    permutations: int = 999,
    alternative: Alternative = "greater",
    seed: int = 0,
    min_active: int = 10,
    names: Sequence[Any] | None = None,
) -> pd.DataFrame:
    """Test each feature for spatial autocorrelation by Geary's C, which weighs differences of near neighbours.

    Args:
        X: places x features: array, scipy sparse or DataFrame (its columns are the names); never changed.
        W: `SpatialWeights`, a libpysal W or Graph (row-standardised on reading), or scipy sparse weights as they are.
        permutations: shared by all features, the ones that `moran` draws.
        alternative: "greater" positive autocorrelation (C < 1), "less" negative (C > 1), or "two-sided".
        seed: seed of the permutations.
        min_active: features with fewer places off their majority value get status "too_rare" and no p.
        names: feature ids; default 0, 1, ...

    Returns:
        One row a feature: feature, C, null_mean (1), null_sd (exact, under randomisation), z, p (permutation), q
        (Benjamini-Hochberg over the rows with a p), n, n_active, n_perm, seed, alternative, n_tests, correction,
        status. All but q and n_tests depend on that feature alone.

    Raises:
        InvalidInput: shapes that do not fit, weights without pairs, options out of range.

    Reference: Geary 1954; Cliff & Ord 1981.
    """
    values, ids = read_features(X, names)
    result = geary_c(
        values, read_graph(W), permutations=permutations, alternative=alternative, seed=seed, min_active=min_active
    )
    return one_row_a_feature(result, ids, "C", alternative=alternative)


def getis_ord(
    X: Any,
    W: Any,
    *,
    local: bool = False,
    star: bool = True,
    permutations: int | None = None,
    alternative: Alternative | None = None,
    seed: int = 0,
    alpha: float = 0.05,
    min_active: int = 10,
    names: Sequence[Any] | None = None,
    place_names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Test whether high values meet high ones: the global G of each feature, or Gi / Gi* of each place.

    Args:
        X: as for `geary`; for the global G no value may be negative (status "negative").
        W: as for `geary`.
        local: one row a feature and place, rather than one a feature.
        star: for local: count the place itself (Gi*).
        permutations: default 999, or 9999 conditional draws for local.
        alternative: default "greater", or "two-sided" for local.
        seed: seed of the permutations.
        alpha: for local: false discovery rate at which a place is "hot" or "cold".
        min_active: as for `geary`.
        names: feature ids; default 0, 1, ...
        place_names: for local: one a place; default 0, 1, ...

    Returns:
        Global: as `geary`, with G. Local: feature, place, z, p (conditional permutations), q (Benjamini-Hochberg over
        the places of the feature), cluster ("hot", "cold", "ns", "island", "no test"), n, n_perm, seed, alternative,
        n_tests, correction, alpha, star, status.

    Raises:
        InvalidInput: as for `geary`, or alpha not between 0 and 1.

    Reference: Getis & Ord 1992; Ord & Getis 1995.
    """
    values, ids = read_features(X, names)
    if not local:
        tail = "greater" if alternative is None else alternative
        drawn = 999 if permutations is None else permutations
        result = getis_ord_g(
            values, read_graph(W), permutations=drawn, alternative=tail, seed=seed, min_active=min_active
        )
        return one_row_a_feature(result, ids, "G", alternative=tail)
    check_alpha(alpha)
    csr = read_weights(W)
    places = read_places(place_names, csr.shape[0])
    result = getis_ord_local(
        values,
        csr,
        star=star,
        permutations=9999 if permutations is None else permutations,
        alternative="two-sided" if alternative is None else alternative,
        seed=seed,
        min_active=min_active,
    )
    tables = [_place_table(result, f, feature, places, alpha) for f, feature in enumerate(ids)]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def join_counts(
    X: Any,
    W: Any,
    *,
    threshold: float = 0.0,
    permutations: int = 999,
    alternative: Alternative = "greater",
    seed: int = 0,
    min_active: int = 10,
    names: Sequence[Any] | None = None,
) -> pd.DataFrame:
    """Test whether the places where a feature fires are neighbours.

    Args:
        X: as for `geary`; a feature fires where it exceeds `threshold`.
        W: as for `geary`; binary symmetric weights make the statistics counts of pairs.
        threshold: 0 or more for a sparse X.
        permutations: shared by all features.
        alternative: "greater" clustered firing (many BB and WW, few BW), "less" or "two-sided".
        seed: seed of the permutations.
        min_active: features with fewer firing (or silent) places get status "too_rare".
        names: feature ids; default 0, 1, ...

    Returns:
        One row a feature: feature, BB, null_mean, null_sd, z, p, p_source, q of BB, as in `moran` under null="auto"
        (exact skewness, Pearson III where the counts do not resolve p); then BW, WW, each with _null_mean, _null_sd,
        _p (permutation); n, n_active (firing places), n_perm, seed, alternative, n_tests, correction, threshold,
        status. q is of BB alone: BW and WW are for reading, not for discovery.

    Raises:
        InvalidInput: shapes that do not fit, weights without pairs, options out of range.

    Reference: Cliff & Ord 1981, section 1.4 (non-free sampling).
    """
    values, ids = read_features(X, names)
    result = count_joins(
        values, read_graph(W), threshold=threshold, permutations=permutations, alternative=alternative, seed=seed,
        min_active=min_active,
    )  # fmt: skip
    bb = result.bb
    p, source = resolve_p(bb.p_analytic, bb.at_least, bb.at_most, bb.n_perm, bb.skew, alternative=alternative)
    table = one_row_a_feature(bb, ids, "BB", p=p, alternative=alternative, threshold=threshold)
    table.insert(list(table.columns).index("p") + 1, "p_source", source.astype(object))
    at = list(table.columns).index("n")
    for name, other in (("BW", result.bw), ("WW", result.ww)):
        parts = {"": other.statistic, "_null_mean": other.null_mean, "_null_sd": other.null_sd, "_p": other.p_perm}
        for suffix, column in parts.items():
            table.insert(at, f"{name}{suffix}", column)
            at += 1
    return table


def _place_table(result: LocalGResult, f: int, feature: Any, places: list[Any], alpha: float) -> pd.DataFrame:
    z = result.z[:, f]
    side = np.where(z > 0, "hot", "cold").astype(object)
    about = {"n_perm": result.n_perm[:, f], "seed": result.seed, "alternative": result.alternative, "alpha": alpha}
    about |= {"star": result.star, "status": result.status[:, f]}
    return one_row_a_place(feature, places, {"z": z, "p": result.p[:, f]}, side, about)
