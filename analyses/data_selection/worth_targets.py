"""What a selection is evaluated on: a task with held-out rows, and what is known of the rows of the pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from analyses.data_selection.samples import Sample
from interp.errors import InvalidInput

RELEVANT = "relevant"


@dataclass(frozen=True, eq=False)
class Target:
    """One task.

    examples: what a method sees.
    held_out: name of a set ("target template", ...) -> rows whose loss is measured after tuning.
    labels: bool [row of the pool] by name, where they are known: "relevant" is what the oracle picks; of any other
        ("shortcut", "corrupted") the share among the picks is told.
    """

    examples: Sequence[Sample]
    held_out: Mapping[str, Sequence[Sample]]
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)


Method = Callable[[Target, int], np.ndarray]
"""(target, seed) -> scores [row] or [row, example] of the pool, larger is better, NaN is never picked."""


def split_target(examples: Sequence[Sample], *, share: float = 0.5, seed: int = 0) -> Target:
    """Return a target of which a share of the examples is held out for the losses, at random.

    Raises:
        InvalidInput: fewer than 4 examples, or a share that leaves one side empty.
    """
    n = round(len(examples) * share)
    if len(examples) < 4 or not 0 < n < len(examples):
        raise InvalidInput(
            f"{len(examples)} target examples with a share of {share} held out; expected 4 or more, some on each side."
        )
    order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(92,))).permutation(len(examples))
    held, seen = sorted(order[:n]), sorted(order[n:])
    return Target([examples[i] for i in seen], {"held-out examples": [examples[i] for i in held]})


def check_targets(targets: Mapping[str, Target], n_rows: int) -> None:
    """Raise InvalidInput for no target, one without examples or held-out rows, or labels of another pool."""
    if not targets:
        raise InvalidInput("there is no target.")
    for name, target in targets.items():
        if not len(target.examples) or not target.held_out or not all(len(rows) for rows in target.held_out.values()):
            raise InvalidInput(f"target {name!r} needs examples, and held-out rows to measure the loss on.")
        for label, values in target.labels.items():
            if np.asarray(values).shape != (n_rows,) or np.asarray(values).dtype != bool:
                raise InvalidInput(f"label {label!r} of target {name!r} is bool [row of the pool], {n_rows} rows.")
