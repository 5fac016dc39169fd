"""What a probe of coordinates has to beat: how a name is written, its tokens, the country."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from interp.tokens import encode

if TYPE_CHECKING:
    from analyses.geospatial.prompts import Prompts
    from interp.models import Model

N_COMPONENTS = 300
NGRAMS, TOKENS, COUNTRY = "n-grams of the name", "tokens of the name", "country alone"


def baselines_of(model: Model, places: pd.DataFrame, prompts: Prompts, *, seed: int) -> dict[str, np.ndarray]:
    """Return the baselines of places, float64 [place, d] each; that of the country where places have one."""
    out = {
        NGRAMS: name_ngrams(places["name"].astype(str).tolist(), seed=seed),
        TOKENS: principal(token_counts(model, prompts), seed=seed),
    }
    if "country" in places.columns and bool(places["country"].notna().any()):
        out[COUNTRY] = pd.get_dummies(places["country"], dtype=np.float64).to_numpy()
    return out


def name_ngrams(names: Sequence[str], *, seed: int = 0) -> np.ndarray:
    """Return the principal components of the character n-grams (2 to 5, with the ends of words) of names.

    Counts of the n-grams that two names or more have, scaled to unit length a name; float64 [name, <= N_COMPONENTS].
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.preprocessing import normalize

    read: Any = CountVectorizer(analyzer="char_wb", ngram_range=(2, 5))
    counts = read.fit_transform(names).astype(np.float64)
    shared = np.asarray((counts > 0).sum(axis=0)).ravel() >= min(2, len(names))
    return principal(normalize(counts[:, shared]), seed=seed)


def token_counts(model: Model, prompts: Prompts) -> sparse.csr_matrix:
    """Return how often each token id stands in each name, CSR [place, id]."""
    encoded = encode(model, prompts.texts, spans=prompts.spans)
    inside = np.asarray(encoded.span_mask)
    rows = np.repeat(np.arange(len(encoded)), encoded.lengths)[inside]
    ids = np.asarray(encoded.ids)[inside]
    return sparse.csr_matrix((np.ones(len(ids)), (rows, ids)))


def principal(counts: Any, *, seed: int, k: int = N_COMPONENTS) -> np.ndarray:
    """Return the scores [n, <= k] of sparse counts on their first singular vectors; a dense matrix if that is small."""
    used = sparse.csc_matrix(counts)
    used = used[:, np.diff(used.indptr) > 0]
    if min(used.shape) <= k:
        return used.toarray()
    from sklearn.utils.extmath import randomized_svd

    left, values, _ = randomized_svd(used.tocsr(), n_components=k, random_state=seed)
    return left * values
