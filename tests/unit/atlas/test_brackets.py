"""The bracket language: always balanced, its pairs known, its probability exact."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from tokenizers import pre_tokenizers

from interp.atlas.corpus import brackets
from interp.atlas.corpus.brackets import PAIRS, Process, closing_positions

SMALL = Process(p_open=0.3, p_end=0.45, max_depth=2, max_length=6)


@pytest.fixture(scope="module")
def documents():
    rng = np.random.default_rng(0)
    return [brackets.document(rng) for _ in range(4000)]


def reduced(signs):
    """What is left of a word when matched neighbours are struck out again and again."""
    word, before = "".join(signs), None
    while word != before:
        before = word
        for a, b in PAIRS.items():
            word = word.replace(a + b, "")
    return word


def probability(signs, process):
    """The probability of a word, written out from the description of the process."""
    p, depth = 1.0, 0
    for n, sign in enumerate(signs):
        full = n + depth + 2 > process.max_length
        if sign in PAIRS:
            p *= 1 if n == 0 else 1 - process.p_end if depth == 0 else process.p_open
            p *= not full and depth < process.max_depth
            p /= 3
            depth += 1
        else:
            p *= 1 if full or depth == process.max_depth else 1 - process.p_open
            depth -= 1
    return p * (1 if len(signs) + 2 > process.max_length else process.p_end)


def words(process):
    """Every balanced word within the limits, by trying all sequences of signs."""
    for pairs in range(1, process.max_length // 2 + 1):
        for signs in product("()[]{}", repeat=2 * pairs):
            depth = np.cumsum([1 if s in PAIRS else -1 for s in signs])
            if depth[-1] == 0 and depth.max() <= process.max_depth and not reduced(signs):
                yield signs


def test_brackets_are_balanced_always(documents):
    assert all(t.text.endswith(" .") and reduced(t.text[:-2].split()) == "" for t in documents)


def test_depth_and_length_keep_their_limits_and_reach_them(documents):
    depth = [max(node.depth for node in t.tree) for t in documents]
    length = [len(t.text.split()) - 1 for t in documents]
    assert (min(depth), max(depth)) == (1, Process().max_depth)
    assert (min(length), max(length)) == (2, Process().max_length)


def test_probabilities_of_all_words_of_a_small_process_sum_to_one():
    assert sum(probability(w, SMALL) for w in words(SMALL)) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("process", [SMALL, Process(), Process(p_open=0.7, max_depth=3, max_length=14)])
def test_surprise_is_that_of_the_described_process(process):
    rng = np.random.default_rng(1)
    for _ in range(500):
        text = brackets.document(rng, process=process)
        assert text.nats == pytest.approx(-np.log(probability(text.text[:-2].split(), process)), rel=1e-12)


def test_small_words_come_as_often_as_their_probability_says():
    rng, n = np.random.default_rng(2), 20_000
    counts = Counter(brackets.document(rng, process=SMALL).text for _ in range(n))
    p = {" ".join(w) + " .": probability(w, SMALL) for w in words(SMALL)}
    assert counts.keys() <= p.keys()
    expected = n * np.array(list(p.values()))
    chi2 = ((np.array([counts[w] for w in p]) - expected) ** 2 / expected).sum()
    assert abs(chi2 - (len(p) - 1)) < 5 * np.sqrt(2 * len(p))


def test_the_tree_holds_every_pair_at_its_place(documents):
    for t in documents[:500]:
        assert len(t.tree) == (len(t.text.split()) - 1) // 2
        for node in t.tree:
            inside = t.text[node.start : node.end]
            assert inside[0] == node.op
            assert inside[-1] == PAIRS[node.op]
            assert reduced(inside.split()) == ""
            before = t.text[: node.start].split()
            assert node.depth == sum(1 if s in PAIRS else -1 for s in before) + 1


def test_closing_positions_match_a_stack(documents):
    for t in documents[:500]:
        stack, expected = [], []
        for i, sign in enumerate(t.text[:-2].split()):
            if sign in PAIRS:
                stack.append((sign, i))
            else:
                opener, at = stack.pop()
                expected.append((2 * i, 2 * i + 1, PAIRS[opener], len(stack) + 1, i - at))
        assert [(c.start, c.end, c.right, c.depth, c.distance) for c in closing_positions(t)] == expected
        assert all(t.text[c.start : c.end] == c.right for c in closing_positions(t))


def test_every_sign_stands_alone_before_the_tokenizer(documents):
    cut = pre_tokenizers.ByteLevel(add_prefix_space=True)
    for t in documents[:200]:
        assert [piece[1:] for piece, _ in cut.pre_tokenize_str(t.text)] == t.text.split()
