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
from interp.stats.feature_columns import read_columns, standardise
from interp.stats.moran_graph import checked_weights
from interp.stats.pvalues import permutation_p
from interp.stats.seeds import check_seed, subset_indices

QUADRANTS = ("", "HH", "LH", "LL", "HL")  # as esda numbers them; 0 is none
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
    """Random subsets for the places that have `size` neighbours, and which draws each of these places is in.

    `places`: their positions; `chosen`: (draw, size); `draw`, `place`: the pairs to leave out, `place` counting
    within `places`; `equal`: whether all neighbours weigh the same; `weight`: (place, size).
    """

    places: np.ndarray
    chosen: np.ndarray
    draw: np.ndarray
    place: np.ndarray
    equal: np.ndarray
    weight: np.ndarray


def local_moran_i(X: Any, W: Any, *, permutations: int = 9999, seed: int = 0, min_active: int = 10) -> LocalMoranResult:
    """Test every place of every feature for being like, or unlike, its neighbours.

    Args:
        X: places x features, array or scipy sparse; never changed.
        W: places x places scipy sparse weights, used as they are.
        permutations: draws shared by all places and features; the smallest p is about 2 / (permutations + 1).
        seed: seed of the draws.
        min_active: features with fewer places off their majority value get status "too_rare".

    Raises:
        InvalidInput: shapes that do not fit, weights without pairs, no permutations, or a place joined to all others.

    Reference: Anselin 1995, eqs 7 and 12 and section "conditional randomization".
    """
    csr = checked_weights(W)
    columns = read_columns(X, min_active=min_active)
    n = csr.shape[0]
    if columns.n != n:
        raise InvalidInput(f"X has {columns.n} places (rows) and W has {n}; they must be the same places.")
    if permutations < 1:
        raise InvalidInput(f"permutations={permutations}; a local test needs at least 1, better 9999.")
    islands = np.diff(csr.indptr) == 0
    draws = conditional_draws(csr, permutations, check_seed(seed))
    shape = (n, columns.status.size)
    values, lags, p = (np.full(shape, np.nan) for _ in range(3))
    quadrant, n_perm = np.zeros(shape, dtype=np.int8), np.zeros(shape, dtype=np.int64)
    status = np.tile(columns.status, (n, 1))
    for f in np.flatnonzero(columns.status == "ok"):
        z = standardise(columns.rows(np.array([f])))[0]
        flat = np.abs(z) <= _TIE * np.abs(z).max()
        status[flat, f] = "at_mean"
        status[islands, f] = "island"
        lag = csr @ z
        at_least, at_most, total = conditional_tails(z, lag, draws)
        status[(status[:, f] == "ok") & (total == 0), f] = "no_draws"
        ok = status[:, f] == "ok"
        values[ok, f] = ((n - 1) / n * z * lag)[ok]
        lags[ok, f] = lag[ok]
        p[ok, f] = permutation_p(at_least, at_most, total, alternative="two-sided")[ok]
        quadrant[ok, f] = np.where(z > 0, np.where(lag > 0, 1, 4), np.where(lag > 0, 2, 3))[ok]
        n_perm[ok, f] = total[ok]
    return LocalMoranResult(values, lags, p, quadrant, n_perm, status, int(seed))


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
        chosen = every[:, :size]
        position = np.full(n, -1)
        position[places] = np.arange(places.size)
        draw, column = np.nonzero(position[chosen] >= 0)
        weight = csr.data[csr.indptr[places][:, None] + np.arange(size)]
        equal = np.ptp(weight, axis=1) <= 1e-12 * np.abs(weight).max(axis=1)
        equal &= weight[:, 0] > 0
        groups.append(Draws(places, chosen, draw, position[chosen[draw, column]], equal, weight))
    return groups


def conditional_tails(z: np.ndarray, lag: np.ndarray, groups: list[Draws]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each place: draws with a lag at least, and at most, the observed one, and draws that leave it out."""
    at_least, at_most, total = (np.zeros(z.size, dtype=np.int64) for _ in range(3))
    tie = _TIE * float(np.abs(z).max())
    for group in groups:
        drawn = z[group.chosen]
        for way, mine in ((_equal_tails, group.equal), (_weighted_tails, ~group.equal)):
            if mine.any():
                at = group.places[mine]
                at_least[at], at_most[at] = way(drawn, lag[at], group, mine, tie)
        total[group.places] = drawn.shape[0] - np.bincount(group.place, minlength=group.places.size)
    return at_least, at_most, total


def _equal_tails(
    drawn: np.ndarray, lag: np.ndarray, group: Draws, mine: np.ndarray, tie: float
) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours that weigh the same: one sorted list of sums serves every place."""
    sums = drawn.sum(axis=1)
    observed = lag / group.weight[mine, 0]
    width = tie * group.chosen.shape[1]
    ordered = np.sort(sums)
    at_least = sums.size - np.searchsorted(ordered, observed - width, side="left")
    at_most = np.searchsorted(ordered, observed + width, side="right")
    row = np.cumsum(mine) - 1
    inside = mine[group.place]
    place, value = row[group.place[inside]], sums[group.draw[inside]]
    at_least -= np.bincount(place[value >= observed[place] - width], minlength=lag.size)
    at_most -= np.bincount(place[value <= observed[place] + width], minlength=lag.size)
    return at_least, at_most


def _weighted_tails(
    drawn: np.ndarray, lag: np.ndarray, group: Draws, mine: np.ndarray, tie: float
) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours that do not: the lag of every draw for every place, some places at a time."""
    at_least, at_most = (np.zeros(lag.size, dtype=np.int64) for _ in range(2))
    ids = np.flatnonzero(mine)
    for start in range(0, ids.size, 128):
        block = ids[start : start + 128]
        here = slice(start, start + block.size)
        lags = drawn @ group.weight[block].T
        width = tie * np.abs(group.weight[block]).sum(axis=1)
        counted = np.ones(lags.shape, dtype=bool)
        inside = (group.place >= block[0]) & (group.place <= block[-1]) & mine[group.place]
        counted[group.draw[inside], np.searchsorted(block, group.place[inside])] = False
        at_least[here] = ((lags >= lag[here] - width) & counted).sum(axis=0)
        at_most[here] = ((lags <= lag[here] + width) & counted).sum(axis=0)
    return at_least, at_most
