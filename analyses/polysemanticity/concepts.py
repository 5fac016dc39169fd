"""The clusters of each unit's examples in each view, and what the view says of the unit.

A view says "one" where one cluster holds nearly all examples, "several" where two or more hold most of them and are
found again in the other half of the examples, "shades of one" where one cluster takes nearly all as soon as the cut is
lowered to just above the background, "like any text" where the examples resemble each other no more than random tokens
do, and "unclear" otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd

from analyses.polysemanticity.grouping import (
    Groups,
    centred_rows,
    count_interval,
    find_groups,
    likeness,
    mean_likeness,
    mean_likeness_within,
    replication,
)
from analyses.polysemanticity.sampling import FLOOR, N_INTERVALS, PER_INTERVAL, named_rng
from interp.errors import InvalidInput
from interp.stats.seeds import check_seed

ONE, SEVERAL, SHADES, UNSELECTIVE, UNCLEAR = "one", "several", "shades of one", "like any text", "unclear"


class PairView(NamedTuple):
    """A view of where a unit points at each token, such as the token that a head reads.

    values: int classes [n] or float vectors [n, d] of what can be pointed at.
    of_unit: int64 [n_tokens, n_units], rows of `values`.
    background: int64 [n_tokens], rows of `values` for a unit that points anywhere.
    """

    values: np.ndarray
    of_unit: np.ndarray
    background: np.ndarray


Rows = Mapping[int, np.ndarray]
"""Unit -> int64 rows of the texts' tokens."""


@dataclass(frozen=True, eq=False)
class ReadView:
    """A view that differs from unit to unit, read at the rows that were asked for."""

    rows: Rows
    """Unit -> rows, ascending: the first `n_background` of the background, and all examples."""
    vectors: Mapping[int, np.ndarray]
    """Unit -> float [row, d]"""
    parts: pd.DataFrame
    """What each unit reads most, for the reader of a result; with a column `unit`."""

    def __call__(self, unit: int, rows: np.ndarray) -> np.ndarray:
        """Return the vectors of a unit at rows."""
        return self.vectors[unit][np.searchsorted(self.rows[unit], rows)]


class LateView(Protocol):
    """A view that is read once it is known of which rows: too large to be read of all."""

    def read(self, examples: Rows, rows: Rows) -> ReadView:
        """Return the view at `rows` of each unit; `examples`, some of them, are those that matter."""
        ...

    def __len__(self) -> int:
        """Return the number of tokens of the texts."""
        ...


View = np.ndarray | PairView | Callable[[int, np.ndarray], np.ndarray] | ReadView
"""An array with a row a token, a `PairView`, or a function of a unit and rows that returns vectors for this unit."""


@dataclass(frozen=True)
class AuditConfig:
    """The choices that change the numbers of an audit."""

    n_intervals: int = N_INTERVALS
    per_interval: int = PER_INTERVAL
    floor: float = FLOOR
    """Share of a unit's largest activation under which it counts as off."""
    min_examples: int = 20
    """Fewer examples than this, and a unit is not judged."""
    n_background: int = 400
    """Random tokens that a unit's examples are compared with."""
    n_boot: int = 20
    """Bootstrap samples of the examples, for the interval of K."""
    n_null: int = 199
    """Random sets of tokens, for the null of the likeness of examples."""
    alpha: float = 0.01
    """Examples are more alike than random tokens where p is at most this."""
    share_one: float = 0.7
    """Share of the examples that the only cluster has to hold for a view to say "one"."""
    share_several: float = 0.5
    """Share that all counted clusters have to hold for "several"."""
    lenient_cut: float = 0.05
    """How far above the background likeness clusters have to stay apart; see `share_shades`."""
    share_shades: float = 0.9
    """Share of the largest cluster at the lenient cut from which a view says "shades of one"."""
    n_splits: int = 4
    """Random halves of the examples, for the replication of clusters."""
    min_replication: float = 0.6
    """Adjusted Rand index between halves from which clusters count as found again."""
    seed: int = 0


