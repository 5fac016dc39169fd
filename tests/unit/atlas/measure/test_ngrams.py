"""The n-gram baselines against a count by hand over dictionaries, and their laws."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest

from interp.atlas.measure.ngrams import ORDERS, fit_ngrams, next_token_law, ngram_nats
from interp.errors import InvalidInput

V = 11


def toy_rows(n: int = 40, pos: int = 25, seed: int = 0) -> np.ndarray:
    """Rows of a process with memory, with a BOS here and there."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((n, pos), dtype=np.uint16)
    for row in rows:
        for j in range(1, pos):
            row[j] = (
                0 if rng.random() < 0.1 else 1 + (2 * row[j - 1] + row[j - 2] * (j > 1) + rng.integers(3)) % (V - 2)
            )
    return rows


class ByHand:
    """The same law from its definition: texts split at BOS, dictionaries, recursion."""

    def __init__(self, rows: np.ndarray) -> None:
        self.seen: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for row in rows.tolist():
            text: list[int] = []
            for token in row:
                if token == 0:
                    text = [0, 0]
                    continue
                for n in (0, 1, 2):
                    self.seen[tuple(text[len(text) - n :])][token] += 1
                text.append(token)

    def law(self, history: tuple[int, ...], token: int) -> float:
        below = self.law(history[1:], token) if history else 1 / V
        followers = self.seen.get(history)
        if not followers:
            return below
        kinds = len(followers)
        return (followers[token] + kinds * below) / (sum(followers.values()) + kinds)


@pytest.fixture(scope="module")
def rows():
    return toy_rows()


@pytest.fixture(scope="module")
def table(rows):
    return fit_ngrams(rows, V)


def test_nats_are_those_of_a_count_by_hand(rows, table):
    oracle, fresh = ByHand(rows), toy_rows(n=15, seed=9)
    found = ngram_nats(table, fresh)
    assert found.shape == (3, 15, 24)
    for r, row in enumerate(fresh.tolist()):
        text = [0, 0]
        for j, token in enumerate(row[1:]):
            if token == 0:
                assert np.isnan(found[:, r, j]).all()
                text = [0, 0]
                continue
            expected = [-np.log(oracle.law(tuple(text[len(text) - n :]), token)) for n in (0, 1, 2)]
            np.testing.assert_allclose(found[:, r, j], expected, rtol=1e-12)
            text.append(token)


def test_every_law_sums_to_one_and_leaves_no_token_out(table):
    for second in range(V):
        for before in range(V):
            law = next_token_law(table, second, before)
            assert law.shape == (len(ORDERS), V)
            np.testing.assert_allclose(law.sum(axis=1), 1.0, rtol=1e-12)
            assert (law > 0).all()


def test_a_context_that_never_occurred_falls_back_to_the_order_below():
    table = fit_ngrams(np.array([[0, 1, 2, 3, 0, 1, 2, 3]]), V)
    law = next_token_law(table, 9, 2)
    np.testing.assert_array_equal(law[2], law[1])
    assert (law[1] != law[0]).any()
    law = next_token_law(table, 9, 9)
    np.testing.assert_array_equal(law[2], law[0])


def test_a_text_is_never_predicted_from_the_one_before_it():
    one, other = np.array([[0, 5, 0, 3, 4]]), np.array([[0, 7, 0, 3, 4]])
    table = fit_ngrams(np.concatenate([one, other]), V)
    np.testing.assert_array_equal(ngram_nats(table, one)[:, 0, 2:], ngram_nats(table, other)[:, 0, 2:])


def test_more_context_helps_on_fresh_text_that_has_memory():
    table = fit_ngrams(toy_rows(n=2000, seed=3), V)
    loss = np.nanmean(ngram_nats(table, toy_rows(n=200, seed=4)), axis=(1, 2))
    assert loss[0] > loss[1] + 0.03
    assert loss[1] > loss[2] + 0.5


def test_memory_does_not_help_where_there_is_none():
    rng = np.random.default_rng(2)
    draws = [np.column_stack([np.zeros(900, int), rng.integers(1, V, size=(900, 40))]) for _ in range(2)]
    loss = np.nanmean(ngram_nats(fit_ngrams(draws[0], V), draws[1]), axis=(1, 2))
    assert loss[0] == pytest.approx(np.log(V - 1), abs=1e-3)
    assert loss[0] <= loss[1] <= loss[2] < loss[0] + 0.02


def test_fitting_leaves_the_rows_as_they_were(rows):
    before = rows.copy()
    ngram_nats(fit_ngrams(rows, V), rows)
    np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (np.array([[0, V]]), "from 0 to 10"),
        (np.zeros((3, 4), dtype=int), "no token but BOS"),
        (np.zeros((0, 4), dtype=int), r"got \(0, 4\)"),
    ],
    ids=["an id too high", "BOS alone", "no rows"],
)
def test_rows_that_cannot_be_counted_are_refused(given, match):
    with pytest.raises(InvalidInput, match=match):
        fit_ngrams(given, V)
