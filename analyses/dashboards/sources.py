"""Where an attention latent reads it from: the tokens with the largest attribution, for every example."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from interp.errors import ModelMismatch, SaeMismatch
from interp.tokens import Encoded

N_SOURCES = 3
_EVENTS = 2048  # that are attributed at once
Event = tuple[int, int, int]


class Source(NamedTuple):
    """A token that an attention latent reads: its share of the attribution (signed), how far back, by which head."""

    token: str
    share: float
    back: int
    head: int


def event_sources(
    attribute: Callable[..., Any],
    examples: Mapping[int, tuple[np.ndarray, np.ndarray]],
    encoded: Encoded,
    text_index: np.ndarray,
) -> tuple[dict[int, dict[int, list[Source]]], list[str]]:
    """Return the largest sources of every example, and a note where there are none.

    Args:
        attribute: takes rows of ids and events=[(row, position, latent)], gives what
            `analyses.attention.direct_feature_attribution` gives.
        examples: latent -> tokens at which it is on, and which of them (positions) are shown.

    Returns:
        latent -> position -> sources; empty, with the reason, where the SAE or the model has no attribution.
    """
    shown = [(latent, int(p)) for latent, (_, positions) in examples.items() for p in positions]
    found: dict[int, dict[int, list[Source]]] = {}
    for start in range(0, len(shown), _EVENTS):
        some = shown[start : start + _EVENTS]
        at = np.array([examples[latent][0][p] for latent, p in some])
        texts, row = np.unique(text_index[at], return_inverse=True)
        pos = at - encoded.starts[text_index[at]]
        place = {(int(r), int(q), i): (i, p) for r, q, (i, p) in zip(row, pos, some, strict=True)}
        rows = [encoded.ids[encoded.starts[t] : encoded.starts[t + 1]] for t in texts]
        try:
            made = attribute(rows, events=list(place))
        except (SaeMismatch, ModelMismatch) as error:
            return {}, [f"No attribution by source token: {error}"]
        for event, sources in _by_event(made).items():
            latent, p = place[event]
            found.setdefault(latent, {})[p] = sources
    return found, []


def _by_event(made: Any) -> dict[Event, list[Source]]:
    """Return (row, pos, latent) -> its largest sources, in the order of the text."""
    table = made.by_source()
    size = table["dfa"].abs()
    total = size.groupby(table["event"]).transform("sum").clip(lower=1e-30)
    table = table.assign(size=size, share=table["dfa"] / total)
    best = table.sort_values(["event", "size"], ascending=[True, False], kind="stable").groupby("event").head(N_SOURCES)
    spots: list[Event] = list(made.events[["row", "pos", "latent"]].itertuples(index=False, name=None))
    out: dict[Event, list[Source]] = {spot: [] for spot in spots}
    columns = ["event", "source", "token", "share", "top_head"]
    for event, source, token, share, head in best.sort_values(["event", "source"])[columns].itertuples(index=False):
        out[spots[event]].append(Source(str(token), float(share), int(spots[event][1] - source), int(head)))
    return out
