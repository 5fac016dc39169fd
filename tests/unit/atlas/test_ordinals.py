"""Runs and statements of ordinal classes: true to their class, and their probability exact."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from interp.atlas import lexicon as lex
from interp.atlas.corpus import ordinals


@pytest.fixture(scope="module")
def documents():
    rng = np.random.default_rng(0)
    return [ordinals.document(rng) for _ in range(20_000)]


def parsed(text):
    """The members that a text names, in order."""
    whole = text.text
    if text.labels["form"] == "after":
        return whole.removeprefix("After ").removesuffix(".").split(" comes ")
    if text.labels["form"] == "before":
        return whole.removesuffix(".").split(" comes before ")
    return whole.split(", ") if ", " in whole else whole.split(" ")


def follows(members, cyclic, a, b):
    i = members.index(a)
    return members[(i + 1) % len(members)] == b and (cyclic or i + 1 < len(members))


def test_every_step_is_to_the_successor(documents):
    for text in documents:
        words = parsed(text)
        members, cyclic = lex.ORDINALS[text.labels["class"]]
        assert all(follows(members, cyclic, a, b) for a, b in pairwise(words)), text.text


def test_runs_have_four_to_ten_members_and_statements_two(documents):
    runs = {len(parsed(t)) for t in documents if t.labels["form"] == "run"}
    shortest = min(len(members) for members, cyclic in lex.ORDINALS.values() if not cyclic)
    assert runs == set(range(min(4, shortest), 11))
    assert {len(parsed(t)) for t in documents if t.labels["form"] != "run"} == {2}


def test_every_class_is_drawn_often(documents):
    counts = Counter(t.labels["class"] for t in documents)
    assert set(counts) == set(lex.ORDINALS)
    assert min(counts.values()) > len(documents) / (3 * len(lex.ORDINALS))


def test_probabilities_of_the_corpus_sum_to_one():
    assert sum(ordinals.probabilities(lex.ORDINALS).values()) == pytest.approx(1, abs=1e-12)


def test_a_text_that_two_classes_can_make_has_both_probabilities():
    shared = (list("abcd"), False)
    one = ordinals.probabilities({"x": shared, "y": (list("klmnopq"), True)})
    two = ordinals.probabilities({"x": shared, "y": shared})
    first, second = np.array([1 / 8, 1 / 9]) / (1 / 8 + 1 / 9)
    assert one["a b c d"] == pytest.approx(first * 0.75 / 2)  # every size is cut to the whole class of four
    assert two["a b c d"] == pytest.approx((first + second) * 0.75 / 2)
    assert one["b comes before c."] == pytest.approx(first * 0.25 / 2 / 3)
    assert one["q, k, l, m"] == pytest.approx(second * 0.75 / 2 / 7 / 7)


def test_surprise_is_the_frequency_of_a_text(documents):
    texts = {t.text: t.nats for t in documents}
    common = Counter(t.text for t in documents).most_common(200)
    p = np.exp([-texts[text] for text, _ in common])
    z = (np.array([n for _, n in common]) - len(documents) * p) / np.sqrt(len(documents) * p * (1 - p))
    expected = sorted(ordinals.probabilities(lex.ORDINALS).values(), reverse=True)[0]
    assert p.max() == pytest.approx(expected)
    assert np.abs(z).max() < 5.5


def test_mean_surprise_is_the_entropy(documents):
    p = np.array(list(ordinals.probabilities(lex.ORDINALS).values()))
    surprise = np.array([t.nats for t in documents])
    assert surprise.mean() == pytest.approx(-(p * np.log(p)).sum(), abs=4 * surprise.std() / np.sqrt(len(surprise)))


def test_the_answer_of_a_statement_is_its_second_member(documents):
    for t in documents:
        assert (t.answer is None) == (t.labels["form"] == "run")
        if t.answer is not None:
            assert t.text[slice(*t.answer)] == " " + parsed(t)[1]
