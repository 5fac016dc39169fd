"""Probes of arrays from anyone, and of every layer of a model beside its random-weights twin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.probing.compute import Data, ProbeConfig, judged, probe_row, read_data, status_of
from analyses.probing.fitting import KINDS
from analyses.probing.labels import assign_folds, group_codes, permuted
from interp.errors import InvalidInput
from interp.provenance import provenance
from interp.result import Result
from interp.stats.corrections import benjamini_hochberg
from interp.store import make_key, sha256_array

if TYPE_CHECKING:
    from interp.models import Model

CODE_VERSION = "1"
VIEW = "analyses.probing.view:plot"
TRAINED, RANDOM = "trained", "random weights"
EMBED = "embed"
NOTES = (
    "Scores are of rows whose group no part of the fit has seen; the strength is chosen within the other folds.",
    "Labels are permuted by whole groups, each permutation with a strength chosen anew; intervals resample groups.",
    "selectivity compares the score with that of random labels a type, both under folds of rows, where types recur.",
)


def probe(
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    kind: str = "ridge",
    seed: int = 0,
    types: Any = None,
    task: Any = "auto",
    n_folds: int = 5,
    n_perm: int | None = None,
    n_boot: int = 500,
    description_length: bool = True,
) -> Result:
    """Return what can be read of labels out of activations, with the nulls and controls beside it.

    Args:
        X: [n, d], activations or latents, dense or scipy sparse.
        y: [n]; floats are numbers (R²), all else classes (AUC for two, balanced accuracy for more).
        groups: [n], entities, templates, documents or blocks of space; no group is split. None: rows are independent.
        kind: "ridge" (fast: all permutations in one go), "logistic", "mass_mean" or "mlp".
        types: [n], words or entities of the control task; default the groups, where these have several rows.
        task: "classes" or "numbers" where the default of `y` is wrong.
        n_perm: refits with permuted labels; default 199 for ridge and mass_mean, 19 for logistic and mlp.

    Returns:
        Result "probing.probe". Its table has one row: score, ci_low and ci_high (95 %, over groups), baseline (a
        constant guess), accuracy and majority, null_mean, null_sd and p (permuted labels), control_score and
        selectivity, mdl_bits and mdl_compression, variance_explained, alpha (geometric mean over folds), n, n_groups,
        status, seed. Table `predictions`: fold and guess of each row.

    Raises:
        InvalidInput: shapes that do not fit, missing values, or a kind that does not fit the labels.
    """
    config = ProbeConfig(kind, task, n_folds, n_perm, n_boot, description_length, seed)
    data = read_data(X, y, groups, types, config)
    found = probe_row(data, config)
    table = with_q(pd.DataFrame([{"unit": "probe", **found.row}]))
    names = np.array(data.labels.names, dtype=object)
    guesses = found.guesses
    if data.labels.names:
        guesses = np.array([names[int(g)] if np.isfinite(g) else "" for g in guesses], dtype=object)
    predictions = pd.DataFrame(
        {"row": np.arange(len(data.x)), "group": data.groups, "fold": found.folds, "guess": guesses}
    )
    key = make_key(config.to_dict(), _hashes(data), code_version=CODE_VERSION)
    about = provenance(key, seed=seed, classes=list(data.labels.names))
    return Result("probing.probe", table, {"predictions": predictions}, about, VIEW, NOTES)


def probe_layers(
    model: Model,
    texts: Sequence[str],
    labels: Any,
    sites: Iterable[str] | None = None,
    *,
    groups: Any = None,
    kind: str = "ridge",
    seed: int = 0,
    twin: Model | None = None,
    pool: str = "last",
    types: Any = None,
    task: Any = "auto",
    n_perm: int | None = None,
    n_boot: int = 500,
    description_length: bool = False,
    test_share: float = 0.3,
) -> Result:
    """Probe every site of a model and of its random-weights twin; choose one on some groups, report it on others.

    Args:
        texts, labels: [n]. groups: [n]; no group is split. None: equal texts are a group.
        sites: default resid_post of every layer; the embedding is added as a baseline that no site has to beat.
        twin: the model with random weights; loaded from the model's name if None.
        pool: over the tokens of a text, see `interp.capture`.
        test_share: groups that are kept for the report of the chosen site.
        kind, seed, types, task, n_perm, n_boot, description_length: see `probe`.

    Returns:
        Result "probing.layers": `.table` one row a condition and site, scored by cross-validation in the groups that
        are not kept for the test, q over the sites of a condition; `.tables["chosen"]` the site with the best score,
        that of the twin, the twin's own best, and the embedding, fitted on those groups and judged on the test groups.

    Raises:
        UnknownSite: a site that the model has not. InvalidInput: as `probe`.
    """
    config = ProbeConfig(kind, task, 5, n_perm, n_boot, description_length, seed)
    groups = group_codes(list(texts) if groups is None else groups, len(texts))
    read_data(np.zeros((len(texts), 1)), labels, groups, types, config)  # refuse before anything heavy is run
    wanted = [f"resid_post.{i}" for i in range(model.n_layers)] if sites is None else [str(s) for s in sites]
    acts = _activations(model, twin, texts, [EMBED, *(s for s in wanted if s != EMBED)], pool, seed)
    keep = held_out_groups(groups, test_share, seed=seed)
    rows, chosen = layer_rows(acts, labels, groups, types, keep, config)
    hashes = {"labels": sha256_array(np.asarray(labels).astype(str)), "groups": sha256_array(groups)}
    hashes |= {f"{c} {s}": sha256_array(x) for c, found in acts.items() for s, x in found.items()}
    key = make_key({**config.to_dict(), "pool": pool, "test_share": test_share}, hashes, code_version=CODE_VERSION)
    about = provenance(key, seed=seed, model=model.name, sites=wanted, pool=pool)
    return Result("probing.layers", rows, {"chosen": chosen}, about, VIEW, NOTES)


def layer_rows(
    acts: dict[str, dict[str, np.ndarray]], labels: Any, groups: Any, types: Any, keep: np.ndarray, config: ProbeConfig
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of every condition and site, and those of the chosen sites on the test groups.

    Args:
        acts: condition -> site -> [n, d]. keep: bool [n], rows of the test groups.
    """
    rows, wholes = [], {}
    for condition, found in acts.items():
        for site, x in found.items():
            whole = wholes[condition, site] = read_data(x, labels, groups, types, config)
            row = probe_row(part_of(whole, ~keep), config).row
            rows.append({"condition": condition, "unit": site, "layer": layer_of(site), **row})
    table = pd.DataFrame(rows)
    best = {c: best_site(table, c) for c in acts}
    pairs = [(TRAINED, best[TRAINED], "chosen"), (RANDOM, best[TRAINED], "same site"),
             (RANDOM, best[RANDOM], "its best"), (TRAINED, EMBED, "embedding")]  # fmt: skip
    judged_rows = [
        {"condition": c, "unit": s, "role": role, **final_row(wholes[c, s], keep, config)}
        for c, s, role in pairs
        if s is not None and (c, s) in wholes
    ]
    return with_q(table, "condition"), with_q(pd.DataFrame(judged_rows))


