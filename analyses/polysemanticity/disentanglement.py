"""InfoMEC: do latents hold one label each (modularity), labels one latent each (compactness), and all of it
(explicitness)? For audits: low modularity is polysemanticity, low compactness is feature splitting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analyses.polysemanticity.sampling import checked_activations
from interp.errors import InvalidInput


@dataclass(frozen=True, eq=False)
class InfoMEC:
    """The three scores, 0 to 1 (explicitness may be negative out of sample), and where they come from.

    mutual: float64 [n_sources, n_active], R_ij = I(s_i; z_j) / H(s_i) of the latents that are active.
    latents: latent, modularity, source (that it holds most of), firing_rate, n, status: a row an active latent.
    sources: source, compactness, latent (that holds most of it), explicitness, entropy (nats), n, status.
    """

    modularity: float
    compactness: float
    explicitness: float
    mutual: np.ndarray
    latents: pd.DataFrame
    sources: pd.DataFrame


def infomec(
    latents: Any, sources: Mapping[str, Sequence[Any]], *, min_rate: float = 0.001, n_bins: int = 10, folds: int = 4,
    seed: int,
) -> InfoMEC:  # fmt: skip
    """Return modularity, compactness and explicitness of latents for labelled sources of variation.

    InfoM = mean over latents of (max_i R / Σ_i R - 1/n_s) / (1 - 1/n_s); InfoC = mean over sources of
    (max_j R / Σ_j R - 1/n_z) / (1 - 1/n_z); InfoE = mean over sources of 1 - H(s|z) / H(s), cross-entropies of a
    logistic probe on rows that it was not fitted on, and of the frequencies of the labels.

    Mutual information is that of a latent in bins (off, and quantiles of its values where it is on), less the bias of
    Miller and Madow. A latent is active if it is on in a share of at least `min_rate` of the rows; a range, as used
    elsewhere, would drop the rare latents of an SAE.

    Args:
        latents: float [n, m], dense; 0 is off.
        sources: name -> labels [n].
        folds: of the probe; 0 leaves explicitness out (NaN).
        seed: of the folds.

    Raises:
        InvalidInput: fewer than two sources, labels of another length, a source of one value, or no active latent.

    Reference: Hsu et al. 2023 (InfoMEC); Miller 1955 (bias of the entropy of counts).
    """
    z = checked_activations(latents)
    names = list(sources)
    if len(names) < 2:
        raise InvalidInput("modularity needs two sources or more: with one, every latent is about it.")
    codes = [_codes(name, sources[name], len(z)) for name in names]
    rate = (z != 0).mean(axis=0)
    active = np.flatnonzero((rate >= min_rate) & (z.max(axis=0) > z.min(axis=0)))
    if len(active) == 0:
        raise InvalidInput(f"no latent is on in {min_rate:g} of the rows or more.")
    bins, n_codes = _binned(z[:, active], n_bins), n_bins + 1
    mutual = np.stack([_mutual_information(bins, n_codes, code) / _entropy(np.bincount(code)) for code in codes])
    mutual = np.clip(mutual, 0.0, 1.0)
    modular, compact = _share_of_largest(mutual, axis=0), _share_of_largest(mutual, axis=1)
    explicit = np.array([_explicitness(z[:, active], code, folds, seed) for code in codes])
    by_latent = pd.DataFrame(
        {
            "latent": active, "modularity": modular, "source": [names[i] for i in mutual.argmax(axis=0)],
            "firing_rate": rate[active], "n": len(z),
            "status": np.where(np.isfinite(modular), "ok", "tells nothing of any source"),
        }
    )  # fmt: skip
    by_source = pd.DataFrame(
        {
            "source": names, "compactness": compact, "latent": active[mutual.argmax(axis=1)], "explicitness": explicit,
            "entropy": [_entropy(np.bincount(code)) for code in codes], "n": len(z),
            "status": np.where(np.isfinite(compact), "ok", "no latent tells anything of it"),
        }
    )  # fmt: skip
    return InfoMEC(_mean(modular), _mean(compact), _mean(explicit), mutual, by_latent, by_source)


def _mean(values: np.ndarray) -> float:
    return float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else float("nan")


def _codes(name: str, labels: Sequence[Any], n: int) -> np.ndarray:
    values, code = np.unique(np.asarray(labels), return_inverse=True)
    if len(code) != n or len(values) < 2:
        raise InvalidInput(
            f"source {name!r} has {len(code)} labels of {len(values)} kinds; expected {n}, of 2 or more."
        )
    return code


def _binned(z: np.ndarray, n_bins: int) -> np.ndarray:
    """Return the bin of each value: 0 for off, then quantiles of the values where it is on; int64 [n, m]."""
    out = np.zeros(z.shape, dtype=np.int64)
    for j in range(z.shape[1]):
        on = z[:, j] != 0
        edges = np.unique(np.quantile(z[on, j], np.linspace(0, 1, n_bins + 1)[1:-1]))
        out[on, j] = 1 + np.searchsorted(edges, z[on, j], side="left")
    return out


def _mutual_information(bins: np.ndarray, n_codes: int, code: np.ndarray) -> np.ndarray:
    """Return the mutual information (nats) of each column of bins with the codes, less its first-order bias."""
    n, m = bins.shape
    n_values = int(code.max()) + 1
    cell = (np.arange(m) * n_codes + bins) * n_values + code[:, None]
    table = np.bincount(cell.ravel(), minlength=m * n_codes * n_values).reshape(m, n_codes, n_values).astype(float)
    of_bin, of_value = table.sum(axis=2), table.sum(axis=1)
    found = _plain_entropy(of_bin, n) + _plain_entropy(of_value, n) - _plain_entropy(table.reshape(m, -1), n)
    used = [(counts > 0).sum(axis=1) for counts in (table.reshape(m, -1), of_bin, of_value)]
    return found - (used[0] - used[1] - used[2] + 1) / (2 * n)


def _plain_entropy(counts: np.ndarray, n: int) -> np.ndarray:
    p = counts / n
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=1)


def _entropy(counts: np.ndarray) -> float:
    return float(_plain_entropy(counts[None, :].astype(float), int(counts.sum()))[0])


def _share_of_largest(R: np.ndarray, axis: int) -> np.ndarray:
    """Return (max / sum - 1/k) / (1 - 1/k) along an axis of length k; NaN where all is 0."""
    k, total = R.shape[axis], R.sum(axis=axis)
    if k == 1:
        return np.where(total > 0, 1.0, np.nan)
    share = np.divide(R.max(axis=axis), total, out=np.full(total.shape, np.nan), where=total > 0)
    return (share - 1 / k) / (1 - 1 / k)


def _explicitness(z: np.ndarray, code: np.ndarray, folds: int, seed: int) -> float:
    if folds == 0:
        return float("nan")
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if np.bincount(code).min() < folds:
        return float("nan")
    spent = chance = 0.0
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(z, code):
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(z[train], code[train])
        spent -= probe.predict_log_proba(z[test])[np.arange(len(test)), code[test]].sum()
        chance -= np.log(np.bincount(code[train]) / len(train))[code[test]].sum()
    return float(1 - spent / chance)
