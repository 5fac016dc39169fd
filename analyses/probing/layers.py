"""Every site of a model and of its twin: one is chosen on some groups, and reported on groups that chose nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analyses.probing.compute import Data, ProbeConfig, judged, probe_row, read_data, status_of
from analyses.probing.fitting import KINDS
from analyses.probing.labels import Labels, assign_folds, group_codes, permuted
from interp.errors import InvalidInput
from interp.stats.corrections import benjamini_hochberg

TRAINED, RANDOM = "trained", "random weights"
EMBED = "embed"
CHOSEN = "chosen"
BLANK = ("score", "ci_low", "ci_high", "baseline", "accuracy", "majority", "null_mean", "null_sd", "p", "alpha")
Compute = Callable[[str], pd.DataFrame]
Units = Callable[[Sequence[str], Compute], dict[str, pd.DataFrame]]
"""(ids, compute) -> table of each id: computed here, or kept in a store."""


def at_once(units: Iterable[str], compute: Compute) -> dict[str, pd.DataFrame]:
    """Compute every unit and keep none."""
    return {unit: compute(unit) for unit in units}


def layer_tables(
    sites: dict[str, list[str]],
    data_of: Callable[[str, str], Data],
    keep: np.ndarray,
    config: ProbeConfig,
    units: Units = at_once,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of every condition and site, and those of the chosen sites on the test groups.

    Args:
        sites: condition -> names of its sites. data_of: (condition, site) -> the rows there.
        keep: bool [n], rows of the test groups. units: how each row is come by.
    """
    pairs = {f"{condition}/{site}": (condition, site) for condition, names in sites.items() for site in names}

    def row_of(unit: str) -> pd.DataFrame:
        condition, site = pairs[unit]
        row = probe_row(part_of(data_of(condition, site), ~keep), config).row
        return pd.DataFrame([{"condition": condition, "unit": site, "layer": layer_of(site), **row}])

    found = units(list(pairs), row_of)
    table = pd.concat([found[unit] for unit in pairs], ignore_index=True)
    chosen = units([CHOSEN], lambda _: chosen_rows(table, sites, data_of, keep, config))[CHOSEN]
    return with_q(table, "condition"), with_q(chosen)


def layer_rows(
    acts: dict[str, dict[str, np.ndarray]], labels: Any, groups: Any, types: Any, keep: np.ndarray, config: ProbeConfig
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return `layer_tables` of arrays: condition -> site -> [n, d]."""
    sites = {condition: list(found) for condition, found in acts.items()}
    return layer_tables(sites, lambda c, s: read_data(acts[c][s], labels, groups, types, config), keep, config)


def chosen_rows(
    table: pd.DataFrame,
    sites: dict[str, list[str]],
    data_of: Callable[[str, str], Data],
    keep: np.ndarray,
    config: ProbeConfig,
) -> pd.DataFrame:
    """Return the site with the best score, that of the twin, the twin's own best and the embedding, on the test."""
    best = {c: best_site(table, c) for c in sites}
    pairs = [(TRAINED, best.get(TRAINED), CHOSEN), (RANDOM, best.get(TRAINED), "same site"),
             (RANDOM, best.get(RANDOM), "its best"), (TRAINED, EMBED, "embedding")]  # fmt: skip
    rows = [
        {"condition": c, "unit": s, "role": role, **final_row(data_of(c, s), keep, config)}
        for c, s, role in pairs
        if s is not None and s in sites.get(c, [])
    ]
    return pd.DataFrame(rows)


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
             "n_groups": len(np.unique(test.groups)), "n_perm": config.permutations,
             "p_floor": config.p_floor, "seed": config.seed}  # fmt: skip
    if status != "ok":
        return {**about, **dict.fromkeys(BLANK, np.nan), "status": status}
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
