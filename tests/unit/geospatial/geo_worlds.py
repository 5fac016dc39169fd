"""Worlds of countries far apart, and features that know places in a known way."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analyses.geospatial.decoding import to_degrees
from analyses.geospatial.weights import EARTH_RADIUS_KM, unit_vectors


def make_world(n_countries=40, n_cities=25, *, km=300.0, seed=0) -> pd.DataFrame:
    """Countries at random on the globe, on six continents by their octant; their cities scatter by so many km."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((n_countries, 3))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    country = np.repeat(np.arange(n_countries), n_cities)
    xyz = centres[country] + rng.standard_normal((len(country), 3)) * km / EARTH_RADIUS_KM
    lat, lon = to_degrees(xyz)
    octant = (centres > 0) @ [1, 2, 4]
    return pd.DataFrame(
        {
            "name": [f"city {i}" for i in range(len(country))],
            "lat": lat,
            "lon": lon,
            "country": [f"country {c}" for c in country],
            "continent": [f"continent {o % 6}" for o in octant[country]],
        }
    )


def xyz_of(places: pd.DataFrame) -> np.ndarray:
    return unit_vectors(places["lat"].to_numpy(), places["lon"].to_numpy())


def waves(places: pd.DataFrame, n: int, *, km: float, seed: int) -> np.ndarray:
    """Random Fourier features: smooth fields that vary over so many km, float64 [place, n]."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((3, n)) * EARTH_RADIUS_KM / km
    return np.cos(xyz_of(places) @ directions + rng.uniform(0, 2 * np.pi, n))


def planted(places: pd.DataFrame, *, d=12, noise=0.05, seed=0) -> np.ndarray:
    """A linear map of the position with noise."""
    rng = np.random.default_rng(seed)
    return xyz_of(places) @ rng.standard_normal((3, d)) + noise * rng.standard_normal((len(places), d))
