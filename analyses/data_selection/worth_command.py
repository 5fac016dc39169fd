"""What `interp select evaluate` does: read, hold out half of each target, pick, tune, and give the verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analyses.data_selection.command import load, read_inputs
from analyses.data_selection.finetuning import Tuning, token_rows
from analyses.data_selection.method_names import NAMES, check_method
from analyses.data_selection.methods import standard_methods
from analyses.data_selection.samples import Sample, Samples
from analyses.data_selection.selection_config import SelectionConfig
from analyses.data_selection.token_windows import TokenChoice, find_windows
from analyses.data_selection.worth import evaluate
from analyses.data_selection.worth_targets import split_target
from analyses.data_selection.worth_view import worth_page
from interp.errors import InvalidInput
from interp.models import Model, load_model
from interp.result import Result
from interp.store import atomic_write_bytes

DEFAULT = (
    "mona", "background", "adjusted", "residual", "bm25", "tf-idf", "length-matched", "random-sae", "shuffled-target",
)  # fmt: skip
COLUMNS = ["method", "measure", "value", "difference", "ci_low", "ci_high", "p", "q", "n", "status", "verdict"]


@dataclass(frozen=True)
class WorthConfig:
    """Everything that decides an evaluation of selection."""

    selection: SelectionConfig
    """Of it are read: pool, target, budget, model, sae, schema, seed, and what decides the codes."""
    tuning: Tuning
    methods: tuple[str, ...] = DEFAULT
    trainee: str | None = None
    """Model that is tuned; default the one that selects."""
    n_seeds: int = 5
    deciles: tuple[str, ...] = ()
    """Methods whose whole ranking is tested, a tenth at a time."""
    against: tuple[str, ...] = ()
    """Methods that the others are compared with, beside random."""


def evaluate_command(config: WorthConfig, out: Path, *, say: Callable[[str], None] = lambda _: None) -> pd.DataFrame:
    """Evaluate, write `out` (result/, worth.html, and the trainings, from which a killed run goes on), return verdicts.

    Raises:
        InterpError: whatever the user can mend.
    """
    if config.n_seeds < 1:
        raise InvalidInput(f"seeds is {config.n_seeds}; expected 1 or more, 5 for an interval.")
    if out.exists() and not out.is_dir():
        raise InvalidInput(f"--out {out} is a file; give a folder.")
    names = [check_method(name) for name in (NAMES if config.methods == ("all",) else config.methods)]
    given = config.selection
    pool, targets, _ = read_inputs(given, say)
    model, sae = load(given)
    trainee = model if config.trainee is None else load_model(config.trainee)

    def usable(what: str, found: Samples) -> list[Sample]:
        return _usable(found.require_some().samples, model, trainee, config, what, say)

    rows = usable("pool", pool)
    split = {task: split_target(usable(f"target {task}", one), seed=given.seed) for task, one in targets.items()}
    methods = standard_methods(
        rows, model, sae, names=names, trainee=trainee, out=out / "codes", seed=given.seed, **given.encoding()
    )
    result = evaluate(
        rows, split, methods, trainee, budget=given.budget, tuning=config.tuning, out=out / "trainings",
        seeds=[given.seed + i for i in range(config.n_seeds)], deciles=config.deciles, against=config.against,
    )  # fmt: skip
    result.save(out / "result")
    atomic_write_bytes(out / "worth.html", worth_page(result).encode())
    for note in result.notes:
        say(note)
    return verdict_table(result)


def verdict_table(result: Result) -> pd.DataFrame:
    """Return the columns of the verdicts that are printed."""
    columns: Any = result.table[COLUMNS]
    return columns


def _usable(
    samples: Sequence[Sample], model: Model, trainee: Model, config: WorthConfig, what: str, say: Callable[[str], None]
) -> list[Sample]:
    """Return the samples that can both be coded and tuned on, saying how many cannot."""
    given = config.selection
    codable = np.zeros(len(samples), dtype=bool)
    plain = np.array([one.turns[0].role == "text" for one in samples], dtype=bool)
    for part, tokens in ((plain, "all" if given.tokens == "answer" else given.tokens), (~plain, given.tokens)):
        choice = TokenChoice(given.template, tokens, given.max_length, given.keep, given.bos)
        at = np.flatnonzero(part)
        codable[at[find_windows(model, [samples[int(i)] for i in at], choice).rows]] = True
    trained = [row is not None for row in token_rows(trainee, samples, config.tuning)]
    kept = [one for one, a, b in zip(samples, codable, trained, strict=True) if a and b]
    if len(kept) < len(samples):
        say(f"{what}: {len(samples) - len(kept):,} of {len(samples):,} samples have no token to code or to train on")
    if not kept:
        raise InvalidInput(f"{what}: no sample has a token to code and to train on.")
    return kept
