"""Closing brackets on models that keep a stack, count on the last bracket alone, or guess."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from interp.atlas.corpus.brackets import document
from interp.atlas.corpus.text import Node, Text
from interp.atlas.measure.brackets import PAIRS, TYPES, bracket_rows, chosen_by_bigrams, find_closings
from interp.atlas.measure.ngrams import fit_ngrams
from interp.atlas.measure.rows import card_table
from interp.errors import InvalidInput
from interp.testing import tiny_tokenizer
from interp.tokens import tokenize

from .planted import PlantedModel, knows, uniform

TOKENIZER = tiny_tokenizer(words="()[]{}.")
ID = TOKENIZER.convert_tokens_to_ids
OPEN = {ID(space + a): ID(f"Ġ{b}") for a, b in PAIRS.items() for space in ("", "Ġ")}  # the first has no space


def texts(n: int = 80, seed: int = 0) -> list[Text]:
    rng = np.random.default_rng(seed)
    return [document(rng) for _ in range(n)]


def written(brackets: str) -> Text:
    """A text of the brackets, with the tree of its pairs."""
    text, waiting = Text("brackets").add(brackets), []
    for i, char in enumerate(brackets):
        if char in PAIRS:
            waiting.append(i)
        elif char in PAIRS.values():
            start = waiting.pop()
            text.tree.append(Node(start, i + 1, brackets[start], 0, len(waiting) + 1))
    return text


def stack_model(reach: int = 10**6) -> PlantedModel:
    """A model that closes the last open bracket, if it was opened at most `reach` tokens ago."""

    def answer(prefix: list[int]) -> int:
        waiting = []
        for at, token in enumerate(prefix):
            if token in OPEN:
                waiting.append((at, OPEN[token]))
            elif token in OPEN.values() and waiting:
                waiting.pop()
        return waiting[-1][1] if waiting and len(prefix) - waiting[-1][0] <= reach else 1

    return PlantedModel(knows(len(TOKENIZER), answer), tokenizer=TOKENIZER, n_ctx=200)


def tables(n: int = 400):
    ids = [tokenize(TOKENIZER, [t.text], bos="always").ids[0] for t in texts(n, seed=5)]
    return fit_ngrams(np.concatenate(ids)[None], len(TOKENIZER))


def guesser() -> PlantedModel:
    rng = np.random.default_rng(0)
    return PlantedModel(lambda ids: rng.random((*ids.shape, len(TOKENIZER))), tokenizer=TOKENIZER, n_ctx=200)


def test_closings_have_their_place_type_depth_and_distance():
    given = [written("( [ ] { ( ) } )")]
    tokens = tokenize(TOKENIZER, [given[0].text], bos="always")
    at = find_closings(tokens, given)
    assert TOKENIZER.convert_ids_to_tokens(tokens.ids[0, at.place].tolist()) == ["Ġ]", "Ġ)", "Ġ}", "Ġ)"]
    assert [TYPES[kind] for kind in at.kind] == ["]", ")", "}", ")"]
    assert at.depth.tolist() == [2, 3, 2, 1]
    assert at.distance.tolist() == [1, 1, 3, 7]
    assert TOKENIZER.convert_ids_to_tokens(at.ids.tolist()) == ["Ġ)", "Ġ]", "Ġ}"]


def test_a_model_with_a_stack_is_always_right():
    table = card_table(bracket_rows(stack_model(), guesser(), texts(), tables())).set_index("group")
    assert (table["value"] == 1).all()
    n = {group: int(row["n"]) for group, row in table.iterrows()}
    assert n["all"] == sum(v for g, v in n.items() if g.startswith("depth"))
    assert n["all"] == sum(v for g, v in n.items() if g.startswith("distance"))
    assert n["all"] == sum(text.text.count(c) for text in texts() for c in ")]}")


def test_a_guess_is_at_one_third_by_every_depth():
    table = card_table(bracket_rows(guesser(), guesser(), texts(800), tables())).set_index("group")
    assert table.loc["all", "ci_low"] < 1 / 3 < table.loc["all", "ci_high"]
    for group in ("depth 1", "depth 2", "distance 1", "distance 3 to 5"):
        assert abs(table.loc[group, "value"] - 1 / 3) < 0.08
        assert abs(table.loc[group, "random_weights"] - 1 / 3) < 0.08


def test_a_model_of_short_reach_is_right_up_to_there():
    uniform_twin = PlantedModel(uniform(len(TOKENIZER)), tokenizer=TOKENIZER, n_ctx=200)
    table = card_table(bracket_rows(stack_model(reach=1), uniform_twin, texts(300), tables())).set_index("group")
    assert table.loc["distance 1", "value"] == 1
    assert table.loc["distance 3 to 5", "value"] < 0.45  # of equal logits the first type is taken


def test_bigrams_know_the_bracket_that_was_just_opened_and_no_other():
    table = card_table(bracket_rows(stack_model(), guesser(), texts(600), tables(2000))).set_index("group")
    assert (table["baseline_name"] == "bigrams").all()
    assert table.loc["distance 1", "baseline"] == 1
    assert table.loc["distance 3 to 5", "baseline"] < 0.5


def test_bigrams_choose_the_bracket_that_followed_most_often():
    given, ngrams = texts(200), tables()
    tokens = tokenize(TOKENIZER, [t.text for t in given], bos="always")
    at = find_closings(tokens, given)
    followed = np.zeros((ngrams.d_vocab, 3))
    for text in texts(400, seed=5):
        ids = tokenize(TOKENIZER, [text.text], bos="always").ids[0].tolist()
        for a, b in pairwise(ids):
            if b in at.ids:
                followed[a, at.ids.tolist().index(b)] += 1
    before = tokens.ids[at.row, at.place - 1]
    assert followed[before].sum(axis=1).min() > 0
    np.testing.assert_array_equal(chosen_by_bigrams(ngrams, tokens, at), followed[before].argmax(axis=1))


def test_closings_beyond_a_cut_are_left_out():
    given = [written(" ( )" * 4 + " [ ] { }"), written(" [ ] { } ( )")]
    tokens = tokenize(TOKENIZER, [t.text for t in given], bos="always", max_length=8)
    at = find_closings(tokens, given)
    assert tokens.truncated.tolist() == [5, 0]
    assert np.bincount(at.row).tolist() == [3, 3]
    np.testing.assert_array_equal(tokens.ids[at.row, at.place], at.ids[at.kind])


@pytest.mark.parametrize(
    ("given", "match"),
    [(" [ ] () { }", "no token alone"), (" ( ) ( )", "all types"), (" ( ) [ ] { } {}", "no token alone")],
    ids=["merged with another", "one type", "two ids of one bracket"],
)
def test_brackets_that_are_no_tokens_of_their_own_are_refused(given, match):
    tokenizer = tiny_tokenizer(words=[*"()[]{}.", "()"])
    with pytest.raises(InvalidInput, match=match):
        find_closings(tokenize(tokenizer, [given], bos="always"), [written(given)])
