"""What a pick may owe to format: punctuation, digits, lists, code, script, turns, and features that are always on."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from analyses.data_selection.coded_pool import CodedPool
from analyses.data_selection.samples import Sample
from interp.stats import min_sums

WARN_SD = 0.5
"""A pick whose mean differs so many standard deviations of the pool from both pool and target is flagged."""
ALWAYS_ON = 0.5
"""Features that are active in more than this share of the samples say little about any of them."""
_LIST, _CODE = re.compile(r"(?m)^\s*(?:[-*•]|\d+[.)])\s"), re.compile(r"```|(?m:^(?: {4}|\t)\S)|[{};]\s*$")


def _share(wanted: Callable[[str], bool]) -> Callable[[Sample], float]:
    return lambda one: sum(map(wanted, one.text)) / max(1, len(one.text))


TRAITS: dict[str, Callable[[Sample], float]] = {
    "punctuation, share of characters": _share(lambda c: not c.isalnum() and not c.isspace()),
    "digits, share of characters": _share(str.isdigit),
    "capitals, share of characters": _share(str.isupper),
    "not ASCII, share of characters": _share(lambda c: ord(c) > 127),
    "line breaks, share of characters": _share(lambda c: c == "\n"),
    "has a list": lambda one: float(bool(_LIST.search(one.text))),
    "has code": lambda one: float(bool(_CODE.search(one.text))),
    "turns": lambda one: float(len(one.turns)),
    "answer, share of characters": lambda one: (
        sum(len(t.content) for t in one.turns if t.role == "assistant") / max(1, len(one.text))
    ),
}


def format_audit(
    samples: Sequence[Sample], examples: Sequence[Sample], scores: np.ndarray, selected: np.ndarray
) -> pd.DataFrame:
    """Return how far a score and its pick hang on what samples look like, one row a trait.

    Args:
        samples: of the pool. examples: of the target.
        scores: [sample], NaN where there is none. selected: bool [sample].

    Returns:
        trait, pool, target, pick (means), shift (pick less pool, in standard deviations of the pool), spearman (of the
        trait and the score), p (two-sided), n, status ("ok", "constant", "nothing picked"), flag ("follows format"
        where the pick is more than half a standard deviation from both pool and target, on the same side).
    """
    rows = []
    known = np.isfinite(scores)
    for name, trait in TRAITS.items():
        values, wanted = (np.array([trait(one) for one in part]) for part in (samples, examples))
        row = {"trait": name, "pool": values.mean(), "target": wanted.mean(), "pick": np.nan, "shift": np.nan,
               "spearman": np.nan, "p": np.nan, "n": int(known.sum()), "status": "ok", "flag": ""}  # fmt: skip
        if not selected.any():
            row["status"] = "nothing picked"
        else:
            row["pick"] = values[selected].mean()
        if np.ptp(values) == 0:
            row["status"] = "constant"
        elif selected.any():
            sd = values.std()
            row["shift"] = (row["pick"] - row["pool"]) / sd
            beyond = (row["pick"] - row["target"]) / sd
            far = min(abs(row["shift"]), abs(beyond)) > WARN_SD and row["shift"] * beyond > 0
            row["flag"] = "follows format" if far else ""
        if row["status"] == "ok" and known.sum() > 2 and np.ptp(scores[known]) and np.ptp(values[known]):
            found = spearmanr(values[known], scores[known])
            row |= {"spearman": float(found.statistic), "p": float(found.pvalue)}  # type: ignore[union-attr]
        rows.append(row)
    return pd.DataFrame(rows).astype({"status": "str", "flag": "str"})


def always_on_share(coded: CodedPool, prototype: np.ndarray, selected: np.ndarray) -> dict[str, float]:
    """Return how much of what the picked samples share with the target is features that are active nearly everywhere.

    Returns:
        n_features: active in more than half of the samples; pick, pool: their share of sum min(z, t) over the samples.
    """
    counts = np.zeros(coded.n_features, dtype=np.int64)
    for _, codes in coded.parts():
        counts += np.bincount(codes.indices, minlength=coded.n_features)
    usual = counts > ALWAYS_ON * len(coded)
    stacked = np.array([np.where(usual, prototype, 0.0), prototype])
    sums = np.concatenate([min_sums(codes, stacked)[0] for _, codes in coded.parts()])
    out: dict[str, float] = {"n_features": int(usual.sum())}
    for name, rows in (("pick", selected), ("pool", np.ones(len(coded), dtype=bool))):
        part, whole = sums[rows].sum(axis=0)
        out[name] = float(part / whole) if whole else np.nan
    return out
