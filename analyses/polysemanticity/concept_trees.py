"""Feature monosemanticity score: is a concept in one latent, and is nothing gained by more of them?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn import config_context
from sklearn.tree import DecisionTreeClassifier

from analyses.polysemanticity.sampling import checked_activations
from interp.errors import InvalidInput


def feature_monosemanticity_score(
    latents: Any, labels: Sequence[Any], *, p: int = 1, n_cuts: int = 10, depth: int = 3, n_shuffles: int = 5, seed: int
) -> pd.DataFrame:
    """Return FMS of each concept (each value of the labels against all others).

    acc_0 is what the best latent alone gets; local = 2 (acc_0 - acc_p), what is lost when the p best latents are taken
    away; global = 1 - mean over i of (acc_cum_i - acc_0), with the best i latents together, i up to `n_cuts`;
    FMS@p = acc_0 (local + global) / 2. Gini trees of depth 1 for one latent, of `depth` for several. Accuracy is
    balanced, so that a rare concept is not told by saying no, and is of the half of the rows that the trees were not
    fitted on. The gap acc_5 - acc_0 says how much four further latents add.

    Args:
        latents: float [n, m], dense.
        labels: [n]; two values or more.
        n_shuffles: refits with shuffled labels, choice of latents included: what acc_0 and FMS are by chance.

    Returns:
        concept, fms, acc_0, acc_p, local_score, global_score, acc_5, gap, latent (the best), null_mean and null_sd (of
        fms under shuffled labels), null_acc_0, n, n_positive, n_perm, seed, status.

    Raises:
        InvalidInput: one label alone, or fewer latents than cuts.

    Reference: Härle et al. 2025 (FMS).
    """
    z, y = checked_activations(latents), np.asarray(labels)
    if len(y) != len(z) or len(np.unique(y)) < 2 or not 1 <= p <= n_cuts < z.shape[1]:
        raise InvalidInput(
            f"{len(y)} labels of {len(np.unique(y))} kinds for {len(z)} rows of {z.shape[1]} latents: expected a label "
            f"a row, two kinds or more, and 1 <= p ({p}) <= n_cuts ({n_cuts}) < latents."
        )
    z = np.asarray(z, dtype=np.float32)
    rows = []
    for number, concept in enumerate(np.unique(y)):
        own, rng = y == concept, np.random.default_rng([seed, number])
        about = {"concept": concept, "n": len(y), "n_positive": int(own.sum()), "n_perm": n_shuffles, "seed": seed}
        if min(own.sum(), (~own).sum()) < 8:
            rows.append({**about, "status": "fewer than 8 rows with or without it"})
            continue
        train = _half(own, rng)
        options = {"p": p, "n_cuts": n_cuts, "depth": depth, "seed": seed}
        found = _scores(z, own, train, **options)
        shuffled = [rng.permutation(own) for _ in range(n_shuffles)]
        null = [_scores(z, other, _half(other, rng), **options) for other in shuffled]
        scores = np.array([one["fms"] for one in null])
        about |= {"null_mean": scores.mean() if n_shuffles else np.nan}
        about |= {"null_sd": scores.std(ddof=1) if n_shuffles > 1 else np.nan}
        about |= {"null_acc_0": np.mean([one["acc_0"] for one in null]) if n_shuffles else np.nan}
        rows.append({**about, **found, "status": "ok"})
    columns = ["concept", "fms", "acc_0", "acc_p", "local_score", "global_score", "acc_5", "gap", "latent", "null_mean",
               "null_sd", "null_acc_0", "n", "n_positive", "n_perm", "seed", "status"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _half(own: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return which rows are fitted on: half of those with the concept and half of those without."""
    train = np.zeros(len(own), dtype=bool)
    for side in (np.flatnonzero(own), np.flatnonzero(~own)):
        train[rng.permutation(side)[: len(side) // 2]] = True
    return train


def _scores(
    z: np.ndarray, own: np.ndarray, train: np.ndarray, *, p: int, n_cuts: int, depth: int, seed: int
) -> dict[str, float]:
    left, chosen, single = np.arange(z.shape[1]), [], []
    for _ in range(max(n_cuts, 5, p + 1)):
        if len(left) == 0:
            break
        best, accuracy = _tree(z[:, left], own, train, 1, seed)
        single.append(accuracy)
        chosen.append(int(left[best]))
        left = np.delete(left, best)
    acc_0, acc_p = single[0], single[min(p, len(single) - 1)]
    together = [acc_0, *(_tree(z[:, chosen[:i]], own, train, depth, seed)[1] for i in range(2, n_cuts + 1))]
    local = float(np.clip(2 * (acc_0 - acc_p), 0, 1))
    whole = float(np.clip(1 - np.mean([a - acc_0 for a in together]), 0, 1))
    five = together[min(4, len(together) - 1)]
    return {
        "fms": acc_0 * (local + whole) / 2, "acc_0": acc_0, "acc_p": acc_p, "local_score": local,
        "global_score": whole, "acc_5": five, "gap": five - acc_0, "latent": chosen[0],
    }  # fmt: skip


def _tree(z: np.ndarray, own: np.ndarray, train: np.ndarray, depth: int, seed: int) -> tuple[int, float]:
    """Return the latent at the root of a tree, and its balanced accuracy on the rows it was not fitted on."""
    X, y = np.ascontiguousarray(z[train]), own[train]
    weight = len(y) / (2 * np.where(y, y.sum(), (~y).sum()))  # balanced classes
    tree = DecisionTreeClassifier(max_depth=depth, random_state=seed)
    with config_context(skip_parameter_validation=True):
        tree.fit(X, y, sample_weight=weight, check_input=False)
    said = np.asarray(tree.predict(np.ascontiguousarray(z[~train]), check_input=False), dtype=bool)
    truth = own[~train]
    root = int(tree.tree_.feature[0])
    return max(root, 0), float((said[truth].mean() + (~said[~truth]).mean()) / 2)
