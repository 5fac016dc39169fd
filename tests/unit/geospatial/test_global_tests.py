from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from analyses.geospatial import geary, getis_ord, join_counts, spatial_weights
from interp.errors import InvalidInput
from interp.stats.corrections import benjamini_hochberg

N = 240


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(-60, 70, N), rng.uniform(-180, 180, N)
    places = pd.DataFrame({"name": [f"p{i}" for i in range(N)], "lat": lat, "lon": lon})
    return spatial_weights(places, k=6)


@pytest.fixture(scope="module")
def X(weights):
    """One smooth feature, three of noise, one that fires in one neighbourhood, one rare, one constant."""
    rng = np.random.default_rng(1)
    out = rng.random((N, 7))
    out[:, 0] = weights.csr @ (weights.csr @ rng.normal(size=N)) + 5
    out[:, 4] = np.isin(np.arange(N), [7, *weights.csr[[7]].indices, *weights.csr[[9]].indices])
    out[:, 5] = np.arange(N) < 2
    out[:, 6] = 3.0
    return out


COMMON = "n n_active n_perm seed alternative n_tests correction".split()


@pytest.mark.parametrize(("test", "name"), [(geary, "C"), (getis_ord, "G")])
def test_tables_have_the_promised_columns_and_rows(X, weights, test, name):
    table = test(X, weights, permutations=99, min_active=5)
    assert list(table.columns) == ["feature", name, "null_mean", "null_sd", "z", "p", "q", *COMMON, "status"]
    assert table["status"].tolist() == ["ok"] * 5 + ["too_rare", "constant"]
    assert table["p"].isna().tolist() == [False] * 5 + [True] * 2
    np.testing.assert_array_equal(table["q"][:5], benjamini_hochberg(table["p"][:5].to_numpy()))
    assert (table["n_tests"] == 5).all()
    assert table["p"][4] == 0.01


@pytest.mark.parametrize("test", [geary, getis_ord, join_counts])
def test_sparse_frames_and_shards_give_the_same_rows(X, weights, test):
    table = test(X, weights, permutations=99)
    columns = [c for c in table.columns if c not in ("q", "n_tests")]
    pd.testing.assert_frame_equal(test(sparse.csr_array(X), weights, permutations=99), table, check_exact=True)
    frame = pd.DataFrame(X, columns=list("abcdefg"))
    assert test(frame, weights, permutations=9)["feature"].tolist() == list("abcdefg")
    shard = test(X[:, [4, 1]], weights, permutations=99, names=[4, 1])
    expected = table.loc[[4, 1], columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(shard[columns], expected, check_exact=True)


def test_join_counts_report_all_three(X, weights):
    table = join_counts(X, weights, permutations=99, min_active=5, threshold=0.5)
    assert "BB null_mean null_sd z p p_source q BW BW_null_mean BW_null_sd BW_p WW".split() == list(table.columns[1:13])
    assert table["p"][4] < 0.01
    assert table["BW_p"][4] == 0.01
    assert (table["threshold"] == 0.5).all()


def test_local_g_marks_the_hot_places(X, weights):
    table = getis_ord(X[:, [1, 4, 6]], weights, local=True, permutations=9999, min_active=5, names=["a", "b", "c"])
    assert len(table) == 3 * N
    hot = table[table["cluster"] == "hot"]
    assert set(hot["feature"]) == {"b"}
    assert 7 in set(hot["place"])
    assert (table[table["feature"] == "c"]["cluster"] == "no test").all()
    with pytest.raises(InvalidInput, match="alpha"):
        getis_ord(X, weights, local=True, alpha=2.0)
    with pytest.raises(InvalidInput, match="place_names"):
        getis_ord(X, weights, local=True, place_names=["x"])
