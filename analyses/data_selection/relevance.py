"""How relevant each sample of a pool is to a task, from pooled codes.

`mona_scores` is the published score: the generalized Jaccard similarity of a sample's code with the mean code of the
target (Ma et al. 2025, eqs. 7 to 9). A long sample has a smooth code, as has the mean of many targets, so that score
prefers long samples whatever they say; `score` takes off the similarity with the mean code of the pool, or with
random targets of the same size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import rankdata

from analyses.data_selection.coded_pool import CodedPool, feature_sums, pool_of
from analyses.data_selection.method_names import BOUNDED, DEFAULT_METHOD, SCORES
from analyses.data_selection.random_targets import chance_similarity
from interp.errors import InvalidInput
from interp.stats import generalized_jaccard, jaccard_bounds, min_sums


def mona_scores(pool: Any, target: Any) -> np.ndarray:
    """Return J(z_i, t), t the mean code of the target, for each sample: float64 [sample]; exactly as published.

    Args:
        pool: codes [sample, feature]: CSR, Latents or a CodedPool.
        target: codes of the target examples [example, feature] (averaged), or one prototype [feature].

    Raises:
        InvalidInput: widths that differ, negative codes, or a pool whose rows were cut (see `score`).
    """
    coded = as_pool(pool)
    if coded.is_cut:
        raise InvalidInput("entries of this pool were dropped (top=...), so scores have bounds: use score().")
    prototype = prototype_of(target, coded.n_features)
    return np.concatenate([generalized_jaccard(codes, prototype) for _, codes in coded.parts()])


def score(
    pool: Any, target: Any, *, method: str = DEFAULT_METHOD, background: Any = None, seed: int = 0
) -> pd.DataFrame:
    """Score every sample of a pool against a target.

    Args:
        pool, target: see `mona_scores`; rows of the pool may be cut.
        method: "mona", J(z, t); "background", J(z, t) - J(z, b) with b the mean code of the pool; "matched",
            (J(z, t) - mean) / sd over 32 random targets b with as many tokens; "contrast", J(z, max(t - b, 0));
            "adjusted", the contrast in standard deviations from its mean among samples of like length; or "cosine".
        background: [feature] or codes of samples: another b than the mean code of the pool.
        seed: of the random targets.

    Returns:
        One row a sample, in the order of the pool: id, source, score, raw (J(z, t), or the cosine), background
        (what is taken off; `null_sd`: what is divided by), lower and upper (bounds of `score`; equal where
        nothing was dropped), rank (1 is best, equal scores in the order of the pool), percentile, n_tokens,
        n_features, method.

    Raises:
        InvalidInput: an unknown method, widths that differ, negative codes, or rows that were cut under a method that
            has no bounds.
    """
    if method not in SCORES:
        raise InvalidInput(f"method is one of {', '.join(SCORES)}, not {method!r}.")
    coded = as_pool(pool)
    if coded.is_cut and method not in BOUNDED:
        raise InvalidInput(f"entries of this pool were dropped (top=...), and {method!r} has no bounds; code it whole.")
    prototype = prototype_of(target, coded.n_features)
    other = coded.mean if background is None else prototype_of(background, coded.n_features)
    null_sd = base = np.full(len(coded), np.nan)
    if method == "cosine":
        low = high = raw = _cosines(coded, prototype)
    elif method == "matched":
        base, null_sd = chance_similarity(coded, _n_tokens(target), seed=seed)
        raw = mona_scores(coded, prototype)
        low = high = np.divide(raw - base, null_sd, out=np.zeros(len(raw)), where=null_sd > 0)
    elif method == "adjusted":
        raw, more = _similarities(coded, np.array([prototype, contrasted(prototype, other)])).T
        base, null_sd = level_by_length(more, coded.rows["n_tokens"].to_numpy())
        low = high = np.divide(more - base, null_sd, out=np.zeros(len(more)), where=null_sd > 0)
    elif method == "contrast":
        raw, _, low, high = _intervals(coded, prototype, contrasted(prototype, other))
    else:
        raw, raw_high, base, base_high = _intervals(coded, prototype, other)
        low, high = (raw, raw_high) if method == "mona" else (raw - base_high, raw_high - base)
    whole = ~(coded.rows["dropped"].to_numpy() > 0)
    # of a row that was cut the lower bound is what it is ranked by: nothing is claimed that was not seen
    return score_table(coded, low, np.where(whole, low, high), raw=raw, background=base, null_sd=null_sd, method=method)


def score_table(
    coded: CodedPool, values: np.ndarray, upper: np.ndarray | None = None, *, raw: np.ndarray, method: str,
    background: Any = np.nan, null_sd: Any = np.nan,
) -> pd.DataFrame:  # fmt: skip
    """Return the table of `score` of any score: values and, where they are lower bounds, their upper ones, [row]."""
    columns: dict[str, Any] = {
        "id": coded.rows["id"], "source": coded.rows["source"], "score": values, "raw": raw, "background": background,
        "null_sd": null_sd, "lower": values, "upper": values if upper is None else upper,
        "n_tokens": coded.rows["n_tokens"], "n_features": coded.rows["n_features"], "method": method,
    }  # fmt: skip
    return ranked(pd.DataFrame(columns))


def many_scores(coded: CodedPool, prototypes: np.ndarray, target: CodedPool, method: str, seed: int = 0) -> np.ndarray:
    """Return `score` of each row with each of several prototypes of one target, float64 [row, prototype].

    Args:
        prototypes: [prototype, feature].
        target: codes of the examples, for the random targets of "matched".
    """
    if method == "cosine":
        return np.column_stack([_cosines(coded, one) for one in prototypes])
    if method in ("contrast", "adjusted"):
        prototypes = np.array([contrasted(one, coded.mean) for one in prototypes])
    found = _similarities(coded, prototypes)
    if method == "background":
        return found - mona_scores(coded, coded.mean)[:, None]
    if method == "matched":
        base, sd = chance_similarity(coded, _n_tokens(target), seed=seed)
        return np.divide(found - base[:, None], sd[:, None], out=np.zeros_like(found), where=sd[:, None] > 0)
    if method == "adjusted":
        for column in found.T:
            base, sd = level_by_length(column, coded.rows["n_tokens"].to_numpy())
            column[:] = np.divide(column - base, sd, out=np.zeros(len(sd)), where=sd > 0)
    return found


def score_each(pool: Any, targets: Any, *, background: bool = True) -> np.ndarray:
    """Return the score of each sample with each target example, float64 [sample, example]: for round-robin picking.

    Args:
        pool: see `mona_scores`, with whole rows.
        targets: codes of the examples, CSR [example, feature] or a CodedPool.
        background: take off J with the mean code of the pool.

    Raises:
        InvalidInput: as `mona_scores`.
    """
    coded = as_pool(pool)
    if coded.is_cut:
        raise InvalidInput("entries of this pool were dropped (top=...); code it whole to score it with each example.")
    examples: Any = _codes(targets, coded.n_features)
    used = np.unique(examples.indices)  # J needs a row's mass and the columns that some example has, no others
    narrow = examples[:, used].toarray()
    out = np.empty((len(coded), examples.shape[0]))
    mass, mean = coded.rows["mass"].to_numpy(), coded.mean
    for rows, codes in coded.parts():
        columns: Any = codes
        out[rows] = generalized_jaccard(sparse.csr_matrix(columns[:, used]), narrow, mass=mass[rows])
        if background:
            out[rows] -= generalized_jaccard(codes, mean)[:, None]
    return out


def contrasted(prototype: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return what a prototype has more than another, max(t - b, 0) [feature].

    Raises:
        InvalidInput: it has nothing more.
    """
    found = np.maximum(prototype - other, 0.0)
    if not found.any():
        raise InvalidInput("no feature is stronger in the target than in the pool; take method='mona' or 'cosine'.")
    return found


