"""Baselines on dense vectors of the same model: mean activations, RDS+ and gradients, compared by cosine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from analyses.data_selection.pooled_codes import pool_dense
from analyses.data_selection.samples import Sample
from analyses.data_selection.token_windows import TokenChoice, find_windows
from interp.batches import with_tokens
from interp.capturing import run_batches
from interp.errors import InvalidInput
from interp.models import find_site, width

if TYPE_CHECKING:
    from interp.models import Model


def cosine_each(pool: np.ndarray, targets: np.ndarray, *, centre: bool = False) -> np.ndarray:
    """Return the cosine of each sample with each target example, float64 [sample, example].

    Args:
        pool: [sample, d]. targets: [example, d].
        centre: take the mean of the pool off both first.
    """
    if pool.ndim != 2 or targets.ndim != 2 or pool.shape[1] != targets.shape[1]:
        raise InvalidInput(f"vectors are [sample, d] and [example, d], not {pool.shape} and {targets.shape}.")
    mean = pool.mean(axis=0, dtype=np.float64) if centre else 0.0
    a, b = (_unit(x.astype(np.float64) - mean) for x in (pool, targets))
    return a @ b.T


def cosine_scores(pool: np.ndarray, targets: np.ndarray, *, centre: bool = False) -> np.ndarray:
    """Return the cosine of each sample with the mean of the targets, float64 [sample]; arguments as `cosine_each`."""
    return cosine_each(pool, targets.mean(axis=0, keepdims=True, dtype=np.float64), centre=centre)[:, 0]


def sample_vectors(
    model: Model, samples: Sequence[Sample], *, site: str | None = None, pool: str = "weighted", choice: Any = None,
    batch_tokens: int = 8192,
) -> np.ndarray:  # fmt: skip
    """Return one activation a sample, float32 [sample, d]; NaN where a sample has no token to pool.

    The defaults are those of RDS+: position-weighted mean of the last residual stream (Ivison et al. 2025).
    """
    where = find_site(model, site or f"resid_post.{model.n_layers - 1}")
    windows = find_windows(model, samples, choice or TokenChoice())
    out = np.full((len(samples), width(model, where)), np.nan, dtype=np.float32)
    if windows.encoded is None:
        return out
    request = with_tokens(model, windows.encoded, [where], pool="none", dtype="float32", batch_tokens=batch_tokens,
                          include_special=False)  # fmt: skip
    for batch in run_batches(request):
        out[windows.rows[batch.rows]] = pool_dense(batch.values[str(where)], batch.n_tokens, pool)
    return out


def gradient_vectors(
    model: Model, samples: Sequence[Sample], *, dim: int = 4096, choice: Any = None, seed: int = 0
) -> np.ndarray:
    """Return the gradient of each sample's loss by the weights of the last block, sketched: float32 [sample, dim].

    The loss is the mean over the chosen tokens (default those of the answer; of plain text all). Each weight is added,
    with a random sign, to one of `dim` buckets, which keeps inner products in expectation (count sketch). One
    checkpoint and plain gradients: LESS (Xia et al. 2024) without its warm-up and its optimizer. NaN where a sample
    has no token to predict.
    """
    weights = [
        p for name, p in model.bridge.original_model.named_parameters()
        if re.search(rf"\.{model.n_layers - 1}\.", name) and p.is_floating_point()
    ]  # fmt: skip
    rng = torch.Generator().manual_seed(seed)
    sizes = [p.numel() for p in weights]
    buckets = torch.randint(dim, (sum(sizes),), generator=rng).to(model.device)
    signs = (torch.randint(2, (sum(sizes),), generator=rng) * 2 - 1).float().to(model.device)
    out = np.full((len(samples), dim), np.nan, dtype=np.float32)
    before = [p.requires_grad for p in weights]
    try:
        for p in weights:
            p.requires_grad_(True)
        for row, sample in enumerate(samples):
            found = _gradient(model, sample, choice, weights)
            if found is not None:
                sketch = torch.zeros(dim, device=model.device).index_add_(0, buckets, found * signs)
                out[row] = sketch.cpu().numpy()
    finally:
        for p, needed in zip(weights, before, strict=True):
            p.requires_grad_(needed)
    return out


def _gradient(model: Model, sample: Sample, choice: Any, weights: list[Any]) -> torch.Tensor | None:
    tokens = "all" if sample.turns[0].role == "text" else "answer"
    windows = find_windows(model, [sample], choice or TokenChoice(tokens=tokens))
    encoded = windows.encoded
    if encoded is None or encoded.span_mask is None or not encoded.span_mask[1:].any():
        return None
    ids = torch.from_numpy(encoded.ids[None]).to(model.device)
    wanted = torch.from_numpy(encoded.span_mask[1:]).to(model.device)
    with torch.enable_grad():
        logits = model.logits(ids)[0, :-1][wanted].float()
        loss = torch.nn.functional.cross_entropy(logits, ids[0, 1:][wanted])
        found = torch.autograd.grad(loss, weights, allow_unused=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in zip(found, weights, strict=True)])


def _unit(x: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, length, out=np.zeros_like(x), where=length > 0)
