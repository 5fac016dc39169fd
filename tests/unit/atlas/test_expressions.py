"""Expressions: values right by an independent evaluator, trees in place, probability exact."""

import re
from collections import Counter
from itertools import product

import numpy as np
import pytest
from tokenizers import pre_tokenizers

from interp.atlas.corpus import expressions
from interp.atlas.corpus.expressions import Grammar

ORACLE = {
    "max": max,
    "min": min,
    "first": lambda *x: x[0],
    "last": lambda *x: x[-1],
    "add": lambda *x: sum(x) % 10,
}


@pytest.fixture(scope="module")
def documents():
    rng = np.random.default_rng(0)
    return [expressions.document(rng) for _ in range(4000)]


def evaluate(source):
    """Let Python parse and evaluate the expression."""
    return eval(source, {"__builtins__": {}}, dict(ORACLE))


def probability(text, grammar):
    """The probability of an expression, from its brackets, digits and operators alone."""
    p, depth = 1.0, -1
    for sign in text.split(" = ")[0].split():
        nested = grammar.nested[depth] if 0 <= depth < len(grammar.nested) else 0.0
        if sign.isdigit():
            p *= (1 - nested) / grammar.n_digits
        elif sign in ORACLE:
            p *= (nested if depth >= 0 else 1) / 5 / 2  # the operator and how many arguments it takes
        depth += (sign == "(") - (sign == ")")
    return p


def test_answers_are_right(documents):
    for t in documents:
        source, value = re.fullmatch(r"(.*) = (\d)\.", t.text).groups()
        assert evaluate(source) == int(value)
        assert t.text[slice(*t.answer)] == f" {value}"


def test_every_node_evaluates_to_its_value(documents):
    for t in documents:
        for node in t.tree:
            inside = t.text[node.start : node.end]
            assert evaluate(inside) == node.value
            assert node.op == ("digit" if inside.isdigit() else inside.split()[0])
            before = t.text[: node.start]
            assert node.depth == before.count("(") - before.count(")")


def test_the_tree_holds_every_operator_and_digit_in_order_of_reading(documents):
    for t in documents:
        assert [node.start for node in t.tree] == [m.start() for m in re.finditer(r"[a-z]+|\d", t.text[: t.answer[0]])]


def test_depths_run_from_one_to_three_and_one_is_most_common(documents):
    counts = Counter(t.labels["depth"] for t in documents)
    assert [depth for depth, _ in counts.most_common()] == ["1", "2", "3"]
    assert counts["3"] > len(documents) / 10
    for t in documents:
        signs = np.array([(s == "(") - (s == ")") for s in t.text])
        assert int(t.labels["depth"]) == np.cumsum(signs).max()


def test_operators_are_balanced(documents):
    counts = Counter(t.labels["operator"] for t in documents)
    assert set(counts) == set(ORACLE)
    assert all(abs(n - 800) < 5 * np.sqrt(4000 * 0.2 * 0.8) for n in counts.values())


def test_probabilities_of_a_small_grammar_sum_to_one():
    grammar, seen = Grammar(nested=(), n_digits=2), {}
    rng = np.random.default_rng(1)
    for _ in range(3000):
        t = expressions.document(rng, grammar=grammar)
        seen[t.text] = np.exp(-t.nats)
    forms = [f"{op} ( {' , '.join(d)} )" for op in ORACLE for n in (2, 3) for d in product("01", repeat=n)]
    assert {text.split(" = ")[0] for text in seen} == set(forms)
    assert sum(seen.values()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("grammar", [Grammar(), Grammar(nested=(0.4, 0.3, 0.1), n_digits=3)])
def test_surprise_is_that_of_the_described_grammar(grammar):
    rng = np.random.default_rng(2)
    for _ in range(1000):
        t = expressions.document(rng, grammar=grammar)
        assert t.nats == pytest.approx(-np.log(probability(t.text, grammar)), rel=1e-12)


def test_mean_surprise_is_the_entropy_of_the_grammar(documents):
    grammar, entropy = Grammar(), 0.0
    for nested in (0.0, *reversed(grammar.nested)):  # entropy of an expression, from the deepest level up
        digit = -(1 - nested) * np.log((1 - nested) / grammar.n_digits)
        inner = nested * (entropy - np.log(nested)) if nested else 0.0
        entropy = np.log(5) + np.log(2) + 2.5 * (digit + inner)
    surprise = np.array([t.nats for t in documents])
    assert surprise.mean() == pytest.approx(entropy, abs=4 * surprise.std() / np.sqrt(len(surprise)))


def test_every_sign_stands_alone_before_the_tokenizer(documents):
    cut = pre_tokenizers.ByteLevel(add_prefix_space=True)
    for t in documents[:300]:
        signs = [*t.text.removesuffix(".").split(), "."]
        assert [piece.removeprefix("Ġ") for piece, _ in cut.pre_tokenize_str(t.text)] == signs
