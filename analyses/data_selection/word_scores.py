"""Baselines that read words alone, no model: BM25, TF-IDF, DSIR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from scipy import sparse

from interp.errors import InvalidInput
from interp.stats.seeds import check_seed

K1, B = 1.5, 0.75
N_BUCKETS = 10_000
WORD = r"(?u)\w+|[^\w\s]"
"""A word, or one mark of punctuation."""


def bm25_scores(texts: Sequence[str], targets: Sequence[str]) -> np.ndarray:
    """Return the BM25 score of each text for each target as the query, float64 [text, target].

    idf = ln(1 + (N - df + 1/2) / (df + 1/2)), k1 = 1.5, b = 0.75; a word that a query says twice counts twice.
    (Robertson & Zaragoza 2009; the idf of Lucene.) The mean over targets is the score of one query of all of them.
    """
    counts, queries = _counts(texts, targets)
    n, length = counts.shape[0], np.asarray(counts.sum(axis=1)).ravel()
    seen = np.bincount(counts.indices, minlength=counts.shape[1])
    idf = np.log1p((n - seen + 0.5) / (seen + 0.5))
    row = np.repeat(np.arange(n), np.diff(counts.indptr))
    tf = counts.data
    norm = K1 * (1 - B + B * length / max(length.mean(), 1e-12))
    weights = idf[counts.indices] * tf * (K1 + 1) / (tf + norm[row])
    weighted: Any = sparse.csr_matrix((weights, counts.indices, counts.indptr), shape=counts.shape)
    return (weighted @ queries.T).toarray()


def tfidf_scores(texts: Sequence[str], targets: Sequence[str]) -> np.ndarray:
    """Return the cosine of each text's TF-IDF vector with the mean of those of the targets, float64 [text]."""
    from sklearn.feature_extraction.text import TfidfTransformer

    counts, queries = _counts(texts, targets)
    model = TfidfTransformer(sublinear_tf=True).fit(counts)
    weighted, wanted = (cast(Any, model.transform(part)) for part in (counts, queries))
    centre = np.asarray(wanted.mean(axis=0)).ravel()
    return np.asarray(weighted @ centre).ravel() / max(float(np.linalg.norm(centre)), 1e-12)


def dsir_scores(
    texts: Sequence[str], targets: Sequence[str], *, smoothing: float = 1.0, gumbel_seed: int | None = None
) -> np.ndarray:
    """Return the log importance weight of each text, log p(x) - log q(x), float64 [text] (Xie et al. 2023).

    p and q are bags of hashed words and pairs of words (10,000 buckets) of the targets and of the texts.

    Args:
        smoothing: added to the count of each bucket; a small target has few of them.
        gumbel_seed: add Gumbel noise, so that the best k are a sample without replacement and not the top.
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    _require_texts(texts, targets)
    none: Any = None  # a norm of None is allowed, whatever the annotations say
    hashed = HashingVectorizer(
        n_features=N_BUCKETS, ngram_range=(1, 2), alternate_sign=False, norm=none, token_pattern=WORD
    )
    counts, wanted = (cast(Any, hashed.transform(part)) for part in (texts, targets))
    q, p = (np.asarray(m.sum(axis=0)).ravel() + smoothing for m in (counts, wanted))
    found = counts @ (np.log(p / p.sum()) - np.log(q / q.sum()))
    if gumbel_seed is not None:
        rng = np.random.default_rng(np.random.SeedSequence(check_seed(gumbel_seed), spawn_key=(41,)))
        found = found + rng.gumbel(size=len(found))
    return found


def _counts(texts: Sequence[str], targets: Sequence[str]) -> tuple[Any, Any]:
    """Return counts of the words of texts and of targets; words that no text has are left out."""
    from sklearn.feature_extraction.text import CountVectorizer

    _require_texts(texts, targets)
    vectorizer = CountVectorizer(token_pattern=WORD)
    counts, wanted = (cast(Any, part) for part in (vectorizer.fit_transform(texts), vectorizer.transform(targets)))
    return counts.tocsr().astype(np.float64), wanted.astype(np.float64)


def _require_texts(texts: Sequence[str], targets: Sequence[str]) -> None:
    if not len(texts) or not len(targets):
        raise InvalidInput(f"{len(texts)} texts and {len(targets)} targets; at least one of each is needed.")
