"""Why a sample has its score. The numerator of J is a sum over features, so the shares of features are exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from analyses.data_selection.coded_pool import CodedPool, feature_sums, row_sums
from analyses.data_selection.coders import as_coder
from analyses.data_selection.method_names import DEFAULT_METHOD, EXPLAINED
from analyses.data_selection.random_targets import random_targets
from analyses.data_selection.relevance import as_pool, contrasted, prototype_of, score
from analyses.data_selection.samples import Sample
from analyses.data_selection.token_windows import TokenChoice, find_windows
from interp.batches import run_batch, with_tokens
from interp.errors import InvalidInput
from interp.models import find_site
from interp.stats import generalized_jaccard

if TYPE_CHECKING:
    from interp.models import Model

Labels = Mapping[int, str] | None


def explain(
    pool: Any, target: Any, rows: Sequence[int] | np.ndarray, *, method: str = DEFAULT_METHOD, k: int = 10,
    labels: Labels = None, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Split the scores of some rows over the features that make them.

    With D = sum max(z, t), feature f adds min(z_f, t_f) / D_t to J(z, t); under "background" less min(z_f, b_f) / D_b;
    under "matched" less the mean of that over the random targets, all over their spread; under "contrast" t is what the
    target has more than the pool, and under "adjusted" that over the spread among samples of like length, whose mean is
    taken off in a row of its own (feature -2). The contributions of a row add up to its score.

    Args:
        pool, target, seed: as given to `score`.
        rows: row numbers of the pool.
        method: "mona", "background", "matched", "contrast" or "adjusted".
        k: features listed of a row, largest contribution (in size) first; the rest is one row with feature -1.
        labels: feature -> what it stands for.

    Returns:
        One row a sample and feature: row, id, feature, label, sample (z_f), target (t_f), contribution, share (of the
        score).

    Raises:
        InvalidInput: another method, or rows that were cut.
    """
    coded = as_pool(pool)
    prototype = prototype_of(target, coded.n_features)
    found = coded.take(rows)
    prototypes, weights, level = _terms(coded, target, prototype, rows, found, method, seed)
    j = generalized_jaccard(found, prototypes)
    tables = []
    for i, row in enumerate(np.asarray(rows)):
        part = slice(found.indptr[i], found.indptr[i + 1])
        z, features = found.data[part].astype(np.float64), found.indices[part]
        minima = np.minimum(z, prototypes[:, features])
        whole = minima.sum(axis=1)
        size = np.divide(whole, j[i], out=np.ones(len(whole)), where=j[i] > 0)  # D, from J = M / D
        contribution = (weights[i] / size) @ minima
        tables.append(_largest(int(row), features, z, prototype, contribution, k, level[i]))
    table = pd.concat(tables, ignore_index=True)
    return _named(table, coded, labels)


def lacking(
    pool: Any, target: Any, rows: Sequence[int] | np.ndarray, *, k: int = 10, labels: Labels = None
) -> pd.DataFrame:
    """List the features of the target that a sample lacks, the weightiest first.

    Returns:
        row, id, feature, label, target, share (of the target's mass). Without features of share s no J is above 1 - s.
    """
    coded = as_pool(pool)
    prototype = prototype_of(target, coded.n_features)
    found = coded.take(rows)
    tables = []
    for i, row in enumerate(np.asarray(rows)):
        absent = prototype.copy()
        absent[found.indices[found.indptr[i] : found.indptr[i + 1]]] = 0
        order = np.argsort(-absent, kind="stable")[:k]
        order = order[absent[order] > 0]
        share = absent[order] / prototype.sum()
        tables.append(pd.DataFrame({"row": int(row), "feature": order, "target": absent[order], "share": share}))
    return _named(pd.concat(tables, ignore_index=True), coded, labels)


