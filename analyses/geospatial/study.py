"""Is geography laid out in the features? Moran's I of every latent and neuron, beside its nulls.

After De Sabbata et al. (2025), with what their design leaves open closed: the name alone is the prompt, BOS
is never pooled, p is calibrated for sparse features and corrected over all of them, and the same code runs on
the random-weights twin, on shuffled places, and within countries.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd
from scipy import sparse

from analyses.geospatial.activations import PlaceActivations, Pool
from analyses.geospatial.moran import local_moran, moran
from analyses.geospatial.prompts import NAME_ALONE
from analyses.geospatial.weights import SpatialWeights
from interp.errors import InvalidInput

TRAINED, RANDOM, SHUFFLED = "trained", "random weights", "shuffled places"
LATENT, NEURON = "latent", "neuron"
TESTED, UNTESTED, UNDECIDED = "tested", "not tested", "too few permutations"


@dataclass(frozen=True)
class StudyConfig:
    """Every choice that changes the numbers of the study."""

    template: str = NAME_ALONE
    """Prompt of a place; a field beside {name} puts the answer into the prompt and is flagged."""
    pool: Pool = "mean"
    """How the tokens of a name become one value."""
    k: int = 8
    """Nearest neighbours on the globe."""
    permutations: int = 999
    """Random relabellings behind a permutation p."""
    min_active: int = 10
    """A feature that is off its majority value at fewer places gets no p."""
    q_cut: float = 0.05
    """False discovery rate (Benjamini-Hochberg) at which a feature counts as significant."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("k", 1), ("permutations", 1), ("min_active", 1), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InvalidInput(f"{name} is a whole number from {least}, not {value!r}.")
        if self.pool not in get_args(Pool):
            raise InvalidInput(f"pool is one of {', '.join(get_args(Pool))}, not {self.pool!r}.")
        if not 0 < self.q_cut < 1:
            raise InvalidInput(f"q_cut is a rate between 0 and 1, not {self.q_cut!r}.")

    def to_dict(self) -> dict[str, Any]:
        """Return the choices as a plain dict."""
        return asdict(self)


def feature_tests(X: Any, W: SpatialWeights, config: StudyConfig, *, countries: np.ndarray | None) -> pd.DataFrame:
    """Return one row a feature: Moran's I with p and q, and the same within countries.

    Args:
        X: place x feature, dense or sparse.
        countries: a label a place; values are then also exchanged within countries alone, which a feature that
            only knows the country does not survive. None: no such columns.
    """
    table = moran(X, W, permutations=config.permutations, min_active=config.min_active, seed=config.seed)
    if countries is None:
        return table
    within: Any = moran(
        X, W, null="stratified", groups=countries, permutations=config.permutations,
        min_active=config.min_active, seed=config.seed,
    )  # fmt: skip
    columns = {c: f"{c}_within_country" for c in ("expected", "p", "q", "status")}
    return table.join(within[list(columns)].rename(columns=columns))


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
    name: str, acts: PlaceActivations, W: SpatialWeights, config: StudyConfig, *, countries: np.ndarray | None
) -> pd.DataFrame:
    """Return `feature_tests` of the latents and of the neurons of one condition, with `condition` and `unit`.

    Features of one condition and unit are one family of tests: q is corrected over it.
    """
    kinds: list[tuple[str, Any]] = [(NEURON, acts.neurons)]
    if acts.latents is not None:
        kinds.insert(0, (LATENT, acts.latents))
    tables = []
    for unit, X in kinds:
        values = shuffle_places(X, config.seed) if name == SHUFFLED else X
        tests = feature_tests(values, W, config, countries=None if name == SHUFFLED else countries)
        tables.append(pd.concat([_labels(tests, name, unit), tests], axis=1))
    return pd.concat(tables, ignore_index=True)


def shuffle_places(X: Any, seed: int) -> Any:
    """Return X [place, feature] with its rows in a random order: what is then found is found by chance."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x5AFF1E]))
    order = rng.permutation(X.shape[0])
    return sparse.csr_matrix(X)[order] if sparse.issparse(X) else np.asarray(X)[order]


def summarise(tests: pd.DataFrame, config: StudyConfig) -> pd.DataFrame:
    """Return one row a condition and unit: how many features were tested and passed, and how large I is."""
    rows = []
    groups: Any = tests.groupby(["condition", "unit"], sort=False)
    for (condition, unit), part in groups:
        ok = part[part["status"] == "ok"]
        significant = ok["q"] < config.q_cut
        row = {
            "condition": condition,
            "unit": unit,
            "n_features": len(part),
            "n_tested": len(ok),
            "n_significant": int(significant.sum()),
            "share_significant": float(significant.mean()) if len(ok) else np.nan,
            "n_within_country": np.nan,
            "within_country": UNTESTED,
            "median_I": float(ok["I"].median()) if len(ok) else np.nan,
            "max_I": float(ok["I"].max()) if len(ok) else np.nan,
            "n_I_above_0.3": int((ok["I"] > 0.3).sum()),
            "q_cut": config.q_cut,
            "n_places": int(part["n"].max()),
            "seed": config.seed,
        }
        if "status_within_country" in part and part["status_within_country"].notna().any():
            row["within_country"] = _within_state(ok[significant], config)
            if row["within_country"] == TESTED:
                row["n_within_country"] = int((significant & (ok["q_within_country"] < config.q_cut)).sum())
        rows.append(row)
    return pd.DataFrame(rows)


def _within_state(significant: pd.DataFrame, config: StudyConfig) -> str:
    """Tell a count of 0 within countries from one that so few permutations could not have raised.

    That p is counted alone, so it ends at 1 / (permutations + 1), and Benjamini-Hochberg over many features can ask
    for less. Features at that floor pass together or not at all.
    """
    p, q = (significant[f"{name}_within_country"].to_numpy(np.float64) for name in ("p", "q"))
    at_floor = p <= (1 + 1e-9) / (config.permutations + 1)
    return UNDECIDED if at_floor.any() and not (q < config.q_cut).any() else TESTED


def top_features(tests: pd.DataFrame, config: StudyConfig, *, unit: str, n: int = 6) -> list[int]:
    """Return the significant features of the trained model with the largest I, at most `n`."""
    part: Any = tests[(tests["condition"] == TRAINED) & (tests["unit"] == unit) & (tests["status"] == "ok")]
    part = part[part["q"] < config.q_cut].sort_values(["I", "feature"], ascending=[False, True])
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


def _labels(tests: pd.DataFrame, condition: str, unit: str) -> pd.DataFrame:
    return pd.DataFrame({"condition": condition, "unit": unit}, index=tests.index)
