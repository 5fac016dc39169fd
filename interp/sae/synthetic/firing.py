"""Does the latent that points along a true feature also fire when the feature is on?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from interp.errors import InvalidInput
from interp.sae.synthetic.source import unit_rows
from interp.stats.seeds import check_seed


def firing_f1(latents: Any, codes: Any, *, found: Any, truth: Any, seed: int, n_null: int = 20) -> pd.DataFrame:
    """Return F1 of firing, averaged over the true features and over all latents.

    F1 = 2 both / (latent on + feature on), counted over the rows. A true feature is compared with the latent of the
    largest cosine, a latent with the true feature of the largest cosine: partners are chosen by direction, so the
    figure is no maximum over noise. The mean over all latents counts those that no feature needs (half of them, in
    an SAE twice as wide as the truth) and is lower for a perfect dictionary too.

    Args:
        latents: [rows, M], on where positive; codes: [rows, n], on where positive, of the same rows.
        found, truth: directions [M, d] and [n, d].
        seed: of the null: latents of other rows (a random shift of all of them together).

    Returns:
        Rows "f1, true features" and "f1, latents"; columns metric, value, null_mean, null_sd, p, n, rows, n_null,
        seed, status. A feature or latent without a partner that ever fires counts 0.
    """
    on, true_on = _fired(latents, "latents"), _fired(codes, "codes")
    if len(on) != len(true_on) or len(on) < 2:
        raise InvalidInput(f"latents and codes are of the same rows, 2 or more; given {len(on)} and {len(true_on)}.")
    cosines = unit_rows(truth) @ unit_rows(found).T
    if cosines.shape != (true_on.shape[1], on.shape[1]):
        raise InvalidInput(
            f"{cosines.shape[0]} true and {cosines.shape[1]} found directions do not go with {true_on.shape[1]} codes "
            f"and {on.shape[1]} latents."
        )
    rng = np.random.default_rng(np.random.SeedSequence(check_seed(seed)))
    values = _means(on, true_on, cosines)
    shifts = rng.integers(1, len(on), size=n_null)
    nulls = np.array([_means(np.roll(on, int(shift), axis=0), true_on, cosines) for shift in shifts])
    rows = []
    for i, (name, n) in enumerate([("f1, true features", cosines.shape[0]), ("f1, latents", cosines.shape[1])]):
        p = float((1 + (nulls[:, i] >= values[i]).sum()) / (1 + n_null))
        null = {"null_mean": float(nulls[:, i].mean()), "null_sd": float(nulls[:, i].std()), "p": p}
        rows.append({"metric": name, "value": values[i], **null, "n": n, "rows": len(on)})
    return pd.DataFrame(rows).assign(n_null=n_null, seed=seed, status="ok")


def _fired(values: Any, what: str) -> np.ndarray:
    fired = np.asarray(values) > 0
    if fired.ndim != 2:
        raise InvalidInput(f"{what} are [rows, width]; given {list(fired.shape)}.")
    return fired


def _means(on: np.ndarray, true_on: np.ndarray, cosines: np.ndarray) -> tuple[float, float]:
    partner, feature = cosines.argmax(axis=1), cosines.argmax(axis=0)
    return float(_f1(on[:, partner], true_on).mean()), float(_f1(on, true_on[:, feature]).mean())


def _f1(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    both = (one & other).sum(axis=0, dtype=np.float64)
    total = one.sum(axis=0, dtype=np.float64) + other.sum(axis=0, dtype=np.float64)
    return np.divide(2 * both, total, out=np.zeros(len(total)), where=total > 0)
