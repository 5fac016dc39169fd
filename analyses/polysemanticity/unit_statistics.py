"""Simple statistics of units: how wide their vocabulary is, what they write, and how sparse they are.

None of them counts concepts. Kurtosis, Gini and Hoyer follow the firing rate: they fall with the number of concepts
while each is equally frequent, and rise with it once the firing rate is held equal. They are reported as sparsity.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analyses.polysemanticity.sampling import checked_activations
from interp.errors import InvalidInput


def vocabulary_concentration(examples: pd.DataFrame, classes: np.ndarray, *, weighted: bool = False) -> pd.DataFrame:
    """Return the effective number of different tokens among the examples of each unit, exp(entropy).

    Args:
        examples: from `sample_activation_intervals`.
        classes: int [n_tokens], such as `folded_tokens`.
        weighted: count an example as often as its weight says, so that intervals with many examples count more.

    Returns:
        unit, n_effective, n_distinct, top_share (of the most frequent token), n (examples). Synonyms count apart.
    """
    rows = []
    for unit, part in examples.groupby("unit", sort=True):
        mass = part["weight"].to_numpy() if weighted else np.ones(len(part))
        _, code = np.unique(classes[part["row"].to_numpy()], return_inverse=True)
        share = np.bincount(code, weights=mass) / mass.sum()
        rows.append((unit, float(np.exp(-(share * np.log(share)).sum())), len(share), float(share.max()), len(part)))
    return pd.DataFrame(rows, columns=["unit", "n_effective", "n_distinct", "top_share", "n"])


def logit_weight_moments(directions: np.ndarray, unembedding: np.ndarray) -> pd.DataFrame:
    """Return the moments of what each unit adds to the logits: a unit that promotes few tokens has a high kurtosis.

    Args:
        directions: float [n_units, d_model], what a unit writes (rows of W_out, W_dec).
        unembedding: float [d_model, d_vocab].

    Returns:
        unit, mean, sd, skew, excess_kurtosis, top_token and bottom_token (ids), n (tokens), status.

    Reference: Gurnee et al. 2024 (universal neurons: prediction, suppression and partition neurons).
    """
    W, U = (np.asarray(x, dtype=np.float64) for x in (directions, unembedding))
    if W.ndim != 2 or U.ndim != 2 or W.shape[1] != U.shape[0]:
        raise InvalidInput(f"directions {list(W.shape)} and unembedding {list(U.shape)} do not fit each other.")
    logits = W @ U
    centred = logits - logits.mean(axis=1, keepdims=True)
    sd = centred.std(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        standard = centred / sd[:, None]
        skew, kurtosis = (standard**3).mean(axis=1), (standard**4).mean(axis=1) - 3
    return pd.DataFrame(
        {
            "unit": np.arange(len(W)), "mean": logits.mean(axis=1), "sd": sd, "skew": skew,
            "excess_kurtosis": kurtosis, "top_token": logits.argmax(axis=1), "bottom_token": logits.argmin(axis=1),
            "n": U.shape[1], "status": np.where(sd > 0, "ok", "constant"),
        }
    )  # fmt: skip


def sparsity_statistics(activations: Any) -> pd.DataFrame:
    """Return how sparse each unit is: unit, firing_rate, gini, hoyer, excess_kurtosis, n, status.

    Of |a|: Gini = Σ (2i - n - 1) a_(i) / (n Σ a); Hoyer = (√n - Σa / √Σa²) / (√n - 1); both 0 (equal everywhere) to 1
    (one token). Read them as sparsity: they are no measure of polysemanticity (see above).

    Reference: Hurley & Rickard 2009.
    """
    a = np.ascontiguousarray(np.abs(checked_activations(activations)).T, dtype=np.float64)
    n = a.shape[1]
    total, squares = a.sum(axis=1), np.einsum("un,un->u", a, a)
    centred = (a - a.mean(axis=1, keepdims=True)) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        gini = np.sort(a, axis=1) @ (2 * np.arange(1, n + 1) - n - 1.0) / (n * total)
        hoyer = (np.sqrt(n) - total / np.sqrt(squares)) / (np.sqrt(n) - 1)
        kurtosis = n * np.einsum("un,un->u", centred, centred) / centred.sum(axis=1) ** 2 - 3
    return pd.DataFrame(
        {
            "unit": np.arange(len(a)), "firing_rate": (a > 0).mean(axis=1), "gini": gini, "hoyer": hoyer,
            "excess_kurtosis": kurtosis, "n": n, "status": np.where(total > 0, "ok", "never active"),
        }
    )  # fmt: skip
