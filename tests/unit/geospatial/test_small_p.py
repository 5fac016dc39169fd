from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analyses.geospatial import certified_moran, min_p_moran, spatial_weights

N = 150


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    places = pd.DataFrame({"name": "p", "lat": rng.uniform(-60, 60, N), "lon": rng.uniform(-180, 180, N)})
    W = spatial_weights(places, k=6)
    X = pd.DataFrame(rng.normal(size=(N, 20)), columns=[f"f{i}" for i in range(20)])
    X["f0"] = W.csr @ (W.csr @ rng.normal(size=N))
    return X.assign(dead=0.0), W


def test_certified_table(data):
    table = certified_moran(*data, permutations=99, max_permutations=9999)
    columns = "feature I null_mean null_sd p p_low p_high q decision n n_active n_perm seed alternative q_cut error"
    assert list(table.columns) == [*columns.split(), "n_tests", "correction", "status"]
    assert table["decision"][0] == "rejected"
    assert table["n_perm"][0] > 99
    assert table["decision"].iloc[-1] == ""
    assert table["status"].iloc[-1] == "constant"
    assert (table["n_tests"] == 20).all()


def test_certified_within_groups(data):
    X, W = data
    groups = (np.arange(N) % 2).tolist()
    table = certified_moran(X, W, permutations=99, max_permutations=999, groups=groups)
    assert table["null_sd"].isna().all()
    assert table["p"][0] < 0.01


def test_min_p_table(data):
    table = min_p_moran(*data, permutations=99)
    columns = "feature I null_mean null_sd z p p_adjusted n n_active n_perm seed alternative n_tests correction status"
    assert list(table.columns) == columns.split()
    assert table["p_adjusted"][0] == 0.01
    assert (table["p_adjusted"][1:20] > 0.05).all()
    assert np.isnan(table["p_adjusted"].iloc[-1])
