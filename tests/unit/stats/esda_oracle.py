"""esda's statistics on scipy weights, used as they are, with the draws it makes replaced by given ones."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy import sparse


def esda_weights(W: Any, *, binary: bool = False) -> Any:
    """Return a libpysal W with the weights of W."""
    from libpysal.weights import WSP, WSP2W

    matrix = sparse.csr_matrix(W)
    if binary:
        matrix = sparse.csr_matrix((np.ones(matrix.nnz), matrix.indices, matrix.indptr), matrix.shape)
    return WSP2W(WSP(matrix), silence_warnings=True)


def esda_run(make: Any, monkeypatch: Any = None, draws: np.ndarray | None = None) -> Any:
    """Call `make(permutations)` without its warnings, its random permutations taken from `draws`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if draws is None:
            return make(0)
        rows = iter(draws)
        monkeypatch.setattr(np.random, "permutation", lambda z: z[next(rows)])
        return make(len(draws))


def equal_p(oracle_sim: np.ndarray, oracle: float, p_sim: float, at_least: int, tie: float) -> None:
    """Assert that esda's p (the smaller tail, ties at random) follows from our counts, where nothing is tied."""
    assert at_least == (oracle_sim >= oracle - tie).sum()
    if np.ptp(oracle_sim) > 0 and (np.abs(oracle_sim - oracle) > tie).all():
        count = len(oracle_sim)
        np.testing.assert_allclose(p_sim, (1 + min(at_least, count - at_least)) / (count + 1), rtol=1e-12)
