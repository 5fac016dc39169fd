"""Single measures around a probe: control task, description length, variance explained, erasure."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from analyses.probing.compute import ProbeConfig, read_data, status_of
from analyses.probing.fitting import held_out
from analyses.probing.labels import (
    Labels,
    assign_folds,
    assign_row_folds,
    group_codes,
    group_order,
    permuted,
)
from analyses.probing.scores import score
from interp.errors import InvalidInput
from interp.stats import description_length, label_variance
from interp.stats.control_task import control_labels
from interp.stats.erasure import leace, mean_projection, random_projection
from interp.stats.pvalues import permutation_p

Method = Literal["leace", "mean_projection", "random"]


def control_task(
    X: Any,
    y: Any,
    types: Any,
    *,
    kind: str = "ridge",
    seed: int = 0,
    n_controls: int = 5,
    n_folds: int = 5,
    task: Any = "auto",
) -> pd.DataFrame:
    """Return the score of a probe beside that of random labels a type, which can only be known by heart.

    Args:
        X: [n, d]. y: [n]. types: [n], the word or entity of each row; folds are of rows, so that types recur.
        n_controls: control tasks to average over.

    Returns:
        One row: score, control_score and control_sd (over control tasks), selectivity, n, n_types, seed, status.

    Raises:
        InvalidInput: as `probe`.

    Reference: Hewitt & Liang 2019.
    """
    config = ProbeConfig(kind=kind, task=task, n_folds=n_folds, seed=seed)
    data = read_data(X, y, None, types, config)
    about = {
        "n": len(data.x),
        "n_types": int(group_codes(types, len(data.x)).max()) + 1,
        "n_controls": n_controls,
        "seed": seed,
    }
    status = "constant label" if len(np.unique(data.labels.y)) < 2 else "ok"
    status = status if data.types is not None else "every row has a type of its own"
    if status != "ok" or data.types is None:
        blank = dict.fromkeys(("score", "control_score", "control_sd", "selectivity"), np.nan)
        return pd.DataFrame([{"kind": kind, "metric": data.labels.metric, **blank, **about, "status": status}])
    control = [control_labels(data.types, data.labels.y, seed=seed + i) for i in range(n_controls)]
    versions, folds = np.stack([data.labels.y, *control]), assign_row_folds(len(data.x), n_folds, seed=seed)
    found = held_out(kind, data.x, versions, folds, data.labels, seed=seed).values
    scores = np.array([score(data.labels, v, g, folds) for v, g in zip(versions, found, strict=True)])
    values = {"score": scores[0], "control_score": scores[1:].mean(),
              "control_sd": scores[1:].std(ddof=1) if n_controls > 1 else np.nan,
              "selectivity": scores[0] - scores[1:].mean()}  # fmt: skip
    return pd.DataFrame([{"kind": kind, "metric": data.labels.metric, **values, **about, "status": status}])


def mdl(X: Any, y: Any, *, groups: Any = None, seed: int = 0, n_perm: int = 5) -> pd.DataFrame:
    """Return the bits that classes take in an online code with logistic probes, beside permuted labels.

    Args:
        X: [n, d]. y: [n], classes. groups: [n]; groups are sent one after the other.

    Returns:
        One row: bits, uniform_bits (n log2 K), compression (uniform_bits / bits; above 1 if X tells something of y),
        null_mean and null_sd of the compression of permuted labels, n, n_groups, n_perm, seed, status.

    Raises:
        InvalidInput: as `probe`.

    Reference: Voita & Titov 2020.
    """
    data = read_data(X, y, groups, None, ProbeConfig(task="classes", seed=seed))
    about = {"n": len(data.x), "n_groups": int(data.groups.max()) + 1, "n_perm": n_perm, "seed": seed}
    names = ("bits", "uniform_bits", "compression", "null_mean", "null_sd")
    if data.labels.n_classes < 2:
        return pd.DataFrame([{**dict.fromkeys(names, np.nan), **about, "status": "constant label"}])
    order = group_order(data.groups, seed=seed)
    versions = [data.labels.y, *permuted(data.labels.y, data.groups, n_perm, seed=seed)]
    codes = [description_length.online_code(data.x[order], v[order], n_classes=data.labels.n_classes) for v in versions]
    null = np.array([code.compression for code in codes[1:]])
    values = (codes[0].bits, codes[0].uniform_bits, codes[0].compression, null.mean() if n_perm else np.nan,
              null.std(ddof=1) if n_perm > 1 else np.nan)  # fmt: skip
    return pd.DataFrame([{**dict(zip(names, values, strict=True)), **about, "status": "ok"}])


def variance_explained(
    X: Any, y: Any, *, groups: Any = None, seed: int = 0, n_folds: int = 5, n_perm: int = 199, task: Any = "auto"
) -> pd.DataFrame:
    """Return the share of the variance of X that a label accounts for, on held-out groups, beside permuted labels.

    Returns:
        One row: variance_explained, null_mean, null_sd, p, n, n_groups, n_perm, seed, status.

    Raises:
        InvalidInput: as `probe`.

    Reference: Lampinen et al. 2024.
    """
    data = read_data(X, y, groups, None, ProbeConfig(task=task, seed=seed))
    labels, status = data.labels, status_of(data.labels, data.groups)
    about = {"n": len(data.x), "n_groups": int(data.groups.max()) + 1, "n_perm": n_perm, "seed": seed, "status": status}
    names = ("variance_explained", "null_mean", "null_sd", "p")
    if status != "ok":
        return pd.DataFrame([{**dict.fromkeys(names, np.nan), **about}])
    folds = assign_folds(data.groups, n_folds, seed=seed)
    versions = [labels.y, *permuted(labels.y, data.groups, n_perm, seed=seed)]
    shares = np.array(
        [label_variance.variance_explained(data.x, Labels(v, labels.names).columns(), folds) for v in versions]
    )
    null = shares[1:]
    p = permutation_p(np.sum(null >= shares[0]), np.sum(null <= shares[0]), n_perm)
    values = (shares[0], null.mean() if n_perm else np.nan, null.std(ddof=1) if n_perm > 1 else np.nan, float(p))
    return pd.DataFrame([{**dict(zip(names, values, strict=True)), **about}])


def erase(
    X: Any, y: Any, *, method: Method = "leace", fit_rows: Any = None, task: Any = "auto", seed: int = 0
) -> np.ndarray:
    """Return X without what is linear in y: afterwards no linear probe does better than a constant.

    Args:
        X: [n, d]. y: [n], classes or numbers.
        method: "leace" (changes X least), "mean_projection", or "random": as many random directions, to compare with.
        fit_rows: bool or int, the rows to fit on; default all. Judge a probe on rows that were not fitted on, too.
        seed: of the random directions.

    Returns:
        float64 [n, d]. For the eraser itself, to use on other rows or inside a model: `interp.stats.leace(X, z)`.

    Raises:
        InvalidInput: as `probe`, another method, or a label that never varies.

    Reference: Belrose et al. 2023.
    """
    if method not in get_args(Method):
        raise InvalidInput(f"method={method!r} is not one of {', '.join(get_args(Method))}.")
    data = read_data(X, y, None, None, ProbeConfig(task=task, seed=seed))
    rows = np.arange(len(data.x)) if fit_rows is None else np.arange(len(data.x))[np.asarray(fit_rows)]
    x, z = data.x[rows], data.labels.columns()[rows]
    if method == "random":
        return random_projection(x, mean_projection(x, z).rank, seed=seed).apply(data.x)
    return (leace if method == "leace" else mean_projection)(x, z).apply(data.x)
