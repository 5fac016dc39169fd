"""What a place's name and country say by themselves, and what is left of a feature after that.

A feature that knows only the country, the size of the city or a spelling ("Llan") is autocorrelated, because these
are. Covariates that carry them are taken out first; what is then still laid out in space needs another explanation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from analyses.geospatial.moran import _features, _graph
from interp.errors import InvalidInput
from interp.stats.autocorrelation import moran_i
from interp.stats.corrections import benjamini_hochberg
from interp.stats.pvalues import Alternative
from interp.stats.residuals import Residuals, residual_moran_i
from interp.stats.residuals import residualise as _residualise


def place_covariates(
    places: pd.DataFrame,
    *,
    n_tokens: Sequence[float] | None = None,
    n_ngram_components: int = 20,
    min_places: int = 20,
) -> pd.DataFrame:
    """Return the covariates that a placename carries without any map, one row a place.

    Args:
        places: frame with `name`; `country` and `population` are used where they are there.
        n_tokens: length of each name in tokens, if known.
        n_ngram_components: principal components of the spelling (see `ngram_components`); 0 for none.
        min_places: n-grams of fewer names are not looked at.

    Returns:
        Numeric columns: country=.. (one-hot), log_population (missing and 0: the mean, marked in population_missing),
        n_tokens, ngram_0 ..
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
        names = places["name"].astype(str).tolist()
        scores = ngram_components(names, n_components=n_ngram_components, min_places=min_places)
        parts.append(pd.DataFrame(scores, columns=[f"ngram_{i}" for i in range(scores.shape[1])]))
    return pd.concat(parts, axis=1) if parts else pd.DataFrame(index=range(len(places)))


def _log_population(population: np.ndarray) -> pd.DataFrame:
    known = np.isfinite(population) & (population > 0)
    logs = np.log(np.where(known, population, 1.0))
    logs[~known] = logs[known].mean() if known.any() else 0.0
    return pd.DataFrame({"log_population": logs, "population_missing": (~known).astype(float)})


def ngram_components(
    names: Sequence[str], *, n_components: int = 20, sizes: Sequence[int] = (2, 3, 4), min_places: int = 20
) -> np.ndarray:
    """Return principal component scores of the character n-grams of each name, float64 (place, component).

    Names are folded and their ends marked (^ and $); an n-gram counts once a name. Fewer components come back where
    there are fewer n-grams. Each component has variance 1; the sign is fixed by its largest loading.
    """
    grams = [_grams(name, sizes) for name in names]
    counts = Counter(g for found in grams for g in found)
    kept = {g: i for i, g in enumerate(sorted(g for g, c in counts.items() if min_places <= c < len(names)))}
    width = min(n_components, len(kept), len(names) - 1)
    if width < 1:
        return np.empty((len(names), 0))
    rows, cols = zip(*[(r, kept[g]) for r, found in enumerate(grams) for g in sorted(found) if g in kept], strict=True)
    table = sparse.csr_array((np.ones(len(rows)), (rows, cols)), shape=(len(names), len(kept))).toarray()
    table -= table.mean(axis=0)
    values, vectors = np.linalg.eigh(table.T @ table)
    top = vectors[:, ::-1][:, :width][:, values[::-1][:width] > 1e-9 * values[-1]]
    top = top * np.sign(top[np.abs(top).argmax(axis=0), np.arange(top.shape[1])])
    scores = table @ top
    return scores / scores.std(axis=0)


def _grams(name: str, sizes: Sequence[int]) -> set[str]:
    text = f"^{name.casefold()}$"
    return {text[i : i + size] for size in sizes for i in range(len(text) - size + 1)}


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
    values, ids = _features(X, names)
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
    values, ids = _features(X, names)
    graph = _graph(W)
    result = residual_moran_i(
        values, np.asarray(covariates, dtype=np.float64), graph, permutations=permutations, alternative=alternative,
        groups=groups, seed=seed, min_active=min_active,
    )  # fmt: skip
    raw = moran_i(values, graph, permutations=0, min_active=min_active)
    return pd.DataFrame(
        {
            "feature": ids,
            "I": result.I,
            "I_raw": raw.I,
            "share_explained": result.share_explained,
            "rank": result.rank,
            "null_mean": result.null_mean,
            "null_sd": result.null_sd,
            "z": (result.I - result.null_mean) / result.null_sd,
            "p": result.p,
            "q": benjamini_hochberg(result.p),
            "n": result.n,
            "n_active": result.n_active,
            "n_perm": result.n_perm,
            "seed": result.seed,
            "alternative": alternative,
            "n_tests": int((~np.isnan(result.p)).sum()),
            "correction": "benjamini-hochberg",
            "status": result.status.astype(object),
        }
    )
