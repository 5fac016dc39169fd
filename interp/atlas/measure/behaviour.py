"""What the model does with text: losses, heads, the indirect object, brackets and expressions, in one call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp.atlas.corpus import MIXTURE, Corpus
from interp.atlas.corpus.ioi import TEMPLATES, sample
from interp.atlas.measure.brackets import bracket_rows
from interp.atlas.measure.expressions import expression_rows
from interp.atlas.measure.heads import head_rows, head_scores, head_table, repeat_loss_rows
from interp.atlas.measure.ioi import ioi_rows
from interp.atlas.measure.losses import fresh_texts, loss_rows, loss_table, packed_losses, text_losses
from interp.atlas.measure.ngrams import NGrams, fit_ngrams
from interp.atlas.measure.rows import card_table

if TYPE_CHECKING:
    from interp.models import Model

PERIODS = (3, 7, 20, 33, 50, 70, 90)
HEAD_PERIOD = 20


@dataclass(frozen=True)
class Behaviour:
    """The rows of the card, and the two tables that are too long for it."""

    rows: pd.DataFrame
    """Columns of `rows.COLUMNS`."""
    losses: pd.DataFrame
    """As `losses.loss_table`: every baseline of every kind of text."""
    heads: pd.DataFrame
    """As `heads.head_table`: every score of every head."""


def measure_behaviour(
    model: Model,
    twin: Model,
    corpus: Corpus,
    *,
    train_rows: np.ndarray,
    fresh_rows: np.ndarray,
    seed: int,
    n: int = 300,
) -> Behaviour:
    """Return what `model` does with fresh text, beside its random-weights twin and n-gram tables.

    Args:
        train_rows: uint16 [rows, pos], packed rows of the training text, in which n-grams are counted.
        fresh_rows: uint16 [rows, pos], packed rows of another seed.
        seed: of the fresh texts, the random repeats and the intervals.
        n: fresh texts of each kind and group.
    """
    ngrams = fit_ngrams(train_rows, model.d_vocab)
    texts = {kind: fresh_texts(corpus, kind, n, seed=seed) for kind in MIXTURE}
    alone = text_losses(model, twin, texts, ngrams)
    packed = packed_losses(model, twin, fresh_rows, ngrams, kind="packed rows of the mixture")
    losses = pd.concat([alone, packed], ignore_index=True)
    heads, table = _heads(model, twin, seed=seed)
    periods = [period for period in PERIODS if period + 3 <= model.n_ctx]
    templates = {
        "of the training text": [name for name, template in TEMPLATES.items() if not template.set_aside],
        "set aside": [name for name, template in TEMPLATES.items() if template.set_aside],
    }
    rows: list[dict[str, Any]] = [
        *loss_rows(losses, seed=seed, shares=MIXTURE),
        *repeat_loss_rows(model, twin, periods, n=32, seed=seed),
        *heads,
        *ioi_rows(model, twin, sample, templates, n=n, seed=seed),
        *task_rows(model, twin, corpus, ngrams, seed=seed, n=2 * n),
    ]
    return Behaviour(card_table(rows), loss_table(losses, d_vocab=model.d_vocab, shares=MIXTURE), table)


def task_rows(model: Model, twin: Model, corpus: Corpus, ngrams: NGrams, *, seed: int, n: int) -> list[dict[str, Any]]:
    """Return the rows of brackets and expressions, from `n` fresh texts of each."""
    brackets, expressions = (fresh_texts(corpus, kind, n, seed=seed) for kind in ("brackets", "expressions"))
    return [*bracket_rows(model, twin, brackets, ngrams), *expression_rows(model, twin, expressions)]


def _heads(model: Model, twin: Model, *, seed: int) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    period = min(HEAD_PERIOD, (model.n_ctx - 1) // 3)
    scores, control = (head_scores(m, period=period, n=64, seed=seed) for m in (model, twin))
    return head_rows(scores, control, period=period, seed=seed), head_table(scores, control, seed=seed)
