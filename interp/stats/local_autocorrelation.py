"""Local Moran's I of many features, tested against conditional permutations in which ties count as ties.

I_i = (n - 1) z_i sum_j w_ij z_j / sum z^2. Under the conditional null z_i stays and its neighbours are k places drawn
at random from all others. The draws are made once, of all n places, and shared: for place i those that contain i are
left out, which leaves exactly uniform draws from the others. A lag that equals the observed one counts in both tails;
without that, a silent place among silent places is decided by the last bit of a sum and lights up the map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from interp.errors import InvalidInput
from interp.stats.feature_columns import blocks, standardise
from interp.stats.moran_engines import EngineName, NumbaEngine, choose_engine
from interp.stats.pvalues import permutation_p
from interp.stats.seeds import check_seed, subset_indices
from interp.stats.spatial_input import checked_local

QUADRANTS = ("", "HH", "LH", "LL", "HL")  # as esda numbers them; 0 is none
_SIDES = np.array([3, 2, 4, 1], dtype=np.int8)  # of 2 [own value is high] + [neighbours are high]
_TIE = 1e-10  # of the largest |z|: far above rounding, far below any real difference


@dataclass(frozen=True)
class LocalMoranResult:
    """Arrays of shape (place, feature), NaN wherever `status` is not "ok".

    Attributes:
        Is: local Moran's I.
        lag: weighted sum of the neighbours' standardised values.
        p: two-sided conditional permutation p, ties in both tails.
        quadrant: int8 index into `QUADRANTS`: own value, then neighbours', above (H) or not above (L) the mean.
        n_perm: draws that a p rests on.
        status: "ok"; "island" (no neighbours), "at_mean" (own value is the mean, so I is 0 whatever the neighbours),
            "no_draws" (so many neighbours that every draw contains the place); or the reason of the whole feature:
            "nan", "constant", "too_rare".
        seed: seed of the draws.
    """

    Is: np.ndarray
    lag: np.ndarray
    p: np.ndarray
    quadrant: np.ndarray
    n_perm: np.ndarray
    status: np.ndarray
    seed: int


@dataclass(frozen=True)
class Draws:
    """Random subsets for places with as many neighbours, and which draws each of these places is in.

    `places`: their positions; `chosen`: (draw, size); `draw`, `place`: the pairs to leave out, `place` counting
    within `places`; `equal`: whether the neighbours of each place weigh the same; `weight`: (place, size).
    """

    places: np.ndarray
    chosen: np.ndarray
    draw: np.ndarray
    place: np.ndarray
    equal: bool
    weight: np.ndarray


def local_moran_i(
    X: Any, W: Any, *, permutations: int = 9999, seed: int = 0, min_active: int = 10, engine: EngineName = "auto"
) -> LocalMoranResult:
    """Test every place of every feature for being like, or unlike, its neighbours.

    Args:
        X: places x features, array or scipy sparse; never changed.
        W: places x places scipy sparse weights, used as they are.
        permutations: draws shared by all places and features; the smallest p is about 2 / (permutations + 1).
        seed: seed of the draws.
        min_active: features with fewer places off their majority value get status "too_rare".
        engine: "numba", "numpy", or whichever is there; the numbers are the same.

    Raises:
        InvalidInput: shapes that do not fit, weights without pairs, no permutations, or a place joined to all others.

    Reference: Anselin 1995, eqs 7 and 12 and section "conditional randomization".
    """
    columns, csr = checked_local(X, W, permutations, min_active)
    compiled = isinstance(choose_engine(engine), NumbaEngine)
    n, islands = csr.shape[0], np.diff(csr.indptr) == 0
    draws = conditional_draws(csr, permutations, check_seed(seed))
    shape = (columns.status.size, n)  # a feature is filled at a time; turned over at the end
    values, lags, p = (np.full(shape, np.nan) for _ in range(3))
    quadrant, n_perm = np.zeros(shape, dtype=np.int8), np.zeros(shape, dtype=np.int64)
    total = draws_without(n, draws)
    alike = np.where(islands, "island", np.where(total == 0, "no_draws", "ok"))  # of every testable feature
    never = alike != "ok"
    status = np.where(columns.status[:, None] == "ok", alike, columns.status[:, None].astype("<U8"))
    for ids in blocks(np.flatnonzero(columns.status == "ok")):
        for f, z in zip(ids, standardise(columns.rows(ids)), strict=True):
            lag, size = csr @ z, np.abs(z)
            at_least, at_most = conditional_tails(z, lag, draws, compiled=compiled)
            np.multiply(z, (n - 1) / n * lag, out=values[f])
            p[f] = permutation_p(at_least, at_most, total, alternative="two-sided")
            quadrant[f] = _SIDES[2 * (z > 0) + (lag > 0)]
            lags[f], n_perm[f] = lag, total
            flat = size <= _TIE * size.max()
            status[f, flat & ~islands] = "at_mean"
            untested = flat | never
            if untested.any():
                values[f, untested] = lags[f, untested] = p[f, untested] = np.nan
                quadrant[f, untested] = n_perm[f, untested] = 0
    return LocalMoranResult(values.T, lags.T, p.T, quadrant.T, n_perm.T, status.T, int(seed))


def conditional_draws(csr: Any, permutations: int, seed: int) -> list[Draws]:
    """Group places by their number of neighbours; a place with fewer uses the first of the same draws."""
    n, degree = csr.shape[0], np.diff(csr.indptr)
    if degree.max() > n - 2:
        raise InvalidInput(
            f"a place has {degree.max()} of {n - 1} others as neighbours: nothing is left to draw. Use fewer."
        )
    every = subset_indices(n, int(degree.max()), permutations, seed=seed)
    groups = []
    for size in np.unique(degree[degree > 0]):
        places = np.flatnonzero(degree == size)
        weight = csr.data[csr.indptr[places][:, None] + np.arange(size)]
        equal = np.ptp(weight, axis=1) <= 1e-12 * np.abs(weight).max(axis=1)
        equal &= weight[:, 0] > 0
        for alike, mine in ((True, equal), (False, ~equal)):
            if mine.any():
                groups.append(_draws(places[mine], every[:, :size], weight[mine], n, equal=alike))
    return groups


def _draws(places: np.ndarray, chosen: np.ndarray, weight: np.ndarray, n: int, *, equal: bool) -> Draws:
    position = np.full(n, -1)
    position[places] = np.arange(places.size)
    draw, column = np.nonzero(position[chosen] >= 0)
    return Draws(places, chosen, draw, position[chosen[draw, column]], equal, weight)


def draws_without(n: int, groups: list[Draws]) -> np.ndarray:
    """Return for each place how many draws leave it out, int64 (place,); 0 for an island."""
    total = np.zeros(n, dtype=np.int64)
    for group in groups:
        total[group.places] = len(group.chosen) - np.bincount(group.place, minlength=group.places.size)
    return total


def conditional_tails(
    z: np.ndarray, lag: np.ndarray, groups: list[Draws], *, compiled: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return for each place how many draws without it have a lag at least, and at most, the observed one."""
    at_least, at_most = (np.zeros(z.size, dtype=np.int64) for _ in range(2))
    tie = _TIE * float(np.abs(z).max())
    for group in groups:
        at, drawn = group.places, z[group.chosen]
        if group.equal:
            at_least[at], at_most[at] = _equal_tails(drawn.sum(axis=1), lag[at], group, tie, compiled=compiled)
        else:
            at_least[at], at_most[at] = _weighted_tails(drawn, lag[at], group, tie)
    return at_least, at_most


