"""From scores to a pick: a budget, tasks and target examples in turn, quotas, rows that are left out, chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from analyses.data_selection.budgets import Budget, parse_budget
from interp.errors import InvalidInput
from interp.stats.seeds import check_seed

BELOW, NO_SCORE, TOO_LONG, FULL_SOURCE = "below the cut", "no score", "longer than the budget", "source quota"


def select(
    scores: Any,
    budget: str | int | float,
    *,
    n_tokens: Any = None,
    sources: Sequence[str] | None = None,
    excluded: Sequence[str] | None = None,
    per_source: float | Mapping[str, float] | None = None,
    task_quotas: Mapping[str, float] | None = None,
    temperature: float = 0.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Pick rows by score, best first, until the budget is spent.

    Args:
        scores: [row]; or [row, example] of several target examples, each of which picks its best in turn; or either
            by task, and the tasks take turns too (scores of different tasks are never compared).
        budget: see `parse_budget`.
        n_tokens: [row], for a budget in tokens (default 1 each).
        sources: [row], for `per_source`.
        excluded: [row], why a row may not be picked; "" where it may.
        per_source: share of the budget that one source may take at most; or that share by source.
        task_quotas: share of the budget by task; tasks without one have no limit.
        temperature: 0 is the top; else Gumbel noise of that many standard deviations of the scores is added first,
            which samples rows without replacement with chance proportional to exp(score / (temperature sd)).
        seed: of the noise.

    Returns:
        One row a row: selected, pick (order, from 1; 0 if not selected), task, reason ("best of TASK", "below the cut",
        "longer than the budget", "source quota", "no score", or what `excluded` says). `attrs` holds the budget and
        what was spent.

    Raises:
        InvalidInput: lengths that differ, an impossible budget, a share outside (0, 1], or a task that has no scores.
    """
    queues = _queues(scores, temperature, check_seed(seed))
    n = len(queues[0][1][0]) if queues else 0
    tokens = np.ones(n, dtype=np.int64) if n_tokens is None else np.asarray(n_tokens)
    reason = np.array([""] * n if excluded is None else list(excluded), dtype=object)
    if len(tokens) != n or len(reason) != n or (sources is not None and len(sources) != n):
        raise InvalidInput(f"n_tokens, sources and excluded have one entry for each of the {n} rows.")
    free = reason == ""
    total = parse_budget(budget, n_samples=n, n_tokens=int(tokens.sum()))
    size = tokens if total.unit == "tokens" else np.ones(n, dtype=np.int64)
    if total.amount > size[free].sum():
        raise InvalidInput(f"the budget is {total}; {int(size[free].sum()):,} can be picked, the rest is left out.")
    limits = _Limits(
        _shares(per_source, sorted(set(sources or [])), "source", total.amount),
        _shares(task_quotas, [task for task, _ in queues], "task", total.amount),
    )
    state = _State(total, size, reason, list(sources or [""] * n), limits)
    _take_turns(queues, state)
    return _table(state, queues)


@dataclass
class _Limits:
    source: dict[str, float]
    task: dict[str, float]


@dataclass
class _State:
    budget: Budget
    size: np.ndarray
    reason: np.ndarray
    sources: list[str]
    limits: _Limits
    spent: int = 0
    full: bool = False
    picks: dict[int, str] = field(default_factory=dict)
    by_source: dict[str, float] = field(default_factory=dict)
    by_task: dict[str, float] = field(default_factory=dict)

    def try_row(self, row: int, task: str) -> bool:
        """Take a row if it may be taken; say why if not. `full` once the best free row no longer fits."""
        if row in self.picks or self.reason[row]:
            return False
        size, source = int(self.size[row]), self.sources[row]
        if size > self.budget.amount:
            self.reason[row] = TOO_LONG
        elif self.by_source.get(source, 0) + size > self.limits.source.get(source, np.inf):
            self.reason[row] = FULL_SOURCE
        elif self.spent + size > self.budget.amount:
            self.full = True
        else:
            self.picks[row] = task
            self.spent += size
            self.by_source[source] = self.by_source.get(source, 0) + size
            self.by_task[task] = self.by_task.get(task, 0) + size
            return True
        return False

    def task_is_done(self, task: str) -> bool:
        return self.by_task.get(task, 0) >= self.limits.task.get(task, np.inf)


