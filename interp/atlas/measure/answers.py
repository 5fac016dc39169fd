"""Whether the model gives an answer: by greedy decoding, and by choosing among candidates.

An answer counts with the full stop behind it: a model that says "Guinea-Bissau" has not said "Guinea", and "north"
is not what a model means that goes on to "-east".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.atlas.measure.forward import batched_logits, token_nats
from interp.atlas.measure.questions import Question, questions
from interp.atlas.measure.rows import share_row
from interp.errors import InvalidInput
from interp.tokens import Tokens, encode, find_tokenizer, tokenize

if TYPE_CHECKING:
    from interp.atlas.corpus import Corpus
    from interp.models import Model

END = "."
COMMONEST = "commonest answer of the group"


def _behind(model: Model, prompts: Sequence[str], answers: Sequence[str]) -> tuple[Tokens, np.ndarray]:
    """Return the tokens of prompt + answer + full stop, and which targets [n, pos - 1] are behind the prompt."""
    texts = [prompt + answer + END for prompt, answer in zip(prompts, answers, strict=True)]
    tokens = tokenize(model, texts, spans=[(len(p), len(t)) for p, t in zip(prompts, texts, strict=True)])
    assert tokens.span_mask is not None
    return tokens, tokens.span_mask[:, 1:]


def answered(model: Model, asked: Sequence[Question]) -> np.ndarray:
    """Return bool [n]: whether greedy decoding gives the answer to each question, and then a full stop.

    Every token of it has to be the most likely one behind the true tokens before it, which is the same thing.
    """
    if not asked:
        return np.zeros(0, dtype=bool)
    unique = {(q.prompt, q.answer): i for i, q in enumerate({(q.prompt, q.answer): q for q in asked}.values())}
    prompts, answers = zip(*unique, strict=True)
    tokens, behind = _behind(model, prompts, answers)
    right = np.zeros(len(unique), dtype=bool)
    for rows, logits in batched_logits(model, tokens.ids, tokens.mask):
        best = logits[:, :-1].argmax(-1).cpu().numpy()
        width = best.shape[1]
        wrong = behind[rows, :width] & (best != tokens.ids[rows, 1 : width + 1])
        right[rows] = ~wrong.any(axis=1)
    return right[[unique[q.prompt, q.answer] for q in asked]]


def candidate_nats(model: Model, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> np.ndarray:
    """Return -log P(candidate and full stop | prompt), summed over its tokens, float64 [prompt, candidate].

    Args:
        candidates: for each prompt the same number of answers, each with its leading space.

    Raises:
        InvalidInput: unequal numbers of candidates.
    """
    if len({len(c) for c in candidates}) > 1 or len(candidates) != len(prompts):
        raise InvalidInput(f"{len(prompts)} prompts need as many lists of candidates, all of one length.")
    if not len(prompts):
        return np.zeros((0, 0))
    repeated = [prompt for prompt, given in zip(prompts, candidates, strict=True) for _ in given]
    tokens, behind = _behind(model, repeated, [c for given in candidates for c in given])
    nats = np.where(behind, token_nats(model, tokens.ids, tokens.mask), 0.0).sum(axis=1)
    return nats.reshape(len(prompts), -1)


def chosen(nats: np.ndarray) -> np.ndarray:
    """Return the likeliest candidate of each prompt, int64 [prompt], of nats [prompt, candidate]; -1 where two tie."""
    best = nats.min(axis=1, keepdims=True)
    return np.where((nats == best).sum(axis=1) == 1, nats.argmin(axis=1), -1)


def said(model: Model, prompts: Sequence[str], *, max_tokens: int = 24) -> list[str]:
    """Return what the model says behind each prompt up to its first full stop, decoded greedily, without the space.

    An answer that has no full stop within `max_tokens` tokens is returned as "".
    """
    decode = find_tokenizer(model).decode
    encoded = encode(model, prompts)
    given = [encoded.ids[encoded.starts[i] : encoded.starts[i + 1]].tolist() for i in range(len(prompts))]
    lengths = [len(ids) for ids in given]
    out, open_rows = [""] * len(prompts), list(range(len(prompts)))
    for _ in range(max_tokens):
        open_rows = [i for i in open_rows if len(given[i]) < model.n_ctx]
        if not open_rows:
            break
        width = max(len(given[i]) for i in open_rows)
        ids = np.array([given[i] + [0] * (width - len(given[i])) for i in open_rows])
        mask = np.arange(width) < np.array([len(given[i]) for i in open_rows])[:, None]
        for rows, logits in batched_logits(model, ids, mask):
            best = logits.argmax(-1).cpu().numpy()
            for at, row in enumerate(rows):
                given[open_rows[row]].append(int(best[at, mask[row].sum() - 1]))
        texts = {i: decode(given[i][lengths[i] :]) for i in open_rows}
        out = [texts[i].split(END)[0].strip() if i in texts and END in texts[i] else old for i, old in enumerate(out)]
        open_rows = [i for i in open_rows if END not in texts[i]]
    return out


def question_rows(model: Model, twin: Model, asked: Sequence[Question]) -> list[dict[str, Any]]:
    """Return one row a kind and group: share answered greedily, beside random weights and the rule of the group.

    Where no rule is given the baseline is the commonest true answer of the group.
    """
    right, random = answered(model, asked), answered(twin, asked)
    keys = [(q.kind, q.group) for q in asked]
    out = []
    for kind, group in dict.fromkeys(keys):
        at = np.array([i for i, key in enumerate(keys) if key == (kind, group)])
        part = [asked[i] for i in at]
        answers = np.array([q.answer for q in part])
        if any(q.guess is None for q in part):
            found, counts = np.unique(answers, return_counts=True)
            baseline, name = answers == found[counts.argmax()], COMMONEST
        else:
            baseline, name = np.array([q.guess for q in part]) == answers, part[0].rule
        units = np.unique([q.unit or f"{i}" for i, q in enumerate(part)], return_inverse=True)[1]
        out.append(
            share_row(
                kind, right[at], group=group, unit="share right, greedy", random=random[at], baseline=baseline,
                baseline_name=name, units=units,
            )
        )  # fmt: skip
    return out


def name_tokens(model: Model, corpus: Corpus) -> list[int]:
    """Return the number of tokens of each city's name as it stands in a text."""
    return [int(n) for n in encode(model, [f" {name}" for name in corpus.geography.names], bos="never").lengths]


def answer_rows(model: Model, twin: Model, corpus: Corpus) -> list[dict[str, Any]]:
    """Return the rows of every question with one right answer (`questions`)."""
    return question_rows(model, twin, questions(corpus, name_tokens(model, corpus)))
