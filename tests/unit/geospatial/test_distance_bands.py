from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_weights import haversine_km, world

from analyses.geospatial import correlogram
from analyses.geospatial.distance_bands import distance_bands
from interp.errors import InvalidInput


@pytest.mark.parametrize("kind", ["world", "antimeridian", "poles", "duplicates"])
def test_bands_equal_brute_force(kind):
    places = world(kind)
    distance = haversine_km(places["lat"].to_numpy(), places["lon"].to_numpy())
    np.fill_diagonal(distance, -1)
    edges = [0.0, 50.0, 700.0, 5000.0, 20_100.0]
    for b, W in enumerate(distance_bands(places, edges)):
        inside = (distance > edges[b]) & (distance <= edges[b + 1])
        if b == 0:
            inside |= (distance >= 0) & (distance <= edges[1])
        near_edge = np.abs(distance - edges[b + 1]) < 0.02
        assert (((W.toarray() > 0) == inside) | near_edge).all()


def test_one_row_a_feature_and_band():
    places = world("world", 150)
    X = np.column_stack([places["lat"], np.random.default_rng(0).normal(size=150), np.zeros(150)])
    table = correlogram(X, places, bands_km=[0, 0.001, 1500, 4000], permutations=99, names=["lat", "noise", "dead"])
    assert table["feature"].tolist() == ["lat"] * 3 + ["noise"] * 3 + ["dead"] * 3
    assert table["status"].tolist() == ["no_pairs", "ok", "ok"] * 2 + ["constant"] * 3
    assert table["n_islands"][0] == 150
    near = table.iloc[1]
    assert near["I"] > near["high"] > near["low"]
    assert near["p"] == 0.02
    assert (table["n_tests"] == 4).all()
    assert pd.isna(table["q"][0])


@pytest.mark.parametrize("edges", [[100], [0, 0], [-5, 10], [0, np.nan], [[0, 1]]])
def test_edges_must_ascend(edges):
    with pytest.raises(InvalidInput, match="bands_km"):
        correlogram(np.zeros((150, 1)), world("world", 150), bands_km=edges)
