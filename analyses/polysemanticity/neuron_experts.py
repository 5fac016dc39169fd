"""Emergent experts: neurons of an MLP in groups of equal size, of which the few most active are enough, or not."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from interp.errors import InvalidInput


def emergent_experts(keys: np.ndarray, n_experts: int, *, seed: int, n_init: int = 2, max_iter: int = 30) -> np.ndarray:
    """Return the expert of each neuron: balanced k-means over directions, int64 [n_neurons].

    Neurons are assigned to places, equally many an expert (one more in some where it does not divide), so that the sum
    of cosines to the means is largest.

    Args:
        keys: float [n_neurons, d]: rows of W_in for experts by weights; activations transposed [n_neurons, n_tokens],
            less the mean of each neuron, for experts by co-activation.
        n_experts: 1 to n_neurons.
        seed: of the first means; the best of `n_init` starts is kept.

    Raises:
        InvalidInput: more experts than neurons, or none.

    Reference: Qiu et al. 2024 (EMoE); balanced k-means by assignment, Malinen & Fränti 2014.
    """
    rows = np.asarray(keys, dtype=np.float64)
    if rows.ndim != 2 or not 1 <= n_experts <= len(rows):
        raise InvalidInput(f"{n_experts} experts of keys {list(rows.shape)}; give 1 to n_neurons experts.")
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    place = np.sort(np.arange(len(rows)) % n_experts)
    starts = [np.random.default_rng([seed, start]) for start in range(n_init)]
    return max((_balanced(rows, place, n_experts, rng, max_iter) for rng in starts), key=lambda found: found[1])[0]


def _balanced(
    rows: np.ndarray, place: np.ndarray, n_experts: int, rng: np.random.Generator, max_iter: int
) -> tuple[np.ndarray, float]:
    means, labels, gained = _spread_means(rows, n_experts, rng), np.full(len(rows), -1), -np.inf
    for _ in range(max_iter):
        likeness = rows @ means.T
        _, chosen = linear_sum_assignment(-likeness[:, place])
        found = place[chosen]
        if np.array_equal(found, labels):
            break
        labels, gained = found, float(likeness[np.arange(len(rows)), found].sum())
        means = np.stack([rows[labels == e].mean(axis=0) for e in range(n_experts)])
    return labels, gained


def _spread_means(rows: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n rows as first means, each far from the others (k-means++, Arthur & Vassilvitskii 2007)."""
    chosen = [int(rng.integers(len(rows)))]
    nearest = ((rows - rows[chosen[0]]) ** 2).sum(axis=1)
    for _ in range(n - 1):
        total = nearest.sum()
        weights = nearest / total if total > 0 else None
        chosen.append(int(rng.choice(len(rows), p=weights)))
        nearest = np.minimum(nearest, ((rows - rows[chosen[-1]]) ** 2).sum(axis=1))
    return rows[chosen]


def route_experts(activations: np.ndarray, experts: np.ndarray, k: int) -> np.ndarray:
    """Return activations [n_tokens, n_neurons] with all but the k best experts of each token set to 0.

    The score of an expert is the mean activation of its neurons. With k = n_experts nothing changes.

    Raises:
        InvalidInput: k below 1 or above the number of experts.
    """
    a, n_experts = np.asarray(activations), int(np.max(experts)) + 1
    if not 1 <= k <= n_experts:
        raise InvalidInput(f"k={k} of {n_experts} experts; give 1 to {n_experts}.")
    member = np.eye(n_experts)[experts]
    scores = (a @ member) / member.sum(axis=0)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    on = np.zeros((len(a), n_experts), dtype=bool)
    np.put_along_axis(on, best, True, axis=1)
    return np.where(on[:, experts], a, 0)


def expert_fidelity(
    activations: np.ndarray, W_out: np.ndarray, splits: dict[str, np.ndarray], *, ks: tuple[int, ...]
) -> pd.DataFrame:
    """Return how much of what the MLP writes is lost when k experts speak: split, k, n_experts, fvu, n (tokens).

    Args:
        splits: name -> expert of each neuron, such as {"weights": ..., "co-activation": ..., "random": ...}.

    fvu is the sum of squares of what is lost over that of the output about its mean.
    """
    whole = activations @ W_out
    total = ((whole - whole.mean(axis=0)) ** 2).sum()
    rows = []
    for name, experts in splits.items():
        for k in ks:
            lost = ((route_experts(activations, experts, k) @ W_out - whole) ** 2).sum()
            rows.append({"split": name, "k": k, "n_experts": int(experts.max()) + 1, "fvu": float(lost / total)})
    return pd.DataFrame(rows).assign(n=len(activations))
