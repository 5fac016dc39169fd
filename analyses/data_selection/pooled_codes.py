"""Codes of tokens pooled into one sparse row a sample, on the device that made them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from interp.errors import InvalidInput

POOLINGS = ("mean", "weighted", "max", "sum", "frequency")
_BUFFER = 2**24  # numbers of one dense block: 64 MB


def check_pooling(pool: str) -> None:
    """Raise InvalidInput for a pooling that does not exist."""
    if pool not in POOLINGS:
        raise InvalidInput(f"pool is one of {', '.join(map(repr, POOLINGS))}, not {pool!r}.")


def token_weights(n_tokens: np.ndarray, pool: str) -> np.ndarray:
    """Return the weight of each token of samples end to end, float32 [token].

    1 / n for "mean" and "frequency"; i / (1 + ... + n) at position i for "weighted" (Ivison et al. 2025); else 1.
    """
    ends = np.cumsum(n_tokens)
    n = np.repeat(n_tokens, n_tokens).astype(np.float64)
    if pool in ("mean", "frequency"):
        return (1.0 / n).astype(np.float32)
    if pool == "weighted":
        position = np.arange(len(n)) - np.repeat(ends - n_tokens, n_tokens) + 1
        return (position / (n * (n + 1) / 2)).astype(np.float32)
    return np.ones(len(n), dtype=np.float32)


def pool_codes(values: Tensor, indices: Tensor, n_tokens: np.ndarray, width: int, pool: str) -> sparse.csr_matrix:
    """Pool sparse codes of tokens, [token, k] values and columns, into CSR float32 [sample, width].

    Args:
        n_tokens: int64 [sample], tokens of each; those of a sample stand together, in order.
        pool: "mean", "weighted" (later tokens more), "max", "sum", or "frequency" (share of tokens with a code > 0).
    """
    weights = torch.from_numpy(token_weights(n_tokens, pool)).to(values.device)
    scaled = (values > 0).float() if pool == "frequency" else values
    if pool != "max":
        scaled = scaled * weights[:, None]
    ends = np.concatenate([[0], np.cumsum(n_tokens)])
    rows_at_once = max(1, _BUFFER // width)
    parts = []
    for first in range(0, len(n_tokens), rows_at_once):
        counts = n_tokens[first : first + rows_at_once]
        tokens = slice(int(ends[first]), int(ends[first + len(counts)]))
        row = torch.from_numpy(np.repeat(np.arange(len(counts)), counts)).to(values.device)
        at = (row[:, None] * width + indices[tokens]).flatten()
        block = torch.zeros(len(counts) * width, device=values.device)
        if pool == "max":
            block.scatter_reduce_(0, at, scaled[tokens].flatten(), "amax")
        else:
            block.index_add_(0, at, scaled[tokens].flatten())
        parts.append(_csr(block.view(len(counts), width)))
    return sparse.csr_matrix(sparse.vstack(parts, format="csr"))


def pool_dense(x: Tensor, n_tokens: np.ndarray, pool: str) -> np.ndarray:
    """Return the mean (or position-weighted mean) of activations [token, d] a sample, float32 [sample, d]."""
    weights = torch.from_numpy(token_weights(n_tokens, pool)).to(x)
    row = torch.from_numpy(np.repeat(np.arange(len(n_tokens)), n_tokens)).to(x.device)
    out = torch.zeros((len(n_tokens), x.shape[1]), device=x.device)
    return out.index_add_(0, row, x.float() * weights[:, None]).cpu().numpy()


def cut_to_largest(codes: Any, m: int) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Keep the m largest entries of each row; return the rows and the mass [row] that was dropped, float64.

    Of equal entries those with the lower column are kept.
    """
    lengths = np.diff(codes.indptr)
    row = np.repeat(np.arange(codes.shape[0]), lengths)
    order = np.lexsort((codes.indices, -codes.data.astype(np.float64), row))
    rank = np.arange(len(row)) - np.repeat(codes.indptr[:-1], lengths)
    keep = np.zeros(len(row), dtype=bool)
    keep[order] = rank < m
    dropped = np.bincount(row[~keep], codes.data[~keep].astype(np.float64), minlength=codes.shape[0])
    indptr = np.concatenate([[0], np.cumsum(np.minimum(lengths, m))])
    return sparse.csr_matrix((codes.data[keep], codes.indices[keep], indptr), shape=codes.shape), dropped


def _csr(block: Tensor) -> sparse.csr_matrix:
    at = block.nonzero()
    data = block[at[:, 0], at[:, 1]].cpu().numpy()
    indptr = np.concatenate([[0], np.cumsum(np.bincount(at[:, 0].cpu().numpy(), minlength=len(block)))])
    return sparse.csr_matrix((data, at[:, 1].cpu().numpy().astype(np.int32), indptr), shape=tuple(block.shape))
