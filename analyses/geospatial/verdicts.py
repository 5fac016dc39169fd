"""What an autocorrelated feature may owe its map to, and a verdict with the evidence.

Three nulls, each harder to reject: values dealt to any place; dealt inside countries alone; and dealt inside countries
after country, size, token count, spelling and tokens of the name are regressed out. A feature is called geographic when
all three are rejected together: p_geographic is the largest of the three (an intersection-union test, Berger 1982), q
is Benjamini-Hochberg over every feature of the family, those that fail the first null included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analyses.geospatial.confounds import residual_moran
from analyses.geospatial.moran import moran
from analyses.geospatial.weights import SpatialWeights
from interp.plot.numbers import format_number, p_phrase
from interp.stats.corrections import benjamini_hochberg

GEOGRAPHIC, BY_COUNTRY, BY_NAME = "geographic", "explained by country", "explained by name or size"
NOT_SIGNIFICANT, UNDECIDED, UNTESTED = "not significant", "undecided", "not tested"
# undecided: all three nulls are rejected for this feature alone, but not after correction over the family
VERDICTS = (
    GEOGRAPHIC,
    BY_COUNTRY,
    BY_NAME,
    UNDECIDED,
    NOT_SIGNIFICANT,
    UNTESTED,
)
_EVIDENCE = (
    "expected_within_country", "p_within_country", "p_within_language", "I_residual", "share_explained", "p_residual",
    "n_perm_geographic",
)  # fmt: skip
_REFINE = 10  # times as many permutations for the few features that the first round cannot decide


@dataclass(frozen=True)
class Context:
    """What is known of the places beside where they are.

    Attributes:
        countries: a label a place, or None: then nothing is called geographic, for it may be the country alone.
        covariates: place x covariate, from `place_covariates`, country among them.
        languages: the main language of each place's country, or None.
    """

    countries: np.ndarray | None
    covariates: pd.DataFrame
    languages: np.ndarray | None = None


def add_verdicts(
    tests: pd.DataFrame,
    X: Any,
    W: SpatialWeights,
    context: Context,
    *,
    q_cut: float,
    permutations: int,
    seed: int,
    min_active: int,
) -> pd.DataFrame:
    """Return the tests of one family with the evidence of every significant feature and its verdict.

    Args:
        tests: from `moran`, one row a column of X in order.
        X: place x feature, dense or sparse.
        q_cut: false discovery rate.
        permutations: of the two tests inside countries; ten times as many, newly drawn, for the features that their
            floor 1 / (permutations + 1) leaves undecided.
        seed, min_active: as for `moran`.

    Returns:
        `tests` with expected_within_country (the mean of I when values are dealt inside countries: what the country
        alone gives), p_within_country, p_within_language, I_residual, share_explained, p_residual (NaN where the first
        null stands), n_perm_geographic, p_geographic, q_geographic, verdict (one of `VERDICTS`) and evidence.

    Reference: Berger 1982 (intersection-union tests); Freedman & Lane 1983 (p_residual).
    """
    options = {"permutations": permutations, "seed": seed, "min_active": min_active}
    significant = np.flatnonzero((tests["q"] < q_cut).to_numpy())
    evidence = _evidence(X, W, context, significant, options)
    judged = _judged(tests, evidence, context, q_cut)
    at_floor = (1 + 1e-9) / (permutations + 1) >= judged["p_geographic"]
    undecided = np.flatnonzero((at_floor & (judged["verdict"] == UNDECIDED)).to_numpy())
    if undecided.size:
        again = {**options, "permutations": _REFINE * (permutations + 1) - 1, "seed": seed + 1}
        evidence.loc[undecided] = _evidence(X, W, context, undecided, again)
        judged = _judged(tests, evidence, context, q_cut)
    judged["evidence"] = [_sentence(row) for row in judged.to_dict("records")]
    return judged


def _evidence(X: Any, W: Any, context: Context, rows: np.ndarray, options: dict[str, Any]) -> pd.DataFrame:
    """Return the harder nulls of the features in `rows`, which are the index."""
    out = pd.DataFrame(index=rows, columns=pd.Index(_EVIDENCE), dtype=np.float64)
    if not rows.size:
        return out
    part = X[:, rows]
    for name, labels in (("country", context.countries), ("language", context.languages)):
        if labels is not None:
            inside: Any = moran(part, W, null="stratified", groups=labels, **options)
            out[f"p_within_{name}"] = inside["p"].to_numpy()
            if name == "country":
                out["expected_within_country"] = inside["expected"].to_numpy()
    rest = residual_moran(part, context.covariates, W, groups=context.countries, **options)
    for column, source in (("I_residual", "I"), ("share_explained", "share_explained"), ("p_residual", "p")):
        out[column] = rest[source].to_numpy()
    return out.assign(n_perm_geographic=float(options["permutations"]))


def _judged(tests: pd.DataFrame, evidence: pd.DataFrame, context: Context, q_cut: float) -> pd.DataFrame:
    out = tests.join(evidence)
    tested, significant = tests["p"].notna().to_numpy(), (tests["q"] < q_cut).to_numpy()
    # a null that cannot be tested (one value in every country) stands: p = 1. So does one that was not reached.
    chain = out[["p", "p_within_country", "p_residual"]].fillna(1.0).max(axis=1).to_numpy()
    known = context.countries is not None
    out["p_geographic"] = np.where(tested, chain, np.nan) if known else np.nan
    out["q_geographic"] = benjamini_hochberg(out["p_geographic"].to_numpy()) if known else np.nan
    steps = {
        UNTESTED: ~tested,
        NOT_SIGNIFICANT: ~significant,
        GEOGRAPHIC: (out["q_geographic"] < q_cut).to_numpy(),
        UNDECIDED: (out["p_geographic"] < q_cut).to_numpy() | np.full(len(out), not known),
        BY_COUNTRY: (out["p_within_country"].fillna(1.0) >= q_cut).to_numpy(),
    }
    out["verdict"] = np.select(list(steps.values()), list(steps), default=BY_NAME)
    return out


def _sentence(row: dict[Any, Any]) -> str:
    """Return the evidence of one feature in words."""
    if row["verdict"] == UNTESTED:
        return f"no p: {row['status']}"
    out = [f"I = {format_number(row['I'])}, {p_phrase('q', row['q'])}"]
    if row["verdict"] == NOT_SIGNIFICANT:
        return out[0]
    inside = row["p_within_country"]
    if row["verdict"] != UNDECIDED or np.isfinite(row["p_geographic"]):
        out.append(f"within countries {p_phrase('p', inside)}" if np.isfinite(inside) else "one value a country")
    else:
        out.append("no test within countries")
    if np.isfinite(row["p_residual"]):
        out.append(
            f"after {row['share_explained']:.0%} are explained by country, size, spelling and tokens "
            f"I = {format_number(row['I_residual'])}, {p_phrase('p', row['p_residual'])}"
        )
    return "; ".join(out)
