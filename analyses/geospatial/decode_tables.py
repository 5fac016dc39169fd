"""From guesses to the tables of a decoding study: scores by condition, site and scheme, and the chosen site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analyses.geospatial.decoding import (
    Decoded,
    Task,
    constant_guesses,
    great_circle_km,
    permutation_columns,
    score_guesses,
    to_degrees,
)
from analyses.geospatial.decoding_folds import Scheme
from interp.sites import Site
from interp.stats.corrections import benjamini_hochberg

TRAINED, RANDOM, BASELINE, FEATURES = "trained", "random weights", "baseline", "features"
CHOSEN, EMBED, MEAN = "chosen", "embed", "mean of the places"
Found = dict[tuple[str, str], dict[str, Decoded]]
"""(condition, site or baseline) -> scheme -> what was decoded."""
_COLUMNS = [
    "scheme", "condition", "site", "layer", "r2", "r2_ci_low", "r2_ci_high", "leakage_gap", "median_km", "ci_low",
    "ci_high", "mean_km", "mean_ci_low", "mean_ci_high", "proximity_error", "skill", "null_mean", "null_sd", "p",
    "q", "n_perm", "alpha", "n", "n_train", "n_groups", "n_folds", "seed", "status",
]  # fmt: skip


def probe_table(found: Found, tasks: list[Task], *, seed: int) -> pd.DataFrame:
    """Return a row a scheme, condition and site, schemes in the order of the tasks, the mean as last baseline."""
    rows = []
    for task in tasks:
        for (condition, site), decoded in found.items():
            rows.append(_row(condition, site, task, decoded.get(task.scheme.name), seed))
        guesses = constant_guesses(task.y, task.scheme) if task.scheme.status == "ok" else None
        rows.append(_row(BASELINE, MEAN, task, guesses, seed))
    table = pd.DataFrame(rows).reindex(columns=_COLUMNS)
    random = table[table["scheme"] == "random"].set_index(["condition", "site"])["r2"].to_dict()
    pairs = zip(table["condition"], table["site"], strict=True)
    table["leakage_gap"] = np.array([random.get(pair, np.nan) for pair in pairs]) - table["r2"]
    # given places are other places than those of the random folds
    table.loc[table["scheme"].isin(["random", "given"]), "leakage_gap"] = np.nan
    table["q"] = table.groupby("condition")["p"].transform(lambda p: benjamini_hochberg(p.to_numpy(np.float64)))
    return table


def choose_sites(found: Found, tasks: list[Task]) -> tuple[Found, pd.DataFrame]:
    """Return the guesses of the site that did best on the other folds, by condition; and which sites these were.

    The embedding is no candidate. The tested skill is the largest over sites, for real and for shuffled places alike.
    """
    out: Found = {}
    taken = []
    for condition in (TRAINED, RANDOM):
        sites = [site for name, site in found if name == condition and site != EMBED]
        for task in tasks:
            name = task.scheme.name
            some = {s: found[condition, s][name] for s in sites if name in found[condition, s]}
            if not some:
                continue
            best, whole = _choose(list(some.values()), task.scheme)
            out.setdefault((condition, CHOSEN), {})[name] = whole
            counts = pd.Series([list(some)[i] for i in best]).value_counts()
            taken += [{"condition": condition, "scheme": name, "site": s, "n_folds": int(n)} for s, n in counts.items()]
    return out, pd.DataFrame(taken, columns=["condition", "scheme", "site", "n_folds"])


def _choose(some: list[Decoded], scheme: Scheme) -> tuple[np.ndarray, Decoded]:
    """Return the number of the best of some in each reported fold, and what they decode together."""
    best = np.array([one.inner_error for one in some]).argmin(axis=0)
    by_place, folds = best[fold_numbers(scheme)], np.arange(len(best))
    guesses = np.array([one.guesses for one in some])[by_place, np.arange(len(by_place))]
    alphas, errors = (np.array([getattr(one, name) for one in some])[best, folds] for name in ("alphas", "inner_error"))
    return best, Decoded(guesses, alphas, errors, np.array([one.skill for one in some]).max(axis=0))


def fold_numbers(scheme: Scheme) -> np.ndarray:
    """Return the fold of each place that is judged, int [scored]."""
    out = np.empty(len(scheme.rows), dtype=np.int64)
    for number, fold in enumerate(scheme.folds[: scheme.n_reported]):
        out[fold.scored] = number
    return out[scheme.scored]


def predictions_table(decoded: Mapping[str, Decoded], tasks: list[Task], places: pd.DataFrame) -> pd.DataFrame:
    """Return the guess for each place under each scheme: scheme, fold, place (row number), name, true and guessed
    lat and lon in degrees, km."""
    tables = []
    for task in tasks:
        one, scheme = decoded.get(task.scheme.name), task.scheme
        if one is None:
            continue
        rows = scheme.rows[scheme.scored]
        lat, lon = to_degrees(one.guesses)
        shown = places.iloc[rows][["name", "lat", "lon"]].reset_index(drop=True)
        shown.insert(0, "place", rows)
        shown.insert(0, "fold", fold_numbers(scheme))
        shown.insert(0, "scheme", scheme.name)
        km = great_circle_km(one.guesses, task.y[scheme.scored])
        tables.append(shown.assign(lat_guess=lat, lon_guess=lon, km=km))
    names = ["scheme", "fold", "place", "name", "lat", "lon", "lat_guess", "lon_guess", "km"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=names)


def _row(condition: str, site: str, task: Task, one: Decoded | np.ndarray | None, seed: int) -> dict[str, Any]:
    scheme = task.scheme
    row: dict[str, Any] = {
        "scheme": scheme.name, "condition": condition, "site": site, "layer": _layer(site), "p": np.nan, "n_perm": 0,
        "n": len(scheme.rows), "seed": seed, "status": scheme.status,
    }  # fmt: skip
    if scheme.status != "ok":
        return row
    row |= {"n": len(scheme.scored), "n_train": scheme.n_train, "n_folds": scheme.n_reported,
            "n_groups": len(np.unique(scheme.groups[scheme.scored]))}  # fmt: skip
    if one is None:
        return row | {"status": "constant features"}
    if isinstance(one, np.ndarray):
        return row | score_guesses(one, task)
    alpha = float(np.exp(np.log(one.alphas).mean()))
    return row | score_guesses(one.guesses, task) | permutation_columns(one.skill) | {"alpha": alpha}


def _layer(site: str) -> float:
    """Return the layer of a site, -1 for the embedding, NaN for what is no site."""
    if site == EMBED:
        return -1.0
    return np.nan if "." not in site else float(Site.parse(site).layer or 0)
