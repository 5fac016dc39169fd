"""Copy suppression on text: does a head attend to what the model is about to say, and take it back?

The copy-suppression-preserving ablation (CSPA) of McDougall et al. (2023): of what a head moves, only the part is kept
that lowers the token it was moved from, and only from tokens that the model predicts at this point already (the five
most predicted of those in the context, read off the residual stream before the layer); the rest is replaced by the
head's mean output. A head is a copy suppressor to the extent that this ablation changes the model's predictions less
than the mean alone: 1 - KL(clean || CSPA) / KL(clean || mean).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from analyses.attention.heads import COLUMNS, with_baselines, with_control
from analyses.attention.reading import attention_batches
from analyses.attention.token_rows import TokenRows
from interp.attribution import Attention
from interp.errors import InvalidInput, ModelMismatch
from interp.linear_parts import output_map, unembedding_directions
from interp.reading import hooked, read_sites
from interp.sites import Site

if TYPE_CHECKING:
    from interp.models import Model

AGAINST, KEPT, EFFECT = "output against its source", "copy suppression (CSPA)", "effect (KL of mean ablation)"
SUPPRESSION = (AGAINST, KEPT, EFFECT)
K_SOURCES = 5
LEAST_EFFECT = 1e-4
"""Nats a token: of a head that changes less there is nothing to keep a share of."""
OTHER_TOKENS = "the unembeddings of other tokens in their place"
_BATCH_ROWS = 32


def suppression_scores(
    model: Model,
    rows: TokenRows,
    *,
    seed: int,
    k_sources: int = K_SOURCES,
    twin: Model | None = None,
    n_boot: int = 500,
) -> pd.DataFrame:
    """Return how much every head suppresses copies on text.

    Args:
        rows: texts; BOS and padding neither ask nor are kept as sources.
        k_sources: tokens of the context, most predicted first, that may be kept.
        twin: the model with random weights.
        n_boot: resamples of rows, for 95 % intervals.

    Returns:
        Rows and columns as `head_scores`, of three scores:
        "output against its source": of all that the head moves (attention times length), the share that points against
        the unembedding of the token it comes from: -sum A (v W_O) . u / sum A |v W_O|, u of length 1; -1 to 1.
        "copy suppression (CSPA)": 1 - KL(clean || CSPA) / KL(clean || mean ablation), from sums over tokens; status
        says so where the head has next to no effect.
        "effect (KL of mean ablation)": nats a token.
        The null of the first two is the same with each token's unembedding replaced by that of a random other token.

    Raises:
        InvalidInput: k_sources below 1, or no text. ModelMismatch: a layer without an attention pattern, or a norm
            after attention.
    """
    if k_sources < 1 or not rows.content.any():
        raise InvalidInput(f"suppression needs texts and k_sources from 1; got {k_sources=}, {len(rows)} rows.")
    found = [_of_layer(model, rows, layer, k_sources, seed) for layer in range(model.n_layers)]
    sums = {name: np.stack([part[name] for part in found], axis=1) for name in found[0]}  # [row, layer, head]
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=n_boot).astype(np.float64)
    parts = [_table(name, sums, weights, rows) for name in SUPPRESSION]
    table = with_baselines(pd.concat(parts, ignore_index=True))
    control = None
    if twin is not None:
        control = suppression_scores(twin, rows, seed=seed, k_sources=k_sources, n_boot=0)
    return with_control(table, control).assign(seed=seed).loc[:, list(COLUMNS)]


def _table(name: str, sums: dict[str, np.ndarray], weights: np.ndarray, rows: TokenRows) -> pd.DataFrame:
    above, below, null = {
        AGAINST: ("against", "moved", "against other"),
        KEPT: ("cspa", "mean", "cspa other"),
        EFFECT: ("mean", "tokens", ""),
    }[name]

    def ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
        share = np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
        return 1 - share if name == KEPT else share

    flat = {key: part.reshape(len(part), -1) for key, part in sums.items()}
    value = ratio(flat[above].sum(axis=0), flat[below].sum(axis=0))
    low, high, does = np.full_like(value, np.nan), np.full_like(value, np.nan), np.isfinite(value)
    if len(weights):
        drawn = ratio(weights @ flat[above], weights @ flat[below])[:, does]
        low[does], high[does] = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    null_mean = ratio(flat[null].sum(axis=0), flat[below].sum(axis=0)) if null else np.zeros_like(value)
    status = np.where(does, "ok", "the head moves nothing").astype(object)
    if name == KEPT:
        idle = flat["mean"].sum(axis=0) / flat["tokens"].sum(axis=0) < LEAST_EFFECT
        status[idle] = f"the head changes less than {LEAST_EFFECT:g} nats a token"
        value, low, high, null_mean = (np.where(idle, np.nan, x) for x in (value, low, high, null_mean))
    layer, head = np.divmod(np.arange(len(value)), sums["mean"].shape[2])
    return pd.DataFrame({
        "score": name, "layer": layer, "head": head, "value": value, "ci_low": low, "ci_high": high,
        "null": OTHER_TOKENS if null else "no effect", "null_mean": null_mean, "n": int(rows.content.sum()),
        "n_rows": len(rows), "status": status,
    })  # fmt: skip


@torch.no_grad()
def _of_layer(model: Model, rows: TokenRows, layer: int, k: int, seed: int) -> dict[str, np.ndarray]:
    """Return sums over the text tokens of each row, float64 [row, head] by name."""
    U = unembedding_directions(model)
    u = U / U.norm(dim=0).clamp_min(1e-30)
    other = torch.from_numpy(_derangement(model.d_vocab, np.random.default_rng([seed, 1]))).to(U.device)
    M, mean = _map_and_mean(model, rows, layer)
    out = {name: np.zeros((len(rows), model.n_heads)) for name in
           ("against", "against other", "moved", "mean", "cspa", "cspa other", "tokens")}  # fmt: skip
    for at, part, found in attention_batches(model, rows, [layer], batch_rows=_BATCH_ROWS):
        batch = _Batch(model, part, layer, found[layer], M)
        kept = batch.predicted(U, k)
        clean = batch.log_probabilities({})
        out["tokens"][at] = part.content.sum(axis=1)[:, None]
        directions = {"": u.T[batch.ids], " other": u.T[other[batch.ids]]}
        for head in range(model.n_heads):
            moved = batch.values[:, :, head] @ M[head]  # [row, source, d_model]
            A = batch.pattern[:, head]
            out["moved"][at, head] = _sum(A @ moved.norm(dim=2)[..., None])
            now = batch.z[:, :, head] @ M[head]
            for name, direction in directions.items():
                along = (moved * direction).sum(dim=2)
                out[f"against{name}"][at, head] = -_sum(A @ along[..., None])
                lowered = along.clamp_max(0)[..., None] * direction
                left = mean[head] + (A * kept) @ lowered
                out[f"cspa{name}"][at, head] = batch.divergence(clean, left - now)
            out["mean"][at, head] = batch.divergence(clean, mean[head] - now)
    return out


def _sum(x: Tensor) -> np.ndarray:
    return x.flatten(1).sum(dim=1).double().cpu().numpy()


def _derangement(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random order of 0 .. n - 1 in which nothing stays in its place (a cycle, Sattolo 1986)."""
    order = rng.permutation(n)
    out = np.empty(n, dtype=np.int64)
    out[order] = np.roll(order, 1)
    return out


