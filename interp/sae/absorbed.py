"""Splitting and absorption: when the latent of a label is silent although the label is there.

A feature that implies another one tempts a sparse code: the latent of the narrow feature learns to write the broad one
too, and the latent of the broad one falls silent there. Reconstruction does not show it.

Definitions, after Chanin et al. 2024, with projections in the place of ablations:

- a label's *main latents* are the first k of `best_coordinates`, k being where one more latent raises the F1 of the
  k-sparse probe on unseen rows (its threshold set on the others) by less than `f1_gain` (theirs: 0.03); k > 1 is
  *splitting*.
- the label's *direction* is that of a logistic probe on the activations; rows with the label that it finds (chance
  above the label's share: it is judged as if labels were equally many) are *known*.
- a known row is *missed* when no main latent is on.
- a missed row is *absorbed* when one other latent writes the label in their place: the latent with the largest
  contribution z_j (W_dec_j . direction) points that way (cosine above `min_cosine`) and gives at least `min_share` of
  the row's own projection, (x - mean of the rows without the label) . direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from interp.errors import InvalidInput
from interp.sae.coder import SAE
from interp.sae.labels import Split, best_coordinates, enough, halve, probe_scores
from interp.sae.rival import calibrated
from interp.stats.intervals import wilson_interval
from interp.stats.logistic import fit_logistic

RIDGE = 1e-2
_BATCH = 4096
_MEASURED = (
    "n_main", "f1_one", "f1_main", "main", "probe_recall", "missed_share", "absorbed_share", "ci_low", "ci_high",
    "absorbers",
)  # fmt: skip


class Criteria(NamedTuple):
    """What counts as splitting and absorption."""

    max_main: int
    f1_gain: float
    min_cosine: float
    min_share: float


def absorption(
    sae: SAE,
    activations: np.ndarray,
    labels: Sequence[Any] | np.ndarray,
    *,
    seed: int,
    max_main: int = 10,
    f1_gain: float = 0.03,
    min_cosine: float | None = None,
    min_share: float = 0.4,
) -> pd.DataFrame:
    """Return for each label how far its feature is split, and how often it is absorbed.

    Args:
        activations: float [n, d_in], one row a thing.
        labels: the label of each row, [n]; each value stands against all others.
        seed: of the halves (one to choose and fit, one to judge) and of the random SAE.
        max_main: main latents at most.
        f1_gain, min_cosine, min_share: see the module; min_cosine None is 3 / sqrt(d_in), which a random direction
            hardly ever reaches.

    Returns:
        A row for each label: label, n_main (above 1: split), f1_one and f1_main (of the probes on one latent and on
        the main ones), main (their numbers), probe_recall (rows with the label that the probe on activations finds),
        missed_share and absorbed_share (of the known rows) with the 95 % Wilson interval of the latter, absorbers
        (the latents that do it, most frequent first, at most 5), null_random_sae (the absorbed share of `random_sae`),
        n (known rows of the second half), seed, status.

    Raises:
        InvalidInput: a transcoder, or numbers of rows that differ.

    Reference: Chanin et al. 2024, "A is for Absorption"; projections as in SAEBench (Karvonen et al. 2025).
    """
    x, y = np.asarray(activations, dtype=np.float32), np.asarray(labels)
    if sae.config.is_transcoder:
        raise InvalidInput("absorption asks where an SAE writes what it reads; a transcoder writes elsewhere.")
    if x.ndim != 2 or y.shape != x.shape[:1] or len(np.unique(y)) < 2:
        raise InvalidInput(f"absorption needs x [n, d] and two or more labels [n]; given {x.shape} and {y.shape}.")
    cosine = 3 / np.sqrt(x.shape[1]) if min_cosine is None else min_cosine
    criteria = Criteria(max_main, f1_gain, cosine, min_share)
    sae_rng, half_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    split = halve(y, half_rng)
    rival = calibrated(sae, torch.from_numpy(x), sae_rng)
    coders = [(coder, _encoded(coder, x)) for coder in (sae, rival)]
    rows = []
    for label in np.unique(y):
        mine, theirs = (_of_label(coder, latents, x, y == label, split, criteria) for coder, latents in coders)
        rows.append({"label": label, **mine, "null_random_sae": theirs["absorbed_share"]})
    order = ["label", *_MEASURED, "null_random_sae", "n", "status"]
    return pd.DataFrame(rows).loc[:, order].assign(seed=seed)


def _encoded(sae: SAE, x: np.ndarray) -> np.ndarray:
    return np.concatenate([sae.encode(x[i : i + _BATCH]).cpu().numpy() for i in range(0, len(x), _BATCH)])


def _of_label(
    sae: SAE, latents: np.ndarray, x: np.ndarray, y: np.ndarray, split: Split, criteria: Criteria
) -> dict[str, Any]:
    status = enough(y, split)
    if status != "ok":
        return dict.fromkeys(_MEASURED, np.nan) | {"main": "", "absorbers": "", "n": 0, "status": status}
    main, f1 = _main_latents(latents, y, split, criteria)
    rows = sae._normalised(torch.from_numpy(x).to(sae.W_dec.device))[0].double().cpu().numpy()
    direction, scores = _direction(rows, y, split)
    known = split.test[y[split.test] & (scores[split.test] > 0)]
    out = {
        "n_main": len(main), "f1_one": f1[0], "f1_main": f1[len(main) - 1], "main": " ".join(map(str, main)),
        "probe_recall": len(known) / int(y[split.test].sum()), "n": len(known),
    }  # fmt: skip
    if len(known) == 0:
        gone = {"missed_share": np.nan, "absorbed_share": np.nan, "ci_low": np.nan, "ci_high": np.nan, "absorbers": ""}
        return out | gone | {"status": "the probe on activations finds no row with the label"}
    missed = known[(latents[known][:, main] > 0).sum(axis=1) == 0]
    without = rows[split.train][~y[split.train]].mean(axis=0)
    by = _absorbers(sae, latents[missed], (rows[missed] - without) @ direction, direction, criteria)
    low, high = wilson_interval(len(by), len(known))
    found, times = np.unique(by, return_counts=True)
    return out | {
        "missed_share": len(missed) / len(known), "absorbed_share": len(by) / len(known), "ci_low": low,
        "ci_high": high, "absorbers": " ".join(map(str, found[np.argsort(-times, kind="stable")][:5])), "status": "ok",
    }  # fmt: skip


def _main_latents(
    latents: np.ndarray, y: np.ndarray, split: Split, criteria: Criteria
) -> tuple[np.ndarray, list[float]]:
    """Return the main latents of a label, and the F1 on the second half with 1, 2, ... of them."""
    best = best_coordinates(latents[split.train], y[split.train], min(criteria.max_main, latents.shape[1]))
    f1 = [_probe_f1(latents, best[:1], y, split)]
    while len(f1) < len(best):
        f1.append(_probe_f1(latents, best[: len(f1) + 1], y, split))
        if f1[-1] - f1[-2] < criteria.f1_gain:
            return best[: len(f1) - 1], f1
    return best, f1


def _probe_f1(latents: np.ndarray, columns: np.ndarray, y: np.ndarray, split: Split) -> float:
    """Return the F1 on the second half at the threshold that is best on the first."""
    scores = probe_scores(latents, columns, y, split)
    return f1_score(scores[split.test] >= best_threshold(scores[split.train], y[split.train]), y[split.test])


def best_threshold(scores: np.ndarray, y: np.ndarray) -> float:
    """Return the score, of those given, from which calling y, bool [n], has the largest F1 (the highest of equals)."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(y[order])
    f1 = 2 * hits / (np.arange(1, len(y) + 1) + y.sum())
    ends = np.append(np.diff(scores[order]) != 0, True)  # a threshold cannot part equal scores
    return float(scores[order][np.argmax(np.where(ends, f1, -1.0))])


