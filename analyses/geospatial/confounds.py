"""What a place's name and country say by themselves, and what is left of a feature after that.

A feature that knows only the country, the size of the city or a spelling ("Llan") is autocorrelated, because these
are. Covariates that carry them are taken out first; what is then still laid out in space needs another explanation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analyses.geospatial.feature_tables import read_features, read_graph, with_q
from analyses.geospatial.name_features import ngram_indicators, principal_components, token_indicators
from interp.errors import InvalidInput
from interp.stats.autocorrelation import moran_i
from interp.stats.pvalues import Alternative
from interp.stats.residuals import Residuals, residual_moran_i
from interp.stats.residuals import residualise as _residualise


def place_covariates(
    places: pd.DataFrame,
    *,
    n_tokens: Sequence[float] | None = None,
    token_ids: Sequence[Sequence[int]] | None = None,
    n_ngram_components: int = 20,
    n_token_components: int = 20,
    min_places: int = 20,
) -> pd.DataFrame:
    """Return the covariates that a placename carries without any map, one row a place.

    Args:
        places: frame with `name`; `country` and `population` are used where they are there.
        n_tokens: length of each name in tokens, if known.
        token_ids: the tokens of each name, if known.
        n_ngram_components: principal components of the character n-grams of the names; 0 for none.
        n_token_components: principal components of which tokens are in the names (a bag of tokens); 0 for none.
        min_places: n-grams of fewer names, and tokens of fewer than half as many, are not looked at.

    Returns:
        Numeric columns: country=.. (one-hot), log_population (missing and 0: the mean, marked in population_missing),
        n_tokens, ngram_0 .., token_0 ..
    """
    if "name" not in places.columns:
        raise InvalidInput(f"places has no column name; it has: {', '.join(map(str, places.columns))}.")
    parts: list[pd.DataFrame] = []
    if "country" in places.columns:
        labels = places["country"].astype(object).where(places["country"].notna(), "?").astype(str)
        parts.append(pd.get_dummies(labels, prefix="country", prefix_sep="=", dtype=float).reset_index(drop=True))
    if "population" in places.columns:
        parts.append(_log_population(places["population"].to_numpy(dtype=np.float64)))
    if n_tokens is not None:
        parts.append(pd.DataFrame({"n_tokens": np.asarray(n_tokens, dtype=np.float64)}))
    if n_ngram_components > 0:
        grams, _ = ngram_indicators(places["name"].astype(str).tolist(), min_places=min_places)
        parts.append(_components("ngram", grams, n_ngram_components))
    if token_ids is not None and n_token_components > 0:
        tokens, _ = token_indicators(token_ids, min_places=-(-min_places // 2))
        parts.append(_components("token", tokens, n_token_components))
    return pd.concat(parts, axis=1) if parts else pd.DataFrame(index=range(len(places)))


def _components(stem: str, indicators: Any, n: int) -> pd.DataFrame:
    scores = principal_components(indicators, n)
    return pd.DataFrame(scores, columns=[f"{stem}_{i}" for i in range(scores.shape[1])])


def _log_population(population: np.ndarray) -> pd.DataFrame:
    known = np.isfinite(population) & (population > 0)
    logs = np.log(np.where(known, population, 1.0))
    logs[~known] = logs[known].mean() if known.any() else 0.0
    return pd.DataFrame({"log_population": logs, "population_missing": (~known).astype(float)})


def residualise(
    X: Any, covariates: pd.DataFrame | np.ndarray, *, min_active: int = 10, names: Sequence[Any] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take covariates out of every feature by least squares.

    Args:
        X: places x features: array, scipy sparse or DataFrame (its columns are the names); never changed.
        covariates: places x covariates, numeric (`place_covariates`); a constant is added.
        min_active: features with fewer places off their majority value get status "too_rare".
        names: feature ids; default 0, 1, ...

    Returns:
        The residuals, one column a feature (NaN without status "ok"); and a table, one row a feature: feature,
        share_explained, rank (independent covariates), n, n_active, status ("explained": nothing is left). Their p is
        not that of `moran` on the residuals: use `residual_moran`.
    """
    values, ids = read_features(X, names)
    parts: Residuals = _residualise(values, np.asarray(covariates, dtype=np.float64), min_active=min_active)
    table = pd.DataFrame(
        {
            "feature": ids,
            "share_explained": parts.share_explained,
            "rank": parts.rank,
            "n": len(parts.values),
            "n_active": parts.n_active,
            "status": parts.status.astype(object),
        }
    )
    return pd.DataFrame(parts.values, columns=pd.Index(ids, dtype=object)), table


def residual_moran(
    X: Any,
    covariates: pd.DataFrame | np.ndarray,
    W: Any,
    *,
    permutations: int = 999,
    alternative: Alternative = "greater",
    groups: Any = None,
    seed: int = 0,
    min_active: int = 10,
    names: Sequence[Any] | None = None,
) -> pd.DataFrame:
    """Test each feature for spatial autocorrelation that the covariates do not explain.

    Args:
        X: as for `residualise`.
        covariates: as for `residualise`.
        W: `SpatialWeights`, a libpysal W or Graph (row-standardised on reading), or scipy sparse weights as they are.
        permutations: of the residuals, each then regressed again (Freedman & Lane 1983); shared by all features.
        alternative: "greater" (clustered), "less" or "two-sided".
        groups: one label a place: exchange residuals inside groups alone, for features active in few countries.
        seed: seed of the permutations.
        min_active: features with fewer places off their majority value get status "too_rare" and no p.
        names: feature ids; default 0, 1, ...

    Returns:
        One row a feature: feature, I (of the residuals), I_raw, share_explained, rank, null_mean, null_sd (both over
        permutations), z, p, q (Benjamini-Hochberg over the rows with a p), n, n_active, n_perm, seed, alternative,
        n_tests, correction, status.

    Reference: Freedman & Lane 1983; Winkler et al. 2014.
    """
    values, ids = read_features(X, names)
    graph = read_graph(W)
    result = residual_moran_i(
        values, np.asarray(covariates, dtype=np.float64), graph, permutations=permutations, alternative=alternative,
        groups=groups, seed=seed, min_active=min_active,
    )  # fmt: skip
    raw = moran_i(values, graph, permutations=0, min_active=min_active)
    measured = {
        "feature": ids,
        "I": result.I,
        "I_raw": raw.I,
        "share_explained": result.share_explained,
        "rank": result.rank,
        "null_mean": result.null_mean,
        "null_sd": result.null_sd,
        "z": (result.I - result.null_mean) / result.null_sd,
        "p": result.p,
    }
    about = {"n": result.n, "n_active": result.n_active, "n_perm": result.n_perm, "seed": result.seed}
    return with_q(measured, {**about, "alternative": alternative}, result.status)
