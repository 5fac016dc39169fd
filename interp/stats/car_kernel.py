"""A test of spatial pattern that cannot cancel: z'Kz with a positive definite K, where Moran's W has both signs.

W has negative eigenvalues, so a feature that is smooth at large scale and alternates between neighbours has z'Wz near
0 and passes for noise. K = (I - rho N)^-1, with N = D^-1/2 A D^-1/2 the normalised symmetric weights, is the covariance
of a conditional autoregression. All its eigenvalues 1 / (1 - rho lambda) are positive and it weighs smooth modes most:
what an alternating mode takes away is less than what a smooth one of the same size adds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from interp.errors import InvalidInput
from interp.stats.feature_columns import SparseRows, blocks, read_columns, standardise, standardise_sparse
from interp.stats.moran_graph import checked_weights
from interp.stats.permuted_sums import held_permutations
from interp.stats.pvalues import Alternative, check_alternative
from interp.stats.seeds import check_seed
from interp.stats.spatial_test import Collector, SpatialTest

_MOST_PLACES = 8000  # of a dense kernel: 512 MB
_AT_ONCE = 4_000_000  # entries of K that are gathered at once


def car_kernel(W: Any, *, rho: float = 0.9) -> np.ndarray:
    """Return K of the weights, centred, float64 (place, place): M (I - rho N)^-1 M, with M = I - 11'/n.

    Args:
        W: places x places scipy sparse weights, none negative; (W + W') / 2 is what counts.
        rho: from 0 (no space at all) to below 1 (reaching ever further).

    Raises:
        InvalidInput: negative weights, rho outside [0, 1), or more than 8,000 places.

    Reference: Besag 1974 (conditional autoregression); arXiv 2602.02825 (2026), theorem 2 and its CAR kernel.
    """
    csr = checked_weights(W)
    n = csr.shape[0]
    if (csr.data < 0).any() or not 0 <= rho < 1 or n > _MOST_PLACES:
        raise InvalidInput(
            f"{n} places, rho={rho}, smallest weight {csr.data.min():g}; need {_MOST_PLACES} at most, [0, 1), >= 0."
        )
    symmetric = sparse.csr_array((csr + csr.T) / 2)
    degree = np.asarray(symmetric.sum(axis=1)).ravel()
    root = np.where(degree > 0, 1.0 / np.sqrt(np.where(degree > 0, degree, 1.0)), 0.0)
    system = -rho * symmetric.toarray() * root[:, None] * root
    system[np.diag_indices(n)] += 1.0
    kernel = np.linalg.inv(system)
    kernel -= kernel.mean(axis=0, keepdims=True)
    kernel -= kernel.mean(axis=1, keepdims=True)
    return (kernel + kernel.T) / 2


def car_q(
    X: Any,
    kernel: np.ndarray,
    *,
    permutations: int = 999,
    alternative: Alternative = "greater",
    seed: int = 0,
    min_active: int = 10,
) -> SpatialTest:
    """Measure Q = (n - 1) / (n tr K) z'Kz of every column of X, z standardised: 1 for shuffled places.

    Args:
        X: places x features, array or scipy sparse; never changed.
        kernel: from `car_kernel`, or any symmetric (place, place) array whose rows sum to 0.
        permutations: shared by all features, those of `moran_i`; 0 for the moments alone.
        alternative: "greater" (more pattern than noise has), "less" or "two-sided".
        seed: seed of the permutations.
        min_active: features with fewer places off their majority value get status "too_rare".

    Returns:
        `SpatialTest` with Q as the statistic, mean 1 and the exact sd under randomisation.

    Raises:
        InvalidInput: shapes that do not fit, a kernel that is not symmetric and centred, options out of range.

    Reference: arXiv 2602.02825 (2026); variance: Kazi-Aoual et al. 1995, eq. for tr(AB) under permutation.
    """
    check_alternative(alternative)
    columns, K = read_columns(X, min_active=min_active), _checked_kernel(kernel)
    n = K.shape[0]
    if columns.n != n:
        raise InvalidInput(f"X has {columns.n} places (rows) and the kernel has {n}; they must be the same places.")
    perm = held_permutations(n, permutations, seed=check_seed(seed))
    scale, out = (n - 1) / (n * np.trace(K)), Collector(columns)
    own = np.arange(n, dtype=perm.dtype)[None, :]
    for ids in blocks(columns.sparse_ids()):
        rows, moments = standardise_sparse(columns.csc(ids))
        observed, permuted = (scale * _sparse_forms(rows, K, p) for p in (own, perm))
        out.put(ids, observed[0], (1.0, scale * _null_sd(K, moments[4]), np.nan), permuted)
    for ids in blocks(columns.dense_ids()):
        z = standardise(columns.rows(ids))
        observed, permuted = scale * _forms(z, K), np.empty((permutations, ids.size))
        for f in range(ids.size):
            permuted[:, f] = scale * _forms(z[f][perm], K)
        out.put(ids, observed, (1.0, scale * _null_sd(K, (z**4).sum(axis=1)), np.nan), permuted)
    return out.result(permutations, seed, alternative)


def _checked_kernel(kernel: Any) -> np.ndarray:
    K = np.asarray(kernel, dtype=np.float64)
    if K.ndim != 2 or K.shape[0] != K.shape[1] or K.shape[0] < 4 or not np.isfinite(K).all():
        raise InvalidInput(f"kernel has shape {K.shape}; expected finite (place, place), at least 4 places.")
    size = np.abs(K).max()
    if not np.trace(K) > 0 or np.abs(K - K.T).max() > 1e-8 * size or np.abs(K.sum(axis=0)).max() > 1e-6 * size:
        raise InvalidInput("kernel is not symmetric, its rows do not sum to 0, or its trace is 0; use car_kernel(W).")
    return K


def _forms(z: np.ndarray, K: np.ndarray) -> np.ndarray:
    """z'Kz of each row."""
    return ((z @ K) * z).sum(axis=1)


def _sparse_forms(rows: SparseRows, K: np.ndarray, perm: np.ndarray) -> np.ndarray:
    """Return (permutation, feature); K is centred, so the mean of a feature drops out and its silent places too."""
    land = np.empty_like(perm)
    np.put_along_axis(land, perm, np.arange(K.shape[0], dtype=perm.dtype)[None, :], axis=1)
    out = np.empty((perm.shape[0], rows.mean.size))
    for f in range(rows.mean.size):
        span = slice(rows.indptr[f], rows.indptr[f + 1])
        spots, x = land[:, rows.places[span]], rows.values[span]
        step = max(1, _AT_ONCE // x.size**2)
        for first in range(0, len(spots), step):
            at = spots[first : first + step]
            out[first : first + step, f] = (K[at[:, :, None], at[:, None, :]] @ x) @ x
    return out


def _null_sd(K: np.ndarray, fourth: np.ndarray) -> np.ndarray:
    """Sd of z'Kz over all permutations of z (mean square 1), with K centred; `fourth` is sum z^4, shape (feature,)."""
    n = K.shape[0]
    t, t2, s2 = np.trace(K), (K**2).sum(), (np.diag(K) ** 2).sum()
    both = 2 * ((n - 1) * t2 - t**2) * ((n - 1) * n**2 - n**2) / ((n - 1) ** 2 * (n + 1) * (n - 2))
    own = n * (n + 1) * s2 - (n - 1) * (t**2 + 2 * t2)
    values = n * (n + 1) * fourth - (n - 1) * 3 * n**2
    variance = both + own * values / ((n + 1) * n * (n - 1) * (n - 2) * (n - 3))
    return np.sqrt(np.where(variance > 1e-12 * t**2, variance, 0.0))
