"""What the spatial tests share: how features, weights and names are read, and the columns that every table has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from analyses.geospatial.weights import SpatialWeights
from interp.errors import InvalidInput
from interp.stats.corrections import benjamini_hochberg
from interp.stats.moran_graph import MoranGraph
from interp.stats.spatial_test import SpatialTest

Correction = Literal["bh", "by", "minp"]
CORRECTIONS: dict[Correction, str] = {
    "bh": "benjamini-hochberg",
    "by": "benjamini-yekutieli",
    "minp": "minP step-down",
}


def read_features(X: Any, names: Sequence[Any] | None) -> tuple[Any, list[Any]]:
    """Return the matrix and one id for each of its columns.

    Raises:
        InvalidInput: not as many names as features.
    """
    if isinstance(X, pd.DataFrame):
        names, X = list(X.columns) if names is None else names, X.to_numpy()
    n_features = X.shape[1] if getattr(X, "ndim", 0) == 2 else 0
    ids = list(range(n_features)) if names is None else list(names)
    if len(ids) != n_features and getattr(X, "ndim", 0) == 2:
        raise InvalidInput(f"names has {len(ids)} entries, X has {n_features} features (columns).")
    return X, ids


def read_weights(W: Any) -> Any:
    """Return weights as csr: scipy's as they are, those of libpysal row-standardised."""
    return W if sparse.issparse(W) else (W if isinstance(W, SpatialWeights) else SpatialWeights.from_pysal(W)).csr


def read_graph(W: Any) -> MoranGraph:
    """Return the same weights, prepared for tests of whole features; what was prepared before is used again."""
    if isinstance(W, MoranGraph):
        return W
    return W.graph if isinstance(W, SpatialWeights) else MoranGraph.from_weights(read_weights(W))


def read_places(place_names: Sequence[str] | None, n: int) -> list[Any]:
    """Return one name a place; by default 0, 1, ...

    Raises:
        InvalidInput: not as many names as places.
    """
    places = list(range(n)) if place_names is None else list(place_names)
    if len(places) != n:
        raise InvalidInput(f"place_names has {len(places)} entries, W has {n} places.")
    return places


def check_alpha(alpha: float) -> None:
    """Refuse a false discovery rate that is none."""
    if not 0 < alpha < 1:
        raise InvalidInput(f"alpha={alpha!r}; expected a false discovery rate between 0 and 1, e.g. 0.05.")


def with_q(
    measured: dict[str, Any],
    about: dict[str, Any],
    status: np.ndarray,
    *,
    last: dict[str, Any] | None = None,
    correction: Literal["bh", "by"] = "bh",
) -> pd.DataFrame:
    """Return a table of tests: what was measured (`p` among it), q, what is known of each, and how q was made.

    q counts the rows with a p alone, which `n_tests` says.
    """
    p = np.asarray(measured["p"])
    q = benjamini_hochberg(p, dependence="positive" if correction == "bh" else "any")
    return pd.DataFrame(
        {
            **measured,
            "q": q,
            **about,
            "n_tests": int((~np.isnan(p)).sum()),
            "correction": CORRECTIONS[correction],
            **(last or {}),
            "status": status.astype(object),
        }
    )


def one_row_a_feature(
    result: SpatialTest, ids: list[Any], name: str, *, alternative: str, p: np.ndarray | None = None, **last: Any
) -> pd.DataFrame:
    """Return a one-column test as a table whose statistic is called `name`; p is by default that of permutations."""
    measured = {
        "feature": ids,
        name: result.statistic,
        "null_mean": result.null_mean,
        "null_sd": result.null_sd,
        "z": result.z,
        "p": result.p_perm if p is None else p,
    }
    about = {"n": result.n, "n_active": result.n_active, "n_perm": result.n_perm}
    return with_q(measured, {**about, "seed": result.seed, "alternative": alternative}, result.status, last=last)


def one_row_a_place(
    feature: Any, places: list[Any], measured: dict[str, Any], classes: np.ndarray, about: dict[str, Any]
) -> pd.DataFrame:
    """Return a feature's local test as a table: `classes` where q <= alpha, else "ns", "island" or "no test".

    `about` holds n_perm, seed, alternative, alpha and status, and whatever else the test is to say last.
    """
    p, status, alpha = measured["p"], about["status"], about["alpha"]
    q = benjamini_hochberg(p)
    untested = np.where(status == "island", "island", "no test").astype(object)
    found = np.where(np.isnan(p), untested, np.where(q <= alpha, classes, "ns"))
    known = {name: about[name] for name in ("n_perm", "seed", "alternative")}
    last = {name: value for name, value in about.items() if name not in (*known, "status")}
    head = {"feature": [feature] * len(places), "place": places, **measured}
    return with_q(head, {"cluster": found, "n": len(places), **known}, status, last=last)
