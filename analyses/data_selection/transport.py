"""Optimal transport from target examples to a pool with a density penalty (TSDS, Liu et al. 2024)."""

from __future__ import annotations

import numpy as np

from interp.errors import InvalidInput

_CHUNK = 2048


def transport_scores(pool: np.ndarray, targets: np.ndarray, *, n: int, width: float | None = None) -> np.ndarray:
    """Return the mass that each sample receives from the targets, float64 [sample]; without mass, less than 0.

    Each of M targets sends 1 / M to its nearest samples, at most s / density to each, so near-duplicates share what
    one of them would get. That is the optimal plan of TSDS with its penalty on density; in place of its trade-off the
    cap s is set here: the largest with which at least `n` samples get mass. Samples without any are in the order of
    their distance to the nearest target.

    Distances are those of unit vectors with the mean of the pool taken off. The density of a sample is the sum over
    the pool of max(0, 1 - (distance / width)^2), 1 if it is alone. Takes time and memory with the square of the pool
    and with pool x targets.

    Args:
        pool: [sample, d]. targets: [example, d].
        n: samples that shall have mass.
        width: of the kernel; default the median distance of a sample to its nearest neighbour.

    Raises:
        InvalidInput: vectors that do not fit or are not finite, n outside 1 to the number of samples.
    """
    if pool.ndim != 2 or targets.ndim != 2 or pool.shape[1] != targets.shape[1] or not len(targets):
        raise InvalidInput(f"vectors are [sample, d] and [example, d], not {pool.shape} and {targets.shape}.")
    if not (np.isfinite(pool).all() and np.isfinite(targets).all()):
        raise InvalidInput("vectors hold NaN or infinity; leave those samples out.")
    if not 1 <= n <= len(pool):
        raise InvalidInput(f"n is {n}; expected 1 to {len(pool)}, the samples of the pool.")
    mean = pool.mean(axis=0, dtype=np.float64)
    a, b = (_unit(x.astype(np.float64) - mean) for x in (pool, targets))
    weight = 1.0 / kernel_density(a, width)
    distance = _distances(b, a)
    order = np.argsort(distance, axis=1, kind="stable")
    before = np.cumsum(weight[order], axis=1) - weight[order]
    cap = _cap(order, before, n, float(weight.min()))
    score = transported(order, weight, cap)
    nearest = distance.min(axis=0)
    return np.where(score > 0, score, -1.0 - nearest)


def transported(order: np.ndarray, weight: np.ndarray, cap: float) -> np.ndarray:
    """Return the mass of each sample [sample] if each target [target, sample in order of distance] fills up to a cap.

    The plan minimises the mean distance under 0 <= mass <= cap x weight for each pair and 1 / M from each target.
    """
    out = np.zeros(order.shape[1])
    share = 1.0 / len(order)
    for nearest in order:
        most = cap * weight[nearest]
        out[nearest] += np.clip(share - (np.cumsum(most) - most), 0.0, most)
    return out


def kernel_density(points: np.ndarray, width: float | None = None) -> np.ndarray:
    """Return sum_k max(0, 1 - (distance / width)^2) of each point, itself among them, float64 [point]."""
    if width is None:
        nearest = np.concatenate([_nearest(points, rows) for rows in _chunks(len(points))])
        apart = nearest[nearest > 1e-6]  # below that two unit vectors are the same
        width = float(np.median(apart)) if len(apart) else 1.0
    return np.concatenate(
        [np.maximum(0.0, 1.0 - (_distances(points[rows], points) / width) ** 2).sum(axis=1)
         for rows in _chunks(len(points))]
    )  # fmt: skip


def _cap(order: np.ndarray, before: np.ndarray, n: int, lightest: float) -> float:
    """Return the largest cap with which n samples get mass: a sample does if what is nearer leaves some of 1 / M."""
    least = np.full(order.shape[1], np.inf)  # weight that is nearer to the target to which a sample is nearest in rank
    for nearest, weight in zip(order, before, strict=True):
        least[nearest] = np.minimum(least[nearest], weight)
    reached = max(float(np.sort(least)[n - 1]), lightest)  # with more, each target sends all to its nearest
    return (1.0 - 1e-9) / (len(order) * reached)


def _chunks(n: int) -> list[slice]:
    return [slice(at, at + _CHUNK) for at in range(0, n, _CHUNK)]


def _nearest(points: np.ndarray, rows: slice) -> np.ndarray:
    found = _distances(points[rows], points)
    found[np.arange(len(found)), np.arange(rows.start, rows.start + len(found))] = np.inf
    return found.min(axis=1)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Euclidean distances of unit vectors [len(a), len(b)]."""
    return np.sqrt(np.maximum(0.0, 2.0 - 2.0 * (a @ b.T)))


def _unit(x: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, length, out=np.zeros_like(x), where=length > 0)