def _direction(rows: np.ndarray, y: np.ndarray, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return the unit direction [d] of a probe on the activations, and its log odds above those of the label, [n]."""
    mean, sd = rows[split.train].mean(axis=0), rows[split.train].std(axis=0)
    sd = np.where(sd > 0, sd, 1.0)
    weights, intercept = fit_logistic((rows[split.train] - mean) / sd, y[split.train], ridge=RIDGE)
    prior = np.log(y[split.train].mean() / (1 - y[split.train].mean()))
    direction = weights / sd
    return direction / np.linalg.norm(direction), (rows - mean) / sd @ weights + intercept - prior


def _absorbers(
    sae: SAE, latents: np.ndarray, projection: np.ndarray, direction: np.ndarray, criteria: Criteria
) -> np.ndarray:
    """Return the absorbing latent of each missed row that has one, int [n_absorbed]."""
    W_dec = sae.W_dec.double().cpu().numpy()
    toward = W_dec @ direction
    size = np.linalg.norm(W_dec, axis=1)
    cosine = np.divide(toward, size, out=np.zeros_like(toward), where=size > 0)
    contribution = latents * toward
    top = contribution.argmax(axis=1) if len(latents) else np.zeros(0, np.int64)
    most = contribution[np.arange(len(top)), top]
    enough_of_it = (most > 0) & (projection > 0) & (most >= criteria.min_share * projection)
    return top[enough_of_it & (cosine[top] > criteria.min_cosine)]


def f1_score(guess: np.ndarray, truth: np.ndarray) -> float:
    """Return the harmonic mean of precision and recall of bool [n] guesses; 0 without a hit."""
    hits = int((guess & truth).sum())
    return 2 * hits / (int(guess.sum()) + int(truth.sum())) if hits else 0.0
