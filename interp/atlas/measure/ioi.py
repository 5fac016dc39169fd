"""The indirect-object task: does the model name the person who was named once ("... Anna gave the book to" Ben)?

Three figures a group of texts: the share in which the object name is likelier than the repeated (subject) name; the
share in which greedy decoding gives the whole object name out of the full vocabulary; and the mean logit difference
of the first tokens of the two names. Groups are whether the two names ever met in the training text, the order of
the names (ABBA or BABA) and whether the template occurs there. Intervals are over texts drawn anew from the templates
of the group: they say nothing about templates that were not tried.

Reference: Wang et al. (2022), the task and the logit difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.atlas.measure.forward import batched_logits
from interp.atlas.measure.rows import mean_row, name_words, share_row
from interp.errors import InvalidInput
from interp.tokens import tokenize

if TYPE_CHECKING:
    from interp.atlas.corpus.text import Text
    from interp.models import Model

ORDERS = ("ABBA", "BABA")


@dataclass(frozen=True)
class Judged:
    """How a model finishes texts whose answer is one of two names."""

    difference: np.ndarray
    """float64 [n]: logit of the first token of the object minus that of the subject; NaN where they are one token."""
    greedy: np.ndarray
    """bool [n]: every token of the object is the most likely one of the vocabulary."""

    @property
    def comparable(self) -> np.ndarray:
        """bool [n]: the names begin with different tokens."""
        return np.isfinite(self.difference)


def judge(model: Model, texts: Sequence[Text]) -> Judged:
    """Return how `model` finishes texts with an answer and the label `subject`, up to that answer.

    Raises:
        InvalidInput: a text without an answer, or whose tokens before the answer depend on the answer.
    """
    import torch

    asked = [_question(text) for text in texts]
    ids, mask, answer, first = _encoded(model, [(prompt, name) for prompt, name, _ in asked])
    other_ids, _, _, other_first = _encoded(model, [(prompt, other) for prompt, _, other in asked])
    width = int(first.max(initial=0))
    before = np.arange(width) < first[:, None]
    if (first != other_first).any() or (np.where(before, ids[:, :width] - other_ids[:, :width], 0) != 0).any():
        raise InvalidInput("the tokens before an answer change with it; the answer has to begin with its space.")
    at = np.arange(len(texts))
    wanted, unwanted = ids[at, first], other_ids[at, first]
    difference, greedy = np.full(len(texts), np.nan), np.zeros(len(texts), dtype=bool)
    for rows, logits in batched_logits(model, ids, mask):
        size = logits.shape[1]
        best = logits[:, :-1].argmax(-1).cpu().numpy()
        greedy[rows] = ~(answer[rows, 1:size] & (best != ids[rows, 1:size])).any(axis=1)
        last = logits[torch.arange(len(rows)), torch.from_numpy(first[rows] - 1)].double().cpu().numpy()
        inside = np.arange(len(rows))
        difference[rows] = last[inside, wanted[rows]] - last[inside, unwanted[rows]]
    return Judged(np.where(wanted == unwanted, np.nan, difference), greedy)


def ioi_texts(
    sample: Callable[..., Text],
    templates: Sequence[Any],
    n: int,
    *,
    order: str,
    never_paired: bool,
    seed: int,
) -> list[Text]:
    """Return `n` texts of `sample`(rng, template=, order=, never_paired=), the templates in turn.

    Text i is a function of (seed, order, never_paired, its template, i) alone.
    """
    out = []
    for i in range(n):
        template = templates[i % len(templates)]
        words = name_words(f"{template}|{order}|{never_paired}")
        rng = np.random.default_rng(np.random.SeedSequence([seed, *words, i]))
        out.append(sample(rng, template=template, order=order, never_paired=never_paired))
    return out


def ioi_rows(
    model: Model,
    twin: Model,
    sample: Callable[..., Text],
    templates: Mapping[str, Sequence[Any]],
    *,
    n: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Return the rows of the card, `n` texts a group; `templates`: what to call a set of templates -> its templates."""
    out = []
    for never in (False, True):
        for called, kept in templates.items():
            for order in ORDERS:
                texts = ioi_texts(sample, kept, n, order=order, never_paired=never, seed=seed)
                pairing = "names never paired in training" if never else "names paired in training"
                out += _group_rows(model, twin, texts, f"{pairing}, templates {called}, {order}", seed)
    return out


def _group_rows(model: Model, twin: Model, texts: list[Text], group: str, seed: int) -> list[dict[str, Any]]:
    real, control = judge(model, texts), judge(twin, texts)
    kept = real.comparable
    answers = np.unique([text.labels["object"] for text in texts], return_counts=True)[1]
    rows = [
        share_row(
            "indirect object, object over subject", real.difference[kept] > 0, group=group,
            random=control.difference[kept] > 0, baseline=0.5, baseline_name="chance",
        ),
        share_row(
            "indirect object, greedy", real.greedy, group=group, random=control.greedy,
            baseline=float(answers.max() / len(texts)), baseline_name="most frequent name",
        ),
        mean_row(
            "indirect object, logit difference", real.difference[kept], seed=seed, group=group, unit="logits",
            random=control.difference[kept], baseline=0.0, baseline_name="no preference",
        ),
    ]  # fmt: skip
    left_out = int((~kept).sum())
    for row in (rows[0], rows[2]):
        if left_out and row["status"] == "ok":
            row["status"] = f"ok; {left_out} texts left out, whose names begin with one token"
    return rows


def _question(text: Text) -> tuple[str, str, str]:
    if text.answer is None or "subject" not in text.labels:
        raise InvalidInput(f"{text.text[:60]!r} has no answer or no label 'subject'; give texts of the task.")
    start, end = text.answer
    return text.text[:start], text.text[start:end], f" {text.labels['subject']}"


def _encoded(model: Model, asked: list[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return ids, mask, tokens of the answer [n, pos] and the place of its first token [n]."""
    spans = [(len(prompt), len(prompt) + len(answer)) for prompt, answer in asked]
    tokens = tokenize(model, [prompt + answer for prompt, answer in asked], spans=spans)
    assert tokens.span_mask is not None
    return tokens.ids, tokens.mask, tokens.span_mask, tokens.span_mask.argmax(axis=1)
