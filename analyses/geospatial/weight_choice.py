"""Does the answer depend on who counts as a neighbour? Moran's I of each feature under several weights."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analyses.geospatial.moran import moran
from analyses.geospatial.weights import SpatialWeights, spatial_weights
from interp.errors import InvalidInput
from interp.stats.pvalues import Alternative


def sensitivity(
    X: Any,
    places: pd.DataFrame,
    *,
    k: Sequence[int] = (4, 8, 16, 32),
    bands_km: Sequence[float] = (),
    q_cut: float = 0.05,
    alternative: Alternative = "greater",
    min_active: int = 10,
    names: Sequence[Any] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Test each feature under several weights, and compare what they say.

    Args:
        X: places x features: array, scipy sparse or DataFrame (its columns are the names); never changed.
        places: frame with `lat` and `lon` in degrees, one row a row of X.
        k: numbers of nearest neighbours, each a weighting.
        bands_km: radii in kilometres, each a weighting.
        q_cut: false discovery rate, within a weighting.
        alternative: "greater" (clustered), "less" or "two-sided".
        min_active: features with fewer places off their majority value get status "too_rare" and no p.
        names: feature ids; default 0, 1, ...

    Returns:
        One row a feature and weighting: feature, weights ("k=8", "500 km"), I, z, p (Pearson III: no permutations, so
        nothing but the weights differs), q (Benjamini-Hochberg within the weighting), rank (of I, 1 the largest),
        significant (q <= q_cut), stable (of the feature: the same under all weightings; False without a test under
        any of them), n_islands, n, n_active, alternative, q_cut, n_tests, correction, status. And one row a pair of
        weightings: weights_a, weights_b, rank_correlation (Spearman's, of I over the features tested under both; NaN
        for fewer than 3), n_features, n_significant_a, n_significant_b, n_both.

    Raises:
        InvalidInput: fewer than two weightings, or as for `moran` and `spatial_weights`.
    """
    chosen = _weightings(places, k, bands_km)
    tables = [_under(X, label, W, q_cut, alternative, min_active, names) for label, W in chosen.items()]
    counted = np.stack([table["significant"].to_numpy() for table in tables])
    tested = np.stack([table["p"].notna().to_numpy() for table in tables]).all(axis=0)
    stable = tested & (counted == counted[0]).all(axis=0)
    for table in tables:
        table.insert(list(table.columns).index("significant") + 1, "stable", stable)
    agreement = pd.DataFrame([_agreement(a, b) for a, b in combinations(tables, 2)])
    return pd.concat(tables, ignore_index=True), agreement


def _weightings(places: pd.DataFrame, k: Sequence[int], bands_km: Sequence[float]) -> dict[str, SpatialWeights]:
    chosen = {f"k={number}": spatial_weights(places, k=number) for number in k}
    chosen |= {f"{km:g} km": spatial_weights(places, kind="band", km=km) for km in bands_km}
    if len(chosen) < 2:
        raise InvalidInput(f"k={list(k)}, bands_km={list(bands_km)}: two or more different weightings are compared.")
    return chosen


def _under(
    X: Any, label: str, W: SpatialWeights, q_cut: float, alternative: Alternative, min_active: int, names: Any
) -> pd.DataFrame:
    if not 0 < q_cut < 1:
        raise InvalidInput(f"q_cut={q_cut!r}; expected a false discovery rate between 0 and 1, e.g. 0.05.")
    found = moran(X, W, null="randomisation", alternative=alternative, min_active=min_active, names=names)
    return pd.DataFrame(
        {
            "feature": found["feature"],
            "weights": label,
            **{name: found[name] for name in ("I", "z", "p", "q")},
            "rank": found["I"].rank(ascending=False),
            "significant": found["q"] <= q_cut,
            "n_islands": W.islands.size,
            **{name: found[name] for name in ("n", "n_active", "alternative")},
            "q_cut": q_cut,
            **{name: found[name] for name in ("n_tests", "correction", "status")},
        }
    )


def _agreement(a: Any, b: Any) -> dict[str, Any]:
    both = (a["p"].notna() & b["p"].notna()).to_numpy()
    ranks = [table.loc[both, "I"].rank().to_numpy() for table in (a, b)]
    vary = both.sum() >= 3 and all(np.ptp(r) > 0 for r in ranks)
    return {
        "weights_a": a["weights"].iloc[0],
        "weights_b": b["weights"].iloc[0],
        "rank_correlation": float(np.corrcoef(*ranks)[0, 1]) if vary else np.nan,
        "n_features": int(both.sum()),
        "n_significant_a": int(a["significant"].sum()),
        "n_significant_b": int(b["significant"].sum()),
        "n_both": int((a["significant"] & b["significant"]).sum()),
    }
