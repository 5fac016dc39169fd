"""Generalized Jaccard against its definition, its identities, and the bounds of rows that were cut."""

import subprocess
import sys
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from interp.errors import InvalidInput, NonFinite
from interp.stats import generalized_jaccard, jaccard_bounds, min_sums


def codes(seed, n=30, n_features=40, density=0.2):
    """Return random codes in which rows 3 and the last are empty."""
    dense = sparse.random(n, n_features, density, rng=np.random.default_rng(seed), dtype=np.float32).toarray()
    dense[[3, -1]] = 0
    return sparse.csr_matrix(dense)


def by_definition(rows, prototypes):
    z, t = rows.toarray().astype(float)[:, None], np.atleast_2d(prototypes).astype(float)[None]
    return np.minimum(z, t).sum(-1) / np.maximum(z, t).sum(-1)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("n_prototypes", [1, 5, 70])
def test_sums_equal_the_definition(compiled, n_prototypes):
    rows, t = codes(0), codes(1, 70).toarray()[:n_prototypes]
    sums, mass = min_sums(rows, t, compiled=compiled)
    np.testing.assert_allclose(sums, np.minimum(rows.toarray()[:, None], t[None]).sum(-1), rtol=1e-6)
    np.testing.assert_allclose(mass, rows.toarray().sum(1), rtol=1e-6)
    one, _ = min_sums(rows, t[0], compiled=compiled)
    np.testing.assert_allclose(one, sums[:, 0], rtol=1e-12)


def test_jaccard_equals_faiss():
    """In a process of its own: faiss brings an OpenMP that need not live beside that of torch."""
    rows, t = codes(0).toarray().astype(np.float32), codes(1, 8, density=0.5).toarray()[:3].astype(np.float32)
    rows = rows[rows.any(axis=1)]
    script = (
        "import sys, numpy as np, faiss\n"
        "x, q = (np.load(path) for path in sys.argv[1:3])\n"
        "np.save(sys.argv[3], faiss.pairwise_distances(x, q, metric=faiss.METRIC_Jaccard))"
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{name}.npy" for name in ("x", "q", "out")]
        np.save(paths[0], rows)
        np.save(paths[1], t)
        subprocess.run([sys.executable, "-c", script, *paths], check=True)
        theirs = np.load(paths[2])
    np.testing.assert_allclose(generalized_jaccard(sparse.csr_matrix(rows), t), theirs, rtol=1e-6, atol=1e-7)


def test_jaccard_equals_the_definition_dense_and_sparse():
    rows, t = codes(0), codes(1, 8, density=0.5)[[0, 1, 2]]
    for prototypes in (t, t.toarray()):
        found = generalized_jaccard(rows, prototypes)
        np.testing.assert_allclose(found, by_definition(rows, t.toarray()), rtol=1e-6)
    assert (generalized_jaccard(rows, t[0].toarray()[0])[[3, -1]] == 0).all()  # empty rows


def test_nothing_against_nothing_is_no_similarity():
    found = generalized_jaccard(codes(0), np.zeros(40))
    assert np.isnan(found[[3, -1]]).all()
    assert (np.delete(found, [3, 29]) == 0).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 10.0))
def test_identities(seed, scale):
    rows, t = codes(seed), codes(seed + 1, 4, density=0.4).toarray()[0]
    z = rows.toarray().astype(float)
    s, total = z.sum(1), float(t.sum())
    j = generalized_jaccard(rows, t)
    distance = np.abs(z - t).sum(1)
    np.testing.assert_allclose(j, (s + total - distance) / (s + total + distance), atol=1e-6)
    assert (j <= np.minimum(s, total) / np.maximum(s, total) + 1e-6).all()
    full = np.flatnonzero(s)
    np.testing.assert_allclose([generalized_jaccard(rows[[i]], rows[[i]].toarray()[0])[0] for i in full[:3]], 1.0)
    np.testing.assert_allclose(generalized_jaccard(rows * scale, t * scale), j, atol=1e-5)
    unit = sparse.diags_array(1 / np.where(s > 0, s, 1)) @ rows
    unit_t = t / total
    order = np.argsort(np.abs(unit.toarray() - unit_t).sum(1)[full])
    assert (np.diff(generalized_jaccard(sparse.csr_matrix(unit), unit_t)[full][order]) <= 1e-6).all()


def test_features_that_no_prototype_has_can_be_left_out():
    rows, t = codes(0), codes(1, density=0.5).toarray()[0]
    used = np.flatnonzero(t)
    found = generalized_jaccard(rows[:, used].tocsr(), t[used], mass=rows.toarray().sum(1))
    np.testing.assert_allclose(found, generalized_jaccard(rows, t), rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 8))
def test_bounds_hold_the_true_value(seed, m):
    rows, t = codes(seed), codes(seed + 1, 4, density=0.5).toarray()[0]
    z = rows.toarray().astype(float)
    kept = np.where(z >= np.sort(z, axis=1)[:, [-m]], z, 0)
    sums, own = min_sums(sparse.csr_matrix(kept.astype(np.float32)), t)
    outside = np.where(kept > 0, 0, t).sum(1)
    low, high = jaccard_bounds(sums, z.sum(1), z.sum(1) - own, t, outside)
    exact = generalized_jaccard(rows, t)
    assert (low <= exact + 1e-6).all()
    assert (exact <= high + 1e-6).all()
    whole = own >= z.sum(1) - 1e-6
    np.testing.assert_allclose(low[whole], high[whole], atol=1e-5)


def test_wrong_input_is_refused():
    rows = codes(0)
    with pytest.raises(InvalidInput, match=r"-0\.997.*positive part"):
        generalized_jaccard(rows * -1, np.ones(40))
    with pytest.raises(InvalidInput, match="of 40"):
        generalized_jaccard(rows, np.ones(39))
    with pytest.raises(InvalidInput, match="tocsr"):
        generalized_jaccard(rows.tocoo(), np.ones(40))
    with pytest.raises(NonFinite, match="prototypes"):
        generalized_jaccard(rows, np.full(40, np.nan))
    with pytest.raises(NonFinite, match="prototypes"):
        generalized_jaccard(rows, np.full(40, np.inf))
    with pytest.raises(InvalidInput, match="mass of row"):
        generalized_jaccard(rows, np.ones(40), mass=np.zeros(30))