def level_by_length(
    values: np.ndarray, n_tokens: np.ndarray, *, share: float = 0.05, at_least: int = 50
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of the values of the samples of like length, float64 [row] each.

    Of like length are the samples that are nearest in rank of length, half of `share` of all (or of `at_least`) on
    either side, and all that have the length of one of them; so it does not matter in which order the samples come.
    """
    if not len(values):
        return np.zeros(0), np.zeros(0)
    half = max(at_least, round(share * len(values))) // 2
    # all is done by distinct length: of those there are few, however many samples
    _, kind, counts = np.unique(n_tokens, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    first = np.searchsorted(ends, np.maximum(ends - counts - half, 0), "right")
    last = np.searchsorted(ends, np.minimum(ends + half, len(values)) - 1, "right") + 1
    centre = values.mean()
    number, total, square = (
        np.diff(np.concatenate([[0.0], np.cumsum(x)])[np.array([first, last])], axis=0)[0]
        for x in (counts, np.bincount(kind, values - centre), np.bincount(kind, (values - centre) ** 2))
    )
    mean = total / number
    sd = np.sqrt(np.maximum(square / number - mean**2, 0.0))
    return (centre + mean)[kind], sd[kind]


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with rank and percentile after its score; equal scores in the order of the rows."""
    values = table["score"].to_numpy()
    order = np.argsort(-np.where(np.isnan(values), -np.inf, values), kind="stable")
    rank = np.empty(len(values), dtype=np.int64)
    rank[order] = np.arange(1, len(values) + 1)
    percentile = 100 * (1 - (rankdata(rank) - 0.5) / max(1, len(rank)))
    return table.assign(rank=rank, percentile=percentile)


def as_pool(pool: Any) -> CodedPool:
    """Return a CodedPool of whatever holds codes."""
    return pool if isinstance(pool, CodedPool) else pool_of(pool)


def prototype_of(target: Any, n_features: int) -> np.ndarray:
    """Return the mean code of target examples, float64 [feature], or the prototype that was given.

    Raises:
        InvalidInput: another width, no example, or no active feature at all.
    """
    if isinstance(target, CodedPool):
        found = target.mean
    elif isinstance(target, np.ndarray) and target.ndim == 1:
        found = target.astype(np.float64)
    else:
        codes = _codes(target, n_features)
        found = feature_sums(codes) / codes.shape[0]
    if found.shape != (n_features,):
        raise InvalidInput(f"the target has {len(found)} features and the pool {n_features}; code both the same way.")
    if not found.any():
        raise InvalidInput("no feature is active in the target, so nothing is like it.")
    return found


def _similarities(coded: CodedPool, prototypes: np.ndarray) -> np.ndarray:
    """Return J of each row with each prototype, float64 [row, prototype], in one pass over the shards."""
    return np.concatenate([generalized_jaccard(codes, prototypes) for _, codes in coded.parts()])


def _n_tokens(target: Any) -> int:
    if isinstance(target, np.ndarray) and target.ndim == 1:
        raise InvalidInput("how many tokens are behind a prototype is not known; give the codes of the examples.")
    return int(as_pool(target).rows["n_tokens"].to_numpy().sum())


def _codes(target: Any, n_features: int) -> Any:
    codes: Any = as_pool(target).matrix()
    if codes.shape[1] != n_features:
        raise InvalidInput(
            f"the target has {codes.shape[1]} features and the pool {n_features}; code both the same way."
        )
    if not codes.shape[0]:
        raise InvalidInput("the target has no examples.")
    return codes


def _intervals(coded: CodedPool, *prototypes: np.ndarray) -> Iterator[np.ndarray]:
    """Return the least and the greatest J of each row with each prototype: low, high, low, high, ... each [row]."""
    stacked = np.array(prototypes)
    out = np.empty((2 * len(prototypes), len(coded)))
    mass, dropped = (coded.rows[name].to_numpy() for name in ("mass", "dropped"))
    for rows, codes in coded.parts():
        sums, own = min_sums(codes, stacked)
        whole = np.where(dropped[rows] > 0, mass[rows], own)  # the sum of the very numbers that are compared
        on = sparse.csr_matrix((np.ones(codes.nnz), codes.indices, codes.indptr), shape=codes.shape)
        for i, prototype in enumerate(prototypes):
            outside = prototype.sum() - np.asarray(on @ prototype)
            out[2 * i : 2 * i + 2, rows] = jaccard_bounds(sums[:, i], whole, dropped[rows], prototype, outside)
    return iter(out)


def _cosines(coded: CodedPool, prototype: np.ndarray) -> np.ndarray:
    out = np.empty(len(coded))
    for rows, codes in coded.parts():
        squares = sparse.csr_matrix((codes.data.astype(np.float64) ** 2, codes.indices, codes.indptr), codes.shape)
        length = np.sqrt(np.asarray(squares.sum(axis=1)).ravel())
        if not np.isfinite(length).all():
            raise InvalidInput("codes of the pool hold NaN or infinity; leave those samples out.")
        scale = length * np.linalg.norm(prototype)
        out[rows] = np.divide(np.asarray(codes @ prototype), scale, out=np.zeros(len(length)), where=scale > 0)
    return out
