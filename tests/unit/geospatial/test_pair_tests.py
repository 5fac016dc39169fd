from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analyses.geospatial import bivariate_moran, lee_l, spatial_weights
from interp.errors import InvalidInput
from interp.stats.corrections import benjamini_hochberg

N = 200


@pytest.fixture(scope="module")
def places():
    rng = np.random.default_rng(0)
    frame = {"lat": rng.uniform(-60, 70, N), "lon": rng.uniform(-180, 180, N), "population": rng.lognormal(10, 2, N)}
    return pd.DataFrame({"name": [f"p{i}" for i in range(N)], **frame})


@pytest.mark.parametrize("null", ["permutation", "spectral"])
def test_one_row_a_feature_and_covariate(places, null):
    rng = np.random.default_rng(1)
    X = pd.DataFrame({"north": places["lat"] + rng.normal(size=N), "noise": rng.normal(size=N), "dead": 0.0})
    covariates = pd.DataFrame({"lat": places["lat"], "log population": np.log(places["population"])})
    table = bivariate_moran(X, covariates, spatial_weights(places, k=6), null=null, permutations=99)
    columns = "feature covariate I_xy null_mean null_sd z p p_source q n n_active n_perm n_effective seed alternative"
    assert list(table.columns) == [*columns.split(), "null", "n_tests", "correction", "status", "note"]
    assert table["feature"].tolist() == ["north", "north", "noise", "noise", "dead", "dead"]
    assert table["covariate"].tolist() == ["lat", "log population"] * 3
    assert table["status"].tolist() == ["ok"] * 4 + ["constant"] * 2
    assert (table["n_tests"] == 2).all()
    rows = table[table["covariate"] == "lat"]
    np.testing.assert_array_equal(rows["q"][:2], benjamini_hochberg(rows["p"][:2].to_numpy()))
    if null == "permutation":
        assert table["p"][0] < 1e-6
        assert table["note"].str.contains("spectral").all()
        assert table["n_effective"].isna().all()
    else:
        assert (table["n_effective"][:4] >= 1).all()
        assert (table["note"] == "").all()
    assert table["p"][3] > 0.01


def test_a_single_covariate_needs_a_column(places):
    with pytest.raises(InvalidInput, match="column"):
        bivariate_moran(np.zeros((N, 2)), places["lat"].to_numpy(), spatial_weights(places, k=6), null="spectral")


def test_lees_l_has_the_table_of_bivariate_moran(places):
    rng = np.random.default_rng(1)
    X = pd.DataFrame({"north": places["lat"] + rng.normal(size=N), "noise": rng.normal(size=N), "dead": 0.0})
    W = spatial_weights(places, k=6)
    table = lee_l(X, places[["lat"]], W, null="permutation", permutations=99)
    other = bivariate_moran(X, places[["lat"]], W, null="permutation", permutations=99)
    assert list(table.columns) == [{"I_xy": "L"}.get(c, c) for c in other.columns]
    assert table["status"].tolist() == ["ok", "ok", "constant"]
    assert table["L"][0] > 0.3
    assert table["p"][0] < 1e-6 < table["p"][1]
