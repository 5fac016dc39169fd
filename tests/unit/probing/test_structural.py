"""The structural probe: a planted tree is found in as few dimensions as it has, shuffled and random ones are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import shortest_path

from analyses.probing import code_tree, code_vectors, structural_probe
from analyses.probing.structural import LEFT, SHUFFLED, _uuas
from interp.errors import InvalidInput
from interp.testing import tiny_model


def planted_trees(n: int = 120, m: int = 6, d: int = 30, seed: int = 0):
    """Return vectors [m, d] and distances [m, m] of random trees: each edge is a step along an axis of its own.

    The m - 1 axes are those of one subspace for all trees, so squared distances in it are tree distances exactly.
    """
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.standard_normal((d, m - 1)))[0].T
    vectors, distances = [], []
    for _ in range(n):
        parents, steps = [rng.integers(0, i) for i in range(1, m)], rng.permutation(m - 1)
        place, edges = np.zeros((m, m - 1)), np.zeros((m, m))
        for child, parent in enumerate(parents, start=1):
            place[child] = place[parent]
            place[child, steps[child - 1]] += 1
            edges[child, parent] = 1
        order = rng.permutation(m)
        noise = rng.standard_normal((m, d))
        noise -= noise @ axes.T @ axes  # as loud as the tree, elsewhere
        vectors.append((place @ axes + 0.5 * noise)[order])
        distances.append(shortest_path(edges, directed=False)[np.ix_(order, order)])
    return vectors, distances


@pytest.fixture(scope="module")
def table():
    vectors, distances = planted_trees()
    rng = np.random.default_rng(9)
    noise = [rng.standard_normal(v.shape) for v in vectors]
    return structural_probe(vectors, distances, ranks=(1, 5), controls={"random weights": noise}, n_boot=50)


def test_the_planted_tree_is_found_with_enough_dimensions(table):
    own = table[table["condition"] == "vectors"].set_index("rank")
    assert own.loc[5, "uuas"] > 0.97
    assert own.loc[5, "spearman"] > 0.9
    assert own.loc[1, "uuas"] < 0.8
    assert own.loc[5, "ci_low"] <= own.loc[5, "uuas"] <= own.loc[5, "ci_high"]


def test_controls_find_no_tree(table):
    rows = table.set_index(["condition", "rank"])["uuas"]
    for name in ("random weights", SHUFFLED):
        assert rows[name, 5] < 0.55
    assert rows[LEFT, 0] < 0.55
    assert (table["status"] == "ok").all()


def test_distances_are_edges_of_the_syntax_tree():
    tree = code_tree("x = a + b\n")
    assert [tree.text[s:e] for s, e in tree.spans] == ["x", "=", "a", "+", "b"]
    expected = np.array(  # Module - Assign - (Name x, BinOp - (Name a, Name b)); "=" hangs on Assign, "+" on BinOp
        [[0, 3, 5, 4, 5], [3, 0, 4, 3, 4], [5, 4, 0, 3, 4], [4, 3, 3, 0, 3], [5, 4, 4, 3, 0]]
    )
    np.testing.assert_array_equal(tree.distances, expected)


def test_spans_count_characters_where_ast_counts_bytes():
    tree = code_tree("é = ü + f(ü, 'ß')\ny = é\n")
    assert [tree.text[s:e] for s, e in tree.spans][:7] == ["é", "=", "ü", "+", "f", "(", "ü"]
    assert tree.distances[0, 1] == 3  # "=" on Assign, "é" on its Name


@pytest.mark.parametrize("text", ["x = (", "x", "", "x =\x00"])
def test_what_is_no_code_is_refused(text):
    with pytest.raises(InvalidInput, match=r"Python|tokens"):
        code_tree(text)


def test_any_spanning_tree_of_ties_is_right():
    star = 2.0 * (1 - np.eye(4))
    guess = np.random.default_rng(0).random((4, 4)) + 1
    guess = guess + guess.T - 2 * np.diag(np.diag(guess))
    assert _uuas(guess, star) == 1.0
    path = np.abs(np.subtract.outer(np.arange(5), np.arange(5))).astype(float)
    assert _uuas(path, path) == 1.0
    assert _uuas(path[np.ix_([2, 0, 4, 1, 3], [2, 0, 4, 1, 3])], path) == pytest.approx(0.0, abs=0.3)


def test_vectors_of_tokens_are_read_from_a_model():
    trees = [code_tree("x = a + b\n"), code_tree("f(a, b)\n")]
    found = code_vectors(tiny_model(0), trees, "resid_post.1")
    assert [v.shape for v in found] == [(5, 32), (6, 32)]


def test_shapes_that_do_not_fit_are_refused():
    vectors, distances = planted_trees(12)
    with pytest.raises(InvalidInput, match="at least 10"):
        structural_probe(vectors[:5], distances[:5])
    with pytest.raises(InvalidInput, match="tree 3"):
        structural_probe([*vectors[:3], vectors[3][:4], *vectors[4:]], distances)
    with pytest.raises(InvalidInput, match="symmetric"):
        structural_probe(vectors, [d + np.triu(np.ones_like(d), 1) for d in distances])
