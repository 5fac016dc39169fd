"""How many kinds of examples does a unit have? Average linkage, cut where the background says that likeness begins.

Pure: a view of the examples (vectors or classes) in, counts out. The count needs no k and draws nothing at random but
the resamples of its interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

CUT = 0.35  # how far from background likeness to neighbour likeness a cluster has to hold together
NEIGHBOURS = 5
MIN_SHARE, MIN_SIZE = 0.05, 3
SHORT = 0.05  # quantile of the examples' lengths below which a row of attributions counts as short
NO_CLASS = -1  # in a view of classes: an example of no class, like none other


@dataclass(frozen=True)
class Groups:
    """Clusters of the examples of a unit in one view.

    labels: int64 [n_examples], 0 .. K - 1 by falling size, -1 outside every cluster that counts.
    K: clusters that hold 5 % of the examples and at least three of them.
    K_eff: 1 / sum of squared shares of all clusters (the inverse Simpson index).
    tau: the cut, b + 0.35 (q - b); q: median over examples of the mean likeness to the 5 nearest; b: mean likeness to
    the background.
    """

    labels: np.ndarray
    K: int
    K_eff: float
    tau: float
    q: float
    b: float


def likeness(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the likeness of examples, float64 [len(a), len(b)]: cosine of unit vectors, or 1 for equal classes."""
    if a.ndim == 1:
        return ((a[:, None] == b[None, :]) & (a[:, None] != NO_CLASS)).astype(np.float64)
    return a.astype(np.float64) @ b.astype(np.float64).T


