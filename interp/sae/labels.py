"""How few latents tell a label? k-sparse probes on latents, beside the same probes on what has no dictionary.

A label that one latent tells is laid out in the dictionary; one that needs five is spread or split. The raw activations
and a random SAE get as many coordinates, chosen in the same way, and shuffled labels say what choosing alone gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import mannwhitneyu, rankdata

from interp.errors import InvalidInput
from interp.stats.corrections import benjamini_hochberg
from interp.stats.logistic import fit_logistic

RIDGE = 1e-3
MIN_COUNT = 10
"""Rows with, and rows without, a label that each half needs."""


class Split(NamedTuple):
    """Row numbers to choose latents and fit on, and to judge on."""

    train: np.ndarray
    test: np.ndarray


def sparse_probing(
    latents: Any,
    labels: Sequence[Any] | np.ndarray,
    *,
    controls: Mapping[str, Any],
    seed: int,
    k: Sequence[int] = (1, 2, 5),
    n_shuffles: int = 20,
    n_boot: int = 200,
) -> pd.DataFrame:
    """Return for each label and k how well k latents tell it on rows that were not seen, as an area under the ROC.

    Half of the rows choose the k coordinates with the largest |difference of means| / sd between rows with and
    without the label and fit a logistic regression on them; the other half judge it.

    Args:
        latents: float [n, m], dense or scipy sparse; one row a thing (a place, a word, a prompt), rows independent.
            Average over the tokens or prompts of one thing first.
        labels: the label of each row, [n]; each value is probed against all others.
        controls: name -> [n, any], the same rows in coordinates without this dictionary, such as {"activations": x,
            "random_sae": random_sae(...).encode(x)}; may be empty.
        seed: of the halves, the shuffles and the bootstrap.
        n_shuffles: refits with shuffled labels, choice of coordinates included.

    Returns:
        A row for each label and k: label, k, auc, ci_low, ci_high (95 %, over rows of the second half), null_shuffled
        and null_sd (mean and sd of the shuffles), null_NAME of each control, p (Mann-Whitney on the second half,
        one-sided), q (Benjamini-Hochberg over the table), n and n_positive (second half), chosen (latents, best
        first), n_perm, seed, status.

    Raises:
        InvalidInput: numbers of rows that differ, a k below 1 or above the number of coordinates, or one label alone.

    Reference: Gurnee et al. 2023 (k-sparse probing, choice by mean difference); Kantamneni et al. 2025 (baselines).
    """
    everything = {"latents": latents, **controls}
    y = np.asarray(labels)
    _check(everything, y, k)
    halves, shuffles, boots = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
    split = halve(y, halves)
    orders = np.array([shuffles.permutation(len(y)) for _ in range(n_shuffles)], dtype=np.int64).reshape(-1, len(y))
    rows = []
    for label in np.unique(y):
        mine = y == label
        for size in k:
            found = _probe_row(everything, mine, orders, split, size, boots, n_boot)
            rows.append({"label": label, "k": size} | found)
    table = pd.DataFrame(rows).assign(n_perm=n_shuffles, seed=seed)
    table.insert(list(table.columns).index("p") + 1, "q", benjamini_hochberg(table["p"].to_numpy()))
    return table


def halve(labels: np.ndarray, rng: np.random.Generator) -> Split:
    """Return two halves of the rows with each label in equal numbers, up to one."""
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    return Split(np.sort(order[::2]), np.sort(order[1::2]))


def best_coordinates(x: Any, y: np.ndarray, count: int) -> np.ndarray:
    """Return the `count` columns of x [n, m] with the largest |mean with y - mean without| / sd, best first.

    Columns that never vary come last. y: bool [n].
    """
    return _best(x, np.asarray(y, dtype=np.float64)[:, None], count)[0]


def probe_scores(x: Any, columns: np.ndarray, y: np.ndarray, split: Split) -> np.ndarray:
    """Return the logit of a probe on some columns of x, fitted on the first half, for every row, float64 [n]."""
    part = _dense(x, columns)
    mean, sd = part[split.train].mean(axis=0), part[split.train].std(axis=0)
    part = (part - mean) / np.where(sd > 0, sd, 1.0)
    weights, intercept = fit_logistic(part[split.train], y[split.train], ridge=RIDGE)
    return part @ weights + intercept


def auc(scores: np.ndarray, y: np.ndarray) -> float:
    """Return the area under the ROC curve: the chance that a row with y outranks one without, ties half."""
    n_true = int(y.sum())
    ranks = rankdata(scores)[y]
    return float((ranks.sum() - n_true * (n_true + 1) / 2) / (n_true * (len(y) - n_true)))


def enough(y: np.ndarray, split: Split) -> str:
    """Return "ok", or why a label y, bool [n], cannot be probed."""
    least = min(int(min(y[half].sum(), (~y[half]).sum())) for half in split)
    return "ok" if least >= MIN_COUNT else f"a half has {least} rows with or without the label; {MIN_COUNT} are needed"


def _probe_row(
    everything: Mapping[str, Any],
    y: np.ndarray,
    orders: np.ndarray,
    split: Split,
    k: int,
    rng: np.random.Generator,
    n_boot: int,
) -> dict[str, Any]:
    status = enough(y, split)
    names = [name for name in everything if name != "latents"]
    blank = dict.fromkeys(["auc", "ci_low", "ci_high", "null_shuffled", "null_sd", *(f"null_{c}" for c in names), "p"])
    about = {"n": len(split.test), "n_positive": int(y[split.test].sum()), "chosen": "", "status": status}
    if status != "ok":
        return dict.fromkeys(blank, np.nan) | about
    found = {name: _fitted(x, y[:, None], split, k) for name, x in everything.items()}
    chosen, scores = found["latents"][0]
    truth = y[split.test]
    low, high = _interval(scores, truth, rng, n_boot)
    shuffled = y[orders].T
    chance = [
        auc(s, shuffled[split.test, i])
        for i, (_, s) in enumerate(_fitted(everything["latents"], shuffled, split, k))
        if 0 < shuffled[split.test, i].sum() < len(split.test)
    ]
    values = {
        "auc": auc(scores, truth), "ci_low": low, "ci_high": high,
        "null_shuffled": float(np.mean(chance)) if chance else np.nan,
        "null_sd": float(np.std(chance, ddof=1)) if len(chance) > 1 else np.nan,
        "p": float(mannwhitneyu(scores[truth], scores[~truth], alternative="greater", method="asymptotic").pvalue)
        if np.ptp(scores) > 0 else 1.0,
    }  # fmt: skip
    values |= {f"null_{name}": auc(found[name][0][1], truth) for name in names}
    return {name: values[name] for name in blank} | about | {"chosen": " ".join(map(str, chosen))}


def _fitted(x: Any, targets: np.ndarray, split: Split, k: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each column of targets, bool [n, t], what a k-sparse probe chose, and its scores on the second half.

    A target with one value alone in the first half has scores of 0: nothing can be learnt.
    """
    best = _best(x[split.train], targets[split.train].astype(np.float64), k)
    out = []
    for columns, y in zip(best, targets.T, strict=True):
        learnable = 0 < y[split.train].sum() < len(split.train)
        scores = probe_scores(x, columns, y, split)[split.test] if learnable else np.zeros(len(split.test))
        out.append((columns, scores))
    return out