def best_site(table: pd.DataFrame, condition: str) -> str | None:
    """Return the site with the best score of a condition, the embedding left out unless there is nothing else."""
    part: Any = table[(table["condition"] == condition) & table["score"].notna()]
    part = part[part["unit"] != EMBED] if (part["unit"] != EMBED).any() else part
    return None if not len(part) else str(part.loc[part["score"].idxmax(), "unit"])


def final_row(whole: Data, keep: np.ndarray, config: ProbeConfig) -> dict[str, Any]:
    """Fit on the rows that are not kept, judge on those that are; labels are permuted in each part by itself."""
    fit, test = part_of(whole, ~keep), part_of(whole, keep)
    status = status_of(fit.labels, fit.groups)
    status = status if status != "ok" else "ok" if len(np.unique(test.labels.y)) > 1 else "constant label in the test"
    about = {"kind": config.kind, "metric": whole.labels.metric, "n": len(test.x), "n_fitted": len(fit.x),
             "n_groups": len(np.unique(test.groups)), "n_perm": config.permutations, "seed": config.seed}  # fmt: skip
    if status != "ok":
        blank = ("score", "ci_low", "ci_high", "baseline", "accuracy", "majority", "null_mean", "null_sd", "p", "alpha")
        return {**about, **dict.fromkeys(blank, np.nan), "status": status}
    versions = [
        np.concatenate([d.labels.y[None], permuted(d.labels.y, d.groups, config.permutations, seed=config.seed + i)])
        for i, d in enumerate((fit, test))
    ]
    inner = assign_folds(fit.groups, config.n_folds, seed=config.seed)
    found = KINDS[config.kind](fit.x, versions[0], test.x, inner, fit.labels, config.seed)
    folds = np.zeros(len(test.x), dtype=np.int64)
    values = judged(test, versions[1], found.values, folds, np.full(len(test.x), fit.labels.y.mean()), config)
    return {**about, **values, "alpha": float(found.strengths[0]), "status": status}


