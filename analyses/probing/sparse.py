"""How few columns tell a class? k-sparse probes, and SAE latents beside the activations that they were made of.

A class that one latent tells is laid out in the dictionary; one that needs many is spread or split. What all columns
tell together is the bound: an SAE that loses nothing tells as much as the activations do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analyses.probing.compute import Data, ProbeConfig, judged, read_data, status_of
from analyses.probing.fitting import held_out
from analyses.probing.labels import Labels, assign_folds, permuted
from analyses.probing.layers import with_q
from interp.errors import InvalidInput
from interp.stats.logistic import fit_logistic

RIDGE = 1e-3
"""Of the logistic regression on k standardised columns."""
ALL = "all"
_KEPT = ("ci_low", "ci_high", "null_mean", "null_sd", "p")


def sparse_probe(
    X: Any,
    y: Any,
    *,
    k: Sequence[int] = (1, 2, 5),
    groups: Any = None,
    seed: int = 0,
    n_folds: int = 5,
    n_perm: int = 19,
    n_boot: int = 200,
) -> pd.DataFrame:
    """Return for each class and k how well k columns of X tell it from the rest; they are chosen inside each fold.

    The k columns with the largest |difference of means| / sd on the other folds get a logistic regression there.

    Args:
        X: [n, m], dense or scipy sparse: latents, or activations to compare with. y: [n], classes.
        groups: [n]; no group is split. n_perm: permuted labels (whole groups), choice of columns included.

    Returns:
        A row for each class and k: unit (the class), k, auc, ci_low, ci_high (95 %, over groups), null_mean, null_sd,
        p, q (over the table), chosen (columns by the number of folds that chose them), n, n_positive, n_groups, n_perm,
        seed, status.

    Raises:
        InvalidInput: as `probe`, or a k that is no number of columns.

    Reference: Gurnee et al. 2023.
    """
    config = ProbeConfig(task="classes", n_folds=n_folds, n_perm=n_perm, n_boot=n_boot, seed=seed)
    data = read_data(X, y, groups, None, config)
    if not all(isinstance(size, int) and 1 <= size <= data.x.shape[1] for size in k):
        raise InvalidInput(f"k = {tuple(k)}: each an integer from 1 to the {data.x.shape[1]} columns of X.")
    return with_q(pd.DataFrame(_sparse_rows(data, k, config)))


def probe_features(
    representations: Mapping[str, Any],
    y: Any,
    *,
    k: Sequence[int] = (1, 5),
    groups: Any = None,
    seed: int = 0,
    n_folds: int = 5,
    n_perm: int = 19,
    n_boot: int = 200,
) -> pd.DataFrame:
    """Return how well each class is told by k columns and by all columns of several representations of the same rows.

    Args:
        representations: name -> [n, m], such as {"activations": x, "SAE latents": sae.encode(x)}, dense or sparse.
        y, groups, k, n_perm: as `sparse_probe`. With all columns the probe is a ridge regression.

    Returns:
        A row for each representation, class and k ("all" too, as text): representation, unit, k, n_columns and the
        columns of `sparse_probe`; q over the table.

    Raises:
        InvalidInput: as `sparse_probe`, or no representation.
    """
    if not representations:
        raise InvalidInput("representations is empty; give {name: rows [n, m]}, such as {'activations': x}.")
    config = ProbeConfig(task="classes", n_folds=n_folds, n_perm=n_perm, n_boot=n_boot, seed=seed)
    tables = []
    for name, X in representations.items():
        data = read_data(X, y, groups, None, config)
        few = sparse_probe(X, y, k=k, groups=groups, seed=seed, n_folds=n_folds, n_perm=n_perm, n_boot=n_boot)
        both = pd.concat(
            [few.drop(columns="q").assign(k=few["k"].astype(str)), pd.DataFrame(_whole_rows(data, config))],
            ignore_index=True,
        )
        both.insert(0, "representation", name)
        tables.append(both.assign(n_columns=data.x.shape[1]))
    return with_q(pd.concat(tables, ignore_index=True))


def _one_by_one(data: Data) -> list[Data]:
    """Return each class against the rest; of two classes one says all."""
    labels = data.labels
    codes = range(1 if labels.n_classes == 2 else 0, labels.n_classes)
    return [
        Data(data.x, Labels((labels.y == code).astype(np.int64), ("rest", labels.names[code])), data.groups, None)
        for code in codes
    ]


def _row(
    data: Data, k: Any, versions: np.ndarray, guesses: np.ndarray, folds: np.ndarray, config: ProbeConfig
) -> dict[str, Any]:
    values: dict[str, Any] = dict.fromkeys(("auc", *_KEPT), np.nan)
    status = status_of(data.labels, data.groups)
    if status == "ok":
        found = judged(data, versions, guesses, folds, np.full(len(data.x), np.nan), config)
        values = {"auc": found["score"], **{name: found[name] for name in _KEPT}}
    return {
        "unit": data.labels.names[1], "k": k, **values, "chosen": "", "n": len(data.x),
        "n_positive": int(data.labels.y.sum()), "n_groups": int(data.groups.max()) + 1, "n_perm": config.permutations,
        "seed": config.seed, "status": status,
    }  # fmt: skip


def _whole_rows(data: Data, config: ProbeConfig) -> list[dict[str, Any]]:
    """Return a row a class of a ridge regression on all columns; classes and permutations share its decompositions."""
    folds = assign_folds(data.groups, config.n_folds, seed=config.seed)
    classes = _one_by_one(data)
    versions = [_versions(one, config) for one in classes]
    found = held_out("ridge", data.x, np.concatenate(versions), folds, classes[0].labels, seed=config.seed).values
    parts = found.reshape(len(classes), -1, len(data.x))
    return [_row(one, ALL, v, g, folds, config) for one, v, g in zip(classes, versions, parts, strict=True)]


def _sparse_rows(data: Data, k: Sequence[int], config: ProbeConfig) -> list[dict[str, Any]]:
    """Return a row a class and k; classes and permutations share the sums that columns are chosen by."""
    folds = assign_folds(data.groups, config.n_folds, seed=config.seed)
    classes = _one_by_one(data)
    versions = np.stack([_versions(one, config) for one in classes])
    flat = versions.reshape(-1, len(data.x)) == 1
    guesses, chosen = _sparse_guesses(data.x, flat, folds, k)
    rows = []
    for c, one in enumerate(classes):
        at = slice(c * versions.shape[1], (c + 1) * versions.shape[1])
        for i, size in enumerate(k):
            row = _row(one, size, versions[c], guesses[i, at], folds, config)
            columns, counts = np.unique(chosen[:, at.start, :size], return_counts=True)
            told = " ".join(str(c) for c in columns[np.argsort(-counts, kind="stable")])
            rows.append({**row, "chosen": told if row["status"] == "ok" else ""})
    return rows


def _versions(data: Data, config: ProbeConfig) -> np.ndarray:
    y = data.labels.y
    return np.concatenate([y[None], permuted(y, data.groups, config.permutations, seed=config.seed)])


def _sparse_guesses(
    x: np.ndarray, versions: np.ndarray, folds: np.ndarray, k: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the logit of each row by the probe of the other folds, [k, version, n], and the columns that were chosen,
    int [fold, version, largest k]."""
    guesses, chosen = np.zeros((len(k), *versions.shape)), []
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        columns = _best_columns(x[train], versions[:, train], max(k))
        chosen.append(columns)
        for v, y in enumerate(versions):
            if not 0 < y[train].sum() < train.sum():
                continue  # nothing can be learnt: all rows of the fold tie
            for i, size in enumerate(k):
                part = x[:, columns[v, :size]]
                mean, sd = part[train].mean(axis=0), part[train].std(axis=0)
                part = (part - mean) / np.where(sd > 0, sd, 1.0)
                weights, intercept = fit_logistic(part[train], y[train], ridge=RIDGE)
                guesses[i, v, test] = part[test] @ weights + intercept
    return guesses, np.array(chosen)


def _best_columns(x: np.ndarray, versions: np.ndarray, count: int) -> np.ndarray:
    """Return the columns with the largest |mean with y - mean without| / sd of each version [v, n], int [v, count].

    Columns that never vary come last.
    """
    hot = versions.astype(np.float64)
    n_with = hot.sum(axis=1, keepdims=True)
    total, with_y, sd = x.sum(axis=0), hot @ x, x.std(axis=0)
    varies = sd > 1e-6 * np.sqrt((x**2).mean(axis=0) + 1e-300)
    gap = with_y / np.maximum(n_with, 1) - (total - with_y) / np.maximum(len(x) - n_with, 1)
    gap = np.where(varies, np.abs(gap) / np.where(varies, sd, 1.0), -1.0)
    return np.argsort(-gap, axis=1, kind="stable")[:, :count]
