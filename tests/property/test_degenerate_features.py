"""No feature that cannot be tested gets a p, whatever it is made of, and every other one does."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from analyses.geospatial.moran import local_moran, moran
from analyses.geospatial.weights import spatial_weights

N = 40
VALUES = st.sampled_from([0.0, 0.0, 0.0, 1.0, -1.0, 1e300, -1e300, 1e-300, np.nan, np.inf, 2.5, 0.1])


@st.composite
def cases(draw):
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 1, size=(N, 2)) * [80, 170]
    if draw(st.booleans()):
        points[: N // 2] = points[0]
    places = pd.DataFrame(points, columns=["lat", "lon"])
    X = np.zeros((N, 6))
    for f in range(6):
        pool = draw(st.lists(VALUES, min_size=1, max_size=4))
        X[:, f] = rng.choice(pool, size=N) if draw(st.booleans()) else rng.normal(size=N) * (rng.random(N) < 0.5)
        if draw(st.booleans()):
            X[rng.random(N) < 0.7, f] = draw(st.sampled_from([0.0, 3.0]))
    band = draw(st.booleans())
    return places, X, {"kind": "band", "km": 3000.0} if band else {"k": draw(st.integers(1, 20))}


def untestable(x: np.ndarray) -> bool:
    if not np.isfinite(x).all():
        return True
    _, counts = np.unique(x, return_counts=True)
    return counts.max() > N / 2 and N - counts.max() < 10


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    cases(),
    st.sampled_from(["greater", "less", "two-sided"]),
    st.sampled_from(["auto", "permutation", "randomisation"]),
)
def test_a_p_exists_exactly_where_there_is_something_to_test(case, alternative, null):
    places, X, options = case
    weights = spatial_weights(places, **options)
    matrix = X if X.sum() != 0 else sparse.csc_array(X)
    table = moran(matrix, weights, permutations=19, alternative=alternative, null=null)
    for f, row in table.iterrows():
        assert (row["status"] != "ok") == untestable(X[:, f])
        assert np.isnan(row["p"]) == np.isnan(row["q"]) == (row["status"] != "ok")
        if row["status"] == "ok":
            assert 0 < row["p"] <= row["q"] <= 1
    assert (table["n_tests"] == (table["status"] == "ok").sum()).all()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(cases())
def test_a_local_p_exists_exactly_where_there_is_something_to_test(case):
    places, X, options = case
    weights = spatial_weights(places, **options)
    table = local_moran(X, weights, permutations=19)
    assert (table["p"].isna() == (table["status"] != "ok")).all()
    assert table["p"].dropna().between(0, 1, inclusive="right").all()
    assert (table.loc[table["place"].isin(weights.islands), "p"].isna()).all()
    assert set(table["cluster"]) <= {"HH", "LL", "LH", "HL", "ns", "island", "no test"}
