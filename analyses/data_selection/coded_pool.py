"""A pool of samples as pooled codes: a table of its rows, and the codes shard by shard, in memory or on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from interp.errors import InvalidInput

ROW_COLUMNS = ("id", "source", "number", "n_tokens", "truncated", "mass", "dropped", "n_features")
Part = tuple[slice, Any]  # scipy's annotations of CSR do not know that it has a shape


@dataclass(frozen=True, eq=False)
class CodedPool:
    """Samples x features.

    rows: one row a scored sample: id, source, number, n_tokens (pooled), truncated (tokens not read), mass (sum of its
        whole code), dropped (mass of the entries that were not kept), n_features (active ones, kept or not).
    listed: the samples that could not be coded: source, number, reason, detail.
    total: float64 [feature], sum of the whole codes of all samples.
    residual: float32 [sample, d], mean activation at the site; None where it was not asked for.
    shards: for each shard a function that returns its codes, CSR float32 [sample of the shard, feature].
    lengths: samples of each shard.
    about: what the codes were made from.
    """

    rows: pd.DataFrame
    listed: pd.DataFrame
    total: np.ndarray
    residual: np.ndarray | None
    shards: Sequence[Callable[[], sparse.csr_matrix]]
    lengths: np.ndarray
    about: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_features(self) -> int:
        """Number of features, active or not."""
        return len(self.total)

    @property
    def mean(self) -> np.ndarray:
        """Mean code, float64 [feature]: with all entries, kept or not."""
        if not len(self):
            raise InvalidInput("no sample could be coded; see .listed.")
        return self.total / len(self)

    @property
    def is_cut(self) -> bool:
        """Whether entries of some row were dropped."""
        return bool((self.rows["dropped"] > 0).any())

    def parts(self) -> Iterator[Part]:
        """Yield (which rows, their codes), a shard at a time."""
        ends = np.concatenate([[0], np.cumsum(self.lengths)])
        for start, stop, load in zip(ends[:-1], ends[1:], self.shards, strict=True):
            yield slice(int(start), int(stop)), load()

    def take(self, rows: Any) -> sparse.csr_matrix:
        """Return the codes of some rows, CSR float32 [len(rows), feature], in the order given."""
        wanted = np.asarray(rows, dtype=np.int64)
        order = np.argsort(wanted, kind="stable")
        found, starts = [], np.concatenate([[0], np.cumsum(self.lengths)])
        bounds = np.searchsorted(wanted[order], starts)
        for shard, load in enumerate(self.shards):
            mine = order[bounds[shard] : bounds[shard + 1]]
            if len(mine):
                codes: Any = load()
                found.append(codes[wanted[mine] - starts[shard]])
        if not found:
            return sparse.csr_matrix((0, self.n_features), dtype=np.float32)
        back = np.empty(len(order), dtype=np.int64)
        back[order] = np.arange(len(order))
        stacked: Any = sparse.vstack(found, format="csr")
        return sparse.csr_matrix(stacked[back])

    def matrix(self) -> sparse.csr_matrix:
        """Return all codes as one matrix; for pools that fit into memory."""
        return self.take(np.arange(len(self)))


def pool_of(codes: Any, *, n_tokens: Any = None, ids: Sequence[str] | None = None, about: Any = None) -> CodedPool:
    """Return a pool of codes that are there already, CSR [sample, feature] (or Latents)."""
    if hasattr(codes, "matrix") and hasattr(codes, "ids"):
        n_tokens = codes.n_tokens if n_tokens is None else n_tokens
        ids = [str(one) for one in codes.ids] if ids is None else ids
        codes = codes.matrix
    if not sparse.issparse(codes):
        raise InvalidInput(f"codes are a CSR matrix [sample, feature] or Latents, not {type(codes).__name__}.")
    matrix: Any = sparse.csr_matrix(codes, dtype=np.float32, copy=True)
    matrix.sum_duplicates()
    n = matrix.shape[0]
    names = [f"row:{i}" for i in range(n)] if ids is None else list(ids)
    rows = row_table(matrix, names, np.ones(n, np.int64) if n_tokens is None else np.asarray(n_tokens))
    total = feature_sums(matrix)
    listed = pd.DataFrame({"source": [], "number": [], "reason": [], "detail": []})
    return CodedPool(rows, listed, total, None, (lambda: matrix,), np.array([n]), dict(about or {}))


def row_table(codes: sparse.csr_matrix, ids: Sequence[str], n_tokens: np.ndarray) -> pd.DataFrame:
    """Return the table of rows of whole codes (nothing dropped)."""
    return pd.DataFrame(
        {
            "id": pd.array(ids, dtype="str"),
            "source": pd.array([one.rpartition(":")[0] for one in ids], dtype="str"),
            "number": np.array([int(one.rpartition(":")[2]) for one in ids], dtype=np.int64),
            "n_tokens": n_tokens.astype(np.int64),
            "truncated": np.zeros(len(ids), dtype=np.int64),
            "mass": row_sums(codes),
            "dropped": np.zeros(len(ids)),
            "n_features": np.diff(codes.indptr).astype(np.int64),
        }
    )


def row_sums(codes: Any) -> np.ndarray:
    """Return the sum of each row, float64; scipy adds in float32, too coarse for bounds that are to hold."""
    rows = np.repeat(np.arange(codes.shape[0]), np.diff(codes.indptr))
    return np.bincount(rows, codes.data.astype(np.float64), minlength=codes.shape[0])


def feature_sums(codes: Any) -> np.ndarray:
    """Return the sum of each column, float64, as `row_sums`."""
    return np.bincount(codes.indices, codes.data.astype(np.float64), minlength=codes.shape[1])
