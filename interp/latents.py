"""Latents of samples: a sparse matrix that knows what its rows are and where its numbers came from.

A sample has many tokens and an SAE reads one activation. There are two orders, and they give different numbers:

* pool, then encode (`encode_latents` on pooled activations): one activation stands for the sample. A mean over
  tokens is a vector such as the SAE never saw in training, so its latents need care; the last token of a text, or
  of a span, is an activation like any other.
* encode each token, then pool the latents (`pool_token_latents`): what SAEs were trained for. The mean keeps how
  much of the span a latent was on, the maximum whether it was on at all.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from interp.errors import CorruptArtifact, InvalidInput, NonFinite, SaeMismatch

if TYPE_CHECKING:
    from interp.sae.coder import SAE

Pool = Literal["mean", "max", "last"]

_BATCH = 4096


@dataclass(frozen=True, eq=False)
class Latents:
    """Samples x features, sparse.

    matrix: CSR float32 [sample, feature], finite, no stored zeros, columns ascending in a row.
    ids: one unique name (a string or an integer) a sample.
    n_tokens: int64 [sample], tokens that went into each row.
    source: where the numbers came from: site, SAE, model fingerprint, pooling, ... (JSON values).
    """

    matrix: Any  # a csr_matrix; scipy's own annotations do not know that it has a shape
    ids: tuple[Hashable, ...]
    n_tokens: np.ndarray
    source: Mapping[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", _canonical(self.matrix))
        object.__setattr__(self, "ids", _ids(self.ids, self.matrix.shape[0]))
        object.__setattr__(self, "n_tokens", _counts(self.n_tokens, self.matrix.shape[0]))
        object.__setattr__(self, "source", dict(self.source))

    def __repr__(self) -> str:
        n, m = self.matrix.shape
        return f"Latents({n} samples x {m} features, {self.matrix.nnz} active, source={dict(self.source)})"

    def __len__(self) -> int:
        return self.matrix.shape[0]

    @property
    def n_features(self) -> int:
        """Number of features, active or not."""
        return self.matrix.shape[1]

    def n_active(self) -> np.ndarray:
        """Return the number of samples each feature is active on, int64 [feature]."""
        return np.bincount(self.matrix.indices, minlength=self.n_features).astype(np.int64)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row for each active feature of a sample: id, n_tokens, feature, value (zeros left out)."""
        rows = np.repeat(np.arange(len(self)), np.diff(self.matrix.indptr))
        return pd.DataFrame(
            {
                "id": pd.Index(self.ids, dtype=object).take(rows).to_numpy(),
                "n_tokens": self.n_tokens[rows],
                "feature": self.matrix.indices.astype(np.int64),
                "value": self.matrix.data,
            }
        )

    def top(self, k: int = 10) -> pd.DataFrame:
        """Return the k samples with the largest value of each feature: feature, rank (from 0), id, value.

        Samples on which a feature is not active are never listed; equal values are in the order of the samples.
        """
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise InvalidInput(f"k is an integer from 1, not {k!r}.")
        coo = self.matrix.tocoo()
        order = np.lexsort((coo.row, -coo.data.astype(np.float64), coo.col))
        columns = coo.col[order]
        starts = np.searchsorted(columns, np.arange(self.n_features))
        rank = np.arange(len(columns)) - starts[columns]
        keep = rank < k
        return pd.DataFrame(
            {
                "feature": columns[keep].astype(np.int64),
                "rank": rank[keep],
                "id": pd.Index(self.ids, dtype=object).take(coo.row[order][keep]).to_numpy(),
                "value": coo.data[order][keep],
            }
        )

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the latents as a folder (safetensors, JSON, manifest), whole or not at all.

        `overwrite` replaces a folder of latents; nothing else is ever replaced.
        """
        from safetensors.numpy import save

        from interp.store import write_folder

        m = self.matrix
        arrays = {
            "data": m.data,
            "indices": m.indices.astype(np.int64),
            "indptr": m.indptr.astype(np.int64),
            "n_tokens": self.n_tokens,
        }
        about = {"shape": list(m.shape), "ids": list(self.ids), "source": dict(self.source)}
        files = {"latents.safetensors": save(arrays), "latents.json": json.dumps(about, indent=1).encode()}
        write_folder(Path(path), files, overwrite=overwrite)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Latents:
        """Read latents that `save` wrote. Raises CorruptArtifact if a byte differs from what was written."""
        from safetensors.numpy import load

        from interp.sae.folder import read_folder

        files = read_folder(Path(path))
        missing = {"latents.safetensors", "latents.json"} - set(files)
        if missing:
            raise CorruptArtifact(f"{path} holds no latents: {', '.join(sorted(missing))} is missing.")
        about, arrays = json.loads(files["latents.json"]), load(files["latents.safetensors"])
        n_tokens = arrays.pop("n_tokens")
        matrix = sparse.csr_matrix((arrays["data"], arrays["indices"], arrays["indptr"]), shape=tuple(about["shape"]))
        return cls(matrix, tuple(about["ids"]), n_tokens, about["source"])


def encode_latents(
    sae: SAE,
    activations: np.ndarray,
    *,
    ids: Sequence[Hashable],
    n_tokens: Sequence[int] | np.ndarray,
    source: Mapping[str, Any],
    batch: int = _BATCH,
) -> Latents:
    """Encode one activation a sample (pool, then encode) into latents; never holds all samples densely.

    Args:
        activations: [sample, d_in], pooled or of one token each.
        ids: a unique name for each sample.
        n_tokens: tokens behind each activation.
        source: what is known about the activations (site, pooling, ...); what the SAE knows is added.
        batch: samples encoded at a time.

    Raises:
        SaeMismatch: another width than the SAE reads, or `source` contradicts the SAE's config.
        NonFinite: an activation is NaN or infinite.
    """
    parts = [_csr(sae, activations[i : i + batch]) for i in range(0, len(activations), batch)]
    matrix: Any = sparse.csr_matrix((0, sae.config.d_sae), dtype=np.float32)
    if parts:
        matrix = sparse.vstack(parts, format="csr")
    return Latents(matrix, tuple(ids), np.asarray(n_tokens), sae_source(sae, source, order="pool then encode"))


def pool_token_latents(
    sae: SAE,
    token_activations: np.ndarray,
    text_index: np.ndarray,
    n_texts: int,
    *,
    how: Pool,
    batch: int = _BATCH,
) -> sparse.csr_matrix:
    """Encode each token, then pool the latents of a text (or of a span in it): CSR float32 [text, feature].

    Args:
        token_activations: [token, d_in], the tokens of all texts in reading order.
        text_index: [token], which text each token belongs to, 0 to n_texts - 1.
        n_texts: number of rows to return; each needs at least one token.
        how: "mean" over the text's tokens (those where the latent is off count as 0), "max", or "last" (the token
            of the text that comes last).

    Raises:
        InvalidInput: an index out of range, a text without tokens, or another `how`.
        SaeMismatch: activations of another width.
    """
    text_index = _text_index(text_index, len(token_activations), n_texts)
    if how not in ("mean", "max", "last"):
        raise InvalidInput(f"how is 'mean', 'max' or 'last', not {how!r}.")
    if how == "last":
        last = np.zeros(n_texts, dtype=np.int64)
        np.maximum.at(last, text_index, np.arange(len(text_index)))
        token_activations, text_index, how = token_activations[last], np.arange(n_texts), "max"
    merge = _sum_duplicates if how == "mean" else _max_duplicates
    parts = []
    for i in range(0, len(text_index), batch):
        coo = _csr(sae, token_activations[i : i + batch]).tocoo()
        keys = text_index[i : i + batch][coo.row] * sae.config.d_sae + coo.col
        parts.append(merge(keys, coo.data.astype(np.float64)))
    keys, values = merge(np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]))
    rows, columns = np.divmod(keys, sae.config.d_sae)
    if how == "mean":
        values = values / np.bincount(text_index, minlength=n_texts)[rows]
    shape = (n_texts, sae.config.d_sae)
    return _canonical(sparse.csr_matrix((values.astype(np.float32), (rows, columns)), shape=shape))


def sae_source(sae: SAE, source: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return `source` and what the SAE states about itself. Raises SaeMismatch where the two contradict."""
    config = sae.config
    stated = {"site": config.site, "model_name": config.model_name, "model_fingerprint": config.model_fingerprint}
    for name, value in stated.items():
        if value is not None and source.get(name, value) != value:
            raise SaeMismatch(f"{name} of the activations is {source[name]!r}; the SAE was trained on {value!r}.")
    known = {name: value for name, value in stated.items() if value is not None}
    return {**source, **known, "sae_architecture": config.architecture, "d_sae": config.d_sae, **more}


