"""What is left of a feature after covariates, and whether that is still laid out in space.

e = M x with M = 1 - QQ', Q an orthonormal basis of the covariates and the constant. The residuals, not the values, are
dealt to places, and each deal is regressed on the covariates again, M P e: the permuted statistic has then lost as
many degrees of freedom as the observed one. Dealing e as if it were raw data would compare it with the wrong null.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from interp.errors import InvalidInput
from interp.stats.feature_columns import blocks, read_columns, standardise
from interp.stats.moran_engines import EngineName, NumbaEngine, choose_engine
from interp.stats.moran_graph import MoranGraph
from interp.stats.pvalues import Alternative, check_alternative, permutation_p
from interp.stats.recent import keep_recent
from interp.stats.seeds import check_seed, permutation_indices
from interp.stats.spatial_input import checked_pair
from interp.stats.spatial_test import tails

_EXPLAINED = 1e-9  # a share of variance below which nothing is left but rounding


@dataclass(frozen=True)
class Residuals:
    """What covariates leave.

    Attributes:
        values: float64 (place, feature), residuals of the features as given, mean 0; NaN without status "ok".
        share_explained: (feature,), 1 - residual / total sum of squares; not adjusted for the number of covariates.
        rank: independent covariates, the constant not counted.
        status: (feature,), "ok", "explained" (nothing is left), "nan", "constant" or "too_rare".
        n_active: (feature,), places with a non-zero value.
    """

    values: np.ndarray
    share_explained: np.ndarray
    rank: int
    status: np.ndarray
    n_active: np.ndarray


@dataclass(frozen=True)
class ResidualMoran:
    """Arrays of shape (feature,), NaN wherever `status` is not "ok".

    Attributes:
        I: Moran's I of the residuals.
        null_mean: its mean over permutations; below -1 / (n - 1) where the covariates are smooth themselves.
        null_sd: its standard deviation over permutations.
        p: permutation p, ties counted.
        share_explained: as in `Residuals`.
        rank: independent covariates.
        n_perm: permutations.
        n_active: places with a non-zero value.
        status: as in `Residuals`, or "constant_null".
        n: number of places.
        seed: seed of the permutations.
        alternative: the tail.
    """

    I: np.ndarray  # noqa: E741 - its name in every text on the subject
    null_mean: np.ndarray
    null_sd: np.ndarray
    p: np.ndarray
    share_explained: np.ndarray
    rank: int
    n_perm: int
    n_active: np.ndarray
    status: np.ndarray
    n: int
    seed: int
    alternative: Alternative


@keep_recent(6)
def covariate_basis(Z: Any, n: int) -> np.ndarray:
    """Return an orthonormal basis of the constant and the columns of Z, float64 (place, rank + 1), the constant first.

    Raises:
        InvalidInput: not places x covariates of finite numbers, or so many that nothing can be left.
    """
    design = np.asarray(Z, dtype=np.float64)
    if design.ndim != 2 or design.shape[0] != n or not np.isfinite(design).all():
        raise InvalidInput(f"covariates have shape {design.shape}; expected finite numbers of {n} places x covariates.")
    centred = design - design.mean(axis=0)
    size = np.linalg.norm(centred, axis=0)
    kept = size > 1e-10 * (np.linalg.norm(design, axis=0) + 1e-300)
    left, singular, _ = np.linalg.svd(centred[:, kept] / size[kept], full_matrices=False)
    basis = left[:, singular > 1e-9 * singular.max(initial=1.0)]
    if basis.shape[1] > n - 4:
        raise InvalidInput(f"{basis.shape[1]} independent covariates of {n} places leave nothing to test.")
    return np.column_stack([np.full(n, n**-0.5), basis])


def residualise(X: Any, Z: Any, *, min_active: int = 10) -> Residuals:
    """Take the covariates Z out of every column of X by least squares.

    Args:
        X: places x features, array or scipy sparse; never changed. The residuals are dense.
        Z: places x covariates, numbers; a constant is added. Columns may depend on each other.
        min_active: features with fewer places off their majority value get status "too_rare".

    Raises:
        InvalidInput: see `covariate_basis`.
    """
    columns = read_columns(X, min_active=min_active)
    basis = covariate_basis(Z, columns.n)
    values = np.full((columns.n, columns.status.size), np.nan)
    share, status = np.full(columns.status.size, np.nan), columns.status.copy()
    for ids in blocks(np.flatnonzero(status == "ok")):
        rows = columns.rows(ids)
        total = ((rows - rows.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
        rest = _without(rows.T, basis)
        left = (rest**2).sum(axis=0) / total
        share[ids] = 1.0 - left
        status[ids[left <= _EXPLAINED]] = "explained"
        values[:, ids[left > _EXPLAINED]] = rest[:, left > _EXPLAINED]
    return Residuals(values, share, basis.shape[1] - 1, status, columns.n_active)


def residual_moran_i(
    X: Any,
    Z: Any,
    W: Any,
    *,
    permutations: int = 999,
    alternative: Alternative = "greater",
    groups: np.ndarray | None = None,
    seed: int = 0,
    min_active: int = 10,
    engine: EngineName = "auto",
) -> ResidualMoran:
    """Test every column of X for spatial autocorrelation beyond the covariates Z.

    I = (n / S0) e'We / e'e for the residuals e = M x, against e* = M P e over permutations P.

    Args:
        X: places x features, array or scipy sparse; never changed.
        Z: places x covariates, numbers; a constant is added.
        W: places x places scipy sparse weights, used as they are, or a `MoranGraph` prepared from them.
        permutations: at least 1, shared by all features, those of `moran_i`.
        alternative: "greater" (clustered), "less" or "two-sided".
        groups: shape (place,), integer codes; residuals are then exchanged inside groups alone. For features whose
            spread differs between groups (active in one country of six: 20 % of null features rejected at 5 % by free
            exchange, 5 % inside groups).
        seed: seed of the permutations.
        min_active: features with fewer places off their majority value get status "too_rare".
        engine: "numba", "numpy", or whichever is there.

    Raises:
        InvalidInput: shapes that do not fit, or no permutations.

    Reference: Freedman & Lane 1983; Winkler et al. 2014, table 2; Cliff & Ord 1981 ch. 8 (I of residuals).
    """
    check_alternative(alternative)
    columns, graph = checked_pair(X, W, min_active)
    if permutations < 1:
        raise InvalidInput(f"permutations={permutations}; the null of residuals has no other source. Give 999.")
    parts = residualise(X, Z, min_active=min_active)
    codes = _codes(groups, columns.n)
    moving = np.ascontiguousarray(_basis_that_moves(Z, columns.n, codes)[graph.order])
    perm = permutation_indices(columns.n, permutations, seed=check_seed(seed), groups=codes)
    compiled = isinstance(choose_engine(engine), NumbaEngine)
    found = np.full((4, columns.status.size), np.nan)
    status = parts.status.copy()
    for ids in blocks(np.flatnonzero(status == "ok")):
        # standardised and in the order of the graph: a deal is then one gather, e'e = n
        e = np.ascontiguousarray(standardise(np.ascontiguousarray(parts.values[:, ids].T)).T)
        observed = _moran(e[graph.order], np.full(ids.size, float(graph.n)), graph, compiled)
        with threadpool_limits(1, user_api="blas"):  # thousands of small products: threads wait more than they work
            dealt = np.stack([_dealt_moran(e[row], moving, graph, compiled) for row in perm[:, graph.order]])
        sd = dealt.std(axis=0)
        p = permutation_p(*tails(observed, dealt, sd), permutations, alternative=alternative)
        found[:, ids] = np.stack([observed, dealt.mean(axis=0), sd, p])
    status[(status == "ok") & ~(found[2] > 1e-12)] = "constant_null"
    values, mean, sd, p = np.where(status == "ok", found, np.nan)
    return ResidualMoran(
        I=values,
        null_mean=mean,
        null_sd=sd,
        p=p,
        share_explained=parts.share_explained,
        rank=parts.rank,
        n_perm=permutations,
        n_active=columns.n_active,
        status=status,
        n=columns.n,
        seed=seed,
        alternative=alternative,
    )


def _codes(groups: Any, n: int) -> np.ndarray | None:
    if groups is None:
        return None
    labels = np.asarray(groups)
    if labels.shape != (n,):
        raise InvalidInput(f"groups has shape {labels.shape}; expected one label a place, ({n},).")
    return np.unique(labels.astype(str), return_inverse=True)[1]


@keep_recent(2)
def _basis_that_moves(Z: Any, n: int, codes: np.ndarray | None) -> np.ndarray:
    """Return the part of the basis that dealt residuals have to be projected off again.

    Columns that are constant inside the groups are orthogonal to e however e is dealt inside them, (Pe)'z = e'(P'z) =
    e'z = 0: a hundred countries cost nothing, and the few covariates that do vary inside a country are left.
    """
    if codes is None:
        return covariate_basis(Z, n)
    design = np.asarray(Z, dtype=np.float64)
    first = np.unique(codes, return_index=True)[1]
    fixed = (design == design[first[codes]]).all(axis=0)
    still = covariate_basis(design[:, fixed], n)
    centred = covariate_basis(design, n)
    left, singular, _ = np.linalg.svd(_without(centred, still), full_matrices=False)
    return left[:, singular > 1e-9]


def _without(values: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Return values (place, feature) less their projection on the basis."""
    return values - basis @ (basis.T @ values)


def _dealt_moran(dealt: np.ndarray, basis: np.ndarray, graph: MoranGraph, compiled: bool) -> np.ndarray:
    """I of dealt standardised residuals (place in the order of the graph, feature), regressed again on the basis."""
    fitted = basis.T @ dealt
    dealt -= basis @ fitted
    return _moran(dealt, graph.n - (fitted**2).sum(axis=0), graph, compiled)


def _moran(ordered: np.ndarray, squares: np.ndarray, graph: MoranGraph, compiled: bool) -> np.ndarray:
    """I of residuals (place in the order of the graph, feature) whose mean is 0, with their sums of squares."""
    upper, h = graph.upper, np.empty(ordered.shape[1])
    if compiled:
        from interp.stats.moran_kernels import pair_sums

        pair_sums(ordered, upper.indptr, upper.indices, upper.data, h)
    else:
        h = np.ascontiguousarray(((upper @ ordered) * ordered).T).sum(axis=1)
    return 2.0 * graph.n / graph.s0 * h / squares
