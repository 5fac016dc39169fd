"""Fine-tune a copy of a model on some samples, always with the same number of tokens and steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from analyses.data_selection.samples import Sample
from analyses.data_selection.token_windows import TokenChoice, find_windows
from interp.errors import InvalidInput
from interp.stats.seeds import check_seed

if TYPE_CHECKING:
    from interp.models import Model

TokenRow = tuple[np.ndarray, np.ndarray]
"""Ids int64 [token] and, bool [token], which of them the loss is on."""


@dataclass(frozen=True)
class Tuning:
    """How a copy is tuned: AdamW, a linear warm-up, then a straight line to zero; no dropout."""

    tokens: int = 4096
    """Tokens read in all, BOS included: the rows are read again, in another order, until they are spent."""
    lr: float = 1e-3
    batch_tokens: int = 256
    """Tokens of a step, so tokens // batch_tokens steps, whatever the rows."""
    loss: str = "answer"
    """"answer": the loss is on what the assistant says, and on all of plain text; "all": on all but the first token."""
    template: str = "plain"
    """See `render`."""
    warmup: float = 0.1
    """Share of the steps."""
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if self.loss not in ("answer", "all"):
            raise InvalidInput(f"loss is on 'answer' or 'all', not {self.loss!r}.")
        if not 1 <= self.batch_tokens <= self.tokens:
            raise InvalidInput(f"batch_tokens is {self.batch_tokens}; expected 1 to tokens={self.tokens}.")
        if not (np.isfinite(self.lr) and self.lr > 0):
            raise InvalidInput(f"lr is {self.lr}; expected more than 0.")

    @property
    def n_steps(self) -> int:
        """Number of updates."""
        return self.tokens // self.batch_tokens


@dataclass(frozen=True, eq=False)
class Tuned:
    """A tuned copy: the module, tokens read, and the mean loss in nats a token of each step, float64 [step]."""

    module: Any
    n_tokens: int
    losses: np.ndarray


def finetune(
    model: Model,
    rows: Sequence[Sample] | Sequence[TokenRow],
    *,
    seed: int,
    tuning: Tuning | None = None,
    **options: Any,
) -> Tuned:
    """Tune a copy of the model on some samples; the model itself is not changed.

    After each step the tokens read are within one row of step * batch_tokens, so two sets of rows of any size and
    length are compared at equal cost. Equal arguments give equal weights on one machine and number of threads.

    Args:
        rows: samples, or what `token_rows` made of them.
        seed: of the order of the rows.
        tuning: how; or give its fields by name (tokens=, lr=, loss=, ...).

    Raises:
        InvalidInput: no row, a row without a token for the loss, or tuning= beside its fields.
    """
    if tuning is not None and options:
        raise InvalidInput(f"give tuning= or {', '.join(options)}, not both.")
    plan = tuning or Tuning(**options)
    usable = _usable(model, rows, plan)
    module: Any = model.trainable_copy()
    optimiser = torch.optim.AdamW(module.parameters(), lr=plan.lr, betas=(0.9, 0.95), weight_decay=plan.weight_decay)
    warm = max(1, round(plan.warmup * plan.n_steps))
    losses, n_tokens = np.empty(plan.n_steps), 0
    with torch.enable_grad():
        for step, batch in enumerate(_batches(usable, plan, check_seed(seed))):
            for group in optimiser.param_groups:
                group["lr"] = plan.lr * min(1.0, (step + 1) / warm, (plan.n_steps - step) / (plan.n_steps - warm + 1))
            n_wanted = sum(int(wanted.sum()) for _, wanted in batch)
            losses[step] = 0.0
            for part in _of_like_length(batch):
                found = torch.cat(token_losses(module, part)).sum() / n_wanted
                found.backward()
                losses[step] += float(found.detach())
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            n_tokens += sum(len(ids) for ids, _ in batch)
    return Tuned(module, n_tokens, losses)


