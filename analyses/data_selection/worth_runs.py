"""The trainings behind a verdict: one work unit is one method, task, seed and draw (or decile) and gives its losses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from analyses.data_selection.chance_scores import random_scores
from analyses.data_selection.finetuning import TokenRow, Tuning, finetune, row_losses, token_rows
from analyses.data_selection.picking import select
from analyses.data_selection.samples import Sample
from analyses.data_selection.worth_targets import RELEVANT, Method, Target, check_targets
from analyses.data_selection.worth_verdicts import BASE, ORACLE, REFERENCE
from interp.errors import InvalidInput
from interp.stats.seeds import check_seed
from interp.store import Store, make_key, sha256_bytes
from interp.work import load_units, run_units

if TYPE_CHECKING:
    from interp.models import Model

CODE_VERSION = "1"
N_BINS = 10


@dataclass(frozen=True)
class Runs:
    """What was measured, of one seed or of several together.

    losses: method, task, seed, draw, measure ("loss, SET" or "relevant"), value.
    picks: method, task, seed, draw, n_picked, n_tokens, share_LABEL of each label, rho_length (Spearman of the ranking
        with tokens, larger: prefers long), median_tokens.
    deciles: method, task, seed, bin (1 is the best tenth of the ranking), measure, value.
    """

    losses: pd.DataFrame
    picks: pd.DataFrame
    deciles: pd.DataFrame

    @classmethod
    def joined(cls, parts: Sequence[Runs]) -> Runs:
        """Return the runs of several seeds as one."""
        tables = [pd.concat([getattr(part, name) for part in parts], ignore_index=True)
                  for name in ("losses", "picks", "deciles")]  # fmt: skip
        return cls(*tables)


def measure_runs(
    pool: Sequence[Sample],
    targets: Mapping[str, Target],
    methods: Mapping[str, Method],
    model: Model,
    *,
    seed: int,
    budget: str | int | float = "5% tokens",
    tuning: Tuning | None = None,
    random_draws: int = 3,
    deciles: Sequence[str] = (),
    out: str | Path | None = None,
) -> Runs:
    """Pick by each method for each target, tune a copy of the model on each pick, and measure the held-out losses.

    Beside the methods: the untouched model, `random_draws` random picks, and the oracle: rows labelled relevant, in
    random order, or without labels the target examples themselves. Arguments as `evaluate`.
    """
    check_targets(targets, len(pool))
    plan = tuning or Tuning()
    taken = [name for name in (BASE, REFERENCE, ORACLE) if name in methods]
    if taken or random_draws < 1:
        raise InvalidInput(f"the methods {', '.join(map(repr, taken))} are added here; random_draws is 1 or more.")
    bench = _Bench(pool, model, plan, budget, check_seed(seed))
    for task, target in targets.items():
        bench.add(task, target, methods, random_draws, deciles)
    found = bench.compute(out)
    return bench.tables(found)


@dataclass(frozen=True)
class _Unit:
    task: str
    method: str
    draw: int
    bin: int
    rows: Sequence[TokenRow]


class _Bench:
    def __init__(self, pool: Sequence[Sample], model: Model, plan: Tuning, budget: Any, seed: int) -> None:
        self.model, self.plan, self.budget, self.seed = model, plan, budget, seed
        self.rows = token_rows(model, pool, plan)
        self.n_tokens = np.array([0 if row is None else len(row[0]) for row in self.rows])
        self.excluded = ["" if row is not None else "no token for the loss" for row in self.rows]
        self.units: dict[str, _Unit] = {}
        self.held_out: dict[str, dict[str, list[TokenRow]]] = {}
        self.picks: list[dict[str, Any]] = []

    def add(self, task: str, target: Target, methods: Mapping[str, Method], draws: int, deciles: Sequence[str]) -> None:
        self.held_out[task] = {name: self._whole(rows, f"held-out rows of {task!r}")
                               for name, rows in target.held_out.items()}  # fmt: skip
        self._unit(_Unit(task, BASE, 0, 0, ()))
        seed = _seed_of(self.seed, task)
        scores = {name: method(target, seed) for name, method in methods.items()}
        for draw in range(draws):
            noise = random_scores(len(self.rows), seed=_seed_of(self.seed, f"{task}/{draw}"))
            self._pick(_Unit(task, REFERENCE, draw, 0, ()), noise, target)
        if RELEVANT in target.labels:
            relevant = np.asarray(target.labels[RELEVANT]) + random_scores(len(self.rows), seed=seed)
            self._pick(_Unit(task, ORACLE, 0, 0, ()), relevant, target)
            scores = {**scores, ORACLE: relevant}
        else:
            self._unit(_Unit(task, ORACLE, 0, 0, self._whole(target.examples, f"examples of {task!r}")))
        for name in methods:
            self._pick(_Unit(task, name, 0, 0, ()), scores[name], target)
        for name in deciles:
            if name not in scores:
                raise InvalidInput(f"deciles of {name!r}: there is no such method; there are {', '.join(scores)}.")
            for number, part in enumerate(np.array_split(self._order(scores[name]), N_BINS), start=1):
                self._unit(_Unit(task, name, 0, number, [self.rows[i] for i in part]))  # type: ignore[misc]

    def compute(self, out: str | Path | None) -> dict[str, Any]:
        if out is None:
            return {unit: self._losses(unit) for unit in self.units}
        about = {"tuning": asdict(self.plan), "model": self.model.fingerprint, "seed": self.seed}
        held = {task: _digest([row for rows in sets.values() for row in rows]) for task, sets in self.held_out.items()}
        keys = {
            name: make_key(about, {"rows": _digest(unit.rows), "held_out": held[unit.task]}, code_version=CODE_VERSION)
            for name, unit in self.units.items()
        }
        layout: Any = {"name_of": lambda unit: f"losses/{unit}.json", "key_of": keys.__getitem__}
        with Store(out) as store:
            run_units(list(self.units), self._losses, store=store, rank=0, world=1, desc="tuning", **layout)
            return load_units(self.units, store=store, **layout)

    def tables(self, found: Mapping[str, Any]) -> Runs:
        losses, deciles = [], []
        for name, unit in self.units.items():
            row = {"method": unit.method, "task": unit.task, "seed": self.seed}
            for where, value in found[name]["losses"].items():
                last = {"measure": f"loss, {where}", "value": value}
                if unit.bin:
                    deciles.append({**row, "bin": unit.bin, **last})
                else:
                    losses.append({**row, "draw": unit.draw, **last})
        for pick in self.picks:
            if f"share_{RELEVANT}" in pick:
                keep = {name: pick[name] for name in ("method", "task", "seed", "draw")}
                losses.append({**keep, "measure": RELEVANT, "value": pick[f"share_{RELEVANT}"]})
        columns = pd.Index(["method", "task", "seed", "bin", "measure", "value"])
        return Runs(pd.DataFrame(losses), pd.DataFrame(self.picks), pd.DataFrame(deciles, columns=columns))

    def _pick(self, unit: _Unit, scores: np.ndarray, target: Target) -> None:
        if len(scores) != len(self.rows):
            raise InvalidInput(f"{unit.method!r} gives {len(scores)} scores for a pool of {len(self.rows)} rows.")
        table = select(scores, self.budget, n_tokens=self.n_tokens, excluded=self.excluded)
        at = np.flatnonzero(table["selected"].to_numpy())
        at = at[np.argsort(table["pick"].to_numpy()[at])]
        order = self._order(scores)
        rank = np.full(len(self.rows), np.nan)
        rank[order] = -np.arange(len(order))
        ranked = ~np.isnan(rank)
        rho: Any = spearmanr(rank[ranked], self.n_tokens[ranked]) if np.ptp(self.n_tokens[ranked]) else None
        self.picks.append(
            {"method": unit.method, "task": unit.task, "seed": self.seed, "draw": unit.draw, "n_picked": len(at),
             "n_tokens": int(self.n_tokens[at].sum()),
             **{f"share_{label}": float(np.asarray(v)[at].mean()) for label, v in target.labels.items()},
             "rho_length": np.nan if rho is None else float(rho.statistic),
             "median_tokens": float(np.median(self.n_tokens[at]))}
        )  # fmt: skip
        self._unit(_Unit(unit.task, unit.method, unit.draw, 0, [self.rows[i] for i in at]))  # type: ignore[misc]

    def _order(self, scores: np.ndarray) -> np.ndarray:
        """Rows as they would be picked if the budget never ended; those without a score are left out."""
        table = select(scores, int(np.sum([not why for why in self.excluded])), excluded=self.excluded)
        at = np.flatnonzero(table["selected"].to_numpy())
        return at[np.argsort(table["pick"].to_numpy()[at])]

    def _whole(self, samples: Sequence[Sample], what: str) -> list[TokenRow]:
        found = [row for row in token_rows(self.model, samples, self.plan) if row is not None]
        if not found:
            raise InvalidInput(f"none of the {what} has a token for loss={self.plan.loss!r}.")
        return found

    def _unit(self, unit: _Unit) -> None:
        words = [unit.task, f"seed{self.seed}", unit.method]
        words += [f"bin{unit.bin}"] if unit.bin else [f"draw{unit.draw}"]
        name = "/".join(re.sub(r"[^A-Za-z0-9_-]+", "-", word) for word in words)
        if name in self.units:
            raise InvalidInput(f"two tasks or methods would both be stored as {name!r}; rename one.")
        self.units[name] = unit

    def _losses(self, name: str) -> dict[str, Any]:
        unit = self.units[name]
        seed = _seed_of(self.seed, unit.task)
        tuned = finetune(self.model, unit.rows, seed=seed, tuning=self.plan) if unit.rows else None
        module = tuned.module if tuned else self.model.trainable_copy()
        losses = {where: float(row_losses(module, rows).mean()) for where, rows in self.held_out[unit.task].items()}
        return {"losses": losses, "n_tokens": tuned.n_tokens if tuned else 0, "n_rows": len(unit.rows)}


def _seed_of(seed: int, what: str) -> int:
    """Return a seed of its own for each task, or their chance would be the same chance and no independent pairs."""
    return int(sha256_bytes(f"{seed}/{what}".encode())[:8], 16)


def _digest(rows: Sequence[TokenRow]) -> str:
    return sha256_bytes(b"".join(ids.tobytes() + mask.tobytes() + b"|" for ids, mask in rows))
