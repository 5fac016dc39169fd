from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analyses.geospatial import moran, place_covariates, residual_moran, residualise, spatial_weights
from interp.errors import InvalidInput

N = 400


@pytest.fixture(scope="module")
def places():
    """Four countries in quarters of a square; one spells its names its own way, cities are large in the north."""
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(40, 50, N), rng.uniform(0, 10, N)
    country = np.array(list("ABCD"))[(lat > 45) * 2 + (lon > 5)]
    syllables = ["ka", "lo", "mi", "nu", "pe", "ro", "sa", "ti"]
    tails = ["".join(rng.choice(syllables, 3)) for _ in range(N)]
    welsh = (lon < 3) & (rng.random(N) < 0.7)
    names = [("llan" if w else "") + t for w, t in zip(welsh, tails, strict=True)]
    population = np.exp(rng.normal(10, 1, N) + (lat - 45) / 3)
    return pd.DataFrame({"name": names, "lat": lat, "lon": lon, "country": country, "population": population})


@pytest.fixture(scope="module")
def planted(places):
    rng = np.random.default_rng(1)
    noise = 0.5 * rng.normal(size=(5, N))
    near = np.hypot(places["lat"] - 47, places["lon"] - 7) < 1.5
    return pd.DataFrame(
        {
            "country token": (places["country"] == "C") + noise[0],
            "city size": np.log(places["population"]) + noise[1],
            "llan": places["name"].str.startswith("llan") + noise[2],
            "hot spot": near + noise[3],
            "longitude": places["lon"] / 5 + noise[4],
        }
    )


def test_planted_confounds_go_and_planted_maps_stay(places, planted):
    W = spatial_weights(places, k=8)
    covariates = place_covariates(places, n_ngram_components=10)
    raw, rest = moran(planted, W, permutations=199), residual_moran(planted, covariates, W, permutations=199)
    assert (raw["p"] <= 0.005).all()
    assert (rest["p"][:3] > 0.02).all()
    assert (rest["p"][3:] == 1 / 200).all()
    np.testing.assert_allclose(rest["I_raw"], raw["I"], rtol=1e-12)
    assert (rest["share_explained"][:3] > 0.3).all()


def test_table_and_residuals_have_the_features_names(places, planted):
    X = planted.assign(dead=0.0)
    values, table = residualise(X, place_covariates(places))
    assert list(values.columns) == list(X.columns) == table["feature"].tolist()
    assert list(table.columns) == ["feature", "share_explained", "rank", "n", "n_active", "status"]
    assert table["status"].tolist() == ["ok"] * 5 + ["constant"]
    np.testing.assert_allclose(values.iloc[:, :5].mean(), 0, atol=1e-9)
    rows = residual_moran(X, place_covariates(places), spatial_weights(places, k=8), permutations=9)
    columns = "feature I I_raw share_explained rank null_mean null_sd z p q n n_active n_perm seed alternative n_tests"
    assert list(rows.columns) == [*columns.split(), "correction", "status"]
    assert rows["p"].isna().tolist() == [False] * 5 + [True]


def test_covariates_of_a_place(places):
    frame = places.assign(population=np.where(np.arange(N) < 5, np.nan, places["population"]))
    ids = [[len(name) % 3, 7 + ord(name[-1]) % 3] for name in frame["name"]]
    covariates = place_covariates(
        frame, n_tokens=np.arange(N), token_ids=ids, n_ngram_components=3, n_token_components=2
    )
    assert list(covariates.columns) == [
        "country=A", "country=B", "country=C", "country=D", "log_population", "population_missing", "n_tokens",
        "ngram_0", "ngram_1", "ngram_2", "token_0", "token_1",
    ]  # fmt: skip
    assert covariates["population_missing"].sum() == 5
    assert np.isfinite(covariates.to_numpy()).all()
    assert (covariates.filter(like="country=").sum(axis=1) == 1).all()
    with pytest.raises(InvalidInput, match="name"):
        place_covariates(places.drop(columns="name"))
