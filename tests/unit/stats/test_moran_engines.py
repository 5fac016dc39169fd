from __future__ import annotations

import builtins

import numpy as np
import pytest
from scipy import sparse
from spatial_fields import knn, points

from interp.errors import InvalidInput
from interp.stats.autocorrelation import moran_i
from interp.stats.getis_ord import getis_ord_local
from interp.stats.local_autocorrelation import local_moran_i
from interp.stats.moran_engines import NumbaEngine, NumpyEngine, choose_engine
from interp.stats.moran_graph import MoranGraph

COUNTED = ("at_least", "at_most", "n_perm", "p_perm")


@pytest.mark.parametrize("form", [np.asarray, sparse.csc_array])
def test_both_engines_give_identical_counts(small_graph, mixed_features, form):
    fast, plain = (moran_i(form(mixed_features), small_graph, engine=e) for e in ("numba", "numpy"))
    for name in COUNTED:
        np.testing.assert_array_equal(getattr(fast, name), getattr(plain, name))
    np.testing.assert_allclose(fast.I, plain.I, rtol=1e-11, atol=1e-14)


def test_both_engines_agree_where_most_rearrangements_tie(small_graph):
    """Few places, few values: float32 alone cannot decide these comparisons."""
    X = np.zeros((300, 40))
    rng = np.random.default_rng(0)
    for f in range(40):
        X[rng.choice(300, 10 + f, replace=False), f] = 1.0 / 3.0
    fast, plain = (moran_i(X, small_graph, permutations=499, engine=e) for e in ("numba", "numpy"))
    for name in COUNTED:
        np.testing.assert_array_equal(getattr(fast, name), getattr(plain, name))
    assert (fast.at_least + fast.at_most - 499).sum() > 40  # ties there are


def test_both_engines_agree_on_uneven_weights_and_groups(uneven_graph):
    X = np.random.default_rng(0).lognormal(size=(120, 6))
    groups = np.arange(120) % 4
    fast, plain = (moran_i(X, uneven_graph, permutations=199, groups=groups, engine=e) for e in ("numba", "numpy"))
    for name in COUNTED:
        np.testing.assert_array_equal(getattr(fast, name), getattr(plain, name))
    np.testing.assert_allclose(fast.null_sd, plain.null_sd, rtol=1e-4)


def test_float32_is_settled_in_float64(small_graph):
    """A rearrangement that leaves I as it is must tie exactly, though float32 sees a difference."""
    graph = MoranGraph.from_weights(small_graph)
    z = np.random.default_rng(0).normal(size=(1, 300))
    engine = NumbaEngine()
    from interp.stats.moran_engines import Tally

    for shift in (-1e-9, 0.0, 1e-9):
        tally = Tally.start(engine.observe_dense(z, graph) + shift, np.array([1e-12]))
        engine.count_dense(z, graph, graph.order[None, :], tally)
        assert (tally.at_least[0], tally.at_most[0]) == (int(shift <= 0), int(shift >= 0))


def test_without_numba_the_plain_engine_is_chosen(monkeypatch):
    real = builtins.__import__

    def no_numba(name, *args, **kwargs):
        if name == "numba":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_numba)
    assert isinstance(choose_engine(), NumpyEngine)
    with pytest.raises(InvalidInput, match="not installed"):
        choose_engine("numba")


def test_the_table_of_slots_holds_every_pair_once(uneven_graph):
    graph = MoranGraph.from_weights(uneven_graph)
    neighbour, weight = graph.slots
    rebuilt = np.zeros((121, 121))
    for i in range(120):
        for j, a in zip(neighbour[i], weight[i], strict=True):
            rebuilt[i, j] += a
    rebuilt = rebuilt[:120, :120]
    symmetric = graph.upper.toarray() + graph.upper.toarray().T
    np.testing.assert_array_equal(rebuilt + rebuilt.T, symmetric)


def test_pairs_are_dealt_as_evenly_as_can_be():
    graph = MoranGraph.from_weights(knn(points(500, seed=2), 8))
    held = (graph.slots[0] < 500).sum(axis=1)
    assert held.max() == -(-graph.upper.nnz // 500)
    hub = np.ones((1, 29))
    star = sparse.csr_array(sparse.block_array([[None, hub], [hub.T, None]]))
    assert (MoranGraph.from_weights(star).slots[0] < 30).sum(axis=1).max() == 1
    clique = sparse.block_diag([np.ones((9, 9)) - np.eye(9), np.zeros((20, 20))])
    assert (MoranGraph.from_weights(clique).slots[0] < 29).sum(axis=1).max() == 4


@pytest.mark.parametrize("k", [1, 4, 7])
def test_the_groups_of_five_hold_every_pair_once(k):
    graph = MoranGraph.from_weights(knn(points(100, seed=k), k))
    place, neighbour, weight = graph.groups
    assert (np.diff(place.astype(int)) >= 0).all()
    rebuilt = np.zeros((101, 101))
    np.add.at(rebuilt, (np.repeat(place, 5), neighbour.ravel()), weight.ravel())
    assert not rebuilt[:, 100].any()
    rebuilt = rebuilt[:100, :100]
    symmetric = graph.upper.toarray() + graph.upper.toarray().T
    np.testing.assert_allclose(rebuilt + rebuilt.T, symmetric, rtol=1e-7)


@pytest.mark.parametrize("local", [local_moran_i, getis_ord_local])
@pytest.mark.parametrize("weights", ["small_graph", "uneven_graph"])
def test_both_engines_give_identical_local_counts(request, mixed_features, local, weights):
    W = request.getfixturevalue(weights)
    X = mixed_features[: W.shape[0]]
    fast, plain = (local(X, W, permutations=499, min_active=3, engine=e) for e in ("numba", "numpy"))
    for name in ("p", "n_perm", "status", "lag"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(plain, name))
    assert (fast.p < 0.05).any()
