"""What an example is, seen from several sides: its token, its context, what the model made of it, what comes next.

A view is an array with a row for every token of the texts: vectors [n_tokens, d], or classes [n_tokens] (int, -1 for
no class). A unit that means one thing looks of one kind in at least one view: a token in many contexts, or a topic in
many tokens. Pure arrays.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

DIMENSIONS, WINDOW = 64, 12


def folded_tokens(tokens: Iterable[str]) -> np.ndarray:
    """Return a class for each token, the same for " Paris", "paris" and "PARIS"; int64 [n_tokens].

    Leading marks of a space, in the ways that tokenizers write it, are dropped; a token of nothing else is a class.
    """
    folded = [token.lstrip("\u0120\u2581 ").casefold() for token in tokens]
    return np.unique(np.array(folded, dtype=object).astype(str), return_inverse=True)[1].astype(np.int64)


def context_words(
    ids: np.ndarray, text_index: np.ndarray, *, window: int = WINDOW, both_sides: bool = False
) -> np.ndarray:
    """Return the ids before each token, in its text; int64 [n_tokens, window], -1 where the text had not begun.

    Args:
        both_sides: the ids after it too ([n_tokens, 2 window]). A causal model has not read them.
    """
    n = len(ids)
    steps = [*range(-window, 0), *(range(1, window + 1) if both_sides else ())]
    out = np.full((n, len(steps)), -1, dtype=np.int64)
    for column, step in enumerate(steps):
        at = np.arange(n) + step
        inside = (at >= 0) & (at < n)
        inside[inside] = text_index[at[inside]] == text_index[inside]
        out[inside, column] = ids[at[inside]]
    return out


def word_vectors(
    words: np.ndarray, *, fit_rows: np.ndarray | None = None, dimensions: int = DIMENSIONS, seed: int
) -> np.ndarray:
    """Return bags of words as vectors: TF-IDF, then the leading right singular vectors; float32 [n, dimensions].

    Args:
        words: int [n, width], -1 for none.
        fit_rows: rows that the weights and the singular vectors are fitted on; all by default.
        seed: of the first vector of the iteration.

    Reference: latent semantic analysis, Deerwester et al. 1990.
    """
    rows, columns = np.nonzero(words >= 0)
    vocabulary, code = np.unique(words[rows, columns], return_inverse=True)
    counts: Any = sparse.csr_array((np.ones(len(rows)), (rows, code)), shape=(len(words), max(len(vocabulary), 1)))
    counts.sum_duplicates()
    part = counts if fit_rows is None else counts[fit_rows]
    seen = np.bincount(part.indices, minlength=part.shape[1])
    weight = np.log((1 + part.shape[0]) / (1 + seen)) + 1
    scaled: Any = counts @ sparse.diags_array(weight)
    norms = np.sqrt(scaled.power(2).sum(axis=1))
    scaled = sparse.csr_array(
        sparse.diags_array(np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)) @ scaled
    )
    part = scaled if fit_rows is None else scaled[fit_rows]
    k = min(dimensions, min(part.shape) - 1)
    if k < 1:
        return scaled.toarray().astype(np.float32)
    start = np.random.default_rng(seed).standard_normal(min(part.shape))
    found: Any = svds(part, k=k, v0=start)
    return np.asarray(scaled @ found[2].T, dtype=np.float32)


def window_means(vectors: np.ndarray, text_index: np.ndarray, *, window: int = 4) -> np.ndarray:
    """Return the mean of each vector and those up to `window - 1` tokens before it in its text; float32 [n, d]."""
    n = len(vectors)
    sums = np.concatenate([np.zeros((1, vectors.shape[1])), np.cumsum(vectors, axis=0, dtype=np.float64)])
    begins = np.searchsorted(text_index, text_index)
    first = np.maximum(begins, np.arange(n) - window + 1)
    counts = np.arange(n) + 1 - first
    return ((sums[1:] - sums[first]) / counts[:, None]).astype(np.float32)


def next_classes(classes: np.ndarray, text_index: np.ndarray) -> np.ndarray:
    """Return the class of the token after each one, -1 at the end of a text; int64 [n_tokens]."""
    out = np.full(len(classes), -1, dtype=np.int64)
    same = text_index[1:] == text_index[:-1]
    out[:-1][same] = classes[1:][same]
    return out
