"""Moran's I of features over places, as tables: one row a feature, or one row a place and feature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from analyses.geospatial.feature_tables import (
    CORRECTIONS,
    Correction,
    check_alpha,
    one_row_a_place,
    read_features,
    read_graph,
    read_places,
    read_weights,
    with_q,
)
from interp.errors import InvalidInput, nearest
from interp.stats.autocorrelation import MoranResult, moran_i
from interp.stats.local_autocorrelation import QUADRANTS, LocalMoranResult, local_moran_i
from interp.stats.min_p_moran import min_p_moran_i
from interp.stats.moran_graph import MoranGraph
from interp.stats.pvalues import Alternative, resolve_p

Null = Literal["auto", "randomisation", "permutation", "stratified"]


def moran(
    X: Any,
    W: Any,
    *,
    null: Null = "auto",
    groups: Any = None,
    permutations: int = 999,
    max_permutations: int | None = None,
    alternative: Alternative = "greater",
    seed: int = 0,
    min_active: int = 10,
    correction: Correction = "bh",
    names: Sequence[Any] | None = None,
) -> pd.DataFrame:
    """Test each feature for spatial autocorrelation.

    The p of each row, under `null`:

    - "randomisation": Pearson III tail on the exact mean, variance and skewness; no permutations. `p_source` is
      "pearson3", or "pearson3_approximate" where p < .001 and the null has skewness above 1 (few active places): there
      the tail can be off by a factor of 3 to 7.
    - "permutation": (1 + exceedances) / (n_perm + 1), ties counted; two-sided is twice the smaller tail.
    - "stratified": the same with values exchanged only inside `groups` (a feature that only tells the groups apart has
      no p); I and z are against that null.
    - "auto": permutation p where it has at least 10 exceedances and so is resolved; else the Pearson III p, unless the
      exceedances contradict it (binomial tail below 1e-4), and then the permutation p. A permutation p alone has a
      floor of 1 / (permutations + 1), which no correction over thousands of features lets pass. `max_permutations`
      sends features with fewer than 10 exceedances through ten times as many permutations, again and again.

    Args:
        X: places x features: array, scipy sparse or DataFrame (its columns are the names); never changed.
        W: `SpatialWeights`, a libpysal W or Graph (row-standardised on reading), or scipy sparse weights as they are.
        null: see above.
        groups: one label a place, for null="stratified" alone.
        permutations: shared by all features; not used by "randomisation".
        max_permutations: see "auto"; default: no more than `permutations`.
        alternative: "greater" (clustered), "less" or "two-sided".
        seed: seed of the permutations.
        min_active: features with fewer places off their majority value get status "too_rare" and no p.
        correction: what q is. "bh" (Benjamini-Hochberg) and "by" (Benjamini-Yekutieli, under any dependence) hold the
            false discovery rate; "minp" holds the chance of any false rejection (step-down minP, as `min_p_moran`,
            which compares features by their Pearson III p) and draws the permutations once more.
        names: feature ids; default 0, 1, ...

    Returns:
        One row a feature: feature, I, I_scaled (I over the largest I this graph allows), expected, null_sd, skew, z,
        p_analytic, p_perm, p, p_source, q (over the rows with a p), n, n_active, density, n_perm,
        seed, alternative, null, n_tests, correction, status. All but q and n_tests depend on that feature alone.

    Raises:
        InvalidInput: shapes that do not fit, an unknown null or correction, groups without "stratified" or the
            reverse, "minp" with "stratified".

    Reference: Moran 1950; Cliff & Ord 1981; Knijnenburg et al. 2009; Benjamini & Hochberg 1995;
        Benjamini & Yekutieli 2001; Westfall & Young 1993.
    """
    _check_null(null, groups, permutations)
    _check_correction(correction, null)
    graph = read_graph(W)
    values, ids = read_features(X, names)
    drawn = 0 if null == "randomisation" else permutations
    result = moran_i(
        values,
        graph,
        permutations=drawn,
        max_permutations=max_permutations if drawn else None,
        alternative=alternative,
        groups=groups,
        seed=seed,
        min_active=min_active,
    )
    table = _table(result, ids, null, graph, "by" if correction == "by" else "bh")
    if correction == "minp":
        options: Any = {"alternative": alternative, "seed": seed, "min_active": min_active}
        table["q"] = min_p_moran_i(values, graph, permutations=permutations, **options).p_adjusted
        table["correction"] = CORRECTIONS["minp"]
    return table


def _check_null(null: str, groups: Any, permutations: int) -> None:
    if null not in get_args(Null):
        close = nearest(str(null), get_args(Null), n=1)[0]
        raise InvalidInput(f"null={null!r} is not one of {get_args(Null)}; did you mean {close!r}?")
    if (null == "stratified") != (groups is not None):
        raise InvalidInput(
            f"null={null!r} with groups {'given' if groups is not None else 'missing'}: they go together."
        )
    if null in ("permutation", "stratified") and permutations < 1:
        raise InvalidInput(f"null={null!r} needs permutations, e.g. permutations=999; got {permutations}.")


def _check_correction(correction: str, null: str) -> None:
    if correction not in CORRECTIONS:
        close = nearest(str(correction), list(CORRECTIONS), n=1)[0]
        raise InvalidInput(f"correction={correction!r} is not one of {list(CORRECTIONS)}; did you mean {close!r}?")
    if correction == "minp" and null == "stratified":
        raise InvalidInput("correction='minp' compares features by a tail that null='stratified' has not; use 'by'.")


def _table(
    result: MoranResult, ids: list[Any], null: Null, graph: MoranGraph, correction: Literal["bh", "by"]
) -> pd.DataFrame:
    if null in ("auto", "randomisation"):
        counts = (result.at_least, result.at_most, result.n_perm)
        p, source = resolve_p(result.p_analytic, *counts, result.skew, alternative=result.alternative)
    else:
        p = result.p_perm
        source = np.where(np.isnan(p), "", "permutation" if null == "permutation" else "stratified_permutation")
    measured = {
        "feature": ids,
        "I": result.I,
        "I_scaled": result.I / graph.i_max,
        "expected": result.expected,
        "null_sd": result.null_sd,
        "skew": result.skew,
        "z": result.z,
        "p_analytic": result.p_analytic,
        "p_perm": result.p_perm,
        "p": p,
        "p_source": source.astype(object),
    }
    about = {
        "n": result.n,
        "n_active": result.n_active,
        "density": result.n_active / result.n,
        "n_perm": result.n_perm,
        "seed": result.seed,
        "alternative": result.alternative,
        "null": null,
    }
    return with_q(measured, about, result.status, correction=correction)


def local_moran(
    X: Any,
    W: Any,
    *,
    permutations: int = 9999,
    seed: int = 0,
    alpha: float = 0.05,
    min_active: int = 10,
    names: Sequence[Any] | None = None,
    place_names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Find the places where each feature clusters: local Moran's I with a conditional permutation p.

    Args:
        X: places x features, as for `moran`; best the few features that are to be drawn.
        W: as for `moran`.
        permutations: conditional draws; the smallest two-sided p is about 2 / (permutations + 1).
        seed: seed of the draws.
        alpha: false discovery rate at which a place is given a cluster label.
        min_active: as for `moran`.
        names: feature ids; default 0, 1, ...
        place_names: one a place; default 0, 1, ...

    Returns:
        One row a feature and place: feature, place, Is, lag, quadrant (HH, LH, LL, HL), p, q (Benjamini-Hochberg over
        the places of the feature), cluster (the quadrant where q <= alpha, else "ns", "island" or "no test"), n,
        n_perm, seed, alternative, n_tests, correction, alpha, status.

    Raises:
        InvalidInput: shapes that do not fit, or alpha not between 0 and 1.

    Reference: Anselin 1995; Caldas de Castro & Singer 2006 (false discovery rate of local statistics).
    """
    check_alpha(alpha)
    values, ids = read_features(X, names)
    csr = read_weights(W)
    result = local_moran_i(values, csr, permutations=permutations, seed=seed, min_active=min_active)
    places = read_places(place_names, csr.shape[0])
    tables = [_local_table(result, f, feature, places, alpha) for f, feature in enumerate(ids)]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _local_table(result: LocalMoranResult, f: int, feature: Any, places: list[Any], alpha: float) -> pd.DataFrame:
    quadrant = np.array(QUADRANTS, dtype=object)[result.quadrant[:, f]]
    measured = {"Is": result.Is[:, f], "lag": result.lag[:, f], "quadrant": quadrant, "p": result.p[:, f]}
    about = {"n_perm": result.n_perm[:, f], "seed": result.seed, "alternative": "two-sided", "alpha": alpha}
    return one_row_a_place(feature, places, measured, quadrant, {**about, "status": result.status[:, f]})
