"""Work units: what a run does piece by piece, so that it can be killed, resumed and shared out.

A unit has an id, one or more artefacts and a key. It is done when the store holds all its artefacts
for that key, whole; everything else (missing, stale, corrupt) is done again. Units are independent:
neither their order nor who does them shows in the results.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interp.errors import CorruptArtifact, InvalidInput
from interp.progress import progress as show_progress
from interp.store import Key, Store

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
_ENVIRONMENTS = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))  # torchrun, srun
NameOf = Callable[[str], "str | tuple[str, ...]"]


@dataclass(frozen=True)
class Report:
    """What `run_units` did with the units of its rank: their ids, and why the redone ones were redone."""

    computed: tuple[str, ...]
    skipped: tuple[str, ...]
    redone: dict[str, str]
    rank: int
    world: int

    def text(self) -> str:
        """Return one line for people, and one for each unit that was redone."""
        who = f"rank {self.rank} of {self.world}: " if self.world > 1 else ""
        lines = [f"{who}{len(self.computed)} units computed, {len(self.skipped)} were already done"]
        return "\n".join([*lines, *(f"redone: {unit} ({reason})" for unit, reason in self.redone.items())])


def shard(units: Iterable[str], rank: int, world: int) -> list[str]:
    """Return the units of one rank: every `world`-th of the sorted ids, whatever order they came in.

    Raises:
        InvalidInput: `rank` is not one of 0 .. world - 1, or an id occurs twice.

    >>> shard(["b", "a", "c"], 0, 2)
    ['a', 'c']
    """
    if world < 1 or not 0 <= rank < world:
        raise InvalidInput(f"rank {rank} of world {world} does not exist; expected 0 <= rank < world.")
    ids = sorted(units)
    twice = [unit for unit, n in Counter(ids).items() if n > 1]
    if twice:
        raise InvalidInput(f"Unit ids must be unique; {', '.join(map(repr, twice[:3]))} occur more than once.")
    return ids[rank::world]


def rank_and_world(environment: Mapping[str, str] | None = None) -> tuple[int, int]:
    """Return this process's number and how many there are, as torchrun or srun tell them; (0, 1) without either.

    Args:
        environment: defaults to the environment of the process.

    Raises:
        InvalidInput: one of the two variables is missing or no number, or the rank is outside the world.
    """
    given = os.environ if environment is None else environment
    for rank_name, world_name in _ENVIRONMENTS:
        if rank_name not in given and (world_name not in given or world_name == "SLURM_NTASKS"):
            continue  # SLURM_NTASKS alone is an allocation in which srun was not called
        texts = (given.get(rank_name, ""), given.get(world_name, ""))
        if not all(text.isdecimal() for text in texts) or int(texts[0]) >= int(texts[1]):
            raise InvalidInput(
                f"{rank_name}={texts[0]!r} and {world_name}={texts[1]!r} do not describe a rank. Expected two whole "
                f"numbers with 0 <= {rank_name} < {world_name}; start with torchrun or srun, or unset both."
            )
        return int(texts[0]), int(texts[1])
    return 0, 1


def pending(units: Iterable[str], store: Store, *, name_of: NameOf, key_of: Callable[[str], Key]) -> dict[str, str]:
    """Return {unit id: why} of the units that have to be computed, in order of id.

    The reason starts with "missing", "stale" or "corrupt".
    """
    reasons: dict[str, str] = {}
    for unit in units:
        states = [store.state(name, key_of(unit)) for name in _names(name_of, unit)]
        worst = min(states, key=lambda state: ("corrupt", "stale", "missing", "done").index(state.status))
        if worst.status != "done":
            reasons[unit] = f"{worst.status}: {worst.reason}"
    return dict(sorted(reasons.items()))


def run_units(
    units: Sequence[str],
    compute: Callable[[str], Any],
    *,
    store: Store,
    name_of: NameOf,
    key_of: Callable[[str], Key],
    provenance: Mapping[str, Any] | None = None,
    rank: int | None = None,
    world: int | None = None,
    desc: str = "units",
    values: Callable[[Sequence[str]], Generator[tuple[str, Any]]] | None = None,
) -> Report:
    """Compute and store the units of this rank that are not done yet; what is finished stays finished.

    Args:
        units: ids of all units of the run, the same for every rank.
        compute: id -> value (arrays, CSR, table, plain data or bytes); a tuple of values, one a name,
            where `name_of` gives a tuple of names.
        store: open for writing; with more than one rank opened as Store(root, rank=rank).
        name_of: id -> name(s) in the store.
        key_of: id -> key of what the unit is made from.
        provenance: plain data, kept beside every artefact.
        rank, world: this process among all; from the environment (torchrun, srun) where not given.
        desc: what the progress display calls the work.
        values: ids of the units to do -> (id, value) of each, in any order: another engine in place of `compute` here
            (`interp.on_ray.values_on_ray`). It only computes; what it gives is stored here.

    Raises:
        InvalidInput: ids or names that are not unique, or several ranks with a store opened for one.
    """
    if rank is None or world is None:
        rank, world = rank_and_world()
    if world > 1 and store.rank != rank:
        raise InvalidInput(
            f"Rank {rank} of {world} got a store opened with rank={store.rank}. Open Store(root, rank={rank}), so "
            f"that each process writes a manifest of its own."
        )
    _require_own_names(units, name_of)
    mine = shard(units, rank, world)
    todo = pending(mine, store, name_of=name_of, key_of=key_of)
    redone = {unit: reason for unit, reason in todo.items() if not reason.startswith("missing")}
    for unit, reason in redone.items():
        log.warning("unit %s is done again (%s)", unit, reason)
    results = ((unit, _computed(unit, compute)) for unit in todo) if values is None else values(list(todo))
    with closing(results):
        for unit, value in show_progress(results, total=len(todo), desc=desc):
            _keep(unit, value, store, _names(name_of, unit), key_of(unit), provenance)
    return Report(tuple(todo), tuple(unit for unit in mine if unit not in todo), redone, rank, world)


def load_units(units: Iterable[str], *, store: Store, name_of: NameOf, key_of: Callable[[str], Key]) -> dict[str, Any]:
    """Return {unit id: value} of finished units, in order of id; a tuple of values where a unit has several names.

    Raises:
        CorruptArtifact: a unit is damaged.
        InvalidInput: a unit is missing or stale; names it, because a merge without it would be a wrong number.
    """
    ids = shard(units, 0, 1)
    store.reload()
    open_units = pending(ids, store, name_of=name_of, key_of=key_of)
    if open_units:
        listed = "; ".join(f"{unit} ({reason})" for unit, reason in list(open_units.items())[:3])
        error = CorruptArtifact if any(r.startswith("corrupt") for r in open_units.values()) else InvalidInput
        raise error(
            f"{len(open_units)} of {len(ids)} units are not done: {listed}{' ...' if len(open_units) > 3 else ''}. "
            f"Run them first (the same command goes on from here), then merge."
        )
    return {unit: _load(store, name_of, unit) for unit in ids}


def merge_tables(units: Iterable[str], *, store: Store, name_of: NameOf, key_of: Callable[[str], Key]) -> pd.DataFrame:
    """Return the tables of finished units, one below the other in order of id, rows numbered anew.

    Raises:
        InvalidInput: a unit is missing or stale, holds no table, or its columns or dtypes differ from the first's.
        CorruptArtifact: a unit is damaged.
    """
    import pandas as pd

    tables = load_units(units, store=store, name_of=name_of, key_of=key_of)
    if not tables:
        raise InvalidInput("There are no units to merge.")
    first_id, first = next(iter(tables.items()))
    for unit, table in tables.items():
        if not isinstance(table, pd.DataFrame) or not table.dtypes.equals(first.dtypes):
            found = dict(table.dtypes) if isinstance(table, pd.DataFrame) else type(table).__name__
            raise InvalidInput(
                f"Unit {unit} holds {found}, unit {first_id} {dict(first.dtypes)}; they cannot be merged."
            )
    return pd.concat(list(tables.values()), ignore_index=True)


def _names(name_of: NameOf, unit: str) -> tuple[str, ...]:
    names = name_of(unit)
    return (names,) if isinstance(names, str) else tuple(names)


def _require_own_names(units: Iterable[str], name_of: NameOf) -> None:
    owner: dict[str, str] = {}
    for unit in units:
        for name in _names(name_of, unit):
            if owner.setdefault(name, unit) != unit:
                raise InvalidInput(f"Units {owner[name]!r} and {unit!r} would both be stored as {name!r}.")


def _computed(unit: str, compute: Callable[[str], Any]) -> Any:
    try:
        return compute(unit)
    except Exception as error:
        error.add_note(f"while computing unit {unit!r}; units finished before it are kept")
        raise


def _keep(
    unit: str, value: Any, store: Store, names: tuple[str, ...], key: Key, provenance: Mapping[str, Any] | None
) -> None:
    values = value if isinstance(value, tuple) else (value,)
    if len(values) != len(names):
        raise InvalidInput(f"Unit {unit!r} gave {len(values)} values for {len(names)} names ({', '.join(names)}).")
    for name, one in zip(names, values, strict=True):
        store.put(name, one, key=key, provenance={"unit": unit, **(provenance or {})})


def _load(store: Store, name_of: NameOf, unit: str) -> Any:
    values = tuple(store.get(name) for name in _names(name_of, unit))
    return values[0] if isinstance(name_of(unit), str) else values
