"""Baselines against their formulas, written out as loops."""

import math
import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import sparse

from analyses.data_selection import read_samples
from analyses.data_selection.chance_scores import length_matched, random_scores
from analyses.data_selection.coverage import coverage_order
from analyses.data_selection.dense_scores import cosine_each, cosine_scores, gradient_vectors, sample_vectors
from analyses.data_selection.word_scores import bm25_scores, dsir_scores, tfidf_scores
from interp.errors import InvalidInput

TEXTS = ["Paris is in France.", "the sea, the sea", "Berlin is a city in Germany", "a a a", "France!", "x"]
TARGETS = ["Where is France? In Europe, in", "the sea"]


def words(text):
    return re.findall(r"\w+|[^\w\s]", text.lower())


def test_bm25_is_its_formula():
    docs = [words(text) for text in TEXTS]
    mean = sum(map(len, docs)) / len(docs)
    for row, doc in enumerate(docs):
        for column, target in enumerate(TARGETS):
            expected = 0.0
            for word in words(target):
                df = sum(word in other for other in docs)
                tf = doc.count(word)
                idf = math.log(1 + (len(docs) - df + 0.5) / (df + 0.5))
                expected += idf * tf * 2.5 / (tf + 1.5 * (0.25 + 0.75 * len(doc) / mean))
            assert bm25_scores(TEXTS, TARGETS)[row, column] == pytest.approx(expected, rel=1e-12)


def test_bm25_equals_bm25s():
    """bm25s leaves the constant factor k1 + 1 out and takes float32."""
    import bm25s

    index = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
    index.index([words(text) for text in TEXTS], show_progress=False)
    found = bm25_scores(TEXTS, TARGETS)
    for column, target in enumerate(TARGETS):
        known = [word for word in words(target) if word in index.vocab_dict]
        np.testing.assert_allclose(found[:, column], 2.5 * index.get_scores(known), rtol=1e-5, atol=1e-6)


def test_tfidf_is_a_cosine():
    found = tfidf_scores(TEXTS, TARGETS[:1])
    assert found.argmax() in (0, 4)
    assert tfidf_scores(TEXTS, [TEXTS[2]])[2] == pytest.approx(1.0)
    assert found[3] == 0


def test_dsir_is_a_difference_of_log_probabilities():
    """Buckets that do not collide: each word and each pair of words has one, and the empty ones are smoothed too."""

    def bag(text):
        tokens = words(text)
        return Counter(tokens + [" ".join(pair) for pair in pairwise(tokens)])

    p, q = (sum((bag(t) for t in texts), Counter()) for texts in (TARGETS, TEXTS))
    total = [bags.total() + 10_000 for bags in (p, q)]
    found = dsir_scores(TEXTS, TARGETS)
    for row, text in enumerate(TEXTS):
        expected = sum(
            n * (math.log((p[g] + 1) / total[0]) - math.log((q[g] + 1) / total[1])) for g, n in bag(text).items()
        )
        assert found[row] == pytest.approx(expected, abs=1e-9)
    noisy = dsir_scores(TEXTS, TARGETS, gumbel_seed=1)
    assert not np.allclose(noisy, found)
    np.testing.assert_array_equal(noisy, dsir_scores(TEXTS, TARGETS, gumbel_seed=1))


def test_no_words_are_refused():
    with pytest.raises(InvalidInput, match="at least one of each"):
        bm25_scores([], TARGETS)


def test_a_length_matched_pick_has_the_lengths_of_the_pick():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 1000, 2000)
    wanted = np.sort(lengths)[-100:]
    rows = length_matched(lengths, wanted, seed=0)
    assert len(set(rows)) == 100
    assert abs(lengths[rows].mean() - wanted.mean()) < 25
    assert set(rows) != set(np.argsort(lengths)[-100:])
    np.testing.assert_array_equal(rows, length_matched(lengths, wanted, seed=0))
    assert sorted(length_matched(lengths[:5], lengths[:5], seed=0)) == [0, 1, 2, 3, 4]
    with pytest.raises(InvalidInput, match="6 rows are wanted"):
        length_matched(lengths[:5], lengths[:6], seed=0)
    np.testing.assert_array_equal(random_scores(9, seed=3), random_scores(9, seed=3))