def _best(x: Any, targets: np.ndarray, k: int) -> np.ndarray:
    """Return for each column of targets, float [n, t], the k best columns of x, int [t, k]."""
    n = x.shape[0]
    total, squares = _sum(x), _sum(x.multiply(x) if sparse.issparse(x) else np.square(x, dtype=np.float64))
    variance = np.maximum(squares / n - (total / n) ** 2, 0.0)
    with_y = np.asarray(targets.T @ x if not sparse.issparse(x) else (x.T @ targets).T, dtype=np.float64)
    count = targets.sum(axis=0)[:, None]
    means = with_y / np.maximum(count, 1), (total - with_y) / np.maximum(n - count, 1)
    sd = np.sqrt(variance)
    varies = sd > 1e-6 * np.sqrt(np.maximum(squares / n, 1e-300))  # less is a rounding error of a constant
    gap = np.where(varies, np.abs(means[0] - means[1]) / np.where(varies, sd, 1.0), -1.0)
    return np.argsort(-gap, axis=1, kind="stable")[:, :k]


def _sum(x: Any) -> np.ndarray:
    return np.asarray(x.sum(axis=0, dtype=np.float64)).ravel()


def _dense(x: Any, columns: np.ndarray) -> np.ndarray:
    part = x[:, columns]
    return np.asarray(part.toarray() if sparse.issparse(part) else part, dtype=np.float64)


def _interval(scores: np.ndarray, y: np.ndarray, rng: np.random.Generator, n_boot: int) -> tuple[float, float]:
    if n_boot == 0:
        return float("nan"), float("nan")
    with_y, without = np.flatnonzero(y), np.flatnonzero(~y)
    draws = []
    for _ in range(n_boot):  # with and without apart, so that no resample lacks one of them
        rows = np.concatenate([rng.choice(part, len(part)) for part in (with_y, without)])
        draws.append(auc(scores[rows], y[rows]))
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


def _check(everything: Mapping[str, Any], y: np.ndarray, k: Sequence[int]) -> None:
    if y.ndim != 1 or len(np.unique(y)) < 2:
        raise InvalidInput(f"labels are one value a row, at least two different; given {y.shape} of one kind or none.")
    for name, x in everything.items():
        if len(getattr(x, "shape", ())) != 2 or x.shape[0] != len(y):
            raise InvalidInput(f"{name} is [n, m] with a row for each of the {len(y)} labels; given {np.shape(x)}.")
        values = x.data if sparse.issparse(x) else x
        if not np.isfinite(values).all():
            raise InvalidInput(f"{name} holds NaN or infinity; a probe cannot be fitted to it.")
        if not all(isinstance(size, int) and 1 <= size <= x.shape[1] for size in k):
            raise InvalidInput(f"k = {tuple(k)}: each an integer from 1 to the {x.shape[1]} coordinates of {name}.")
