"""Verdicts on planted features: what is a map, what only the country, what only the name, and what is nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from analyses.geospatial import moran, place_covariates, spatial_weights
from analyses.geospatial.verdicts import (
    BY_COUNTRY,
    BY_NAME,
    GEOGRAPHIC,
    NOT_SIGNIFICANT,
    UNDECIDED,
    UNTESTED,
    VERDICTS,
    Context,
    add_verdicts,
)

N = 400
OPTIONS = {"permutations": 199, "seed": 0, "min_active": 10}


@pytest.fixture(scope="module")
def places():
    """Nine countries in a square; one corner spells its names its own way, and cities are large in the north."""
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(40, 49, N), rng.uniform(0, 9, N)
    country = np.array(list("ABCDEFGHI"))[((lat - 40) // 3).astype(int) * 3 + (lon // 3).astype(int)]
    syllables = ["ka", "lo", "mi", "nu", "pe", "ro", "sa", "ti"]
    tails = ["".join(rng.choice(syllables, 3)) for _ in range(N)]
    welsh = (lon < 4) & (rng.random(N) < 0.7)
    names = [("llan" if w else "") + t for w, t in zip(welsh, tails, strict=True)]
    population = np.exp(rng.normal(10, 1, N) + (lat - 45) / 2)
    return pd.DataFrame({"name": names, "lat": lat, "lon": lon, "country": country, "population": population})


@pytest.fixture(scope="module")
def W(places):
    return spatial_weights(places, k=8)


def context(places, *, countries=True):
    covariates = place_covariates(places if countries else places.drop(columns="country"), n_ngram_components=10)
    return Context(places["country"].to_numpy(object) if countries else None, covariates)


def planted(places) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    level = places["country"].map(dict(zip("ABCDEFGHI", rng.normal(size=9) * 3, strict=True)))
    noise = 0.5 * rng.normal(size=(6, N))
    near = np.hypot(places["lat"] - 46, places["lon"] - 6) < 1.5
    features = {
        "gradient": places["lon"] / 3 + noise[0],
        "hot spot": 2.0 * near + noise[1],
        "country": level + noise[2],
        "country alone": level,
        "llan": places["name"].str.startswith("llan") * 2.0 + 0.4 * noise[3],
        "size": np.log(places["population"]) + 0.2 * noise[4],
        "constant": np.ones(N),
    }
    noises = {f"noise {i}": rng.normal(size=N) for i in range(60)}
    return pd.DataFrame({**features, **noises})


def judged(X, W, context, *, q_cut=0.05, **options):
    settings = {**OPTIONS, **options}
    tests = moran(X, W, permutations=settings["permutations"], seed=settings["seed"], min_active=10)
    values = X.to_numpy() if isinstance(X, pd.DataFrame) else X
    return add_verdicts(tests, values, W, context, q_cut=q_cut, **settings).set_index("feature", drop=False)


def test_planted_features_get_their_verdicts(places, W):
    table = judged(planted(places), W, context(places))
    expected = {
        "gradient": GEOGRAPHIC,
        "hot spot": GEOGRAPHIC,
        "country": BY_COUNTRY,
        "country alone": BY_COUNTRY,
        "llan": BY_NAME,
        "size": BY_NAME,
        "constant": UNTESTED,
    }
    assert table["verdict"].head(7).to_dict() == expected
    assert (table["verdict"].tail(60) == NOT_SIGNIFICANT).mean() > 0.9
    assert set(table["verdict"]) <= set(VERDICTS)
    assert "one value a country" in table.loc["country alone", "evidence"]
    assert "explained by country, size, spelling and tokens" in table.loc["llan", "evidence"]
    assert table.loc["constant", "evidence"] == "no p: constant"


def test_p_is_that_of_the_hardest_null_and_q_counts_every_tested_feature(places, W):
    from statsmodels.stats.multitest import multipletests

    table = judged(planted(places), W, context(places))
    tested = table[table["p"].notna()]
    reached = tested[tested["n_perm_geographic"].notna()]
    chain = reached[["p", "p_within_country", "p_residual"]].fillna(1).max(axis=1)
    np.testing.assert_allclose(reached["p_geographic"], chain)
    assert (tested["p_geographic"][tested["n_perm_geographic"].isna()] == 1).all()
    np.testing.assert_allclose(tested["q_geographic"], multipletests(tested["p_geographic"], method="fdr_bh")[1])


def test_features_of_countries_and_noise_are_hardly_ever_geographic(places, W):
    """Every first null is false and every second one true: the false discovery rate is what the last step has."""
    rng = np.random.default_rng(2)
    country = np.eye(9)[[ord(c) - 65 for c in places["country"]]]
    X = country @ rng.normal(size=(9, 300)) * 2 + rng.normal(size=(N, 300))
    table = judged(X, W, context(places))
    assert (table["q"] < 0.05).mean() > 0.95
    assert (table["verdict"] == GEOGRAPHIC).sum() <= 1
    assert (table["verdict"] == BY_COUNTRY).mean() > 0.9


def test_a_floor_that_leaves_a_feature_undecided_asks_for_more_permutations(places, W):
    """One map among 300 noises: 1 / 100 times 300 is no discovery; 1 / 1000 is none either, 1 / 10000 is one."""
    rng = np.random.default_rng(3)
    X = np.column_stack([places["lon"] + 0.1 * rng.normal(size=N), rng.normal(size=(N, 300))])
    few = judged(X, W, context(places), permutations=99)
    assert few.loc[0, "n_perm_geographic"] == 999
    assert few.loc[0, "p_geographic"] == 1 / 1000
    assert few.loc[0, "verdict"] == UNDECIDED
    more = judged(X, W, context(places), permutations=999)
    assert more.loc[0, "n_perm_geographic"] == 9999
    assert more.loc[0, "verdict"] == GEOGRAPHIC


def test_without_countries_nothing_is_called_geographic(places, W):
    table = judged(planted(places), W, context(places, countries=False))
    assert table["p_geographic"].isna().all()
    assert table.loc["gradient", "verdict"] == UNDECIDED
    assert table.loc["gradient", "p_residual"] == 1 / 200
    assert "no test within countries" in table.loc["gradient", "evidence"]


def test_sparse_values_and_languages(places, W):
    rng = np.random.default_rng(4)
    X = np.where(rng.random((N, 20)) < 0.2, rng.lognormal(size=(N, 20)), 0.0)
    X[:, 0] = np.maximum(places["lon"] - 5, 0)
    X[:, 1] = (places["country"] < "D") * rng.lognormal(size=N)
    known = context(places)
    languages = np.where(places["country"] < "D", "x", "y").astype(object)
    dense = judged(X, W, Context(known.countries, known.covariates, languages))
    again = judged(sparse.csr_matrix(X), W, Context(known.countries, known.covariates, languages))
    pd.testing.assert_frame_equal(dense, again, rtol=1e-7)
    assert dense.loc[1, "verdict"] == BY_COUNTRY
    assert dense.loc[1, "p_within_language"] > 0.05
    assert dense.loc[0, "p_within_language"] <= 1 / 200
