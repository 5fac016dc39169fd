"""Places on the sphere and fields over them, for the tests of spatial statistics."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree


def points(n: int, seed: int = 1) -> np.ndarray:
    """Random points on the unit sphere, (place, 3)."""
    xyz = np.random.default_rng(seed).normal(size=(n, 3))
    return xyz / np.linalg.norm(xyz, axis=1, keepdims=True)


def knn(xyz: np.ndarray, k: int) -> sparse.csr_array:
    """Row-standardised k nearest neighbours."""
    n = len(xyz)
    neighbours = cKDTree(xyz).query(xyz, k=k + 1)[1][:, 1:]
    return sparse.csr_array((np.full(n * k, 1 / k), neighbours.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))


def smooth_fields(xyz: np.ndarray, radians: float, count: int, seed: int) -> np.ndarray:
    """Independent Gaussian fields with correlation exp(-angle / radians), (place, field)."""
    cov = np.exp(-np.arccos(np.clip(xyz @ xyz.T, -1, 1)) / radians)
    noise = np.random.default_rng(seed).normal(size=(len(xyz), count))
    return np.linalg.cholesky(cov + 1e-9 * np.eye(len(xyz))) @ noise
