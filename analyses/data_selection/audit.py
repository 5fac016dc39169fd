"""What a pick may owe to something other than the task: length, the method, chance in the target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from analyses.data_selection.method_names import DEFAULT_METHOD
from analyses.data_selection.relevance import as_pool, many_scores, prototype_of
from interp.errors import InvalidInput
from interp.stats.seeds import check_seed

WARN_RHO = 0.3
"""A score whose Spearman correlation with length is beyond this is flagged."""


def length_audit(scores: pd.DataFrame, selected: np.ndarray, target_tokens: np.ndarray) -> pd.DataFrame:
    """Return how far score and pick hang on length: measure, value, p, n, status, flag.

    Spearman correlations of score and raw similarity with n_tokens and n_features (p two-sided), and median tokens of
    pool, target and pick. The flag is "follows length" where |rho| > 0.3, or where the median of the pick is more than
    1.5 times, or less than 2/3 of, those of both target and pool. Status "constant": no correlation, no p.
    """
    rows = []
    for value in ("score", "raw"):
        for by in ("n_tokens", "n_features"):
            rho, p = _spearman(scores[value].to_numpy(), scores[by].to_numpy())
            status = "constant" if np.isnan(rho) else "ok"
            rows.append((f"spearman of {value} with {by}", rho, p, len(scores), status, abs(rho) > WARN_RHO))
    tokens = scores["n_tokens"].to_numpy()
    lengths = {"pool": tokens, "target": target_tokens, "pick": tokens[selected]}
    medians = {name: float(np.median(x)) if len(x) else np.nan for name, x in lengths.items()}
    others = (medians["pool"], medians["target"])
    off = medians["pick"] > 1.5 * max(others) or medians["pick"] < min(others) / 1.5
    for name, x in lengths.items():
        status = "ok" if len(x) else "empty"
        rows.append((f"median tokens, {name}", medians[name], np.nan, len(x), status, off and name == "pick"))
    table = pd.DataFrame(rows, columns=pd.Index(["measure", "value", "p", "n", "status", "flag"]))
    return table.assign(flag=pd.array(["follows length" if flag else "" for flag in table["flag"]], dtype="str"))


def agreement(scores: np.ndarray, others: Mapping[str, np.ndarray], n_tokens: np.ndarray, n: int) -> pd.DataFrame:
    """Compare the n best rows of a score with those of others: what the method itself decides.

    Returns:
        One row a method: method, overlap (share of the n best in common), chance (n over all rows), spearman (with the
        score), rho_length (Spearman with n_tokens), median_tokens (of its n best), n, status.
    """
    best = set(_best(scores, n))
    rows = []
    for name, values in {"score": scores, **others}.items():
        mine = _best(values, n)
        usable = np.isfinite(values)
        rows.append(
            (name, len(best & set(mine)) / max(n, 1), n / len(scores), _spearman(scores[usable], values[usable])[0],
             _spearman(values[usable], n_tokens[usable])[0], float(np.median(n_tokens[mine])), n,
             "ok" if usable.all() else f"{int((~usable).sum())} rows without a score")
        )  # fmt: skip
    names = ["method", "overlap", "chance", "spearman", "rho_length", "median_tokens", "n", "status"]
    return pd.DataFrame(rows, columns=pd.Index(names))


def shuffled_prototype(target: Any, pool: Any, *, seed: int = 0) -> np.ndarray:
    """Return the target's prototype with its values dealt at random to the features that are active in the pool."""
    coded = as_pool(pool)
    prototype = prototype_of(target, coded.n_features)
    active = np.flatnonzero((coded.total > 0) | (prototype > 0))
    rng = np.random.default_rng(np.random.SeedSequence(check_seed(seed), spawn_key=(81,)))
    out = np.zeros_like(prototype)
    out[active] = prototype[rng.permutation(active)]
    return out


def pick_stability(
    pool: Any, targets: Any, n: int, *, method: str = DEFAULT_METHOD, n_boot: int = 100, seed: int = 0
) -> pd.DataFrame:
    """Resample the target examples and pick again: which rows stay.

    Args:
        method: see `score`; the random targets of "matched" are those of the whole target.

    Returns:
        One row a row that is picked in any resample or from all examples: row, id, selected (from all examples), kept
        (share of the resamples that pick it), n_boot, seed. `attrs`: overlap (mean share of the pick that stays) and
        its 95 % range overlap_low, overlap_high; n_examples.

    Raises:
        InvalidInput: fewer than 2 examples, or n_boot below 1.
    """
    coded, examples = as_pool(pool), cast(Any, as_pool(targets).matrix())
    count = examples.shape[0]
    if count < 2 or n_boot < 1:
        raise InvalidInput(f"{count} target examples and n_boot={n_boot}: at least 2 and 1 are needed.")
    rng = np.random.default_rng(np.random.SeedSequence(check_seed(seed), spawn_key=(82,)))
    draws = rng.multinomial(count, np.full(count, 1 / count), size=n_boot) / count
    prototypes = np.vstack([np.full(count, 1 / count), draws]) @ examples.toarray().astype(np.float64)
    values = many_scores(coded, prototypes, as_pool(targets), method, seed)
    picks = np.zeros(values.shape, dtype=bool)
    for column in range(values.shape[1]):
        picks[_best(values[:, column], n), column] = True
    overlaps = (picks[:, 1:] & picks[:, :1]).sum(axis=0) / max(n, 1)
    rows = np.flatnonzero(picks.any(axis=1))
    table = pd.DataFrame(
        {"row": rows, "id": coded.rows["id"].to_numpy()[rows], "selected": picks[rows, 0],
         "kept": picks[rows, 1:].mean(axis=1), "n_boot": n_boot, "seed": seed}
    )  # fmt: skip
    low, high = np.quantile(overlaps, [0.025, 0.975])
    table.attrs.update(
        overlap=float(overlaps.mean()), overlap_low=float(low), overlap_high=float(high), n_examples=count
    )
    return table


def _best(values: np.ndarray, n: int) -> np.ndarray:
    return np.argsort(-np.where(np.isfinite(values), values, -np.inf), kind="stable")[:n]


def _spearman(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan, np.nan
    found: Any = spearmanr(x, y)
    return float(found.statistic), float(found.pvalue)