def _map_and_mean(model: Model, rows: TokenRows, layer: int) -> tuple[Tensor, Tensor]:
    """Return what a head writes for its z, [head, d_head, d_model], and its mean output over text tokens."""
    total, n, M = None, 0, None
    for _, part, found in attention_batches(model, rows, [layer], batch_rows=_BATCH_ROWS):
        z = found[layer].z[torch.from_numpy(part.content)]
        if M is None:
            M = output_map(model, layer, z.flatten(1), _added(model, part, layer)[torch.from_numpy(part.content)])[0]
        total = z.sum(dim=0) + (0 if total is None else total)
        n += len(z)
    if M is None or total is None:
        raise ModelMismatch(f"layer {layer} of {model.name} was read on no text.")
    M = M.unflatten(0, (model.n_heads, -1))
    return M, torch.einsum("hd,hdm->hm", total / n, M)


def _added(model: Model, rows: TokenRows, layer: int) -> Tensor:
    held: list[Tensor] = []
    ids, mask = (torch.from_numpy(x).to(model.device) for x in (rows.ids, rows.mask))
    read_sites(model, ids, mask.long(), {Site("attn_out", layer): held.append})
    return held[0].float()


class _Batch:
    """Some rows of text: what a layer attended to there, what was predicted before it, and runs with it edited."""

    def __init__(self, model: Model, rows: TokenRows, layer: int, attention: Attention, M: Tensor) -> None:
        self.model, self.layer, device = model, layer, model.device
        self.ids, self.mask, self.content = (
            torch.from_numpy(x).to(device) for x in (rows.ids, rows.mask, rows.content)
        )
        # what BOS and padding ask does not count, and is not changed
        self.pattern = attention.pattern * self.content[:, None, :, None]
        self.values, self.z = attention.v, attention.z
        held: list[Tensor] = []
        read_sites(model, self.ids, self.mask.long(), {Site("resid_pre", layer): held.append})
        self.x = held[0].float()

    def predicted(self, U: Tensor, k: int) -> Tensor:
        """Return which sources stand for one of the k tokens of the context that are predicted most, [row, q, s]."""
        width = self.ids.shape[1]
        scores = self.x @ U.T[self.ids].transpose(1, 2)
        earlier = torch.ones(width, width, device=scores.device).tril(-1).bool()
        same = self.ids[:, :, None] == self.ids[:, None]
        again = (same & earlier & self.content[:, None]).any(dim=2)  # this token stood before
        can = torch.ones_like(earlier).tril() & self.content[:, None]
        first = torch.where(can & ~again[:, None], scores, -torch.inf)
        least = first.topk(min(k, width), dim=2).values[..., -1:]
        near = 1e-5 * least.abs().nan_to_num(0, 0, 0)  # equal tokens have equal scores up to rounding
        tied = (first >= least - near).sum(dim=2, keepdim=True) > k  # no more of them are predicted than of the others
        return can & (scores >= torch.where(tied, least + near, least - near))

    def log_probabilities(self, edits: dict[Any, Any]) -> Tensor:
        with hooked(self.model, edits):
            logits = self.model.logits(self.ids, self.mask.long())
        return logits[self.content].float().log_softmax(dim=1)

    def divergence(self, clean: Tensor, change: Tensor) -> np.ndarray:
        """Return KL(clean || run with `change` [row, pos, d_model] added at text tokens), nats, summed by row."""
        change = change * self.content[..., None]
        made = self.log_probabilities({f"attn_out.{self.layer}": lambda x: x + change.to(x)})
        kl = (clean.exp() * (clean - made)).sum(dim=1).double().cpu().numpy()
        return np.bincount(self.content.nonzero()[:, 0].cpu().numpy(), kl, minlength=len(self.ids))