def _equal_tails(
    sums: np.ndarray, lag: np.ndarray, group: Draws, tie: float, *, compiled: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours that weigh the same: one sorted list of sums serves every place."""
    observed = lag / group.weight[:, 0]
    width = tie * group.chosen.shape[1]
    low, high, ordered = observed - width, observed + width, np.sort(sums)
    if compiled:
        from interp.stats import local_kernels

        at_least, at_most = (np.empty(lag.size, dtype=np.int64) for _ in range(2))
        local_kernels.count_tails(sums, ordered, low, high, group.draw, group.place, at_least, at_most)
        return at_least, at_most
    at_least = sums.size - np.searchsorted(ordered, low, side="left")
    at_most = np.searchsorted(ordered, high, side="right")
    place, value = group.place, sums[group.draw]
    at_least -= np.bincount(place[value >= low[place]], minlength=lag.size)
    at_most -= np.bincount(place[value <= high[place]], minlength=lag.size)
    return at_least, at_most


def _weighted_tails(drawn: np.ndarray, lag: np.ndarray, group: Draws, tie: float) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours that do not: the lag of every draw for every place, some places at a time."""
    at_least, at_most = (np.zeros(lag.size, dtype=np.int64) for _ in range(2))
    for start in range(0, lag.size, 128):
        here = slice(start, min(start + 128, lag.size))
        weight = group.weight[here]
        lags = drawn @ weight.T
        width = tie * np.abs(weight).sum(axis=1)
        counted = np.ones(lags.shape, dtype=bool)
        inside = (group.place >= here.start) & (group.place < here.stop)
        counted[group.draw[inside], group.place[inside] - start] = False
        at_least[here] = ((lags >= lag[here] - width) & counted).sum(axis=0)
        at_most[here] = ((lags <= lag[here] + width) & counted).sum(axis=0)
    return at_least, at_most