def _csr(sae: SAE, activations: np.ndarray) -> sparse.csr_matrix:
    values, indices = (t.cpu().numpy() for t in sae.encode_sparse(activations))
    on = values > 0
    indptr = np.concatenate([[0], np.cumsum(on.sum(axis=1))])
    return sparse.csr_matrix((values[on], indices[on], indptr), shape=(len(values), sae.config.d_sae))


def _merge(
    keys: np.ndarray, values: np.ndarray, reduce: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else np.zeros(0, dtype=np.int64)
    return keys[starts], reduce(values, starts) if len(keys) else values


def _sum_duplicates(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _merge(keys, values, np.add.reduceat)


def _max_duplicates(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _merge(keys, values, np.maximum.reduceat)


def _canonical(matrix: Any) -> sparse.csr_matrix:
    if not sparse.issparse(matrix) or matrix.ndim != 2:
        raise InvalidInput(f"latents are a sparse matrix [sample, feature], not {type(matrix).__name__}.")
    csr = sparse.csr_matrix(matrix, dtype=np.float32, copy=True)
    csr.sum_duplicates()
    csr.eliminate_zeros()
    if not np.isfinite(csr.data).all():
        row = int(np.searchsorted(csr.indptr, np.flatnonzero(~np.isfinite(csr.data))[0], side="right")) - 1
        raise NonFinite(f"sample {row} of the latents holds NaN or infinity.")
    return csr


def _ids(ids: Sequence[Hashable], n: int) -> tuple[Hashable, ...]:
    names = tuple(i.item() if isinstance(i, np.generic) else i for i in ids)
    if len(names) != n:
        raise InvalidInput(f"{len(names)} ids for {n} samples; each sample has one.")
    wrong = [i for i in names if not isinstance(i, str | int) or isinstance(i, bool)]
    if wrong:
        raise InvalidInput(f"an id is a string or an integer, not {wrong[0]!r}.")
    if len(set(names)) != n:
        twice, _ = Counter(names).most_common(1)[0]
        raise InvalidInput(f"id {twice!r} is given to more than one sample.")
    return names


def _counts(n_tokens: Any, n: int) -> np.ndarray:
    counts = np.asarray(n_tokens)
    if counts.shape != (n,) or (n and not np.issubdtype(counts.dtype, np.integer)):
        raise InvalidInput(f"n_tokens is one integer a sample [{n}]; given {counts.dtype} {list(counts.shape)}.")
    if n and counts.min() < 1:
        raise InvalidInput(f"sample {int(counts.argmin())} has {int(counts.min())} tokens; each needs at least 1.")
    return counts.astype(np.int64)


def _text_index(text_index: Any, n_tokens: int, n_texts: int) -> np.ndarray:
    index = np.asarray(text_index)
    if index.shape != (n_tokens,) or (n_tokens and not np.issubdtype(index.dtype, np.integer)):
        raise InvalidInput(f"text_index is one integer a token [{n_tokens}]; given {index.dtype} {list(index.shape)}.")
    if n_tokens and (index.min() < 0 or index.max() >= n_texts):
        raise InvalidInput(f"text_index runs from {index.min()} to {index.max()}; texts are 0 to {n_texts - 1}.")
    empty = np.flatnonzero(np.bincount(index.astype(np.int64), minlength=n_texts) == 0)
    if len(empty) or n_texts < 1:
        first = int(empty[0]) if len(empty) else 0
        raise InvalidInput(f"text {first} has no token, so nothing to pool ({len(empty)} such texts); leave it out.")
    return index.astype(np.int64)
