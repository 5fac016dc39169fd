"""Labels of anyone as a task: classes with codes, or numbers; folds that split no group; whole groups permuted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from interp.errors import InvalidInput
from interp.stats.erasure import one_hot
from interp.stats.seeds import check_seed, permutation_indices

Task = Literal["auto", "classes", "numbers"]
TASKS = ("auto", "classes", "numbers")
_FOLDS, _ROWS, _ORDER = 1, 2, 3  # draws that share no random numbers


@dataclass(frozen=True)
class Labels:
    """What is to be told: y [n], codes (int) of `names`, or numbers (float) where there are no names."""

    y: np.ndarray
    names: tuple[str, ...] = ()

    @property
    def n_classes(self) -> int:
        """Number of classes; 0 for numbers."""
        return len(self.names)

    @property
    def metric(self) -> str:
        """What a probe of them is judged by."""
        return "r2" if not self.names else "auc" if len(self.names) == 2 else "balanced_accuracy"

    def columns(self) -> np.ndarray:
        """Return the labels as numbers to regress on, [n, 1] or [n, class]."""
        return one_hot(self.y, self.n_classes) if self.names else self.y[:, None]


def read_labels(y: Any, task: Task = "auto") -> Labels:
    """Return labels as a task; "auto" takes floats as numbers, and everything else (integers too) as classes.

    Raises:
        InvalidInput: not one label a row, a missing one, or numbers that are none.
    """
    if task not in TASKS:
        raise InvalidInput(f"task={task!r} is not one of {', '.join(TASKS)}.")
    values = np.asarray(y)
    if values.ndim != 1 or len(values) < 2:
        raise InvalidInput(f"labels are one value a row, at least two rows; given {values.shape}.")
    missing = pd.isna(values)
    if missing.any():
        raise InvalidInput(f"{int(missing.sum())} of {len(values)} labels are missing; leave these rows out.")
    if task == "numbers" or (task == "auto" and np.issubdtype(values.dtype, np.floating)):
        try:
            numbers = values.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"labels are no numbers ({error}); give task='classes'.") from None
        if not np.isfinite(numbers).all():
            raise InvalidInput(f"{int((~np.isfinite(numbers)).sum())} labels are infinite; leave these rows out.")
        return Labels(numbers)
    kind = "U" if values.dtype == object else values.dtype.kind
    names, codes = np.unique(values.astype(str) if kind == "U" else values, return_inverse=True)
    return Labels(codes.astype(np.int64), tuple(str(name) for name in names))


def group_codes(groups: Any, n: int) -> np.ndarray:
    """Return the group of each row as int [n]; each row is its own where there are no groups.

    Raises:
        InvalidInput: not one group a row, or a missing one.
    """
    if groups is None:
        return np.arange(n)
    values = np.asarray(groups)
    if values.shape != (n,) or pd.isna(values).any():
        raise InvalidInput(f"groups holds one label, none missing, for each of the {n} rows; given {values.shape}.")
    return np.unique(values.astype(str) if values.dtype == object else values, return_inverse=True)[1]


def assign_folds(groups: np.ndarray, k: int, *, seed: int) -> np.ndarray:
    """Return the fold of each row, int [n]: no group is split, folds are of about equal size.

    Groups in random order go to the fold that is the smallest so far; fewer groups than folds make a fold each.
    """
    counts = np.bincount(groups)
    rng = np.random.default_rng(np.random.SeedSequence(check_seed(seed), spawn_key=(_FOLDS,)))
    fold_of, sizes = np.zeros(len(counts), dtype=np.int64), np.zeros(min(k, len(counts)), dtype=np.int64)
    for group in rng.permutation(len(counts)):
        fold_of[group] = sizes.argmin()
        sizes[fold_of[group]] += counts[group]
    return fold_of[groups]


def assign_row_folds(n: int, k: int, *, seed: int) -> np.ndarray:
    """Return the fold of each row, at random and whatever its group: what a control task needs."""
    rng = np.random.default_rng(np.random.SeedSequence(check_seed(seed), spawn_key=(_ROWS,)))
    return rng.permutation(np.arange(n) % min(k, n))


def group_order(groups: np.ndarray, *, seed: int) -> np.ndarray:
    """Return the rows in random order with those of a group together, int [n]."""
    rng = np.random.default_rng(np.random.SeedSequence(check_seed(seed), spawn_key=(_ORDER,)))
    return np.lexsort((rng.random(len(groups)), rng.permutation(groups.max() + 1)[groups]))


def permuted(y: np.ndarray, groups: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """Return `count` permutations of labels y [n] that keep what is alike within groups, [count, n].

    Where every group has one label, groups exchange theirs. Where labels differ within groups, the groups are strung
    together in another order and their labels read off: runs of labels stay together whatever the sizes of the groups.
    """
    n_groups = groups.max() + 1
    order = permutation_indices(n_groups, count, seed=seed)
    if n_groups == len(y):
        by_group = np.empty_like(y)
        by_group[groups] = y
        return by_group[order][:, groups]
    rows = np.argsort(groups, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(groups))])
    first = y[rows[starts[:-1]]]
    if (first[groups] == y).all():
        return first[order][:, groups]
    out = np.empty((count, len(y)), dtype=y.dtype)
    for i, sequence in enumerate(order):
        out[i, rows] = y[np.concatenate([rows[starts[g] : starts[g + 1]] for g in sequence])]
    return out
