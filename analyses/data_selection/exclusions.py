"""Rows that may not be picked: repeats of better rows, and rows that hold text of the target or of the test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analyses.data_selection.contamination import decontaminate
from analyses.data_selection.duplicates import exact_duplicates, near_duplicates
from analyses.data_selection.samples import Sample


@dataclass(frozen=True)
class Exclusions:
    """reasons: [sample], "" where it may be picked. contaminated: see `decontaminate`, with ids."""

    reasons: tuple[str, ...]
    contaminated: pd.DataFrame


def find_exclusions(
    samples: Sequence[Sample], against: Sequence[Sample], order: np.ndarray, *, duplicates: str,
    drop_contaminated: bool, n_words: int, seed: int,
) -> Exclusions:  # fmt: skip
    """Say of each sample why it may not be picked.

    Args:
        against: samples of target and test.
        order: rows, best first: of those that repeat each other the best is kept.
        duplicates: "near", "exact" or "none".
        drop_contaminated: else they are listed and may be picked.
        n_words: see `decontaminate`.
    """
    reasons = [""] * len(samples)
    texts = [samples[row].text for row in order]
    if duplicates != "none":
        repeats = near_duplicates(texts, seed=seed) if duplicates == "near" else exact_duplicates(texts)
        for row, other in zip(order, repeats, strict=True):
            if other >= 0:
                reasons[row] = f"{duplicates} duplicate of {samples[int(order[other])].id}"
    found = decontaminate([sample.text for sample in samples], [sample.text for sample in against], n_words=n_words)
    where = [against[row].id for row in found["against"]]
    found = found.assign(
        id=pd.array([samples[row].id for row in found["row"]], dtype="str"), found_in=pd.array(where, dtype="str")
    )
    if drop_contaminated:
        for row, name in zip(found["row"], where, strict=True):
            reasons[row] = reasons[row] or f"contaminated by {name}"
    return Exclusions(tuple(reasons), found)
