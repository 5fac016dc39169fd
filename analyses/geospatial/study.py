"""Is geography laid out in the features? Moran's I of every latent and neuron, beside its nulls.

After De Sabbata et al. (2025), with what their design leaves open closed: the name alone is the prompt, BOS is never
pooled, p is calibrated for sparse features and corrected over all of them; each significant feature is judged against
what the country, the spelling, the tokens and the size of the city give by themselves; and the same code runs on the
random-weights twin, on shuffled places, and on the letters and tokens of the names without any model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd
from scipy import sparse, stats

from analyses.geospatial.activations import Pool
from analyses.geospatial.distance_bands import correlogram
from analyses.geospatial.moran import local_moran, moran
from analyses.geospatial.prompts import NAME_ALONE, Over
from analyses.geospatial.verdicts import BY_COUNTRY, BY_NAME, GEOGRAPHIC, UNDECIDED, Context, add_verdicts
from analyses.geospatial.weights import SpatialWeights
from interp.errors import InvalidInput

TRAINED, RANDOM, SHUFFLED = "trained", "random weights", "shuffled places"
WITHIN = "shuffled within countries"
NAMES = "names alone"
LATENT, NEURON, NGRAM, TOKEN = "latent", "neuron", "n-gram", "token"
_BANDS_KM = (0, 100, 250, 500, 1000, 2000, 4000, 8000)
_REACH_PLACES = 2000
COUNTED = {
    "n_geographic": GEOGRAPHIC,
    "n_by_country": BY_COUNTRY,
    "n_by_name": BY_NAME,
    "n_undecided": UNDECIDED,
}


@dataclass(frozen=True)
class StudyConfig:
    """Every choice that changes the numbers of the study."""

    template: str = NAME_ALONE
    """Prompt of a place; a field beside {name} puts the answer into the prompt and is flagged."""
    pool: Pool = "mean"
    """How the tokens become one value."""
    over: Over = "name"
    """Which tokens: those of the name, or of the whole prompt (never BOS)."""
    k: int = 8
    """Nearest neighbours on the globe."""
    neighbours: tuple[int, ...] = (4, 16, 32)
    """Other numbers of neighbours, for which I and its analytic q stand beside."""
    permutations: int = 999
    """Random relabellings behind a permutation p."""
    min_active: int = 10
    """A feature that is off its majority value at fewer places gets no p."""
    q_cut: float = 0.05
    """False discovery rate (Benjamini-Hochberg) at which a feature counts as significant."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("k", 1), ("permutations", 1), ("min_active", 1), ("seed", 0)):
            _require_count(name, getattr(self, name), least)
        for value in self.neighbours:
            _require_count("each of neighbours", value, 1)
        for name, valid in (("pool", get_args(Pool)), ("over", get_args(Over))):
            if getattr(self, name) not in valid:
                raise InvalidInput(f"{name} is one of {', '.join(valid)}, not {getattr(self, name)!r}.")
        if not 0 < self.q_cut < 1:
            raise InvalidInput(f"q_cut is a rate between 0 and 1, not {self.q_cut!r}.")

    def to_dict(self) -> dict[str, Any]:
        """Return the choices as a plain dict."""
        return asdict(self)