def feature_shift(pool: Any, target: Any, selected: np.ndarray, *, labels: Labels = None) -> pd.DataFrame:
    """Compare the features of the chosen rows with those of the pool and of the target.

    Returns:
        One row a feature that is active anywhere: feature, label, target, pool, chosen (mean codes), log2_ratio (chosen
        over pool, NaN where either is 0), n_pool, n_chosen (rows with it), status: "missing" (in the target, in no
        chosen row), "enriched" or "depleted" (twice or half as much as in the pool), "" else. There is no p: rows were
        chosen for these very features.
    """
    coded = as_pool(pool)
    prototype = prototype_of(target, coded.n_features)
    chosen_sum, n_pool, n_chosen = np.zeros(coded.n_features), *np.zeros((2, coded.n_features), dtype=np.int64)
    for rows, codes in coded.parts():
        mine = codes[np.flatnonzero(selected[rows])]
        chosen_sum += feature_sums(mine)
        n_pool += np.bincount(codes.indices, minlength=coded.n_features)
        n_chosen += np.bincount(mine.indices, minlength=coded.n_features)
    chosen = chosen_sum / max(1, int(np.sum(selected)))
    both = (chosen > 0) & (coded.mean > 0)
    ratio = np.full(coded.n_features, np.nan)
    ratio[both] = np.log2(chosen[both] / coded.mean[both])
    status = np.select(
        [(prototype > 0) & (n_chosen == 0), ratio >= 1, ratio <= -1], ["missing", "enriched", "depleted"], ""
    )
    table = pd.DataFrame(
        {"feature": np.arange(coded.n_features), "target": prototype, "pool": coded.mean, "chosen": chosen,
         "log2_ratio": ratio, "n_pool": n_pool, "n_chosen": n_chosen, "status": pd.array(status, dtype="str")}
    )  # fmt: skip
    order = np.argsort(-prototype, kind="stable")
    order = order[(prototype[order] > 0) | (n_pool[order] > 0)]
    return _with_labels(table.take(order).reset_index(drop=True), labels)


def edited(pool: Any, target: Any, factors: Mapping[int, float]) -> tuple[CodedPool, np.ndarray]:
    """Return the pool and the prototype with features muted (factor 0) or boosted, to score and pick again at once.

    J with weights w is sum w min(z, t) / sum w max(z, t): both sides are scaled, and no model runs.

    Raises:
        InvalidInput: a feature that does not exist, a negative factor, or rows that were cut.
    """
    coded = as_pool(pool)
    if coded.is_cut:
        raise InvalidInput("entries of this pool were dropped (top=...), and it is not known of which features.")
    scale = np.ones(coded.n_features)
    for feature, factor in factors.items():
        if not 0 <= feature < coded.n_features or not factor >= 0 or not np.isfinite(factor):
            raise InvalidInput(f"feature {feature} x {factor}: features are 0 to {coded.n_features - 1}, factors >= 0.")
        scale[feature] = factor

    def scaled(load: Any) -> Any:
        codes = load()
        data = (codes.data * scale[codes.indices]).astype(np.float32)
        out = sparse.csr_matrix((data, codes.indices, codes.indptr), shape=codes.shape, copy=True)
        out.eliminate_zeros()  # in place, so never on the arrays of the pool
        return out

    shards = [lambda load=load: scaled(load) for load in coded.shards]
    mass = np.concatenate([row_sums(load()) for load in shards])
    prototype = prototype_of(target, coded.n_features) * scale
    return replace(coded, rows=coded.rows.assign(mass=mass), total=coded.total * scale, shards=shards), prototype


def firing_tokens(
    model: Model, sae: Any, sample: Sample, features: Sequence[int], *, choice: TokenChoice | None = None
) -> pd.DataFrame:
    """Return the tokens of one sample that fire some features: position, token, feature, activation (> 0).

    Raises:
        InvalidInput: the sample has no token to pool.
    """
    coder, windows = as_coder(sae), find_windows(model, [sample], choice or TokenChoice())
    if windows.encoded is None or windows.encoded.span_mask is None:
        raise InvalidInput(f"{sample.id} has no token to pool: {windows.problems[0][1]}.")
    site = find_site(model, coder.site)
    request = with_tokens(model, windows.encoded, [site], pool="none", dtype="float32", batch_tokens=8192,
                          include_special=False)  # fmt: skip
    values, indices = (part.cpu().numpy() for part in coder.codes(run_batch(request, np.array([0])).values[str(site)]))
    at, column = np.nonzero(np.isin(indices, list(features)) & (values > 0))
    position = np.flatnonzero(windows.encoded.span_mask)[at]
    tokens = model.tokenizer.convert_ids_to_tokens(windows.encoded.ids[position].tolist())
    return pd.DataFrame(
        {"position": position, "token": pd.array(tokens, dtype="str"), "feature": indices[at, column],
         "activation": values[at, column]}
    )  # fmt: skip


