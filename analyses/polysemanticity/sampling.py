"""Examples of a unit, drawn evenly over its activations.

The largest activations show the strongest concept alone: with concepts of strength 1, 1/2, 1/4 the top 80 examples
say "one concept" of nearly every unit. So as many examples are drawn from each of equal intervals of activation, each
with the weight that undoes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd

from interp.errors import InvalidInput, NonFinite

N_INTERVALS, PER_INTERVAL, FLOOR, AT_LEAST = 10, 8, 0.1, 40
_KINDS = {"unit": "int64", "row": "int64", "activation": "float64", "interval": "int64", "weight": "float64",
          "rank": "int64"}  # fmt: skip


def sample_activation_intervals(
    activations: np.ndarray,
    *,
    text_index: np.ndarray | None = None,
    n_intervals: int = N_INTERVALS,
    per_interval: int = PER_INTERVAL,
    floor: float = FLOOR,
    at_least: int = AT_LEAST,
    units: Sequence[str] | None = None,
    seed: int,
) -> pd.DataFrame:
    """Return examples of each unit from equal intervals between `floor` times its largest activation and that.

    Args:
        activations: float [n_tokens, n_units]; only positive values are examples (flip the sign, or take |a|, first).
        text_index: int [n_tokens], the text of each token, ascending. Where given, a text gives one example: tokens of
            one text resemble each other whatever the unit means.
        floor: share of the largest activation under which nothing is an example.
        at_least: where `per_interval` gives fewer in all (a unit that is always equally active fills one interval),
            more are drawn from each until there are so many, or all.
        units: names, default their numbers: a unit of the same name and activations has the same examples, whatever
            other units there are.

    Returns:
        A row an example: unit, row (of `activations`), activation, interval (0 the lowest), weight (examples there
        were in the interval, for each that was drawn: sum(weight x value) / sum(weight) estimates a mean over all
        examples of the unit above the floor), rank (0 for the most active example of all).

    Raises:
        InvalidInput: shapes that do not fit. NonFinite: activations that hold NaN or infinity.
    """
    values = checked_activations(activations)
    text = np.arange(len(values)) if text_index is None else _checked_text(text_index, len(values))
    names = unit_names(units, values.shape[1])
    parts = [
        _examples(unit, values[:, unit], text, n_intervals, per_interval, at_least, floor, named_rng(seed, name))
        for unit, name in enumerate(names)
    ]
    return _frame({name: np.concatenate([part[name] for part in parts]) for name in _KINDS} if parts else {})


def top_examples(activations: np.ndarray, *, text_index: np.ndarray | None = None, k: int) -> pd.DataFrame:
    """Return the k most active examples of each unit: unit, row, activation, rank. Arguments as above."""
    values = checked_activations(activations)
    values, rows = strongest_tokens(values, text_index)
    k = min(k, len(values))
    order = np.argsort(-values, axis=0, kind="stable")[:k]
    units = np.repeat(np.arange(values.shape[1]), k)
    frame: Any = pd.DataFrame(
        {
            "unit": units,
            "row": np.take_along_axis(rows, order, axis=0).T.ravel(),
            "activation": np.take_along_axis(values, order, axis=0).T.ravel(),
            "rank": np.tile(np.arange(k), values.shape[1]),
        }
    )
    return frame[frame["activation"] > 0].reset_index(drop=True)


def strongest_tokens(values: np.ndarray, text_index: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest activation of each unit in each text [n_texts, n_units], and the row it stands in."""
    n = len(values)
    if text_index is None:
        return values, np.broadcast_to(np.arange(n)[:, None], values.shape)
    text = _checked_text(text_index, n)
    starts = np.flatnonzero(np.diff(text, prepend=text[0] - 1) != 0)
    best = np.maximum.reduceat(values, starts, axis=0)
    of_text = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, n)))
    position = np.where(values == best[of_text], np.arange(n)[:, None], n)
    return best, np.minimum.reduceat(position, starts, axis=0)


def unit_names(units: Sequence[str] | None, n: int) -> list[str]:
    """Return the names of n units, their numbers where none are given. Raises InvalidInput: too many or too few."""
    if units is not None and len(units) != n:
        raise InvalidInput(f"{len(units)} names for {n} units.")
    return [str(i) for i in range(n)] if units is None else [str(name) for name in units]


def named_rng(seed: int, *names: str) -> np.random.Generator:
    """Return the generator of a thing that has a name: the same whatever else there is."""
    return np.random.default_rng([seed, *(crc32(name.encode()) for name in names)])


def checked_activations(activations: np.ndarray) -> np.ndarray:
    """Return activations [n_tokens, n_units]. Raises InvalidInput, NonFinite."""
    values = np.asarray(activations)
    if values.ndim != 2 or len(values) == 0 or values.dtype.kind not in "fiub":
        raise InvalidInput(f"activations are [n_tokens, n_units], not {values.dtype} {list(values.shape)}.")
    if not np.isfinite(values).all():
        raise NonFinite("the activations hold NaN or infinity; leave these tokens out, or find where they come from.")
    return values


def _checked_text(text_index: np.ndarray, n: int) -> np.ndarray:
    text = np.asarray(text_index)
    if text.shape != (n,) or (np.diff(text) < 0).any():
        raise InvalidInput(f"text_index is one ascending integer a token [{n}]; given {list(text.shape)}.")
    return text


def _examples(
    unit: int, values: np.ndarray, text: np.ndarray, n_intervals: int, per_interval: int, at_least: int, floor: float,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:  # fmt: skip
    most = values.max()
    if most <= 0:
        return {name: np.empty(0, dtype=kind) for name, kind in _KINDS.items()}
    candidates = np.flatnonzero(values >= floor * most)
    place = (values[candidates] / most - floor) / (1 - floor) * n_intervals
    interval = np.minimum(place.astype(np.int64), n_intervals - 1)
    sizes = np.bincount(interval, minlength=n_intervals)
    free, kept = np.ones(int(text[-1]) + 1, dtype=bool), []
    for chosen in np.argsort(sizes, kind="stable"):  # the rarest first, before their texts are taken by others
        kept.append(_draw(np.flatnonzero(interval == chosen), text[candidates], free, per_interval, rng))
    missing = at_least - sum(map(len, kept))
    if missing > 0:
        kept.append(_draw(np.arange(len(candidates)), text[candidates], free, missing, rng))
    chosen = np.sort(np.concatenate(kept))
    drawn = np.bincount(interval[chosen], minlength=n_intervals)
    ranks = np.empty(len(candidates), dtype=np.int64)
    ranks[np.argsort(-values[candidates], kind="stable")] = np.arange(len(candidates))
    return {
        "unit": np.full(len(chosen), unit),
        "row": candidates[chosen],
        "activation": values[candidates[chosen]].astype(np.float64),
        "interval": interval[chosen],
        "weight": sizes[interval[chosen]] / drawn[interval[chosen]],
        "rank": ranks[chosen],
    }


def _draw(of: np.ndarray, text: np.ndarray, free: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return up to n of the candidates `of`, at random, of different texts that are free, and take these texts."""
    shuffled = rng.permutation(of[free[text[of]]])
    _, first = np.unique(text[shuffled], return_index=True)
    chosen = shuffled[np.sort(first)[:n]]
    free[text[chosen]] = False
    return chosen


def _frame(columns: dict[str, np.ndarray]) -> pd.DataFrame:
    return pd.DataFrame({name: columns.get(name, []) for name in _KINDS}).astype(_KINDS)
