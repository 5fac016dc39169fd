from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from analyses.geospatial.weights import EARTH_RADIUS_KM, SpatialWeights, spatial_weights
from interp.errors import InvalidInput


def haversine_km(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    phi, theta = np.radians(lat), np.radians(lon)
    a = np.sin((phi[:, None] - phi) / 2) ** 2
    a = a + np.cos(phi[:, None]) * np.cos(phi) * np.sin((theta[:, None] - theta) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(a, 1)))


def world(kind: str, n: int = 250) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    lat, lon = np.degrees(np.arcsin(rng.uniform(-1, 1, n))), rng.uniform(-180, 180, n)
    if kind == "antimeridian":
        lat, lon = rng.uniform(-5, 5, n), (rng.uniform(175, 185, n) + 180) % 360 - 180
    elif kind == "poles":
        lat = np.where(rng.random(n) < 0.5, 1, -1) * rng.uniform(85, 90, n)
        lat[:2], lon[:2] = [90, -90], [0, 0]
    elif kind == "duplicates":
        lat[: n // 2], lon[: n // 2] = np.repeat(lat[:5], n // 10), np.repeat(lon[:5], n // 10)
    return pd.DataFrame({"name": [f"place {i}" for i in range(n)], "lat": lat, "lon": lon})


@pytest.mark.parametrize("kind", ["world", "antimeridian", "poles", "duplicates"])
@pytest.mark.parametrize("k", [1, 8, 40])
def test_nearest_neighbours_equal_brute_force(kind, k):
    places = world(kind)
    distance = haversine_km(places["lat"].to_numpy(), places["lon"].to_numpy())
    np.fill_diagonal(distance, np.inf)
    weights = spatial_weights(places, k=k)
    assert (np.diff(weights.csr.indptr) == k).all()
    assert weights.csr.diagonal().sum() == 0
    found = np.take_along_axis(distance, weights.csr.indices.reshape(len(places), k), 1)
    np.testing.assert_allclose(np.sort(found, axis=1), np.sort(distance, axis=1)[:, :k], atol=0.02)


@pytest.mark.parametrize("kind", ["world", "antimeridian", "poles", "duplicates"])
@pytest.mark.parametrize("km", [0.5, 300.0, 30_000.0])
def test_a_band_equals_brute_force(kind, km):
    places = world(kind)
    distance = haversine_km(places["lat"].to_numpy(), places["lon"].to_numpy())
    expected = (distance <= km) & ~np.eye(len(places), dtype=bool)
    np.testing.assert_array_equal(spatial_weights(places, kind="band", km=km).csr.toarray() > 0, expected)


def test_london_is_344_km_from_paris():
    places = pd.DataFrame({"lat": [51.5074, 48.8566, 0.0, 1.0], "lon": [-0.1278, 2.3522, 100.0, 100.0]})
    joined = [spatial_weights(places, kind="band", km=km).csr[0, 1] > 0 for km in (343, 345)]
    assert joined == [False, True]


def test_ties_go_to_the_earlier_row():
    # a cross: the centre has four neighbours at one distance
    places = pd.DataFrame({"lat": [0.0, 1.0, -1.0, 0.0, 0.0, 50.0], "lon": [0.0, 0.0, 0.0, 1.0, -1.0, 50.0]})
    assert spatial_weights(places, k=2).csr[[0]].indices.tolist() == [1, 2]


def test_many_places_at_one_point_go_to_the_earlier_rows():
    places = pd.DataFrame({"lat": np.zeros(100), "lon": np.zeros(100)})
    csr = spatial_weights(places, k=3).csr
    assert csr[[50]].indices.tolist() == [0, 1, 2]
    assert csr[[1]].indices.tolist() == [0, 2, 3]


def test_rows_sum_to_one_and_islands_are_named():
    places = world("world")
    weights = spatial_weights(places, kind="band", km=400)
    sums = weights.csr.sum(axis=1)
    lonely = np.flatnonzero(sums == 0)
    assert 0 < lonely.size < 250
    np.testing.assert_array_equal(weights.islands, lonely)
    assert weights.island_names == tuple(f"place {i}" for i in lonely)
    np.testing.assert_allclose(np.delete(sums, lonely), 1.0, rtol=1e-12)


def test_places_at_the_same_coordinates_are_named():
    places = pd.DataFrame({"name": list("abcde"), "lat": [1.0, 2, 1, 3, 4], "lon": [5.0, 6, 5, 7, 8]})
    assert spatial_weights(places, k=1).coincident == ("a", "c")


def test_graph_constants_equal_libpysal():
    weights = spatial_weights(world("world"), kind="band", km=700)
    graph = weights.to_graph()
    summary = graph.summary()
    np.testing.assert_allclose([weights.s0, weights.s1, weights.s2], [summary.s0, summary.s1, summary.s2], rtol=1e-10)
    assert graph.isolates.tolist() == weights.islands.tolist()


@pytest.mark.parametrize("kind", ["knn", "band"])
def test_a_round_trip_through_libpysal_changes_nothing(kind):
    weights = spatial_weights(world("world"), kind=kind, km=700 if kind == "band" else None)
    back = SpatialWeights.from_pysal(weights.to_graph())
    np.testing.assert_allclose(back.csr.toarray(), weights.csr.toarray(), rtol=1e-15)
    np.testing.assert_array_equal(back.islands, weights.islands)


def test_a_graph_with_unsorted_ids_keeps_the_order_of_its_ids():
    from libpysal.graph import Graph

    graph = Graph.from_arrays(["c", "c", "a", "b", "d"], ["a", "b", "c", "d", "b"], [1.0, 3.0, 1.0, 1.0, 1.0])
    weights = SpatialWeights.from_pysal(graph)
    ids = list(graph.unique_ids)
    assert weights.csr[ids.index("c"), ids.index("b")] == 0.75


def test_the_callers_weights_stay_as_they_were():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from libpysal.weights import W

        w = W({0: [1, 2], 1: [0], 2: [0, 1], 3: [], 4: [0]}, silence_warnings=True)
        before = (w.transform, {i: list(v) for i, v in w.weights.items()}, dict(w.neighbors))
        weights = SpatialWeights.from_pysal(w)
        assert (w.transform, w.weights, w.neighbors) == before
    assert weights.csr[0, 1] == 0.5
    assert weights.islands.tolist() == [3]
    assert SpatialWeights.from_pysal(w, row_standardise=False).csr[0, 1] == 1.0


def test_places_stay_as_they_were():
    places = world("duplicates")
    before = places.copy()
    spatial_weights(places)
    pd.testing.assert_frame_equal(places, before)


BAD = {
    "too few": (lambda p: (p[:9], {}), "k \\+ 2 = 10"),
    "k": (lambda p: (p, {"k": 0}), "k=0"),
    "k no number": (lambda p: (p, {"k": 2.5}), "k=2.5"),
    "kind": (lambda p: (p, {"kind": "kdd"}), "'knn'"),
    "band without km": (lambda p: (p, {"kind": "band"}), "needs km"),
    "km": (lambda p: (p, {"kind": "band", "km": -5}), "km=-5"),
    "km with knn": (lambda p: (p, {"km": 5}), "belongs to"),
    "band with no pair": (lambda p: (p, {"kind": "band", "km": 1e-6}), None),
    "latitude": (lambda p: (p.assign(lat=95.0), {}), r"Row 1 \('place 0'\): lat = 95.0"),
    "missing": (lambda p: (p.assign(lon=[np.nan, *p["lon"][1:]]), {}), "lon = nan is not a number"),
    "no column": (lambda p: (p.rename(columns={"lat": "latt"}), {}), "nearest to 'lat': latt"),
    "no frame": (lambda p: (p.to_numpy(), {}), "expected a DataFrame"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_weighted_is_refused_by_name(case):
    make, message = BAD[case]
    places, options = make(world("world"))
    if message is None:  # no neighbours at all: weights of islands alone, which every statistic then refuses
        assert spatial_weights(places, **options).islands.size == 250
        return
    with pytest.raises(InvalidInput, match=message):
        spatial_weights(places, **options)


def test_something_else_than_libpysal_weights_is_refused():
    with pytest.raises(InvalidInput, match="neither a libpysal W"):
        SpatialWeights.from_pysal({"a": ["b"]})
