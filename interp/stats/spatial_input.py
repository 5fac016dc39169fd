"""What every test of spatial pattern reads: features and weights of the same places."""

from __future__ import annotations

from typing import Any

from interp.errors import InvalidInput
from interp.stats.feature_columns import Columns, read_columns
from interp.stats.moran_graph import MoranGraph, checked_weights


def as_graph(W: Any) -> MoranGraph:
    """Return weights ready for Moran's I; a `MoranGraph` as it is."""
    return W if isinstance(W, MoranGraph) else MoranGraph.from_weights(W)


def checked_pair(X: Any, W: Any, min_active: int) -> tuple[Columns, MoranGraph]:
    """Return features and weights, ready for use.

    Raises:
        InvalidInput: they are not about the same places, or either cannot be used at all.
    """
    graph = as_graph(W)
    return _of_same_places(read_columns(X, min_active=min_active), graph.n), graph


def checked_local(X: Any, W: Any, permutations: int, min_active: int) -> tuple[Columns, Any]:
    """Return features and weights (csr) of a test of single places, ready for use.

    Raises:
        InvalidInput: as for `checked_pair`, or there are no permutations.
    """
    csr = checked_weights(W)
    if permutations < 1:
        raise InvalidInput(f"permutations={permutations}; a local test needs at least 1, better 9999.")
    return _of_same_places(read_columns(X, min_active=min_active), csr.shape[0]), csr


def _of_same_places(columns: Columns, n: int) -> Columns:
    if columns.n != n:
        raise InvalidInput(f"X has {columns.n} places (rows) and W has {n}; they must be the same places.")
    return columns
