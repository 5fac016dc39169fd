"""Bivariate Moran's I and Lee's L of features against covariates of their places: one row a feature and covariate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analyses.geospatial.feature_tables import CORRECTIONS, read_features, read_weights
from interp.errors import InvalidInput
from interp.stats.bivariate import BivariateNull, BivariateResult, bivariate_moran_i, lee_l_i
from interp.stats.corrections import benjamini_hochberg
from interp.stats.pvalues import Alternative, resolve_p


def bivariate_moran(
    X: Any,
    covariates: Any,
    W: Any,
    *,
    null: BivariateNull,
    permutations: int = 999,
    alternative: Alternative = "two-sided",
    seed: int = 0,
    min_active: int = 10,
    names: Sequence[Any] | None = None,
) -> pd.DataFrame:
    """Test whether each feature is high where a covariate is high among the neighbours.

    A small p under null="permutation" does not say that the two have anything to do with each other, unless the
    covariate is without autocorrelation: against a smooth covariate 40 % of white noise and more than half of smooth
    independent features were rejected at 5 %. null="spectral" compares with covariates of the same autocorrelation.

    Args:
        X: places x features: array, scipy sparse or DataFrame (its columns are the names); never changed.
        covariates: places x covariates, numeric, likewise: e.g. lat, lon and log population, or other features.
        W: `SpatialWeights`, a libpysal W or Graph (row-standardised on reading), or scipy sparse weights as they are.
        null: "permutation" (of the covariate) or "spectral" (Moran spectral randomisation; at most 6,000 places). There
            is no default: the choice decides what p means.
        permutations: shared by all features.
        alternative: "greater", "less" or "two-sided".
        seed: seed of the rearrangements.
        min_active: features with fewer places off their majority value get status "too_rare" and no p.
        names: feature ids; default 0, 1, ...

    Returns:
        One row a feature and covariate: feature, covariate, I_xy, null_mean (0), null_sd (exact), z, p, p_source, q
        (Benjamini-Hochberg over the rows of one covariate with a p), n, n_active, n_perm, n_effective (under
        "spectral": how many eigenvectors carry I_xy; below about 4 p is too small), seed, alternative, null, n_tests,
        correction, status, note. p is as in `moran` under null="auto" for permutations; counted alone for "spectral".

    Raises:
        InvalidInput: shapes that do not fit, an unknown null, options out of range.

    Reference: Wartenberg 1985; Wagner & Dray 2015; Clifford, Richardson & Hemon 1989 (why permutation misleads).
    """
    options: Any = {"permutations": permutations, "alternative": alternative, "seed": seed, "min_active": min_active}
    return _pair_table(bivariate_moran_i, "I_xy", X, covariates, W, null, options, names)


def lee_l(
    X: Any,
    covariates: Any,
    W: Any,
    *,
    null: BivariateNull,
    permutations: int = 999,
    alternative: Alternative = "two-sided",
    seed: int = 0,
    min_active: int = 10,
    names: Sequence[Any] | None = None,
) -> pd.DataFrame:
    """Test whether each feature and a covariate have the same neighbourhood means: Lee's L.

    Where bivariate Moran's I sets a place against its neighbours, L sets neighbours against neighbours, so it is
    symmetric, and near the correlation of the two for smooth fields. Both nulls rearrange the covariate alone, so a
    correlation at the same places counts; what is said of the nulls in `bivariate_moran` holds here too.

    Args:
        X: places x features: array, scipy sparse or DataFrame (its columns are the names); never changed.
        covariates: places x covariates, numeric, likewise.
        W: `SpatialWeights`, a libpysal W or Graph (row-standardised on reading), or scipy sparse weights as they are.
        null: "permutation" or "spectral", as for `bivariate_moran`.
        permutations: shared by all features.
        alternative: "greater", "less" or "two-sided".
        seed: seed of the rearrangements.
        min_active: features with fewer places off their majority value get status "too_rare" and no p.
        names: feature ids; default 0, 1, ...

    Returns:
        One row a feature and covariate, with L in place of I_xy in the columns of `bivariate_moran`.

    Raises:
        InvalidInput: as for `bivariate_moran`.

    Reference: Lee 2001, eq. 16.
    """
    options: Any = {"permutations": permutations, "alternative": alternative, "seed": seed, "min_active": min_active}
    return _pair_table(lee_l_i, "L", X, covariates, W, null, options, names)


def _pair_table(
    measure: Callable[..., BivariateResult],
    name: str,
    X: Any,
    covariates: Any,
    W: Any,
    null: BivariateNull,
    options: dict[str, Any],
    names: Sequence[Any] | None,
) -> pd.DataFrame:
    values, ids = read_features(X, names)
    others, labels = read_features(covariates, None)
    if getattr(others, "ndim", 0) != 2:
        raise InvalidInput("covariates must be places x covariates; for one of them: column[:, None].")
    result = measure(values, others, read_weights(W), null=null, **options)
    t = result.test
    p, source = t.p_perm, np.where(np.isnan(t.p_perm), "", "spectral_randomisation")
    note = ""
    if null == "permutation":
        p, source = resolve_p(t.p_analytic, t.at_least, t.at_most, t.n_perm, t.skew, alternative=t.alternative)
        note = "right for a covariate without autocorrelation alone: a smooth one needs null='spectral'"
    shape = t.statistic.shape
    q = np.column_stack([benjamini_hochberg(column) for column in p.T]) if p.size else p
    n_tests = np.broadcast_to((~np.isnan(p)).sum(axis=0), shape)
    wide = {
        "feature": np.repeat(np.array(ids, dtype=object)[:, None], shape[1], axis=1),
        "covariate": np.repeat(np.array(labels, dtype=object)[None, :], shape[0], axis=0),
        name: t.statistic,
        "null_mean": t.null_mean,
        "null_sd": t.null_sd,
        "z": t.z,
        "p": p,
        "p_source": source.astype(object),
        "q": q,
        "n": np.full(shape, t.n),
        "n_active": np.broadcast_to(t.n_active[:, None], shape),
        "n_perm": t.n_perm,
        "n_effective": result.n_effective,
        "seed": np.full(shape, t.seed),
        "alternative": np.full(shape, t.alternative, dtype=object),
        "null": np.full(shape, null, dtype=object),
        "n_tests": n_tests,
        "correction": np.full(shape, CORRECTIONS["bh"], dtype=object),
        "status": t.status.astype(object),
        "note": np.full(shape, note, dtype=object),
    }
    return pd.DataFrame({name: column.ravel() for name, column in wide.items()}).infer_objects()
