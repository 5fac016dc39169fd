"""A model run with the last tokens of its prompts edited at one site: what it predicts, and what is left to read.

Every one of the last `last` tokens of a prompt has an eraser of its own: what stands one token before the end is
another population than what stands two before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from interp.errors import HookNotFired, InvalidInput
from interp.stats.erasure import Eraser

if TYPE_CHECKING:
    from interp.models import Model
    from interp.tokens import Encoded

BATCH_TOKENS = 2048


@dataclass(frozen=True)
class Prompts:
    """Prompts with what follows them, as tokens: `ends` [n], the number of the last token of each prompt in its row."""

    encoded: Encoded
    ends: np.ndarray
    last: int

    def __len__(self) -> int:
        return len(self.ends)


@dataclass(frozen=True)
class Ran:
    """What one run gave, a row a prompt.

    Args:
        nats: [n], of all tokens of the continuation; n_tokens: [n], how many; right: [n], each of them the likeliest.
        other_nats, n_other: [n], of the tokens of the prompt that come after its first edited one.
        site: [n, last, d], at the edited tokens, as it goes on into the model. final: [n, d], after the last block at
            the last token of the prompt.
    """

    nats: np.ndarray
    n_tokens: np.ndarray
    right: np.ndarray
    other_nats: np.ndarray
    n_other: np.ndarray
    site: np.ndarray
    final: np.ndarray


def make_prompts(model: Model, prompts: Sequence[str], continuations: Sequence[str], last: int) -> Prompts:
    """Return the tokens of prompts and continuations.

    Raises:
        InvalidInput: unequal numbers, an empty continuation, or a prompt of fewer than `last` tokens.
    """
    from interp.tokens import encode

    if len(prompts) != len(continuations) or not len(prompts) or not all(map(str, continuations)):
        raise InvalidInput(
            f"each prompt needs what follows it, not empty; given {len(prompts)} and {len(continuations)}."
        )
    if isinstance(last, bool) or not isinstance(last, int) or last < 1:
        raise InvalidInput(f"last is the number of tokens to edit, from 1, not {last!r}.")
    texts = [prompt + rest for prompt, rest in zip(prompts, continuations, strict=True)]
    spans = [(len(prompt), len(text)) for prompt, text in zip(prompts, texts, strict=True)]
    encoded = encode(model, texts, spans=spans)
    assert encoded.span_mask is not None
    ends = np.empty(len(texts), dtype=np.int64)
    for i, (start, stop) in enumerate(zip(encoded.starts[:-1], encoded.starts[1:], strict=True)):
        ends[i] = int(np.argmax(encoded.span_mask[start:stop])) - 1
        if encoded.special[start + max(0, ends[i] - last + 1) : start + ends[i] + 1].any() or ends[i] < last - 1:
            raise InvalidInput(f"prompt {i} ({prompts[i]!r}) has fewer than the {last} tokens that are to be edited.")
    return Prompts(encoded, ends, last)


@torch.no_grad()
def run_edited(model: Model, prompts: Prompts, rows: np.ndarray, site: str, erasers: Sequence[Eraser] | None) -> Ran:
    """Run some prompts with their last tokens edited at a site.

    Args:
        rows: int [n], rising: which prompts. erasers: one a token, first token first; None: nothing is edited.

    Raises:
        UnknownSite: a site that the model has not. HookNotFired: the model ran without it.
    """
    from interp.capturing import hooked

    final, parts = f"resid_post.{model.n_layers - 1}", []
    for at, ids, mask, answer in _batches(model, prompts, rows):
        places = torch.from_numpy(prompts.ends[at][:, None] + np.arange(1 - prompts.last, 1)).to(model.device)
        lines = torch.arange(len(at), device=model.device)
        seen: dict[str, torch.Tensor] = {}

        def keep_site(x: torch.Tensor, lines: Any = lines, places: Any = places, seen: Any = seen) -> None:
            seen["site"] = x[lines[:, None], places].double().cpu()

        def keep_final(x: torch.Tensor, lines: Any = lines, places: Any = places, seen: Any = seen) -> None:
            seen["final"] = x[lines, places[:, -1]].double().cpu()

        edit: Any = {} if erasers is None else {site: _editing(erasers, lines, places)}
        with hooked(model, edit), hooked(model, {site: keep_site}), hooked(model, {final: keep_final}):
            logits = model.logits(ids, mask.long())
        if len(seen) < 2:
            raise HookNotFired(f"{site} or {final} did not fire in {model.name}; nothing was erased.")
        after = torch.arange(ids.shape[1], device=model.device) > places[:, :1]
        told, other = _predicted(logits, ids, answer), _predicted(logits, ids, after & mask & ~answer)
        parts.append((at, *told, *other[:2], seen["site"].numpy(), seen["final"].numpy()))
    numbers, *columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(numbers)
    return Ran(*(column[order] for column in columns))


def _editing(erasers: Sequence[Eraser], lines: torch.Tensor, places: torch.Tensor) -> Any:
    def function(x: torch.Tensor) -> torch.Tensor:
        out = x.clone()
        for j, eraser in enumerate(erasers):
            mean, left, right = (torch.from_numpy(a).to(x.device) for a in (eraser.mean, eraser.left, eraser.right))
            rows = x[lines, places[:, j]].double()
            out[lines, places[:, j]] = (rows - ((rows - mean) @ right) @ left.T).to(x.dtype)
        return out

    return function


def _predicted(
    logits: torch.Tensor, ids: torch.Tensor, wanted: torch.Tensor
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each row the nats of the wanted tokens, their number, and whether each is the likeliest one."""
    wanted = wanted[:, 1:]
    chosen, targets = logits[:, :-1][wanted], ids[:, 1:][wanted]
    nats = torch.zeros(wanted.shape, dtype=torch.float64, device=ids.device)
    nats[wanted] = -chosen.double().log_softmax(-1).gather(1, targets[:, None])[:, 0]
    wrong = torch.zeros(wanted.shape, dtype=torch.bool, device=ids.device)
    wrong[wanted] = chosen.argmax(-1) != targets
    return nats.sum(1).cpu().numpy(), wanted.sum(1).cpu().numpy(), ~wrong.any(1).cpu().numpy()


def _batches(model: Model, prompts: Prompts, rows: np.ndarray) -> Iterator[tuple[np.ndarray, Any, Any, Any]]:
    """Yield row numbers, ids, mask and which tokens are the continuation, each [batch, pos] on the model's device."""
    from interp.batches import plan_batches

    encoded = prompts.encoded
    assert encoded.span_mask is not None
    for batch in plan_batches(encoded.lengths[rows], BATCH_TOKENS):
        at = rows[batch]
        ids, answer = encoded.pad(encoded.ids, at, 0), encoded.pad(encoded.span_mask, at, False)
        shown, mask, told = (torch.from_numpy(x).to(model.device) for x in (ids, encoded.mask(at), answer))
        yield at, shown, mask, told
