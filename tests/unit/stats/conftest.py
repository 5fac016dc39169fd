"""Graphs and features that the tests of spatial statistics share."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.spatial import cKDTree


def knn_on_sphere(n: int, k: int, seed: int) -> sparse.csr_array:
    """Row-standardised k nearest neighbours of random points on the sphere."""
    xyz = np.random.default_rng(seed).normal(size=(n, 3))
    xyz /= np.linalg.norm(xyz, axis=1, keepdims=True)
    neighbours = cKDTree(xyz).query(xyz, k=k + 1)[1][:, 1:]
    return sparse.csr_array((np.full(n * k, 1 / k), neighbours.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))


@pytest.fixture(scope="session")
def small_graph() -> sparse.csr_array:
    return knn_on_sphere(300, 6, seed=1)


@pytest.fixture(scope="session")
def uneven_graph() -> sparse.csr_array:
    """Random weights, not symmetric, not standardised, with two places that have no neighbours."""
    rng = np.random.default_rng(2)
    dense = rng.random((120, 120)) * (rng.random((120, 120)) < 0.05)
    np.fill_diagonal(dense, 0)
    dense[[5, 60]] = 0
    dense[:, [5, 60]] = 0
    return sparse.csr_array(dense)


@pytest.fixture(scope="session")
def mixed_features() -> np.ndarray:
    """300 places x 12 features: dense, heavy-tailed, tied, and sparse ones (4 and 2 per cent of the places)."""
    rng = np.random.default_rng(3)
    X = np.zeros((300, 12))
    X[:, :4] = rng.normal(size=(300, 4))
    X[:, 4:6] = rng.lognormal(sigma=2.0, size=(300, 2))
    X[:, 6:8] = rng.integers(0, 3, size=(300, 2))
    for column, active in ((8, 12), (9, 12), (10, 11), (11, 11)):
        X[rng.choice(300, active, replace=False), column] = 1.0 if column % 2 else rng.lognormal(size=active)
    return X
