"""Answers of expressions by depth, on models that evaluate them as planted."""

from __future__ import annotations

import numpy as np
import pytest

from interp.atlas.corpus.text import Node, Text
from interp.atlas.measure.expressions import expression_depth, expression_rows
from interp.atlas.measure.rows import card_table
from interp.errors import InvalidInput
from interp.testing import tiny_tokenizer

from .planted import PlantedModel, knows, uniform

TOKENIZER = tiny_tokenizer(words=[*"0123456789", "max"])


def expression(rng: np.random.Generator, depth: int) -> Text:
    """ "max 3 max 5 2 = 5", nested to the right, with its tree."""
    digits = [int(d) for d in rng.integers(10, size=depth + 1)]
    text = Text("expressions")
    for level, digit in enumerate(digits[:-1]):
        text.tree.append(Node(text.length, 0, "max", max(digits[level:]), level))
        text.add("max" if level == 0 else " max", f" {digit}")
    text.tree.append(Node(text.length, text.length + 2, "digit", digits[-1], depth))
    return text.add(f" {digits[-1]} =").reply(f" {max(digits)}").add(".")


def texts(n: int = 60) -> list[Text]:
    rng = np.random.default_rng(0)
    return [expression(rng, 1 + i % 3) for i in range(n)]


def evaluator(reads: int) -> PlantedModel:
    """A model that takes the largest of the first `reads` digits of the text."""
    digit = {TOKENIZER.convert_tokens_to_ids(f"Ġ{d}"): d for d in range(10)}
    back = {d: token for token, d in digit.items()}

    def answer(prefix: list[int]) -> int:
        seen = [digit[token] for token in prefix if token in digit]
        return back[max(seen[:reads])] if seen else 1

    return PlantedModel(knows(len(TOKENIZER), answer), tokenizer=TOKENIZER)


def test_depth_counts_the_operators_on_the_longest_way():
    rng = np.random.default_rng(0)
    assert [expression_depth(expression(rng, d)) for d in (1, 2, 3)] == [1, 2, 3]


def test_a_model_that_evaluates_is_right_at_every_depth():
    table = card_table(
        expression_rows(evaluator(9), PlantedModel(uniform(len(TOKENIZER)), tokenizer=TOKENIZER), texts())
    )
    assert table["group"].tolist() == ["depth 1", "depth 2", "depth 3"]
    assert (table["value"] == 1).all()
    assert (table["random_weights"] == 0).all()
    assert (table["n"] == 20).all()


def test_a_model_that_reads_two_digits_is_right_where_they_decide():
    given = texts(300)
    table = card_table(expression_rows(evaluator(2), evaluator(9), given)).set_index("group")
    assert table.loc["depth 1", "value"] == 1
    for depth in (2, 3):
        kept = [t for t in given if expression_depth(t) == depth]
        digits = [[int(c) for c in t.text.split("=")[0] if c.isdigit()] for t in kept]
        assert table.loc[f"depth {depth}", "value"] == np.mean([max(d[:2]) == max(d) for d in digits])
    assert (table["random_weights"] == 1).all()


def test_the_baseline_is_the_most_frequent_answer_of_the_depth():
    given = texts(300)
    table = card_table(expression_rows(evaluator(2), evaluator(2), given)).set_index("group")
    for depth in (1, 2, 3):
        answers = [t.text[slice(*t.answer)] for t in given if expression_depth(t) == depth]
        assert table.loc[f"depth {depth}", "baseline"] == max(answers.count(a) for a in answers) / len(answers)


def test_texts_without_an_answer_or_a_tree_are_refused():
    with pytest.raises(InvalidInput, match="no answer"):
        expression_rows(evaluator(1), evaluator(1), [Text("expressions").add("max 1 2")])
    with pytest.raises(InvalidInput, match="no tree"):
        expression_rows(evaluator(1), evaluator(1), [Text("expressions").add("max 1 2 =").reply(" 2")])