def concept_clusters(
    examples: pd.DataFrame,
    views: Mapping[str, View],
    *,
    background: np.ndarray,
    config: AuditConfig | None = None,
    names: Sequence[str] | np.ndarray | None = None,
    units: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the clusters of each unit's examples in each view.

    Args:
        examples: from `sample_activation_intervals`.
        views: name -> array with a row a token (vectors, or int classes, -1 for none), `PairView`, or function of a
            unit and rows.
        background: int [n], rows of random tokens, one a text, in random order: the first `n_background` are what
            examples are compared with, and random sets of them all stand in for the examples in the null.
        names: text of each token, for the column `clusters`.
        units: names of the units, default their numbers: what is drawn for a unit depends on its name and the view's.

    Returns:
        unit, view, K, K_low, K_high (95 %, bootstrap over examples), K_eff, share (of the examples in clusters that
        count), merged (share of the largest cluster at the lenient cut), tau (the cut), near and background (q and b
        of `Groups`), alike (mean likeness of two examples) with null_mean, null_sd and p (random tokens in their
        place, n_null sets), replication (adjusted Rand index between halves), says, clusters, n (examples), n_boot,
        n_null, seed, status.

    Raises:
        InvalidInput: no views, or rows that a view does not have.
    """
    config = config or AuditConfig()
    check_seed(config.seed)
    if not views:
        raise InvalidInput("an audit needs one view or more, such as {'token': folded_tokens(...)}.")
    _require_rows(views, max(examples["row"].max() if len(examples) else 0, np.max(background, initial=0)))
    prepared = {name: _Prepared(name, view, np.asarray(background), config) for name, view in views.items()}
    rows = []
    for unit, part in examples.groupby("unit", sort=True):
        at = part["row"].to_numpy()
        for view in prepared.values():
            name = str(unit) if units is None else str(units[int(unit)])  # type: ignore[arg-type]
            rng = named_rng(config.seed, name, view.name)
            rows.append({"unit": unit, "view": view.name, **_of_view(view, int(unit), at, rng, config, names)})  # type: ignore[arg-type]
    about = {"n_boot": config.n_boot, "n_null": config.n_null, "seed": config.seed}
    return pd.DataFrame(rows, columns=["unit", "view", *_COLUMNS]).assign(**about)


def _require_rows(views: Mapping[str, View], last: int) -> None:
    for name, view in views.items():
        rows = view.of_unit if isinstance(view, PairView) else view
        if not callable(rows) and len(rows) <= last:
            raise InvalidInput(f"view {name!r} has {len(rows)} rows, and row {last} is asked for; give one a token.")


_COLUMNS = [
    "K", "K_low", "K_high", "K_eff", "share", "merged", "tau", "near", "background", "alike", "null_mean",
    "null_sd", "p", "replication", "says", "clusters", "n", "status",
]  # fmt: skip


class _Prepared:
    """A view ready to be asked: its centred rows, and what random tokens look like in it."""

    def __init__(self, name: str, view: View, background: np.ndarray, config: AuditConfig) -> None:
        self.name, self.view, self.config = name, view, config
        self.quiet = isinstance(view, ReadView)  # such a view may have little to show where a unit is off
        background = background[: config.n_background] if self.quiet else background
        self.background = view.background[background] if isinstance(view, PairView) else background
        values = view.values if isinstance(view, PairView) else view
        self.rows = np.empty(0) if callable(values) else centred_rows(np.asarray(values), self.background)
        self._nulls = lru_cache(maxsize=None)(lambda n: _null_of(self.rows[self.background], n, config))

    def of_unit(self, unit: int, at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the examples, the background, and the null likenesses of as many random tokens."""
        few, n = self.config.n_background, len(self.background)
        if callable(self.view):
            values = self.view(unit, np.concatenate([self.background, at]))
            both = centred_rows(values, np.arange(n), examples=np.arange(n, len(values)) if self.quiet else None)
            return both[n:], both[:few], _null_of(both[:n], len(at), self.config)
        here = self.view.of_unit[at, unit] if isinstance(self.view, PairView) else at
        return self.rows[here], self.rows[self.background[:few]], self._nulls(len(at))


def _null_of(background: np.ndarray, n: int, config: AuditConfig) -> np.ndarray:
    """Return the mean likeness within random sets of n background tokens, [n_null]."""
    if not config.n_null:
        return np.empty(0)
    return mean_likeness_within(background, _random_sets(len(background), n, config.n_null, config.seed))


@lru_cache(maxsize=256)
def _random_sets(n_background: int, n: int, n_null: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, n])
    size = min(n, n_background)
    return np.array([rng.choice(n_background, size=size, replace=False) for _ in range(n_null)])


def _of_view(view: _Prepared, unit: int, at: np.ndarray, rng, config: AuditConfig, names) -> dict[str, object]:
    if len(at) < config.min_examples:
        missing = dict.fromkeys(_COLUMNS, np.nan)
        status = "never active" if len(at) == 0 else f"fewer than {config.min_examples} examples"
        return {**missing, "K": -1, "says": "", "clusters": "", "n": len(at), "status": status}
    rows, background, null = view.of_unit(unit, at)
    similarity, b = likeness(rows, rows), mean_likeness(rows, background)
    groups, alike = find_groups(similarity, b), float(mean_likeness_within(rows, np.arange(len(at))[None])[0])
    p = float((1 + (null >= alike - 1e-12).sum()) / (len(null) + 1))
    low, high, _ = count_interval(similarity, b, rng, n_boot=config.n_boot)
    again = replication(similarity, b, rng, splits=config.n_splits) if groups.K > 1 else float("nan")
    share = float((groups.labels >= 0).mean())
    merged = float((find_groups(similarity, b, cut=config.lenient_cut).labels == 0).mean())
    return {
        "K": groups.K, "K_low": low, "K_high": high, "K_eff": groups.K_eff, "share": share, "merged": merged,
        "tau": groups.tau, "near": groups.q, "background": b, "alike": alike,
        "null_mean": null.mean() if len(null) else np.nan, "null_sd": null.std(ddof=1) if len(null) > 1 else np.nan,
        "p": p if len(null) else np.nan,
        "replication": again, "says": _says(groups.K, share, merged, p, again, config),
        "clusters": "" if names is None else _described(groups, at, names), "n": len(at), "status": "ok",
    }  # fmt: skip


def _says(K: int, share: float, merged: float, p: float, again: float, config: AuditConfig) -> str:
    if p > config.alpha:
        return UNSELECTIVE
    if share >= config.share_one and K == 1:
        return ONE
    if merged >= config.share_shades:
        return SHADES
    return SEVERAL if K > 1 and share >= config.share_several and again >= config.min_replication else UNCLEAR


def _described(groups: Groups, at: np.ndarray, names) -> str:
    """Return the clusters as text: size and most frequent tokens of each, the largest first."""
    parts = []
    for cluster in range(min(groups.K, 6)):
        found, counts = np.unique([names[row] for row in at[groups.labels == cluster]], return_counts=True)
        words = [str(found[i]).strip() or repr(str(found[i])) for i in np.argsort(-counts, kind="stable")[:4]]
        parts.append(f"{int(counts.sum())}: {' '.join(words)}")
    return "; ".join(parts)
