"""Global Moran's I of thousands of features at once, with its exact null moments and its permutation counts.

I = (n / S0) sum_ij w_ij z_i z_j / sum_i z_i^2. For each feature: I; mean, sd and skewness of I under randomisation,
exactly; a Pearson III tail from these; and counts over seeded permutations, which all features share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from interp.errors import InvalidInput
from interp.stats.feature_columns import (
    Columns,
    SparseRows,
    blocks,
    power_sums,
    standardise,
    standardise_sparse,
)
from interp.stats.moran_engines import Engine, EngineName, Tally, choose_engine
from interp.stats.moran_graph import MoranGraph
from interp.stats.moran_moments import null_moments
from interp.stats.pvalues import ENOUGH, Alternative, check_alternative, exceedances, pearson3_p, permutation_p
from interp.stats.seeds import check_seed, permutation_indices
from interp.stats.spatial_input import checked_pair

_PERMUTED_PLACES = 16_000_000  # permutations x places held at once (64 MB of int32)
_SIDE_BY_SIDE = 48  # dense features a permutation is dealt to at once: both copies of 5,000 places stay in the cache
_IN_CACHE = 16  # features at a time where each is gone over a few times, so that all of it stays in the cache
_TIE, _TIE_FLOOR = 1e-7, 1e-11  # two I are tied within this part of the null sd, and never less than rounding allows


@dataclass(frozen=True)
class MoranResult:
    """Arrays of shape (feature,), NaN (or 0 for counts) wherever `status` is not "ok".

    Attributes:
        I: Moran's I.
        expected: mean of I under the null; exact, or of the permutations where these are stratified.
        null_sd: standard deviation of I under the same null.
        skew: skewness of I under randomisation; NaN for a stratified null.
        z: (I - expected) / null_sd.
        p_analytic: Pearson III tail of z; NaN for a stratified null.
        p_perm: (1 + exceedances) / (n_perm + 1), or twice the smaller tail.
        at_least: permuted I >= I, ties counted.
        at_most: permuted I <= I, ties counted.
        n_perm: permutations drawn.
        n_active: places with a non-zero value.
        status: "ok", "nan", "constant", "too_rare", "constant_within_groups", or "constant_null" (every rearrangement
            has the same I, as with weights that join all places alike).
        n: number of places.
        seed: seed of the permutations.
        alternative: the tail.
    """

    I: np.ndarray  # noqa: E741 - its name in every text on the subject
    expected: np.ndarray
    null_sd: np.ndarray
    skew: np.ndarray
    z: np.ndarray
    p_analytic: np.ndarray
    p_perm: np.ndarray
    at_least: np.ndarray
    at_most: np.ndarray
    n_perm: np.ndarray
    n_active: np.ndarray
    status: np.ndarray
    n: int
    seed: int
    alternative: Alternative


@dataclass(frozen=True)
class _Plan:
    """What one run holds fixed."""

    graph: MoranGraph
    engine: Engine
    seed: int
    groups: np.ndarray | None


def moran_i(
    X: Any,
    W: Any,
    *,
    permutations: int = 999,
    max_permutations: int | None = None,
    alternative: Alternative = "greater",
    groups: np.ndarray | None = None,
    seed: int = 0,
    min_active: int = 10,
    engine: EngineName = "auto",
) -> MoranResult:
    """Measure the spatial autocorrelation of every column of X.

    Args:
        X: places x features, array or scipy sparse; never changed.
        W: places x places scipy sparse weights, used as they are, or a `MoranGraph` prepared from them.
        permutations: how many, shared by all features; 0 for the exact moments alone.
        max_permutations: a feature with fewer than 10 exceedances goes on with ten times as many permutations, and
            again, up to this number (default: no more than `permutations`).
        alternative: "greater" (clustered), "less" (dispersed) or "two-sided".
        groups: shape (place,), any labels; where given, values are exchanged only among places of one group.
        seed: seed of the permutations.
        min_active: features with fewer places off their majority value get status "too_rare" and no p.
        engine: "numba", "numpy", or whichever is there.

    Returns:
        `MoranResult`; a feature's entries depend on that feature, W and the options alone.

    Raises:
        InvalidInput: shapes that do not fit, weights without pairs, options out of range.

    Reference: Moran 1950; Cliff & Ord 1981 ch. 1-2.

    >>> from scipy import sparse
    >>> ring = sparse.csr_array(np.roll(np.eye(40), 1, axis=1) + np.roll(np.eye(40), -1, axis=1))
    >>> turning = np.sin(np.arange(40) * 2 * np.pi / 40)[:, None]
    >>> found = moran_i(turning, ring, permutations=99)
    >>> found.I.round(3).tolist(), found.p_perm.tolist(), found.expected.round(4).tolist()
    ([0.988], [0.01], [-0.0256])
    """
    check_alternative(alternative)
    columns, graph = checked_pair(X, W, min_active)
    stages = stage_totals(permutations, max_permutations)
    codes = None if groups is None else _group_codes(groups, graph.n, stages)
    if codes is not None:
        columns = _mark_constant_within(columns, codes)
    plan = _Plan(graph, choose_engine(engine), check_seed(seed), codes)
    return _measure(columns, plan, stages, alternative)


def _measure(columns: Columns, plan: _Plan, stages: list[int], alternative: Alternative) -> MoranResult:
    result = _empty(columns, plan.seed, alternative)
    sparse_ids, graph = columns.sparse_ids(), plan.graph
    rows, sums = None, np.full((7, columns.status.size), np.nan)
    if sparse_ids.size:
        rows, sums[:, sparse_ids] = standardise_sparse(columns.csc(sparse_ids))
        result.I[sparse_ids] = 2.0 * plan.engine.observe_sparse(rows, graph) / graph.s0
    for ids in blocks(columns.dense_ids()):
        values = columns.rows(ids)
        for part in blocks(np.arange(ids.size), width=_IN_CACHE):
            z = standardise(values[part])
            result.I[ids[part]] = 2.0 * plan.engine.observe_dense(z, graph) / graph.s0
            sums[:, ids[part]] = power_sums(z)
    ok = np.flatnonzero(result.status == "ok")
    result.expected[ok], result.null_sd[ok], result.skew[ok] = null_moments(graph, sums[:, ok])
    result.status[(result.status == "ok") & ~(result.null_sd > 0)] = "constant_null"
    tally = _tally(result, graph)
    done = 0
    for total in stages:
        more = _unresolved(tally, result, alternative) if done else result.status == "ok"
        _count(columns, plan, tally, (sparse_ids, rows), more, done, total)
        result.n_perm[more] = total
        done = total
    return _finished(result, tally, graph, stratified=plan.groups is not None)


def stage_totals(permutations: int, max_permutations: int | None) -> list[int]:
    """Return the permutations after each round: 999, 9999, 99999, .. as far as asked."""
    last = permutations if max_permutations is None else max_permutations
    if permutations < 0 or last < permutations:
        raise InvalidInput(
            f"permutations={permutations}, max_permutations={max_permutations}: need 0 <= first <= last."
        )
    if permutations == 0:
        if last > 0:
            raise InvalidInput(
                "max_permutations without permutations; give the first round too, e.g. permutations=999."
            )
        return []
    totals = [permutations]
    while totals[-1] < last:
        totals.append(min(last, (totals[-1] + 1) * 10 - 1))
    return totals


def _group_codes(groups: Any, n: int, stages: list[int]) -> np.ndarray:
    if not stages:
        raise InvalidInput("groups need permutations: a stratified null has no other source. Give permutations=999.")
    labels = np.asarray(groups)
    if labels.shape != (n,):
        raise InvalidInput(f"groups has shape {labels.shape}; expected one label a place, ({n},).")
    missing = [i for i, g in enumerate(labels.tolist()) if g is None or g != g]
    if missing:
        raise InvalidInput(f"groups has {len(missing)} missing labels (first: row {missing[0]}); drop or name them.")
    codes = np.unique(labels.astype(str), return_inverse=True)[1]
    if np.bincount(codes).max() < 2:
        raise InvalidInput("every group has a single place: there is nothing to exchange. Use coarser groups.")
    return codes


def _mark_constant_within(columns: Columns, codes: np.ndarray) -> Columns:
    """A feature that never varies inside a group has one rearrangement: nothing to test."""
    status = columns.status.copy()
    by_group = np.argsort(codes, kind="stable")
    same_group = np.diff(codes[by_group]) == 0
    for ids in blocks(np.flatnonzero(status == "ok")):
        steps = np.diff(columns.rows(ids)[:, by_group], axis=1) != 0
        status[ids[~(steps & same_group).any(axis=1)]] = "constant_within_groups"
    return replace(columns, status=status)


def _empty(columns: Columns, seed: int, alternative: Alternative) -> MoranResult:
    size = columns.status.size
    i, expected, null_sd, skew, z, p_analytic, p_perm = (np.full(size, np.nan) for _ in range(7))
    at_least, at_most, n_perm = (np.zeros(size, dtype=np.int64) for _ in range(3))
    return MoranResult(
        I=i,
        expected=expected,
        null_sd=null_sd,
        skew=skew,
        z=z,
        p_analytic=p_analytic,
        p_perm=p_perm,
        at_least=at_least,
        at_most=at_most,
        n_perm=n_perm,
        n_active=columns.n_active,
        status=columns.status,
        n=columns.n,
        seed=seed,
        alternative=alternative,
    )


def _tally(result: MoranResult, graph: MoranGraph) -> Tally:
    tie = np.maximum(_TIE * np.nan_to_num(result.null_sd), _TIE_FLOOR)
    return Tally.start(result.I * graph.s0 / 2, tie * abs(graph.s0) / 2)


def _unresolved(tally: Tally, result: MoranResult, alternative: Alternative) -> np.ndarray:
    return (result.status == "ok") & (exceedances(tally.at_least, tally.at_most, alternative) < ENOUGH)


def _count(
    columns: Columns,
    plan: _Plan,
    tally: Tally,
    sparse: tuple[np.ndarray, SparseRows | None],
    wanted: np.ndarray,
    start: int,
    stop: int,
) -> None:
    """Add permutations `start` to `stop` - 1 for the wanted features, some permutations at a time."""
    sparse_ids, rows = sparse
    keep = np.flatnonzero(wanted[sparse_ids])
    dense_ids = columns.dense_ids()[wanted[columns.dense_ids()]]
    part = tally.part(sparse_ids[keep])
    some_rows = None if rows is None or keep.size == 0 else _select(rows, keep)
    step = max(1, _PERMUTED_PLACES // columns.n)
    for first in range(start, stop if keep.size or dense_ids.size else start, step):
        count = min(step, stop - first)
        perm = permutation_indices(columns.n, count, seed=plan.seed, start=first, groups=plan.groups)
        perm = np.ascontiguousarray(perm[:, plan.graph.order])
        if some_rows is not None:
            plan.engine.count_sparse(some_rows, plan.graph, perm, part)
        for ids in blocks(dense_ids, width=_SIDE_BY_SIDE):
            block = tally.part(ids)
            plan.engine.count_dense(standardise(columns.rows(ids)), plan.graph, perm, block)
            tally.put(ids, block)
    tally.put(sparse_ids[keep], part)


def _select(rows: SparseRows, keep: np.ndarray) -> SparseRows:
    if keep.size == rows.mean.size:
        return rows
    lengths = np.diff(rows.indptr)
    wanted = np.zeros(lengths.size, dtype=bool)
    wanted[keep] = True
    at = np.repeat(wanted, lengths)
    indptr = np.concatenate([[0], np.cumsum(lengths[keep])])
    return SparseRows(indptr, rows.places[at], rows.values[at], rows.mean[keep])


def _finished(result: MoranResult, tally: Tally, graph: MoranGraph, *, stratified: bool) -> MoranResult:
    ok = result.status == "ok"
    expected, null_sd, skew = result.expected, result.null_sd, result.skew
    if stratified:
        drawn = np.where(ok & (result.n_perm > 0), result.n_perm, np.nan)
        mean = tally.total / drawn
        spread = np.sqrt(np.maximum(tally.squares / drawn - mean**2, 0.0))
        expected, null_sd, skew = mean * 2 / graph.s0, spread * 2 / abs(graph.s0), np.full(skew.shape, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(null_sd > 0, (result.I - expected) / null_sd, np.nan)
    counts = {"at_least": np.where(ok, tally.at_least, 0), "at_most": np.where(ok, tally.at_most, 0)}
    p_perm = permutation_p(counts["at_least"], counts["at_most"], result.n_perm, alternative=result.alternative)
    p_analytic = pearson3_p(z, skew, alternative=result.alternative)
    return replace(
        result,
        expected=expected,
        null_sd=null_sd,
        skew=skew,
        z=z,
        p_analytic=p_analytic,
        p_perm=np.where(ok, p_perm, np.nan),
        **counts,
    )
