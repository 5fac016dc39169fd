"""How much of a known dictionary has an SAE found? Beside each figure, what random directions score."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from interp.errors import InvalidInput
from interp.sae.synthetic.source import unit_rows
from interp.stats.corrections import benjamini_hochberg
from interp.stats.seeds import check_seed

COSINE = 0.9
QUARTILES = ("rarest", "rare", "frequent", "most frequent")


class Match(NamedTuple):
    """One latent for each true feature, each latent used once, so that the sum of cosines is the largest there is.

    latent: int64 [n], -1 for a feature that got none (fewer latents than features); cosine: float64 [n], 0 there.
    """

    latent: np.ndarray
    cosine: np.ndarray


def match_truth(found: Any, truth: Any, *, alive: Any = None) -> Match:
    """Match found directions [M, d] one to one with true ones [n, d] by signed cosine (Hungarian algorithm).

    Signed, because a latent is never negative: the opposite direction is another feature.

    Args:
        alive: bool [M], the latents that take part; all by default.

    Raises:
        InvalidInput: the two have different widths, or a row has no direction.
    """
    cosines, kept = _cosines(found, truth, alive)
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    latent, cosine = np.full(len(cosines), -1), np.zeros(len(cosines))
    latent[rows], cosine[rows] = kept[columns], cosines[rows, columns]
    return Match(latent, cosine)


def recovery(
    found: Any,
    truth: Any,
    *,
    seed: int,
    probability: np.ndarray | None = None,
    alive: Any = None,
    cosine: float = COSINE,
    n_null: int = 39,
) -> pd.DataFrame:
    """Return a row for each metric of how well found directions [M, d] match true ones [n, d], by signed cosine.

    mmcs: mean over true features of the largest cosine; mcc: mean over true features of the one-to-one matched
    cosine, a feature without a latent counting 0; recall: share of true features that some latent is nearer to than
    `cosine`; precision: share of latents near a true feature; uniqueness: distinct features among those found by the
    latents near one (1: no feature was split); recall, <quartile>: recall by how often the feature fires.

    Args:
        seed: of the random dictionaries that are the null.
        probability: [n], how often each true feature fires; without it there are no quartiles.
        alive: bool [M], the latents that take part; all by default. A latent that never fires finds nothing.
        n_null: random dictionaries of the same size.

    Returns:
        Columns metric, value, null_mean, null_sd, p (share of random dictionaries that score as high, +1), q
        (Benjamini-Hochberg over the table), n (what the mean is over), n_null, seed, status.

    Reference: Sharkey et al. 2022 (MMCS); Chen et al. 2025 (recovery at a cosine).
    """
    if n_null < 1:
        raise InvalidInput(f"n_null is from 1, not {n_null}.")
    rng = np.random.default_rng(np.random.SeedSequence(check_seed(seed)))
    cosines, kept = _cosines(found, truth, alive)
    groups = None if probability is None else _quartiles(np.asarray(probability, dtype=np.float64), len(cosines))
    values = _metrics(cosines, cosine, groups)
    true_rows = unit_rows(truth)
    nulls = []
    for _ in range(n_null):
        rival = unit_rows(rng.standard_normal((len(kept), true_rows.shape[1]))) if len(kept) else np.zeros((0, 1))
        random = true_rows @ rival.T if len(kept) else cosines
        nulls.append({name: value for name, (value, _, _) in _metrics(random, cosine, groups).items()})
    rows = [_row(name, *value, np.array([null[name] for null in nulls])) for name, value in values.items()]
    table = pd.DataFrame(rows)
    names = ["metric", "value", "null_mean", "null_sd", "p", "q", "n", "n_null", "seed", "status"]
    return table.assign(q=benjamini_hochberg(table["p"].to_numpy()), n_null=n_null, seed=seed).loc[:, names]


def _cosines(found: Any, truth: Any, alive: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the cosines [n, latents kept] and which latents these are."""
    found, truth = np.asarray(found, dtype=np.float64), unit_rows(truth)
    if found.ndim != 2 or found.shape[1] != truth.shape[1]:
        raise InvalidInput(
            f"found directions are [latents, {truth.shape[1]}] like the true; given {list(found.shape)}."
        )
    mask = np.ones(len(found), dtype=bool) if alive is None else np.asarray(alive)
    if mask.dtype != bool or mask.shape != (len(found),):
        raise InvalidInput(f"alive is bool [{len(found)}]; given {mask.dtype} {list(mask.shape)}.")
    kept = np.flatnonzero(mask)
    return (truth @ unit_rows(found[kept]).T if len(kept) else np.zeros((len(truth), 0))), kept


Metric = tuple[float, int, str]  # value, n, status


def _metrics(cosines: np.ndarray, bound: float, groups: list[np.ndarray] | None) -> dict[str, Metric]:
    n, width = cosines.shape
    best = cosines.max(axis=1) if width else np.zeros(n)
    hit = (best > bound) if width else np.zeros(n, dtype=bool)
    matched = cosines[linear_sum_assignment(cosines, maximize=True)].sum() if width else 0.0
    out: dict[str, Metric] = {
        "mmcs": (float(best.mean()), n, "ok"),
        "mcc": (float(matched / n), n, "ok"),  # over n, not over the matches: a missing latent counts
        "recall": (float(hit.mean()), n, "ok"),
    }
    near = cosines.max(axis=0) > bound if width else np.zeros(0, dtype=bool)
    out["precision"] = (float(near.mean()), width, "ok") if width else (np.nan, 0, "no latent takes part")
    n_near = int(near.sum())
    distinct = len(np.unique(cosines[:, near].argmax(axis=0))) if n_near else 0
    out["uniqueness"] = (distinct / n_near, n_near, "ok") if n_near else (np.nan, 0, "no latent is near a feature")
    for name, members in zip(QUARTILES, groups or [], strict=False):
        share = float(hit[members].mean()) if len(members) else np.nan
        out[f"recall, {name}"] = (share, len(members), "ok" if len(members) else "no feature of this frequency")
    return out


def _quartiles(probability: np.ndarray, n: int) -> list[np.ndarray]:
    """Return the features of each quarter of the frequencies; features of equal frequency stay together."""
    if probability.shape != (n,):
        raise InvalidInput(f"probability is [{n}], one for a true feature; given {list(probability.shape)}.")
    edges = np.quantile(probability, [0.25, 0.5, 0.75])
    number = np.searchsorted(edges, probability, side="left")
    return [np.flatnonzero(number == i) for i in range(len(QUARTILES))]


def _row(name: str, value: float, n: int, status: str, null: np.ndarray) -> dict[str, Any]:
    known = null[np.isfinite(null)]
    row = {
        "metric": name,
        "value": value,
        "n": n,
        "status": status,
        "p": np.nan,
        "null_mean": np.nan,
        "null_sd": np.nan,
    }
    if len(known):
        row |= {"null_mean": float(known.mean()), "null_sd": float(known.std())}
    if np.isfinite(value) and len(known) == len(null):  # where no null has a value there is nothing to compare with
        row["p"] = float((1 + (known >= value).sum()) / (1 + len(null)))
    elif np.isfinite(value):
        row["status"] = "ok, but no p: a random dictionary has no value"
    return row
