"""Permutations where they decide something: Moran's I with a Benjamini-Hochberg verdict that more of them cannot turn.

With c exceedances among N permutations the true p lies in a known interval. Benjamini-Hochberg is monotone: what it
rejects when every p sits at its upper limit is rejected whatever the p are, and what it keeps when every p sits at
its lower limit is kept. Only the features between the two go on, with ten times as many permutations.

Which features go on depends on the others through the cut; `moran_i(max_permutations=..)` stops each feature by its
own count (Besag & Clifford 1991), and its numbers do not. Draws are numbered from 0 in both: a feature that gets N
permutations has the counts that it would have alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse, special

from interp.errors import InvalidInput
from interp.stats.autocorrelation import MoranResult, moran_i, stage_totals
from interp.stats.corrections import benjamini_hochberg
from interp.stats.moran_engines import EngineName
from interp.stats.pvalues import Alternative, permutation_p
from interp.stats.spatial_input import as_graph


@dataclass(frozen=True)
class CertifiedMoran:
    """Arrays of shape (feature,), NaN (0, "") wherever `status` is not "ok".

    Attributes:
        I: Moran's I.
        null_mean: its mean under randomisation, exact; NaN where `groups` were given.
        null_sd: its standard deviation, likewise.
        p: (1 + exceedances) / (n_perm + 1), or twice the smaller tail.
        p_low: lower confidence limit of the p that endless permutations would give.
        p_high: upper limit.
        q: Benjamini-Hochberg adjusted p.
        decision: "rejected", "kept", or "undecided" after the last round.
        n_perm: permutations spent on the feature.
        n_active: places with a non-zero value.
        status: as in `MoranResult`.
        n: number of places.
        seed: seed of the permutations.
        alternative: the tail.
        q_cut: false discovery rate of the decision.
        error: bound on the chance that any "rejected" or "kept" is not what endless permutations would say.
    """

    I: np.ndarray  # noqa: E741 - its name in every text on the subject
    null_mean: np.ndarray
    null_sd: np.ndarray
    p: np.ndarray
    p_low: np.ndarray
    p_high: np.ndarray
    q: np.ndarray
    decision: np.ndarray
    n_perm: np.ndarray
    n_active: np.ndarray
    status: np.ndarray
    n: int
    seed: int
    alternative: Alternative
    q_cut: float
    error: float


def certified_moran_i(
    X: Any,
    W: Any,
    *,
    q_cut: float = 0.05,
    permutations: int = 999,
    max_permutations: int = 99_999,
    error: float = 0.01,
    alternative: Alternative = "greater",
    groups: np.ndarray | None = None,
    seed: int = 0,
    min_active: int = 10,
    engine: EngineName = "auto",
) -> CertifiedMoran:
    """Test every column of X, until its verdict at `q_cut` is certain or the permutations are spent.

    Args:
        X: places x features, array or scipy sparse; never changed.
        W: places x places scipy sparse weights, used as they are, or a `MoranGraph` prepared from them.
        q_cut: false discovery rate at which a feature is rejected.
        permutations: of the first round, for all features.
        max_permutations: of the last; each round has ten times as many as the one before.
        error: chance that any certified verdict is wrong, over all features and rounds together.
        alternative: "greater" (clustered), "less" or "two-sided".
        groups: shape (place,), any labels: exchange within groups alone.
        seed: seed of the permutations.
        min_active: features with fewer places off their majority value get status "too_rare".
        engine: "numba", "numpy", or whichever is there.

    Raises:
        InvalidInput: shapes that do not fit, or options out of range.

    Reference: Gandy & Hahn 2014 (MMCTest); Clopper & Pearson 1934.
    """
    if not 0 < q_cut < 1 or not 0 < error < 1 or permutations < 1:
        raise InvalidInput(
            f"q_cut={q_cut}, error={error}, permutations={permutations}; need 0 to 1, 0 to 1, 1 or more."
        )
    graph = as_graph(W)
    matrix = sparse.csc_array(X) if sparse.issparse(X) else np.asarray(X)
    totals = stage_totals(permutations, max_permutations)

    def run(ids: Any, total: int) -> MoranResult:
        return moran_i(
            matrix[:, ids], graph, permutations=total, alternative=alternative, groups=groups, seed=seed,
            min_active=min_active, engine=engine,
        )  # fmt: skip

    first = run(slice(None), totals[0])
    level = error / (len(totals) * max(int((first.status == "ok").sum()), 1))
    p, low, high, decision, n_perm = _rounds(first, run, totals[1:], level, q_cut)
    exact = np.nan if groups is not None else 1.0
    return CertifiedMoran(
        I=first.I,
        null_mean=first.expected * exact,
        null_sd=first.null_sd * exact,
        p=p,
        p_low=low,
        p_high=high,
        q=benjamini_hochberg(p),
        decision=decision,
        n_perm=n_perm,
        n_active=first.n_active,
        status=first.status,
        n=first.n,
        seed=seed,
        alternative=alternative,
        q_cut=q_cut,
        error=error,
    )


def _rounds(
    first: MoranResult, run: Callable[[Any, int], MoranResult], totals: list[int], level: float, q_cut: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Go on with the undecided features; return p, its limits, decisions and permutations of all."""
    counts = np.stack([first.at_least, first.at_most, first.n_perm])
    p, low, high = _limits(counts, level, first.alternative)
    for total in totals:
        ids = np.flatnonzero(_decide(low, high, q_cut) == "undecided")
        if ids.size == 0:
            break
        more = run(ids, total)
        counts[:, ids] = np.stack([more.at_least, more.at_most, more.n_perm])
        p[ids], low[ids], high[ids] = _limits(counts[:, ids], level, first.alternative)
    return p, low, high, _decide(low, high, q_cut), counts[2]


def _limits(counts: np.ndarray, level: float, alternative: Alternative) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return p and its Clopper-Pearson limits, NaN without permutations; `level` is what both limits may miss."""
    at_least, at_most, total = counts
    level = level / 2 if alternative == "two-sided" else level  # either tail may be the smaller one
    ends = [_clopper_pearson(c, total, level) for c in (at_least, at_most)]
    p = permutation_p(at_least, at_most, total, alternative=alternative)
    if alternative == "two-sided":
        low, high = (np.minimum(1.0, 2.0 * np.minimum(a, b)) for a, b in zip(*ends, strict=True))
    else:
        low, high = ends[0 if alternative == "greater" else 1]
    return p, np.where(total > 0, low, np.nan), np.where(total > 0, high, np.nan)


def _clopper_pearson(count: np.ndarray, total: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    c, n = count.astype(np.float64), np.maximum(total, 1).astype(np.float64)
    c = np.minimum(c, n)
    low = np.where(c > 0, special.betaincinv(np.maximum(c, 1), n - c + 1, level / 2), 0.0)
    high = np.where(c < n, special.betainccinv(c + 1, np.maximum(n - c, 1), level / 2), 1.0)
    return low, high


def _decide(low: np.ndarray, high: np.ndarray, q_cut: float) -> np.ndarray:
    tested = ~np.isnan(low)
    with np.errstate(invalid="ignore"):
        surely, perhaps = benjamini_hochberg(high) <= q_cut, benjamini_hochberg(low) <= q_cut
    return np.where(tested, np.where(surely, "rejected", np.where(perhaps, "undecided", "kept")), "")
