"""Scores against the twelve-line definition, faulty input, bounds of rows that were cut, and the length bias."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from analyses.data_selection import encode_pool, mona_scores, pool_of, read_samples, score, score_each
from analyses.data_selection.certified_pick import certified_top
from analyses.data_selection.method_names import BOUNDED, SCORES
from analyses.data_selection.pooled_codes import cut_to_largest
from analyses.data_selection.relevance import level_by_length
from interp.errors import InvalidInput
from interp.latents import Latents


def codes(seed, n=50, n_features=60, density=0.2):
    matrix = sparse.random(n, n_features, density, "csr", rng=np.random.default_rng(seed), dtype=np.float32)
    return sparse.csr_matrix(matrix)


def published(pool, target):
    """The score as the paper states it, one sample at a time."""
    t = target.toarray().astype(float).mean(axis=0)
    out = []
    for z in pool.toarray().astype(float):
        s, total, m = z.sum(), t.sum(), sum(min(a, b) for a, b in zip(z, t, strict=True))
        out.append(m / (s + total - m))
    return np.array(out)


def test_mona_is_the_published_score():
    pool, target = codes(0), codes(1, 7)
    expected = published(pool, target)
    found = mona_scores(pool, target)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float64
    assert np.argsort(-found).tolist() == np.argsort(-expected).tolist()
    latents = Latents(pool, tuple(range(50)), np.ones(50, dtype=int), {})
    np.testing.assert_array_equal(mona_scores(latents, target), found)
    np.testing.assert_array_equal(mona_scores(pool_of(pool), pool_of(target).mean), mona_scores(pool, pool_of(target)))
    np.testing.assert_allclose(mona_scores(pool, pool_of(target)), found, rtol=1e-6)


def test_the_background_is_taken_off():
    pool, target = codes(0), codes(1, 7)
    table = score(pool, target, method="background")
    expected = published(pool, target) - published(pool, sparse.csr_matrix(pool.mean(axis=0)))
    np.testing.assert_allclose(table["score"], expected, atol=1e-6)
    np.testing.assert_allclose(table["raw"] - table["background"], table["score"], atol=1e-12)
    assert table.sort_values("rank")["score"].is_monotonic_decreasing
    np.testing.assert_allclose(score(pool, target, method="mona")["score"], mona_scores(pool, target), rtol=1e-12)
    by_hand = pool.toarray() @ target.toarray().mean(0)
    by_hand /= np.linalg.norm(pool.toarray(), axis=1) * np.linalg.norm(target.toarray().mean(0))
    np.testing.assert_allclose(score(pool, target, method="cosine")["score"], by_hand, rtol=1e-5)


def test_contrast_is_the_published_score_with_what_the_target_has_more():
    pool, target = codes(0), codes(1, 7)
    more = np.maximum(target.toarray().mean(0) - pool.toarray().mean(0), 0)
    table = score(pool, target, method="contrast")
    np.testing.assert_allclose(table["score"], mona_scores(pool, more), atol=1e-6)
    np.testing.assert_allclose(table["raw"], mona_scores(pool, target), rtol=1e-12)
    with pytest.raises(InvalidInput, match="no feature is stronger"):
        score(pool, target, method="contrast", background=np.full(60, 9.0))


def test_adjusted_is_the_contrast_among_samples_of_like_length():
    pool, target = codes(0, n=300), codes(1, 7)
    tokens = np.random.default_rng(0).integers(1, 40, 300)
    table = score(pool_of(pool, n_tokens=tokens), target, method="adjusted")
    values = score(pool, target, method="contrast")["score"].to_numpy()
    by_length = np.sort(tokens)
    for row in range(0, 300, 23):
        at = np.flatnonzero(by_length == tokens[row])
        ends = by_length[max(at[0] - 25, 0)], by_length[min(at[-1] + 25, 299)]
        like = values[(tokens >= ends[0]) & (tokens <= ends[1])]
        assert len(like) >= 25  # at the ends there is one side alone
        assert table["score"][row] == pytest.approx((values[row] - like.mean()) / like.std(), abs=1e-9)
        assert table["background"][row] == pytest.approx(like.mean(), abs=1e-12)
    order = np.random.default_rng(1).permutation(300)
    again = score(pool_of(pool[order], n_tokens=tokens[order]), target, method="adjusted")
    np.testing.assert_allclose(again["score"], table["score"].to_numpy()[order], atol=1e-5)
    same = score(pool_of(pool, n_tokens=np.full(300, 9)), target, method="adjusted")
    np.testing.assert_allclose(same["score"], (values - values.mean()) / values.std(), atol=1e-9)
    assert level_by_length(values[:0], tokens[:0])[0].shape == (0,)


def test_each_example_is_scored_as_if_alone():
    pool, target = codes(0), codes(1, 7)
    found = score_each(pool, target, background=False)
    for i in range(7):
        np.testing.assert_allclose(found[:, i], mona_scores(pool, target[[i]]), atol=1e-6)
    corrected = score_each(pool, target)
    np.testing.assert_allclose(corrected[:, 2], score(pool, target[[2]], method="background")["score"], atol=1e-6)


def test_scores_do_not_depend_on_shards(model, sae, samples, tmp_path):
    target = encode_pool(read_samples([{"text": "Paris is in France"}]), model, sae)
    one = score(encode_pool(samples, model, sae, shard_rows=7), target)
    two = score(encode_pool(samples, model, sae, shard_rows=7, out=tmp_path), target)
    assert one.equals(two)


def test_equal_scores_keep_the_order_of_the_pool():
    pool = sparse.csr_matrix(np.ones((5, 4), dtype=np.float32))
    assert score(pool, np.ones(4), method="mona")["rank"].tolist() == [1, 2, 3, 4, 5]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 20))
def test_cut_rows_have_bounds_that_certify_the_pick(seed, m, n):
    from dataclasses import replace

    pool, target = codes(seed, density=0.4), codes(seed + 1, 5)
    whole = pool_of(pool)
    kept, dropped = cut_to_largest(whole.matrix(), m)
    cut = replace(whole, rows=whole.rows.assign(dropped=dropped), shards=(lambda: kept,))
    for method in BOUNDED:
        exact = score(whole, target, method=method)["score"].to_numpy()
        table = score(cut, target, method=method)
        assert (table["lower"] <= exact + 1e-6).all()
        assert (exact <= table["upper"] + 1e-6).all()
        best = set(np.argsort(-exact, kind="stable")[:n].tolist())
        found = certified_top(table["lower"].to_numpy(), table["upper"].to_numpy(), n)
        assert set(found.certain.tolist()) <= best
        assert best <= set(found.certain.tolist()) | set(found.straddling.tolist())


def test_certified_top_of_exact_scores_is_the_stable_sort():
    scores = np.array([1.0, 3.0, 2.0, 2.0, 2.0, 0.0])
    for n in range(7):
        found = certified_top(scores, scores, n)
        assert found.is_certified
        assert sorted(found.certain) == sorted(np.argsort(-scores, kind="stable")[:n])
    assert certified_top(np.array([0.0, 0.4]), np.array([1.0, 0.5]), 1).straddling.tolist() == [0, 1]


def planted(signal, n_target, seed=0):
    """Samples of 10 to 400 tokens, a tenth of them with a share of tokens from the distribution of the target."""
    rng = np.random.default_rng(seed)
    n_features, k = 400, 8
    usual, special = rng.dirichlet(np.full(n_features, 0.3), size=2)

    def sample(length, relevant):
        chance = (1 - signal) * usual + signal * special if relevant else usual
        ids = rng.choice(n_features, size=(length, k), p=chance)
        return np.bincount(ids.ravel(), rng.exponential(size=ids.size), minlength=n_features) / length

    lengths, relevant = rng.integers(10, 400, 400), rng.random(400) < 0.1
    pool = [sample(n, r) for n, r in zip(lengths, relevant, strict=True)]
    target = [sample(60, True) for _ in range(n_target)]
    coded = [sparse.csr_matrix(np.array(rows, dtype=np.float32)) for rows in (pool, target)]
    return pool_of(coded[0], n_tokens=lengths), pool_of(coded[1], n_tokens=np.full(n_target, 60)), lengths, relevant


def test_the_published_score_is_length_and_the_corrected_ones_are_relevance():
    pool, target, lengths, relevant = planted(0.1, 50)
    found = {name: score(pool, target, method=name)["score"] for name in SCORES}
    rho = {name: spearmanr(values, lengths).statistic for name, values in found.items()}
    auc = {name: roc_auc_score(relevant, values) for name, values in found.items()}
    assert rho["mona"] > 0.95
    assert auc["mona"] < 0.7
    assert min(auc["background"], auc["matched"], auc["adjusted"]) > 0.95
    assert abs(rho["adjusted"]) < 0.1
    assert abs(rho["matched"]) < 0.2 < abs(rho["background"]) < 0.6  # what is left of it is said in the audit


def test_a_target_about_nothing_finds_nothing():
    pool, target, _, relevant = planted(0.0, 50)
    for method in SCORES:
        assert 0.35 < roc_auc_score(relevant, score(pool, target, method=method)["score"]) < 0.65
    z = score(pool, target, method="matched")["score"]
    assert abs(z.mean()) < 1.5


def test_wrong_input_is_refused():
    pool, target = codes(0), codes(1, 7)
    with pytest.raises(InvalidInput, match="50 features and the pool 60"):
        mona_scores(pool, codes(1, 7, n_features=50))
    with pytest.raises(InvalidInput, match="no feature is active"):
        mona_scores(pool, np.zeros(60))
    with pytest.raises(InvalidInput, match="positive part"):
        mona_scores(-pool, target)
    with pytest.raises(InvalidInput, match="mona, background, matched, contrast"):
        score(pool, target, method="jaccard")
    with pytest.raises(InvalidInput, match="no examples"):
        mona_scores(pool, target[:0])
