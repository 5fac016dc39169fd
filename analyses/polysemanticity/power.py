"""How much would the audit see? Units of one thing are mixed, so that the right answer is known, and audited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from analyses.polysemanticity.concepts import (
    ONE,
    AuditConfig,
    LateView,
    ReadView,
    Rows,
    View,
    concept_clusters,
)
from analyses.polysemanticity.sampling import checked_activations, sample_activation_intervals, strongest_tokens
from analyses.polysemanticity.verdicts import POLY, UNDECIDED, audit_units, draw_background
from interp.errors import InvalidInput
from interp.stats.intervals import wilson_interval

RATIOS, COUNTS = (1.0, 0.5, 0.25, 0.125), (2, 3, 5)
MAX_TOGETHER = 0.2  # cosine over texts above which two sources may mean the same
_TRIES = 50


def audit_sensitivity(
    activations: np.ndarray,
    views: Mapping[str, np.ndarray],
    *,
    text_index: np.ndarray,
    units: Sequence[int] | None = None,
    ratios: Sequence[float] = RATIOS,
    n_concepts: Sequence[int] = COUNTS,
    n_mixtures: int = 30,
    decisive: Sequence[str] | None = None,
    late: Mapping[str, LateView] | None = None,
    config: AuditConfig | None = None,
) -> pd.DataFrame:
    """Return how often the audit calls planted mixtures polysemantic, and single units.

    Half of the texts chooses the sources: units that the audit calls monosemantic there. On the other half k of them
    that are seldom on in the same text are scaled to the same maximum, weighted 1, r, r², ... and added; the sum has k
    concepts. The sources alone are audited on that half too: what is called polysemantic of them is a false alarm (or
    what the first half missed).

    Args:
        activations, views, text_index, decisive: as `audit_units`; views that depend on the unit cannot be given.
        units: columns that mean one thing, where that is known; then nothing is chosen and all texts are used.
        ratios: strength of each concept as a share of that of the one before.
        n_concepts: concepts of a mixture.
        n_mixtures: random mixtures of each kind.
        late: further views of the units themselves, decisive but not unifying. A mixture has none of them, so they
            enter the false alarms alone: with them the power is at least as large.

    Returns:
        n_concepts, ratio, n (units audited), detected, rate, ci_low, ci_high (95 %, Wilson), n_undecided, n_sources,
        views (that were used), seed, status. The row of one concept (ratio 1) holds the false alarms.

    Raises:
        InvalidInput: a ratio outside (0, 1], fewer than two concepts, or a view that depends on the unit.
    """
    config = replace(config or AuditConfig(), n_boot=0)
    values, text_index = np.maximum(checked_activations(activations), 0), np.asarray(text_index)
    if (
        not all(0 < r <= 1 for r in ratios)
        or min(n_concepts) < 2
        or not all(isinstance(v, np.ndarray) for v in views.values())
    ):
        raise InvalidInput("ratios lie in (0, 1], mixtures have 2 concepts or more, and views are arrays.")
    rows = np.ones(len(values), dtype=bool)
    if units is None:
        rows = text_index % 2 == 1
        units = _of_one_concept(values[~rows], _part(views, ~rows), text_index[~rows], config)
    chosen = np.asarray(units, dtype=np.int64)
    chosen = chosen[values[np.ix_(rows, chosen)].max(axis=0, initial=0) > 0]
    sources = values[np.ix_(rows, chosen)].astype(np.float64)
    cases = [(k, r) for k in n_concepts for r in ratios]
    apart = _together(sources, text_index[rows]) <= MAX_TOGETHER
    mixtures = {case: _mixtures(sources, apart, *case, n_mixtures, config.seed) for case in cases}
    half = {"text_index": text_index[rows], "unifying": list(views), "config": config}
    own = {name: _OfSources(view, np.flatnonzero(rows), chosen) for name, view in (late or {}).items()}
    deciding = tuple(decisive or views)
    found = {(1, 1.0): _verdicts(sources, _part(views, rows) | own, decisive=(*deciding, *own), **half)}
    columns = np.concatenate(list(mixtures.values()), axis=1)
    kinds = [case for case, made in mixtures.items() for _ in range(made.shape[1])]
    verdicts = _verdicts(columns, _part(views, rows), decisive=deciding, **half)
    found |= {case: verdicts[[kind == case for kind in kinds]] for case in cases}
    used = {True: ", ".join([*views, *own]), False: ", ".join(views)}
    return pd.DataFrame(
        [_row(case, each, len(chosen), used[case[0] == 1], config.seed) for case, each in found.items()]
    )


class _OfSources:
    """A late view of the sources, as units 0, 1, ... at the rows of one half of the texts."""

    def __init__(self, view: LateView, rows: np.ndarray, units: np.ndarray) -> None:
        self.view, self.rows, self.units = view, rows, units

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, examples: Rows, rows: Rows) -> ReadView:
        there, wanted = (
            {int(self.units[unit]): self.rows[at] for unit, at in part.items()} for part in (examples, rows)
        )
        found = self.view.read(there, wanted)
        number = {int(unit): i for i, unit in enumerate(self.units)}
        at = {number[unit]: np.searchsorted(self.rows, own) for unit, own in found.rows.items()}
        vectors = {number[unit]: own for unit, own in found.vectors.items()}
        return ReadView(at, vectors, found.parts.replace({"unit": number}))


def _verdicts(values: np.ndarray, views: Mapping[str, View | LateView], **options) -> np.ndarray:
    if not values.shape[1]:
        return np.array([], dtype=object)
    return audit_units(values, views, **options).table["verdict"].to_numpy()


def _of_one_concept(
    values: np.ndarray, views: Mapping[str, np.ndarray], text_index: np.ndarray, config: AuditConfig
) -> list[int]:
    """Return the units that the audit would call monosemantic, without what only the other verdicts need."""
    config = replace(config, n_splits=0)
    examples = sample_activation_intervals(
        values, text_index=text_index, n_intervals=config.n_intervals, per_interval=config.per_interval,
        floor=config.floor, seed=config.seed,
    )  # fmt: skip
    background = draw_background(text_index, seed=config.seed)
    found = concept_clusters(examples, views, background=background, config=config)
    return np.unique(found.loc[found["says"] == ONE, "unit"].to_numpy(dtype=np.int64)).tolist()


def _together(sources: np.ndarray, text_index: np.ndarray) -> np.ndarray:
    """Return the cosine of each two sources over texts: 0 if they are never on in the same text."""
    best, _ = strongest_tokens(sources, text_index)
    unit = best / np.linalg.norm(best, axis=0)
    return unit.T @ unit


def _mixtures(sources: np.ndarray, apart: np.ndarray, k: int, ratio: float, n: int, seed: int) -> np.ndarray:
    """Return mixtures [n_rows, up to n] of k sources each that are seldom on together."""
    scaled = sources / sources.max(axis=0)
    rng = np.random.default_rng([seed, k])  # the same members at every ratio
    members = []
    for _ in range(_TRIES * n if sources.shape[1] >= k else 0):
        chosen = rng.choice(sources.shape[1], size=k, replace=False)
        if apart[np.ix_(chosen, chosen)][np.triu_indices(k, 1)].all():
            members.append(chosen)
        if len(members) == n:
            break
    columns = [scaled[:, chosen] @ ratio ** np.arange(k) for chosen in members]
    return np.stack(columns, axis=1) if columns else np.empty((len(sources), 0))


def _row(case: tuple[int, float], found: np.ndarray, n_sources: int, views: str, seed: int) -> dict[str, object]:
    n, detected = len(found), int((found == POLY).sum())
    low, high = wilson_interval(detected, n) if n else (np.nan, np.nan)
    return {
        "n_concepts": case[0], "ratio": case[1], "n": n, "detected": detected,
        "rate": detected / n if n else np.nan, "ci_low": low, "ci_high": high,
        "n_undecided": int((found == UNDECIDED).sum()), "n_sources": n_sources, "views": views, "seed": seed,
        "status": "ok" if n else "too few units of one thing to mix",
    }  # fmt: skip


def _part(views: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.asarray(view)[rows] for name, view in views.items()}
