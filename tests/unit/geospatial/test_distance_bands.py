from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_weights import haversine_km, world

from analyses.geospatial import correlogram, variogram
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


def test_the_variogram_rises_to_its_range_and_noise_has_none():
    places = world("world", 300)
    lat, lon = np.radians(places["lat"].to_numpy()), np.radians(places["lon"].to_numpy())
    xyz = np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    reach = 1000 / 6371  # correlation exp(-km / 1000): 5 % are left at 3,000 km
    cov = np.exp(-np.arccos(np.clip(xyz @ xyz.T, -1, 1)) / reach) + 1e-9 * np.eye(300)
    rng = np.random.default_rng(0)
    fields = np.linalg.cholesky(cov) @ rng.normal(size=(300, 20))
    edges = [0, 500, 1000, 2000, 3000, 4000, 6000, 9000]
    X = np.column_stack([fields, rng.normal(size=(300, 20)), np.zeros(300)])
    table = variogram(X, places, bands_km=edges, permutations=199)
    columns = "feature km_from km_to n_pairs gamma null_mean null_sd low high z p q variance range_km n n_active n_perm"
    assert list(table.columns) == [*columns.split(), "seed", "alternative", "level", "n_tests", "correction", "status"]
    assert len(table) == 41 * 7
    gamma = table["gamma"].to_numpy().reshape(41, 7)
    assert (np.diff(gamma[:20].mean(axis=0)[:5]) > 0).all()
    ranges = table["range_km"].to_numpy().reshape(41, 7)[:, 0]
    assert 1500 <= np.median(ranges[:20]) <= 5000
    assert (ranges[20:40] == 250).sum() >= 16  # noise is as unlike in the first band as anywhere
    assert np.isnan(ranges[40])
    assert (table["p"].to_numpy().reshape(41, 7)[:20, 0] == 1 / 200).mean() > 0.9