def _terms(
    coded: CodedPool, target: Any, prototype: np.ndarray, rows: Any, found: Any, method: str, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return prototypes [term, feature], weights [row, term], level [row] with score = weights @ J(row, .) + level."""
    if coded.is_cut:
        raise InvalidInput("entries of this pool were dropped (top=...); code the rows to explain whole.")
    n = found.shape[0]
    nothing = np.zeros(n)
    if method == "mona":
        return prototype[None], np.ones((n, 1)), nothing
    if method == "contrast":
        return contrasted(prototype, coded.mean)[None], np.ones((n, 1)), nothing
    if method == "adjusted":
        table = score(coded, prototype, method=method)
        mean, sd = (table[name].to_numpy()[np.asarray(rows)] for name in ("background", "null_sd"))
        per_sd = np.divide(1.0, sd, out=np.zeros(n), where=sd > 0)
        return contrasted(prototype, coded.mean)[None], per_sd[:, None], -mean * per_sd
    if method == "background":
        return np.array([prototype, coded.mean]), np.tile([1.0, -1.0], (n, 1)), nothing
    if method == "matched":
        others = random_targets(coded, int(as_pool(target).rows["n_tokens"].to_numpy().sum()), seed=seed)
        sd = generalized_jaccard(found, others).std(axis=1, ddof=1)
        each = np.tile(np.r_[1.0, np.full(len(others), -1 / len(others))], (n, 1))
        weights = np.divide(each, sd[:, None], out=np.zeros_like(each), where=sd[:, None] > 0)
        return np.vstack([prototype, others]), weights, nothing
    raise InvalidInput(f"method is one of {', '.join(EXPLAINED)}, not {method!r}; others have no such parts.")


def _largest(
    row: int, features: np.ndarray, z: np.ndarray, prototype: np.ndarray, contribution: np.ndarray, k: int, level: float
) -> pd.DataFrame:
    order = np.argsort(-np.abs(contribution), kind="stable")
    top, rest = order[:k], order[k:]
    columns: dict[str, Any] = {
        "feature": features[top].astype(np.int64), "sample": z[top], "target": prototype[features[top]],
        "contribution": contribution[top],
    }  # fmt: skip
    if len(rest):
        sums = (-1, z[rest].sum(), prototype[features[rest]].sum(), contribution[rest].sum())
        columns = {name: np.append(values, more) for (name, values), more in zip(columns.items(), sums, strict=True)}
    if level:
        last = {"feature": -2, "sample": np.nan, "target": np.nan, "contribution": level}
        columns = {name: np.append(values, last[name]) for name, values in columns.items()}
    total = contribution.sum() + level
    return pd.DataFrame({"row": row, **columns, "share": columns["contribution"] / total if total else np.nan})


def _named(table: pd.DataFrame, coded: CodedPool, labels: Labels) -> pd.DataFrame:
    table.insert(1, "id", coded.rows["id"].to_numpy()[table["row"].to_numpy()])
    return _with_labels(table, labels)


def _with_labels(table: pd.DataFrame, labels: Labels) -> pd.DataFrame:
    known = {-1: "all other features", -2: "level of samples of like length", **(labels or {})}
    names = [known.get(int(feature), "") for feature in table["feature"]]
    table.insert(int(np.flatnonzero(table.columns == "feature")[0]) + 1, "label", pd.array(names, dtype="str"))
    return table