def token_rows(model: Model, samples: Sequence[Sample], tuning: Tuning) -> list[TokenRow | None]:
    """Return the tokens of each sample, None where none would carry a loss."""
    out: list[TokenRow | None] = [None] * len(samples)
    is_text = np.array([sample.turns[0].role == "text" for sample in samples], dtype=bool)
    for part, tokens in ((is_text, "all"), (~is_text, tuning.loss)):
        at = np.flatnonzero(part)
        if not len(at):
            continue
        choice = TokenChoice(template=tuning.template, tokens=tokens)
        windows = find_windows(model, [samples[int(i)] for i in at], choice)
        if windows.encoded is None or windows.encoded.span_mask is None:
            continue
        bounds = zip(windows.encoded.starts[:-1], windows.encoded.starts[1:], strict=True)
        for row, (start, stop) in zip(at[windows.rows], bounds, strict=True):
            wanted = windows.encoded.span_mask[start:stop].copy()
            wanted[0] = False  # nothing comes before it
            if wanted.any():
                out[row] = windows.encoded.ids[start:stop].astype(np.int64), wanted
    return out


def row_losses(module: Any, rows: Sequence[TokenRow], *, batch_tokens: int = 2048) -> np.ndarray:
    """Return the mean loss of each row in nats a token, float64 [row]: over the tokens that its loss is on."""
    out = np.empty(len(rows))
    order = np.argsort([len(ids) for ids, _ in rows], kind="stable")
    with torch.no_grad():
        while len(order):
            n = max(1, int(np.sum(np.cumsum(np.full(len(order), len(rows[order[-1]][0]))) <= batch_tokens)))
            part, order = order[-n:], order[:-n]  # the longest first, each batch as wide as its longest
            for row, found in zip(part, token_losses(module, [rows[i] for i in part]), strict=True):
                out[row] = float(found.double().mean())
    return out


def token_losses(module: Any, rows: Sequence[TokenRow]) -> list[torch.Tensor]:
    """Return the loss of each wanted token in nats, one tensor a row."""
    width = max(len(ids) for ids, _ in rows)
    ids, wanted = np.zeros((len(rows), width), np.int64), np.zeros((len(rows), width), bool)
    real = np.zeros((len(rows), width), np.int64)
    for i, (one, mask) in enumerate(rows):
        ids[i, : len(one)], wanted[i, : len(one)], real[i, : len(one)] = one, mask, 1
    device = next(module.parameters()).device
    x, on, mask = (torch.from_numpy(a).to(device) for a in (ids, wanted[:, 1:], real))
    # only what is wanted is unembedded: most of the cost of a small model is its vocabulary
    hook = module.get_output_embeddings().register_forward_pre_hook(lambda _, given: (given[0][:, :-1][on],))
    try:
        logits = module(input_ids=x, attention_mask=mask, use_cache=False).logits.float()
    finally:
        hook.remove()
    return list(F.cross_entropy(logits, x[:, 1:][on], reduction="none").split(wanted.sum(axis=1).tolist()))


def _usable(model: Model, rows: Sequence[Any], plan: Tuning) -> list[TokenRow]:
    if not len(rows):
        raise InvalidInput("there is no row to tune on.")
    found = token_rows(model, rows, plan) if isinstance(rows[0], Sample) else list(rows)
    usable = [row for row in found if row is not None]
    if len(usable) < len(found):
        first = next(i for i, row in enumerate(found) if row is None)
        raise InvalidInput(
            f"{len(found) - len(usable)} of {len(found)} rows have no token for loss={plan.loss!r}, first row {first}; "
            "leave them out (see token_rows), or take loss='all'."
        )
    return usable


def _of_like_length(rows: list[TokenRow], worth: int = 48) -> list[list[TokenRow]]:
    """Cut a batch where it saves most padding, and again while a cut saves `worth` tokens."""
    rows = sorted(rows, key=lambda row: len(row[0]))
    lengths = np.array([len(ids) for ids, _ in rows])
    saved = np.arange(len(rows)) * (lengths[-1] - np.concatenate([[0], lengths[:-1]]))
    cut = int(saved.argmax())
    if saved[cut] < worth:
        return [rows]
    return [*_of_like_length(rows[:cut], worth), *_of_like_length(rows[cut:], worth)]


def _batches(rows: list[TokenRow], plan: Tuning, seed: int) -> Iterator[list[TokenRow]]:
    """Yield the rows of each step: as many as bring the tokens read nearest to the step's share from below, or one."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(91,)))
    coming, read = iter(rng.permutation(len(rows)).tolist()), 0
    for step in range(1, plan.n_steps + 1):
        batch: list[TokenRow] = []
        while read < step * plan.batch_tokens or not batch:
            row = next(coming, None)
            if row is None:
                coming = iter(rng.permutation(len(rows)).tolist())
                continue
            batch.append(rows[row])
            read += len(rows[row][0])
        yield batch
