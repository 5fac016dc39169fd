"""Are some latents more alike than others as active? Mean likeness of sets, beside random sets. Pure arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

N_BINS = 20  # of firing rate, within which random latents stand for those of a set


class SetLikeness(NamedTuple):
    """The likeness of a set of latents in one view.

    value: mean over pairs; low, high: its 95 % interval, latents resampled; null_mean, null_sd, p: of random sets
    matched in firing rate (p one-sided: as alike or more); related: share of the latents whose mean likeness to the
    others is above the 95th percentile of that of latents in random sets.
    """

    value: float
    low: float
    high: float
    null_mean: float
    null_sd: float
    p: float
    related: float


def profile_likeness(mass: sparse.csr_array | np.ndarray) -> np.ndarray:
    """Return the Bhattacharyya coefficient of each two rows of mass as shares, [n, n]: 1 for equal, 0 for disjoint.

    Reference: Bhattacharyya (1943).
    """
    rows = sparse.csr_array(mass).astype(np.float64)
    total = rows.sum(axis=1)
    shares: Any = sparse.diags_array(np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)) @ rows
    root = shares.sqrt()
    return (root @ root.T).toarray()


def in_one(views: list[np.ndarray]) -> np.ndarray:
    """Return the mean of several likenesses [n, n], each centred and scaled by its sd over pairs."""
    above = np.triu_indices(len(views[0]), 1)
    scaled = []
    for view in views:
        sd = view[above].std()
        scaled.append((view - view[above].mean()) / (sd if sd > 0 else 1.0))
    return np.mean(scaled, axis=0)


def matched_sets(chosen: np.ndarray, rate: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n random sets with as many latents in each bin of firing rate as the chosen, int64 [n, len(chosen)].

    Args:
        chosen: rows of `rate`. rate: [n_latents]; its ranks are cut into bins of equal size.
    """
    place = np.empty(len(rate), dtype=np.int64)
    place[np.argsort(rate, kind="stable")] = np.arange(len(rate)) * N_BINS // len(rate)
    parts = []
    for which, count in zip(*np.unique(place[chosen], return_counts=True), strict=True):
        members = np.flatnonzero(place == which)
        order = rng.random((n, len(members))).argsort(axis=1)
        parts.append(members[order[:, :count]])
    return np.concatenate(parts, axis=1)


def set_likeness(
    likeness: np.ndarray, chosen: np.ndarray, sets: np.ndarray, rng: np.random.Generator, *, n_boot: int
) -> SetLikeness:
    """Return how alike the chosen latents are, beside random sets.

    Args:
        likeness: float [n, n], symmetric; its diagonal is not used. chosen: int64 [k]. sets: int64 [n_null, k].
    """
    each = _to_others(likeness, chosen[None])[0]
    null = _to_others(likeness, sets)
    value, null_means = float(each.mean()), null.mean(axis=1)
    low, high = _interval(likeness[np.ix_(chosen, chosen)], rng, n_boot)
    p = float((1 + (null_means >= value - 1e-12).sum()) / (len(sets) + 1))
    related = float((each > np.percentile(null, 95)).mean())
    return SetLikeness(value, low, high, float(null_means.mean()), float(null_means.std(ddof=1)), p, related)


def _to_others(likeness: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """Return the mean likeness of each latent of each set to the others of it, [n_sets, k]."""
    k = sets.shape[1]
    own = np.diagonal(likeness)[sets]
    total = np.stack([likeness[np.ix_(rows, rows)].sum(axis=1) for rows in sets])
    return (total - own) / (k - 1)


def _interval(square: np.ndarray, rng: np.random.Generator, n_boot: int) -> tuple[float, float]:
    """Return the 95 % interval of the mean over pairs; pairs of a latent with its own copy are left out."""
    k = len(square)
    if n_boot == 0:
        return float("nan"), float("nan")
    weight = rng.multinomial(k, np.full(k, 1 / k), size=n_boot).astype(np.float64)
    own = weight**2
    sums = np.einsum("bi,ij,bj->b", weight, square, weight, optimize=True) - own @ np.diagonal(square)
    pairs = k**2 - own.sum(axis=1)
    low, high = np.percentile(sums[pairs > 0] / pairs[pairs > 0], [2.5, 97.5])
    return float(low), float(high)
