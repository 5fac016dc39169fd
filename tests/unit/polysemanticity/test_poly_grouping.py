"""Sampling of examples, views and clusters, each against a library or by hand."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import adjusted_rand_score

from analyses.polysemanticity.example_views import (
    context_words,
    folded_tokens,
    next_classes,
    window_means,
    word_vectors,
)
from analyses.polysemanticity.grouping import (
    _cut,
    adjusted_rand,
    centred_rows,
    find_groups,
    likeness,
    mean_likeness,
    mean_likeness_within,
    replication,
)
from analyses.polysemanticity.sampling import sample_activation_intervals, top_examples


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_mean_likeness_is_that_over_all_pairs(rng):
    a, b = rng.standard_normal((7, 3)), rng.standard_normal((9, 3)).astype(np.float32)
    assert mean_likeness(a, b) == pytest.approx(likeness(a, b).mean())
    a, b = rng.integers(-1, 4, size=30), rng.integers(-1, 6, size=50)
    assert mean_likeness(a, b) == pytest.approx(likeness(a, b).mean())
    assert mean_likeness(np.full(3, -1), b) == 0.0


def test_every_interval_gives_its_share(rng):
    a = rng.exponential(size=(5000, 2))
    examples = sample_activation_intervals(a, seed=0)
    for unit in (0, 1):
        part, most = examples[examples["unit"] == unit], a[:, unit].max()
        edges = np.linspace(0.1, 1.0, 11) * most
        available = np.histogram(a[:, unit], edges)[0]
        assert part["interval"].value_counts().sort_index().tolist() == np.minimum(available, 8)[available > 0].tolist()
        assert np.allclose(part["activation"], a[part["row"], unit])
        assert (np.digitize(part["activation"], edges[:-1]) - 1 == part["interval"]).all()
        assert part.groupby("interval")["weight"].sum().tolist() == available[available > 0].tolist()
        assert part.loc[part["rank"] == 0, "activation"].tolist() in ([most], [])


def test_a_unit_that_is_always_equally_active_has_examples_enough():
    a = np.zeros((500, 2))
    a[:300, 0], a[:25, 1] = 1.0, 1.0
    examples = sample_activation_intervals(a, seed=0)
    assert examples["unit"].value_counts().to_dict() == {0: 40, 1: 25}
    assert examples.groupby("unit")["weight"].sum().tolist() == [300, 25]


def test_the_weights_undo_the_sampling(rng):
    a = rng.exponential(size=(4000, 1))
    above = a[a >= 0.1 * a.max()].mean()
    means = []
    for seed in range(30):
        part = sample_activation_intervals(a, seed=seed)
        means.append(np.average(part["activation"], weights=part["weight"]))
    assert np.mean(means) == pytest.approx(above, rel=0.01)
    assert part["activation"].mean() > 1.3 * above


def test_a_text_gives_one_example(rng):
    a, text = rng.random((300, 3)), np.repeat(np.arange(60), 5)
    examples = sample_activation_intervals(a, text_index=text, seed=0)
    for unit, part in examples.groupby("unit"):
        assert len(np.unique(text[part["row"]])) == len(part)
        assert np.allclose(part["activation"], a[part["row"], unit])
        assert part["interval"].value_counts().max() <= 8
    best = top_examples(a, text_index=text, k=6)
    for unit, part in best.groupby("unit"):
        assert len(np.unique(text[part["row"]])) == len(part)
        assert np.allclose(part["activation"], a[:, unit].reshape(60, 5).max(axis=1)[text[part["row"]]])


def test_a_weaker_concept_of_the_same_texts_is_sampled():
    a = np.tile([1.0, 0.9, 0.0], 100)[:, None]
    rows = sample_activation_intervals(a, text_index=np.repeat(np.arange(100), 3), seed=0)["row"].to_numpy()
    assert 0.3 < (rows % 3 == 1).mean() < 0.7


def test_units_that_are_off_have_no_examples():
    assert len(sample_activation_intervals(-np.ones((5, 2)), seed=0)) == 0
    assert len(top_examples(np.zeros((5, 2)), k=3)) == 0


def test_tokens_are_folded_as_tokenizers_write_them():
    assert len(set(folded_tokens(["\u0120Paris", "\u2581paris", " PARIS", "Paris"]))) == 1
    assert len(set(folded_tokens(["\u0120", "a"]))) == 2


def test_context_stops_at_the_text():
    ids, text = np.arange(10, 16), np.array([0, 0, 0, 1, 1, 1])
    assert context_words(ids, text, window=2).tolist() == [
        [-1, -1], [-1, 10], [10, 11], [-1, -1], [-1, 13], [13, 14],
    ]  # fmt: skip
    assert context_words(ids, text, window=1, both_sides=True)[2].tolist() == [11, -1]
    assert next_classes(ids, text).tolist() == [11, 12, -1, 14, 15, -1]


def test_window_means_are_those_of_a_loop(rng):
    x, text = rng.normal(size=(9, 2)), np.array([0, 0, 0, 0, 0, 1, 1, 1, 1])
    found = window_means(x, text, window=3)
    for i in range(9):
        rows = [j for j in range(i - 2, i + 1) if j >= 0 and text[j] == text[i]]
        assert np.allclose(found[i], x[rows].mean(axis=0), atol=1e-6)


def test_word_vectors_keep_the_likeness_of_tf_idf(rng):
    words = rng.integers(30, size=(40, 6))
    words[0, 3:] = -1
    vectors = word_vectors(words, dimensions=64, seed=0)
    counts = np.array([[(row == w).sum() for w in np.unique(words[words >= 0])] for row in words], dtype=float)
    idf = np.log((1 + 40) / (1 + (counts > 0).sum(axis=0))) + 1
    tf_idf = counts * idf
    tf_idf /= np.linalg.norm(tf_idf, axis=1, keepdims=True)
    # 29 singular vectors of 30 words: all but the weakest direction
    assert np.allclose(vectors @ vectors.T, tf_idf @ tf_idf.T, atol=0.15)
    assert np.array_equal(vectors, word_vectors(words, dimensions=64, seed=0))


def test_clusters_are_counted_without_being_told_how_many(rng):
    for k in (1, 2, 4):
        rows = np.eye(10)[np.arange(80) % k] + 0.1 * rng.normal(size=(80, 10))
        background = rng.normal(size=(200, 10))
        whole = centred_rows(np.concatenate([background, rows]), np.arange(200))
        similarity = likeness(whole[200:], whole[200:])
        b = float(likeness(whole[200:], whole[:200]).mean())
        found = find_groups(similarity, b)
        assert k == found.K
        assert found.K_eff == pytest.approx(k, rel=0.02)
        assert adjusted_rand(found.labels, np.arange(80) % k) == pytest.approx(1.0)
        assert replication(similarity, b, rng) == pytest.approx(1.0 if k > 1 else 0.0)


def test_noise_does_not_replicate(rng):
    rows = rng.normal(size=(80, 10))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert replication(likeness(rows, rows), 0.0, rng) < 0.4


def test_the_tree_is_cut_as_scipy_cuts_it(rng):
    for size in (3, 10, 80):
        x = rng.normal(size=(size, 3))
        tree = linkage(x, "average")
        for height in (0.0, 1.0, 2.0, 9.0):
            ours, theirs = _cut(tree, height), fcluster(tree, height, criterion="distance")
            assert adjusted_rand_score(ours, theirs) == 1.0
            assert ours.max() + 1 == theirs.max()


def test_small_clusters_do_not_count():
    labels = np.array([0] * 60 + [1] * 18 + [2] * 2)
    found = find_groups(likeness(labels, labels), 0.0)
    assert found.K == 2
    assert (found.labels == -1).sum() == 2
    assert find_groups(np.ones((2, 2)), 0.0).K == 0


def test_the_mean_likeness_is_that_over_pairs(rng):
    rows, classes = rng.normal(size=(12, 3)), np.array([0, 0, 1, -1, -1, 1, 0])
    for things in (rows, classes):
        pairs = likeness(things, things)[~np.eye(len(things), dtype=bool)]
        sets = np.array([rng.choice(len(things), 5, replace=False) for _ in range(7)])
        found = mean_likeness_within(things, sets)
        for chosen, value in zip(sets, found, strict=True):
            block = likeness(things[chosen], things[chosen])
            assert value == pytest.approx(block[~np.eye(5, dtype=bool)].mean())
        assert mean_likeness_within(things, np.arange(len(things))[None])[0] == pytest.approx(pairs.mean())


def test_the_rand_index_is_that_of_sklearn(rng):
    for _ in range(20):
        a, b = rng.integers(4, size=30), rng.integers(3, size=30)
        assert adjusted_rand(a, b) == pytest.approx(adjusted_rand_score(a, b), abs=1e-12)
