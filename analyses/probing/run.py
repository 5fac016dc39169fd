"""Probes of arrays from anyone, and of every layer of a model beside its random-weights twin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.probing.compute import Data, ProbeConfig, probe_row, read_data
from analyses.probing.labels import group_codes
from analyses.probing.layers import TRAINED, with_q
from analyses.probing.source import CODE_VERSION, model_source, probe_source
from interp.provenance import provenance
from interp.result import Result
from interp.store import Store, make_key, sha256_array

if TYPE_CHECKING:
    from interp.models import Model

VIEW = "analyses.probing.view:plot"
NOTES = (
    "Scores are of rows whose group no part of the fit has seen; the strength is chosen within the other folds.",
    "Labels are permuted by whole groups, each permutation with a strength chosen anew; intervals resample groups.",
    "selectivity compares the score with that of random labels a type, both under folds of rows, where types recur.",
)


def notes(config: ProbeConfig) -> tuple[str, ...]:
    """Return what has to be known to read the table; of few permutations, how small p can be."""
    if config.permutations >= 99:
        return NOTES
    floor = 1 / (config.permutations + 1)
    return (
        *NOTES,
        f"With {config.permutations} permutations p is never below {floor:.2g} (column p_floor): that p says only that "
        "no permutation did as well. Give n_perm=99 or more, or read the score against null_mean and null_sd.",
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
    return Result("probing.probe", table, {"predictions": predictions}, about, VIEW, notes(config))


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
    store: Store | None = None,
) -> Result:
    """Probe every site of a model and of its random-weights twin; choose one on some groups, report it on others.

    Args:
        texts, labels: [n]. groups: [n]; no group is split. None: equal texts are a group.
        sites: default resid_post of every layer; the embedding is added as a baseline that no site has to beat.
        twin: the model with random weights; loaded from the model's name if None.
        pool: over the tokens of a text, see `interp.capture`.
        test_share: groups that are kept for the report of the chosen site.
        store: an `interp.Store`; each finished row is kept, and a killed call goes on from there.
        kind, seed, types, task, n_perm, n_boot, description_length: see `probe`.

    Returns:
        Result "probing.layers": `.table` one row a condition and site, scored by cross-validation in the groups that
        are not kept for the test, q over the sites of a condition; `.tables["chosen"]` the site with the best score,
        that of the twin, the twin's own best, and the embedding, fitted on those groups and judged on the test groups.

    Raises:
        UnknownSite: a site that the model has not. InvalidInput: as `probe`.
    """
    config = ProbeConfig(kind, task, 5, n_perm, n_boot, description_length, seed)
    y = np.asarray(labels)
    groups = group_codes(list(texts) if groups is None else groups, len(texts))
    read_data(np.zeros((len(texts), 1)), y, groups, types, config)  # refuse before anything heavy is run
    source = model_source(model, twin, texts, None if sites is None else list(sites), seed=seed, pool=pool)
    rows, chosen, key = probe_source(source, y, groups, types, config, test_share=test_share, store=store)
    about = provenance(key, seed=seed, model=model.name, sites=source.sites[TRAINED][1:], pool=pool)
    return Result("probing.layers", rows, {"chosen": chosen}, about, VIEW, notes(config))


def _hashes(data: Data) -> dict[str, str]:
    found = {"x": sha256_array(data.x), "y": sha256_array(data.labels.y), "groups": sha256_array(data.groups)}
    return found if data.types is None else {**found, "types": sha256_array(data.types)}
