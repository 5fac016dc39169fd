"""How much would the audit see? Units of one thing are mixed, so that the right answer is known, and audited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from analyses.polysemanticity.concepts import ONE, AuditConfig, concept_clusters
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

    Returns:
        n_concepts, ratio, n (units audited), detected, rate, ci_low, ci_high (95 %, Wilson), n_undecided, n_sources,
        seed, status. The row of one concept (ratio 1) holds the false alarms.

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
    sources = values[np.ix_(rows, np.asarray(units, dtype=np.int64))].astype(np.float64)
    sources = sources[:, sources.max(axis=0, initial=0) > 0]
    cases = [(1, 1.0), *((k, r) for k in n_concepts for r in ratios)]
    apart = _together(sources, text_index[rows]) <= MAX_TOGETHER
    made = {case: _mixtures(sources, apart, *case, n_mixtures, config.seed) for case in cases}
    kinds = [case for case, columns in made.items() for _ in range(columns.shape[1])]
    verdicts = np.array([], dtype=object)
    if kinds:
        mixed = np.concatenate(list(made.values()), axis=1)
        half = {"text_index": text_index[rows], "decisive": decisive, "config": config}
        audited = audit_units(mixed, _part(views, rows), **half)
        verdicts = audited.table["verdict"].to_numpy()
    return pd.DataFrame([_row(case, kinds, verdicts, sources.shape[1], config.seed) for case in cases])


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
    if k == 1:
        return scaled
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


def _row(case: tuple[int, float], kinds: list, verdicts: np.ndarray, n_sources: int, seed: int) -> dict[str, object]:
    mine = np.array([kind == case for kind in kinds], dtype=bool)
    found = verdicts[mine]
    n, detected = len(found), int((found == POLY).sum())
    low, high = wilson_interval(detected, n) if n else (np.nan, np.nan)
    return {
        "n_concepts": case[0], "ratio": case[1], "n": n, "detected": detected,
        "rate": detected / n if n else np.nan, "ci_low": low, "ci_high": high,
        "n_undecided": int((found == UNDECIDED).sum()), "n_sources": n_sources, "seed": seed,
        "status": "ok" if n else "too few units of one thing to mix",
    }  # fmt: skip


def _part(views: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.asarray(view)[rows] for name, view in views.items()}