def test_cosines():
    x = np.random.default_rng(0).standard_normal((6, 4)) + 3
    found = cosine_each(x, x[:2])
    assert found[1, 1] == pytest.approx(1)
    assert found[3, 0] == pytest.approx(x[3] @ x[0] / np.linalg.norm(x[3]) / np.linalg.norm(x[0]))
    centred = x - x.mean(0)
    expected = centred[3] @ centred[0] / np.linalg.norm(centred[3]) / np.linalg.norm(centred[0])
    assert cosine_each(x, x[:1], centre=True)[3, 0] == pytest.approx(expected)
    assert cosine_scores(x, x[:2])[2] == pytest.approx(cosine_each(x, x[:2].mean(0)[None])[2, 0])


def test_rds_weighs_later_tokens_more(model):
    samples = read_samples([{"text": "Paris is in"}, {"text": "</s>"}])
    found = sample_vectors(model, samples.samples)
    from interp import capture

    tokens = capture(model, ["Paris is in"], ["resid_post.1"], pool="none")["resid_post.1"]
    n = len(tokens)
    expected = (np.arange(1, n + 1)[:, None] * tokens).sum(0) / (n * (n + 1) / 2)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    assert np.isnan(found[1]).all()


def test_gradients_are_those_of_the_answer_and_the_sketch_keeps_inner_products(model):
    rows = [{"prompt": f"{a} is", "completion": b} for a, b in [("Paris", "in France"), ("Paris", "in France"),
            ("London", "the city"), ("the of", "and and and")]]  # fmt: skip
    samples = read_samples(rows).samples
    found = gradient_vectors(model, samples, dim=2**14)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    assert not any(p.grad is not None for p in model.bridge.original_model.parameters())
    weights = [p for n, p in model.bridge.original_model.named_parameters() if ".1." in n and p.is_floating_point()]
    whole = []
    for sample in samples:
        ids = torch.tensor([[0, *model.tokenizer(sample.text, add_special_tokens=False)["input_ids"]]])
        start = len(model.tokenizer(sample.turns[0].content + "\n", add_special_tokens=False)["input_ids"]) + 1
        needed = [p.requires_grad for p in weights]
        for p in weights:
            p.requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(model.logits(ids)[0, start - 1 : -1], ids[0, start:])
        grads = torch.autograd.grad(loss, weights, allow_unused=True)
        whole.append(torch.cat([g.flatten() for g in grads if g is not None]).numpy())
        for p, before in zip(weights, needed, strict=True):
            p.requires_grad_(before)
    np.testing.assert_allclose(cosine_each(found, found), cosine_each(*[np.array(whole)] * 2), atol=0.05)


def test_coverage_picks_what_is_still_missing():
    pool = sparse.csr_matrix(np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0]], dtype=np.float32))
    target = np.array([0.4, 0.3, 0.2, 0.1])
    assert coverage_order(pool, target, 2).tolist() == [1, 2]
    assert sorted(coverage_order(pool, target, 9)) == [0, 1, 2, 3]
    rng = np.random.default_rng(0)
    pool, target = sparse.random(60, 80, 0.05, "csr", rng=rng), rng.random(80)
    covered, slow = np.zeros(80, dtype=bool), []
    for _ in range(5):
        gains = [target[~covered & (row.toarray()[0] > 0)].sum() for row in pool]
        slow.append(int(np.argmax(gains)))
        covered |= pool[[slow[-1]]].toarray()[0] > 0
    assert coverage_order(sparse.csr_matrix(pool, dtype=np.float32), target, 5).tolist() == slow