def part_of(data: Data, rows: np.ndarray) -> Data:
    """Return some rows; classes keep their numbers, groups are numbered anew."""
    from analyses.probing.labels import Labels

    types = None if data.types is None else data.types[rows]
    return Data(
        data.x[rows], Labels(data.labels.y[rows], data.labels.names), group_codes(data.groups[rows], rows.sum()), types
    )


def held_out_groups(groups: np.ndarray, share: float, *, seed: int) -> np.ndarray:
    """Return which rows are kept for the test: whole groups, about a share of the rows.

    Raises:
        InvalidInput: a share that leaves one side without groups.
    """
    if not 0 < share < 1:
        raise InvalidInput(f"test_share is between 0 and 1, not {share!r}.")
    n_folds = min(20, int(groups.max()) + 1)
    folds = assign_folds(groups, n_folds, seed=seed + 1)
    keep = folds < max(1, round(share * n_folds))
    if keep.all():
        raise InvalidInput(f"{int(groups.max()) + 1} groups leave none to fit on; give more groups.")
    return keep


def layer_of(site: str) -> int:
    """Return the layer of a site; -1 for the embedding."""
    from interp.sites import Site

    layer = Site.parse(site).layer
    return -1 if layer is None else layer


def with_q(table: pd.DataFrame, by: str | None = None) -> pd.DataFrame:
    """Return the table with Benjamini-Hochberg q beside p, over all rows or over those of each value of a column."""
    out = table.copy()
    q = np.full(len(out), np.nan)
    for part in [np.full(len(out), True)] if by is None else [(out[by] == v).to_numpy() for v in out[by].unique()]:
        q[part] = benjamini_hochberg(out.loc[part, "p"].to_numpy(np.float64))
    out.insert(list(out.columns).index("p") + 1, "q", q)
    return out


def _activations(
    model: Model, twin: Model | None, texts: Sequence[str], sites: list[str], pool: str, seed: int
) -> dict[str, dict[str, np.ndarray]]:
    """Return condition -> site -> [n, d]."""
    from interp.capturing import capture
    from interp.models import load_model

    if twin is None:
        twin = load_model(model.name, weights="random", seed=seed, bos=model.bos)
    out = {}
    for name, each in ((TRAINED, model), (RANDOM, twin)):
        found = capture(each, texts, sites, pool=pool, bos=model.bos)
        out[name] = {site: np.asarray(found[site]) for site in sites}
    return out


def _hashes(data: Data) -> dict[str, str]:
    found = {"x": sha256_array(data.x), "y": sha256_array(data.labels.y), "groups": sha256_array(data.groups)}
    return found if data.types is None else {**found, "types": sha256_array(data.types)}
