"""What a head writes for a token that it attends to: the token itself, or everything but it?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from analyses.attention.ov import embeddings, head_outputs, read_out, token_vectors
from analyses.attention.token_rows import ordinary_ids

if TYPE_CHECKING:
    from interp.models import Model

COPYING = ("copying (eigenvalues)", "copying (top 5)", "copy suppression (bottom 10)")
_GROUP, _TOP, _BOTTOM = 64, 5, 10


def copying_scores(model: Model, names: Sequence[str], *, n_tokens: int, seed: int, n_boot: int) -> list[pd.DataFrame]:
    """Return the scores of `COPYING` of every head, on random tokens; columns as `head_scores`.

    Sources are tokens after the MLP of layer 0 (of the embedding, for heads of layer 0).
    Eigenvalues: sum of real parts over sum of sizes, of the logits that the head gives to some tokens for each of them,
    [64, 64], mean over groups of 64. Top 5: share of tokens among the five that the head raises most. Bottom 10: share
    among the ten that it lowers most. References: Elhage et al. (2021); McDougall et al. (2023).
    """
    rng = np.random.default_rng(seed)
    pool = ordinary_ids(model)
    ids = rng.permutation(pool)[: min(n_tokens, len(pool))]
    found = {name: [] for name in COPYING}
    for layer in range(model.n_layers):
        for logits in head_logits(model, layer, torch.from_numpy(ids)):
            own = logits[torch.arange(len(ids)), torch.from_numpy(ids)]
            above = (logits > own[:, None]).sum(dim=1)
            below = (logits < own[:, None]).sum(dim=1)
            written = logits.abs().amax(dim=1) > 0
            found[COPYING[0]].append(eigenvalue_scores(logits[:, torch.from_numpy(ids)].double().numpy()))
            found[COPYING[1]].append(((above < _TOP) & written).double().numpy())
            found[COPYING[2]].append(((below < _BOTTOM) & written).double().numpy())
    shape = (model.n_layers, model.n_heads)
    chance = {COPYING[0]: 0.0, COPYING[1]: _TOP / model.d_vocab, COPYING[2]: _BOTTOM / model.d_vocab}
    return [_table(name, np.stack(found[name]).T.reshape(-1, *shape), chance[name], len(ids), seed, n_boot)
            for name in names]  # fmt: skip


def head_logits(model: Model, layer: int, ids: torch.Tensor) -> list[torch.Tensor]:
    """Return for each head of a layer the logits [token, d_vocab], less their mean, that it gives for each token."""
    x = token_vectors(model, ids) if layer > 0 else embeddings(model, ids)
    return [_spread(read_out(model, written).cpu()) for written in head_outputs(model, layer, x)]


def _spread(logits: torch.Tensor) -> torch.Tensor:
    """Return logits less their mean; 0 where all are equal up to rounding, for such a head ranks nothing."""
    centred = logits - logits.mean(dim=1, keepdim=True)
    says = centred.abs().amax(dim=1) > 1e-5 * logits.abs().amax(dim=1)
    return torch.where(says[:, None], centred, 0.0)


def eigenvalue_scores(square: np.ndarray) -> np.ndarray:
    """Return sum Re(l) / sum |l| over the eigenvalues l of each block of logits [n, n], float64 [group]; 0 of zeros."""
    step = min(_GROUP, len(square))
    starts = range(0, len(square) - step + 1, step)
    blocks = np.stack([square[i : i + step, i : i + step] for i in starts])
    values = np.linalg.eigvals(blocks)
    size = np.abs(values).sum(axis=1)
    return np.divide(values.real.sum(axis=1), size, out=np.zeros(len(values)), where=size > 0)


def _table(name: str, values: np.ndarray, chance: float, n: int, seed: int, n_boot: int) -> pd.DataFrame:
    from analyses.attention.heads import score_table

    table = score_table(name, values, seed=seed, n_boot=n_boot)
    return table.assign(null="chance", null_mean=chance, n=n, n_rows=len(values))
