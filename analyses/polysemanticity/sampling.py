"""Examples of a unit, drawn evenly over its activations.

The largest activations show the strongest concept alone: with concepts of strength 1, 1/2, 1/4 the top 80 examples
say "one concept" of nearly every unit. So as many examples are drawn from each of equal intervals of activation, each
with the weight that undoes it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from interp.errors import InvalidInput, NonFinite

N_INTERVALS, PER_INTERVAL, FLOOR = 10, 8, 0.1


def sample_activation_intervals(
    activations: np.ndarray,
    *,
    text_index: np.ndarray | None = None,
    n_intervals: int = N_INTERVALS,
    per_interval: int = PER_INTERVAL,
    floor: float = FLOOR,
    seed: int,
) -> pd.DataFrame:
    """Return examples of each unit from equal intervals between `floor` times its largest activation and that.

    Args:
        activations: float [n_tokens, n_units]; only positive values are examples (flip the sign, or take |a|, first).
        text_index: int [n_tokens], the text of each token, ascending. Where given, a text gives one example: the
            token at which the unit is most active. Tokens of one text resemble each other whatever the unit means.
        floor: share of the largest activation under which nothing is an example.

    Returns:
        A row an example: unit, row (of `activations`), activation, interval (0 the lowest), weight (examples there
        were in the interval, for each that was drawn: sum(weight x value) / sum(weight) estimates a mean over all
        examples of the unit above the floor), rank (0 for the most active example of all).

    Raises:
        InvalidInput: shapes that do not fit. NonFinite: activations that hold NaN or infinity.
    """
    values = checked_activations(activations)
    values, rows = strongest_tokens(values, text_index)
    rng = np.random.default_rng(seed)
    parts = [
        _examples(unit, values[:, unit], rows[:, unit], n_intervals, per_interval, floor, rng)
        for unit in range(values.shape[1])
    ]
    return pd.concat(parts, ignore_index=True) if parts else _frame({})


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
    text = np.asarray(text_index)
    if text.shape != (n,) or (np.diff(text) < 0).any():
        raise InvalidInput(f"text_index is one ascending integer a token [{n}]; given {list(text.shape)}.")
    starts = np.flatnonzero(np.diff(text, prepend=text[0] - 1) != 0)
    best = np.maximum.reduceat(values, starts, axis=0)
    of_text = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, n)))
    position = np.where(values == best[of_text], np.arange(n)[:, None], n)
    return best, np.minimum.reduceat(position, starts, axis=0)


def checked_activations(activations: np.ndarray) -> np.ndarray:
    """Return activations [n_tokens, n_units]. Raises InvalidInput, NonFinite."""
    values = np.asarray(activations)
    if values.ndim != 2 or len(values) == 0 or values.dtype.kind not in "fiub":
        raise InvalidInput(f"activations are [n_tokens, n_units], not {values.dtype} {list(values.shape)}.")
    if not np.isfinite(values).all():
        raise NonFinite("the activations hold NaN or infinity; leave these tokens out, or find where they come from.")
    return values


def _examples(
    unit: int, values: np.ndarray, rows: np.ndarray, n_intervals: int, per_interval: int, floor: float, rng
) -> pd.DataFrame:
    most = values.max()
    if most <= 0:
        return _frame({})
    candidates = np.flatnonzero(values >= floor * most)
    place = (values[candidates] / most - floor) / (1 - floor) * n_intervals
    interval = np.minimum(place.astype(np.int64), n_intervals - 1)
    # shuffled, then stable by interval: the first few of each interval are a random draw
    shuffled = rng.permutation(len(candidates))
    order = shuffled[np.argsort(interval[shuffled], kind="stable")]
    sizes = np.bincount(interval, minlength=n_intervals)
    within = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = order[within < per_interval]
    ranks = np.empty(len(candidates), dtype=np.int64)
    ranks[np.argsort(-values[candidates], kind="stable")] = np.arange(len(candidates))
    drawn = np.minimum(sizes, per_interval)
    return _frame(
        {
            "unit": np.full(len(kept), unit),
            "row": rows[candidates[kept]],
            "activation": values[candidates[kept]].astype(np.float64),
            "interval": interval[kept],
            "weight": sizes[interval[kept]] / drawn[interval[kept]],
            "rank": ranks[kept],
        }
    )


def _frame(columns: dict[str, np.ndarray]) -> pd.DataFrame:
    kinds = {"unit": "int64", "row": "int64", "activation": "float64", "interval": "int64", "weight": "float64"}
    return pd.DataFrame({name: columns.get(name, []) for name in [*kinds, "rank"]}).astype({**kinds, "rank": "int64"})