def _require_count(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidInput(f"{name} is a whole number from {least}, not {value!r}.")


def feature_tests(
    X: Any,
    W: SpatialWeights,
    config: StudyConfig,
    context: Context,
    *,
    others: Mapping[int, SpatialWeights] | None = None,
) -> pd.DataFrame:
    """Return one row a feature: Moran's I with p and q, I at other numbers of neighbours, the evidence and a verdict.

    Args:
        X: place x feature, dense or sparse.
        context: what the places are beside where they are; see `add_verdicts` for the columns that it gives.
        others: weights by number of neighbours; columns I_k4, q_k4 and so on, q from the analytic p.
    """
    options: dict[str, Any] = {"min_active": config.min_active, "seed": config.seed}
    table: Any = moran(X, W, permutations=config.permutations, **options)
    for k, weights in (others or {}).items():
        at_k: Any = moran(X, weights, null="randomisation", **options)
        table = table.assign(**{f"I_k{k}": at_k["I"], f"q_k{k}": at_k["q"]})
    return add_verdicts(table, X, W, context, q_cut=config.q_cut, permutations=config.permutations, **options)


def country_labels(places: pd.DataFrame) -> tuple[np.ndarray | None, str]:
    """Return the country of each place, or None where there is no test within countries; and why, in words."""
    if "country" not in places.columns:
        return None, "the places have no country"
    countries = places["country"].astype(object).where(places["country"].notna(), "").astype(str).str.strip()
    blank = int((countries == "").sum())
    if blank:
        return None, f"{blank:,} of {len(places):,} places have no country"
    n = countries.nunique()
    if n == 1:
        return None, "all places are in one country"
    if n == len(places):
        return None, "no two places share a country"
    return countries.to_numpy(dtype=object), f"values are exchanged within {n:,} countries"


def condition_tests(
    name: str,
    units: Mapping[str, Any],
    W: SpatialWeights,
    config: StudyConfig,
    context: Context,
    *,
    others: Mapping[int, SpatialWeights] | None = None,
) -> pd.DataFrame:
    """Return `feature_tests` of every unit (name -> place x feature) of a condition, with `condition` and `unit`.

    Features of one condition and unit are one family of tests: q is corrected over it.
    """
    tables = []
    for unit, X in units.items():
        values = X
        if name in (SHUFFLED, WITHIN):
            values = shuffle_places(X, config.seed, groups=context.countries if name == WITHIN else None)
        tests = feature_tests(values, W, config, context, others=others)
        tables.append(pd.concat([_labels(tests, name, unit), tests], axis=1))
    return pd.concat(tables, ignore_index=True)


def shuffle_places(X: Any, seed: int, *, groups: np.ndarray | None = None) -> Any:
    """Return X [place, feature] with its rows in a random order: what is then found is found by chance.

    Args:
        groups: a label a place; rows are then moved inside groups alone, so that what the group gives stays.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x5AFF1E]))
    order = rng.permutation(X.shape[0])
    if groups is not None:
        by_group = np.argsort(groups, kind="stable")
        order = np.empty(X.shape[0], dtype=np.int64)
        order[by_group] = np.lexsort((rng.random(X.shape[0]), groups))
    return sparse.csr_matrix(X)[order] if sparse.issparse(X) else np.asarray(X)[order]


def summarise(tests: pd.DataFrame, config: StudyConfig) -> pd.DataFrame:
    """Return one row a condition and unit: features tested, significant, of each verdict, and how large I is."""
    rows = []
    groups: Any = tests.groupby(["condition", "unit"], sort=False)
    for (condition, unit), part in groups:
        ok = part[part["status"] == "ok"]
        significant = int((ok["q"] < config.q_cut).sum())
        row = {
            "condition": condition,
            "unit": unit,
            "n_features": len(part),
            "n_tested": len(ok),
            "n_significant": significant,
            "share_significant": significant / len(ok) if len(ok) else np.nan,
            **{column: int((part["verdict"] == verdict).sum()) for column, verdict in COUNTED.items()},
            "share_geographic": float((ok["verdict"] == GEOGRAPHIC).mean()) if len(ok) else np.nan,
            "median_I": float(ok["I"].median()) if len(ok) else np.nan,
            "max_I": float(ok["I"].max()) if len(ok) else np.nan,
            "n_I_above_0.3": int((ok["I"] > 0.3).sum()),
            "q_cut": config.q_cut,
            "n_places": int(part["n"].max()),
            "seed": config.seed,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def neighbour_summary(tests: pd.DataFrame, config: StudyConfig) -> pd.DataFrame:
    """Return one row a condition, unit and number of neighbours: k, n_significant, max_I, and the Spearman
    correlation of I with that at the k of the study (1 where k is the same)."""
    rows = []
    groups: Any = tests[tests["status"] == "ok"].groupby(["condition", "unit"], sort=False)
    for (condition, unit), part in groups:
        columns = {config.k: ("I", "q"), **{k: (f"I_k{k}", f"q_k{k}") for k in config.neighbours if f"I_k{k}" in part}}
        for k, (effect, q) in sorted(columns.items()):
            ranked: Any = stats.spearmanr(part["I"], part[effect])
            rank = 1.0 if k == config.k else float(ranked.statistic)
            rows.append(
                {
                    "condition": condition,
                    "unit": unit,
                    "k": k,
                    "n_tested": int(part[q].notna().sum()),
                    "n_significant": int((part[q] < config.q_cut).sum()),
                    "max_I": float(part[effect].max()),
                    "spearman_with_study": rank,
                }
            )
    return pd.DataFrame(rows)


def top_features(tests: pd.DataFrame, config: StudyConfig, *, unit: str, n: int = 6) -> list[int]:
    """Return the features of the trained model that are to be drawn, at most `n`.

    Those called geographic first, then the other significant ones; the largest I first in each.
    """
    part: Any = tests[(tests["condition"] == TRAINED) & (tests["unit"] == unit) & (tests["status"] == "ok")]
    part = part[part["q"] < config.q_cut].assign(other=lambda t: t["verdict"] != GEOGRAPHIC)
    part = part.sort_values(["other", "I", "feature"], ascending=[True, False, True])
    return [int(f) for f in part["feature"].head(n)]


def feature_values(X: Any, features: list[int]) -> pd.DataFrame:
    """Return float64 [place, chosen feature] as a frame whose columns are the feature numbers."""
    if not features:
        return pd.DataFrame()  # rows without columns cannot be stored
    chosen = X[:, features]
    values = chosen.toarray() if sparse.issparse(chosen) else np.asarray(chosen)
    return pd.DataFrame(values.astype(np.float64), columns=[str(f) for f in features])


def top_places(values: pd.DataFrame, places: pd.DataFrame, *, n: int = 8) -> pd.DataFrame:
    """Return for each feature the places with the largest value: feature, rank (from 1), name, country, value."""
    columns = [c for c in ("name", "country", "lat", "lon") if c in places.columns]
    tables = []
    for feature in values.columns:
        column: Any = values[feature]
        order = column.reset_index(drop=True).sort_values(ascending=False, kind="stable").head(n)
        order = order[order != 0]
        # by position: places that were filtered or sorted keep labels that number other rows
        rows = places.iloc[order.index.to_numpy()][columns].reset_index(drop=True)
        rows.insert(0, "rank", np.arange(1, len(rows) + 1))
        rows.insert(0, "feature", int(feature))
        tables.append(rows.assign(value=order.to_numpy()))
    return (
        pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["feature", "rank", *columns, "value"])
    )


def local_tests(values: pd.DataFrame, W: SpatialWeights, config: StudyConfig) -> pd.DataFrame:
    """Return local Moran's I with clusters, one row a place and feature, for the chosen features."""
    if values.shape[1] == 0:
        return pd.DataFrame()
    return local_moran(
        values.to_numpy(), W, seed=config.seed, min_active=config.min_active,
        names=[int(f) for f in values.columns],
    )  # fmt: skip


def reach(values: pd.DataFrame, places: pd.DataFrame, config: StudyConfig) -> pd.DataFrame:
    """Return Moran's I by distance, one row a chosen feature and band.

    Of more than 2,000 places a random 2,000 (the number of pairs grows with the square), at most 199 permutations.
    """
    if values.shape[1] == 0:
        return pd.DataFrame()
    rows = np.arange(len(places))
    if len(rows) > _REACH_PLACES:
        rows = np.sort(np.random.default_rng(config.seed).choice(rows, _REACH_PLACES, replace=False))
    return correlogram(
        values.to_numpy()[rows], places.iloc[rows], bands_km=_BANDS_KM, permutations=min(config.permutations, 199),
        seed=config.seed, min_active=config.min_active, names=[int(f) for f in values.columns],
    )  # fmt: skip


def _labels(tests: pd.DataFrame, condition: str, unit: str) -> pd.DataFrame:
    return pd.DataFrame({"condition": condition, "unit": unit}, index=tests.index)