def mean_likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean of `likeness` over all pairs, from sums alone."""
    if a.ndim > 1:
        return float(a.mean(axis=0, dtype=np.float64) @ b.mean(axis=0, dtype=np.float64))
    _, code = np.unique(np.concatenate([a, b]), return_inverse=True)
    of_a, of_b = (np.bincount(part[kept != NO_CLASS], minlength=code.max() + 1)
                  for part, kept in ((code[: len(a)], a), (code[len(a) :], b)))  # fmt: skip
    return float(of_a @ of_b) / (len(a) * len(b))


def centred_rows(view: np.ndarray, background: np.ndarray, *, examples: np.ndarray | None = None) -> np.ndarray:
    """Return a view of vectors without the mean of its background rows, each row of length 1 (or 0, where it is 0).

    Args:
        examples: rows whose length counts: a row that is shorter than 19 in 20 of them becomes no longer than it is
            beside that one, so that rows where there is next to nothing are not all alike. Default: none counts.
    """
    if view.ndim == 1:
        return view
    rows = view.astype(np.float64) - view[background].astype(np.float64).mean(axis=0)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if examples is not None and len(examples):
        norms = np.maximum(norms, np.quantile(norms[examples], SHORT))
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 1e-12)


def mean_likeness_within(rows: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """Return the mean likeness over pairs of different rows of each set, from sums alone; float64 [n_sets].

    Args:
        rows: a view, int [n] or float [n, d].
        sets: int [n_sets, size], rows of each set; of size 2 or more.
    """
    n_sets, size = sets.shape
    if rows.ndim == 1:
        chosen = rows[sets]
        found, code = np.unique(chosen, return_inverse=True)
        place = code.reshape(chosen.shape) + len(found) * np.arange(n_sets)[:, None]
        counts = np.bincount(place[chosen != NO_CLASS], minlength=n_sets * len(found)).reshape(n_sets, -1)
        pairs = (counts * (counts - 1)).sum(axis=1)
    else:
        member = sparse.csr_array((np.ones(sets.size), sets.ravel(), np.arange(0, sets.size + 1, size)),
                                  shape=(n_sets, len(rows)))  # fmt: skip
        total, lengths = member @ rows, np.einsum("nd,nd->n", rows, rows)
        pairs = np.einsum("sd,sd->s", total, total) - lengths[sets].sum(axis=1)
    return pairs / (size * (size - 1))


def find_groups(similarity: np.ndarray, b: float, *, cut: float = CUT, min_size: int = MIN_SIZE) -> Groups:
    """Return the clusters of examples.

    Args:
        similarity: float [n, n], likeness of each two examples.
        b: mean likeness of the examples to the background.
        min_size: examples that a cluster has to hold, besides 5 % of them.

    Reference: the cut anchors average linkage (Sokal & Michener 1958) in the data's own background.
    """
    n = len(similarity)
    if n < MIN_SIZE:
        return Groups(np.full(n, -1), 0, float("nan"), float("nan"), float("nan"), b)
    others = similarity[~np.eye(n, dtype=bool)].reshape(n, n - 1)
    near = min(NEIGHBOURS, n - 1)
    nearest = np.sort(np.partition(others, n - 1 - near, axis=1)[:, -near:].mean(axis=1))
    q = float((nearest[(n - 1) // 2] + nearest[n // 2]) / 2)  # the median; numpy's takes longer than all else here
    tau = b + cut * (q - b)
    if q <= b:  # the nearest are no nearer than anything else
        return Groups(np.full(n, -1), 0, float("nan"), tau, q, b)
    distance = np.maximum(1.0 - similarity, 0.0)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), method="average")
    found = _cut(tree, 1.0 - tau)
    sizes = np.bincount(found)
    order = np.argsort(-sizes, kind="stable")
    K = int((sizes >= max(min_size, MIN_SHARE * n)).sum())
    number = np.full(len(sizes), -1)
    number[order[:K]] = np.arange(K)
    return Groups(number[found], K, float(n**2 / (sizes.astype(np.float64) ** 2).sum()), tau, q, b)


def _cut(tree: np.ndarray, height: float) -> np.ndarray:
    """Return the cluster of each leaf when merges above `height` are undone; int64 [n], 0 to the number less 1.

    `scipy.cluster.hierarchy.fcluster` gives the same and spends most of its time on checks.
    """
    n = len(tree) + 1
    parent = [-1] * (2 * n - 1)
    for number, (left, right, at) in enumerate(tree[:, :3].tolist()):
        if at <= height:
            parent[int(left)] = parent[int(right)] = n + number
    cluster, count = [0] * (2 * n - 1), 0
    for node in range(2 * n - 2, -1, -1):  # parents have the larger numbers
        if parent[node] >= 0:
            cluster[node] = cluster[parent[node]]
        elif node < n or tree[node - n, 2] <= height:
            cluster[node], count = count, count + 1
    return np.array(cluster[:n])


def replication(similarity: np.ndarray, b: float, rng: np.random.Generator, *, splits: int = 4) -> float:
    """Return how well clusters of one half of the examples are found again in the other, as an adjusted Rand index.

    Each half is clustered by itself. The examples of the second are also put where they belong among the clusters of
    the first (largest mean likeness, if above its cut), and the two labellings are compared. 0 where a half has
    fewer than two clusters. Mean over random splits; NaN without any.
    """
    if splits == 0:
        return float("nan")
    n, scores = len(similarity), []
    for _ in range(splits):
        order = rng.permutation(n)
        first, second = order[: n // 2], order[n // 2 :]
        ours, theirs = (
            find_groups(similarity[np.ix_(half, half)], b, min_size=(MIN_SIZE + 1) // 2) for half in (first, second)
        )
        if ours.K < 2 or theirs.K < 2:
            scores.append(0.0)
            continue
        across = similarity[np.ix_(second, first)]
        to_cluster = np.stack([across[:, ours.labels == c].mean(axis=1) for c in range(ours.K)], axis=1)
        put = np.where(to_cluster.max(axis=1) > ours.tau, to_cluster.argmax(axis=1), -1)
        judged = theirs.labels >= 0
        scores.append(adjusted_rand(put[judged], theirs.labels[judged]))
    return float(np.mean(scores))


def adjusted_rand(a: np.ndarray, b: np.ndarray) -> float:
    """Return the adjusted Rand index of two labellings of the same things (Hubert & Arabie 1985, eq. 5)."""
    if len(a) < 2:
        return float("nan")
    _, a = np.unique(a, return_inverse=True)
    _, b = np.unique(b, return_inverse=True)
    table = np.bincount(a * (b.max() + 1) + b).astype(np.float64)

    def pairs(counts: np.ndarray) -> float:
        return float((counts * (counts - 1)).sum() / 2)

    both, rows, columns = pairs(table), pairs(np.bincount(a)), pairs(np.bincount(b))
    expected = rows * columns / (len(a) * (len(a) - 1) / 2)
    most = (rows + columns) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)


def count_interval(
    similarity: np.ndarray, b: float, rng: np.random.Generator, *, n_boot: int
) -> tuple[float, float, np.ndarray]:
    """Return the 95 % percentile interval of K over bootstrap samples, and the sampled K [n_boot].

    A sample with replacement keeps each drawn example once: a copy would be its own nearest neighbour.
    """
    n = len(similarity)
    found = np.empty(n_boot, dtype=np.int64)
    for i in range(n_boot):
        kept = np.unique(rng.integers(n, size=n))
        found[i] = find_groups(similarity[np.ix_(kept, kept)], b).K
    if n_boot == 0:
        return float("nan"), float("nan"), found
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high), found
