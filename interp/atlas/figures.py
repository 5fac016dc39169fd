"""A handful of cheap figures of a model, stated in its card, that anyone can measure again within seconds.

They are functions of the weights and of a seed alone, so a second measurement differs by rounding and no more:
the tolerance is for other machines, not for chance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp.atlas.measure.answers import answered, name_tokens
from interp.atlas.measure.forward import token_nats
from interp.atlas.measure.heads import SCORES, head_scores
from interp.atlas.measure.questions import city_questions, successor_questions
from interp.atlas.rows import HELD_OUT_SEED, text_rows

if TYPE_CHECKING:
    from interp.atlas.corpus import Corpus
    from interp.models import Model

N_ROWS, N_CITIES, N_REPEATS = 32, 200, 16
COLUMNS = ("figure", "value", "random_weights", "n", "seed", "tolerance")
_ROUNDING, _FLIPS = 2e-3, 1e-2
"""Of means in nats or attention, and of shares: an answer may flip where two tokens tie within rounding."""


def figures(model: Model, twin: Model, corpus: Corpus, tokenizer: Any, *, seed: int = 0) -> pd.DataFrame:
    """Return a few figures of a model beside those of its random-weights twin, with `COLUMNS`.

    Args:
        tokenizer: `tokenizers.Tokenizer` of the model.
        seed: chooses the cities that are asked about and the random repeats; the rows of text are fixed.
    """
    rows = text_rows(corpus, tokenizer, HELD_OUT_SEED, 0, N_ROWS, n_ctx=model.n_ctx).astype(np.int64)
    told = [q for q in city_questions(corpus, name_tokens(model, corpus)) if q.kind == "country of a city"]
    told = [q for q in told if q.group.startswith("told")]
    drawn = np.random.default_rng(np.random.SeedSequence([seed, 17])).permutation(len(told))[:N_CITIES]
    asked, steps = [told[i] for i in sorted(drawn)], successor_questions()
    period = min(20, (model.n_ctx - 1) // 3)

    def induction(m: Model) -> float:
        scores = head_scores(m, period=period, n=N_REPEATS, seed=seed)[SCORES.index("induction")]
        return float(scores.mean(axis=0).max())

    measured: list[tuple[str, Callable[[Model], float], int, float]] = [
        ("loss on packed rows of fresh text, nats a token", lambda m: _mean(token_nats(m, rows)), N_ROWS, _ROUNDING),
        ("country of a told city, share right", lambda m: _mean(answered(m, asked)), len(asked), _FLIPS),
        ("next word of an ordinal class, share right", lambda m: _mean(answered(m, steps)), len(steps), _FLIPS),
        ("largest induction score of a head", induction, N_REPEATS, _ROUNDING),
    ]
    out = [(name, of(model), of(twin), n, seed, tolerance) for name, of, n, tolerance in measured]
    return pd.DataFrame(out, columns=list(COLUMNS))


def compared(stated: list[dict[str, Any]], found: pd.DataFrame) -> pd.DataFrame:
    """Return each figure that was found beside what the card states: figure, stated, found, tolerance, n, state.

    `state` is "ok", "differs", or "not in the card" (stated NaN).
    """
    card = {row["figure"]: row for row in stated}
    out = []
    for row in found.to_dict("records"):
        was = card.get(row["figure"], {})
        alike = all(was.get(key) == row[key] for key in ("n", "seed"))
        value = float(was["value"]) if alike and was.get("value") is not None else np.nan
        near = abs(value - row["value"]) <= row["tolerance"]
        state = "not in the card" if np.isnan(value) else "ok" if near else "differs"
        out.append((row["figure"], value, row["value"], row["tolerance"], row["n"], state))
    return pd.DataFrame(out, columns=["figure", "stated", "found", "tolerance", "n", "state"])


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
