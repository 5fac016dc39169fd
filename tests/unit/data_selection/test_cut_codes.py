"""Codes that were cut: bounds that hold, and picks that are those of whole codes for less than coding all again."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from selection_pool import rows_of

from analyses.data_selection import SelectionConfig, pool_of, read_samples, run_selection, score
from analyses.data_selection.coded_pool import CodedPool
from analyses.data_selection.pooled_codes import cut_to_largest

OFTEN = {"max_examples": 150, "deadline": None}


def cut_pool(whole, top):
    """The pool with the `top` largest entries of each row."""
    codes, dropped = cut_to_largest(whole.matrix(), top)
    rows = whole.rows.assign(dropped=dropped)
    return CodedPool(rows, whole.listed, whole.total, None, (lambda: codes,), whole.lengths, {})


def drawn(rng, n, width, tail):
    dense = rng.pareto(tail, (n, width)) * (rng.random((n, width)) < rng.random((n, 1)))
    return sparse.csr_matrix(dense.astype(np.float32))


@settings(**OFTEN)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 30), st.sampled_from([0.7, 1.5, 8.0]),
       st.sampled_from(["mona", "background"]))  # fmt: skip
def test_the_bounds_hold_the_score_of_the_whole_code(seed, width, top, tail, method):
    rng = np.random.default_rng(seed)
    whole, target = pool_of(drawn(rng, 12, width, tail)), drawn(rng, 3, width, tail).toarray().mean(0) + 1e-3
    exact = score(whole, target, method=method)["score"].to_numpy()
    table = score(cut_pool(whole, top), target, method=method)
    low, high = table["lower"].to_numpy(), table["upper"].to_numpy()
    known = ~np.isnan(exact)
    assert (low[known] <= exact[known] + 1e-13).all()
    assert (high[known] >= exact[known] - 1e-13).all()
    if top >= width:
        np.testing.assert_array_equal(low, high)


@pytest.mark.parametrize("method", ["mona", "background"])
def test_rows_are_coded_again_best_first_and_no_more_than_needed(model, sae, monkeypatch, method):
    pool, target = read_samples(rows_of(150, 3)), {"task": read_samples(rows_of(5, 9))}
    config = SelectionConfig(pool=(), target=("task",), budget="5", method=method, duplicates="none")
    whole = run_selection(config, pool, target, None, model, sae)
    again = {}
    for at_once in (1000, 4):
        monkeypatch.setattr("analyses.data_selection.study.SETTLED_AT_ONCE", at_once)
        cut = run_selection(SelectionConfig(**{**config.to_dict(), "top": 34}), pool, target, None, model, sae)
        assert cut.selected.tolist() == whole.selected.tolist()
        again[at_once] = int(re.search(r"; ([\d,]+) rows", cut.notes[0])[1].replace(",", ""))
    assert again[4] < 0.8 * again[1000]
