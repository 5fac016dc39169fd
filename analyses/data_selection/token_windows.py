"""From samples to tokens: which of them are read, which of those are pooled, and what was cut off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analyses.data_selection.samples import Sample, UnusableRow
from analyses.data_selection.templates import Rendered, check_template, render
from interp.errors import InvalidInput
from interp.tokens import Encoded, bos_policy, encode

if TYPE_CHECKING:
    from interp.models import Model


@dataclass(frozen=True)
class TokenChoice:
    """Which tokens of a sample are read and pooled. BOS, EOS and padding never are pooled."""

    template: str = "plain"
    """See `render`."""
    tokens: str = "all"
    """"all", "prompt", "answer", or "last:N" (the last N that are read)."""
    max_length: int | None = None
    """Tokens read of a sample, BOS included; default the context of the model."""
    keep: str = "start"
    """Which end of a longer sample is read: "start" or "end"."""
    bos: str | None = None
    """BOS policy; default that of the model."""


@dataclass(frozen=True)
class Windows:
    """Tokens of the samples that have any to pool.

    rows: int64 [kept], which samples; encoded: their tokens, `span_mask` marks those that are pooled;
    problems: (row, reason, detail) of the others.
    """

    rows: np.ndarray
    encoded: Encoded | None
    problems: tuple[tuple[int, str, str], ...]


def check_choice(choice: TokenChoice, model: Model) -> None:
    """Raise InvalidInput for a choice that this model cannot follow."""
    check_template(choice.template, model.tokenizer)
    bos_policy(model, choice.bos)
    _last(choice.tokens)
    if choice.keep not in ("start", "end"):
        raise InvalidInput(f"keep is 'start' or 'end', not {choice.keep!r}.")
    if choice.max_length is not None and not 2 <= choice.max_length <= model.n_ctx:
        raise InvalidInput(f"max_length is {choice.max_length}; {model.name} takes 2 to {model.n_ctx} tokens.")


def find_windows(model: Model, samples: Sequence[Sample], choice: TokenChoice) -> Windows:
    """Tokenise samples, cut the long ones and mark the tokens that are pooled.

    A row that leaves nothing to pool is a problem, not an error: "no token", "no answer token" (plain text has no
    answer), "answer cut off".
    """
    problems: list[tuple[int, str, str]] = []
    rendered: dict[int, Rendered] = {}
    for row, sample in enumerate(samples):
        try:
            rendered[row] = render(sample.turns, choice.template, model.tokenizer)
        except UnusableRow as problem:
            problems.append((row, problem.reason, problem.detail))
    encoded = _encoded(model, {row: one.text for row, one in rendered.items()}, bos_policy(model, choice.bos), problems)
    limit = choice.max_length or model.n_ctx
    kept: list[tuple[int, Encoded]] = []
    for row, one in encoded.items():
        try:
            kept.append((row, _window(one, rendered[row], choice, limit)))
        except UnusableRow as problem:
            problems.append((row, problem.reason, problem.detail))
    rows = np.array([row for row, _ in kept], dtype=np.int64)
    return Windows(rows, _joined([one for _, one in kept]) if kept else None, tuple(sorted(problems)))


def _encoded(
    model: Model, texts: dict[int, str], policy: str, problems: list[tuple[int, str, str]]
) -> dict[int, Encoded]:
    """Tokenise all at once; where a text cannot be, one by one, to find out which."""
    if not texts:
        return {}
    try:
        # the tokenizer alone, because a text that the model cannot take whole is cut below
        encoded = encode(model.tokenizer, list(texts.values()), bos=policy, offsets=True)
        return {row: encoded.part(i, i + 1) for i, row in enumerate(texts)}
    except InvalidInput as error:
        if len(texts) == 1:
            problems.append((next(iter(texts)), "no token", str(error)[:200]))
            return {}
    found: dict[int, Encoded] = {}
    for row, text in texts.items():
        found |= _encoded(model, {row: text}, policy, problems)
    return found


def _window(one: Encoded, rendered: Rendered, choice: TokenChoice, limit: int) -> Encoded:
    n = len(one.ids)
    at = np.arange(n)
    if n > limit and choice.keep == "start":
        at = at[:limit]
    elif n > limit:
        first = int(one.special[0])  # BOS stays in front
        at = np.concatenate([at[:first], at[n - limit + first :]])
    chosen = _chosen(one, rendered, choice.tokens)
    if not chosen.any():
        raise UnusableRow(f"no {choice.tokens if choice.tokens in ('answer', 'prompt') else 'text'} token")
    if not chosen[at].any():
        raise UnusableRow(f"{choice.tokens} cut off", f"{n} tokens, {limit} are read from the {choice.keep}")
    chosen = chosen[at]
    last = _last(choice.tokens)
    if last is not None:
        chosen &= np.cumsum(chosen[::-1])[::-1] <= last
    return Encoded(
        one.ids[at], one.special[at], np.array([0, len(at)]), np.array([n - len(at)], dtype=np.int64), span_mask=chosen
    )


def _chosen(one: Encoded, rendered: Rendered, tokens: str) -> np.ndarray:
    if tokens not in ("answer", "prompt"):
        return ~one.special
    assert one.offsets is not None
    starts, ends = one.offsets.T
    answer = np.zeros(len(starts), dtype=bool)
    for start, end in rendered.answers:
        answer |= (starts < end) & (ends > start)
    return (answer if tokens == "answer" else ~answer) & ~one.special


def _last(tokens: str) -> int | None:
    if tokens in ("all", "prompt", "answer"):
        return None
    head, _, number = tokens.partition(":")
    if head != "last" or not number.isdecimal() or int(number) < 1:
        raise InvalidInput(f"tokens is 'all', 'prompt', 'answer' or 'last:N', not {tokens!r}.")
    return int(number)


def _joined(parts: list[Encoded]) -> Encoded:
    return Encoded(
        ids=np.concatenate([part.ids for part in parts]),
        special=np.concatenate([part.special for part in parts]),
        starts=np.concatenate([[0], np.cumsum([len(part.ids) for part in parts])]).astype(np.int64),
        truncated=np.concatenate([part.truncated for part in parts]),
        span_mask=np.concatenate([part.span_mask for part in parts if part.span_mask is not None]),
    )