Queue = tuple[str, list[np.ndarray]]  # a task, and the rows in the order of each of its examples


def _queues(scores: Any, temperature: float, seed: int) -> list[Queue]:
    tasks = dict(scores) if isinstance(scores, Mapping) else {"target": scores}
    if temperature < 0 or not np.isfinite(temperature):
        raise InvalidInput(f"temperature is {temperature}; expected 0 or more.")
    found, lengths = [], set()
    for number, (task, given) in enumerate(tasks.items()):
        values = np.asarray(given, dtype=np.float64)
        if values.ndim not in (1, 2) or not values.size:
            raise InvalidInput(f"scores of {task!r} are [row] or [row, example], not {list(values.shape)}.")
        columns = values.reshape(len(values), -1).T
        lengths.add(len(values))
        if temperature:
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(71, number)))
            sd = np.nanstd(columns, axis=1, keepdims=True)
            columns = columns + temperature * sd * rng.gumbel(size=columns.shape)
        found.append((str(task), [_order(column) for column in columns]))
    if len(lengths) != 1:
        raise InvalidInput(f"tasks have scores of {sorted(lengths)} rows; expected one pool.")
    return found


def _order(values: np.ndarray) -> np.ndarray:
    """Rows by score, equal ones in order, those without a score marked as -1 - row at the end."""
    order = np.argsort(-values, kind="stable")  # NaN comes last
    missing = np.isnan(values[order])
    return np.where(missing, -1 - order, order)


def _take_turns(queues: list[Queue], state: _State) -> None:
    turns = {task: _rows_in_turn(orders, state) for task, orders in queues}
    while turns and not state.full and state.spent < state.budget.amount:
        for task in list(turns):
            if state.task_is_done(task) or not _take_one(turns[task], task, state):
                del turns[task]
            if state.full or state.spent >= state.budget.amount:
                return


def _take_one(rows: Iterator[int], task: str, state: _State) -> bool:
    for row in rows:
        if state.try_row(row, task):
            return True
        if state.full:
            return False
    return False


def _rows_in_turn(orders: list[np.ndarray], state: _State) -> Iterator[int]:
    """Yield each example's best row that is not picked yet, example after example."""
    places = [iter(order.tolist()) for order in orders]
    while places:
        for one in list(places):
            row = next((r for r in one if r < 0 or (r not in state.picks and not state.reason[r])), None)
            if row is None or row < 0:  # what follows has no score
                places.remove(one)
            else:
                yield row


def _shares(given: Any, names: list[str], kind: str, amount: int) -> dict[str, float]:
    if given is None:
        return {}
    shares: dict[str, float] = dict(given) if isinstance(given, Mapping) else dict.fromkeys(names, float(given))
    unknown = [name for name in shares if name not in names]
    if unknown:
        raise InvalidInput(f"there is no {kind} {unknown[0]!r}; there are {', '.join(map(repr, names[:5]))}.")
    for name, share in shares.items():
        if not 0 < share <= 1:
            raise InvalidInput(f"the share of {kind} {name!r} is {share}; expected more than 0, at most 1.")
    return {name: share * amount for name, share in shares.items()}


def _table(state: _State, queues: list[Queue]) -> pd.DataFrame:
    n = len(state.reason)
    pick = np.zeros(n, dtype=np.int64)
    pick[list(state.picks)] = np.arange(1, len(state.picks) + 1)
    scored = np.zeros(n, dtype=bool)
    for _, orders in queues:
        for order in orders:
            scored[order[order >= 0]] = True
    reason = np.where(state.reason != "", state.reason, np.where(scored, BELOW, NO_SCORE)).astype(object)
    task = np.full(n, "", dtype=object)
    for row, name in state.picks.items():
        task[row], reason[row] = name, f"best of {name}"
    table = pd.DataFrame({"selected": pick > 0, "pick": pick, "task": pd.array(task, dtype="str"),
                          "reason": pd.array(reason, dtype="str")})  # fmt: skip
    table.attrs.update(budget=str(state.budget), spent=state.spent, n_selected=len(state.picks))
    return table
