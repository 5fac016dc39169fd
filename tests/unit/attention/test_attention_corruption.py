"""Cutting a match in texts: the planted head that needs two tokens lets go, the one that needs one holds."""

import numpy as np
import pytest

from analyses.attention import prefix_corruption
from analyses.attention.prefix_corruption import _cells, match_length
from analyses.attention.token_rows import token_rows
from interp.errors import InvalidInput
from interp.testing import planted_suppressor, tiny_model


@pytest.fixture(scope="module")
def cut():
    planted = planted_suppressor()
    rows = token_rows(planted.model, [row for row in planted.rows(24, seed=0)[::2]])
    return prefix_corruption(planted.model, rows, seed=0, max_cells=120, n_boot=100).set_index(["layer", "head"])


def test_long_prefixes_let_go_and_short_ones_hold(cut):
    short, long_ = cut.loc[(1, 1)], cut.loc[(1, 4)]
    assert short["before"] > 0.5
    assert long_["before"] > 0.5
    assert short["ratio"] > 0.95
    assert long_["ratio"] < 0.05
    assert long_["ci_low"] <= long_["ratio"] <= long_["ci_high"] < 0.1
    assert long_["mean_prefix"] >= 2


def test_replacing_another_token_changes_neither(cut):
    for head in (1, 4):
        assert cut.loc[(1, head), "null_mean"] > 0.95
        assert cut.loc[(1, head), "null_low"] > 0.9


def test_a_head_that_does_not_look_there_has_a_reason(cut):
    idle = cut.loc[(1, 5)]
    assert np.isnan(idle["ratio"])
    assert "fewer than 10" in idle["status"]


def test_matches_are_counted_backwards_within_the_text():
    ids, content = np.array([0, 8, 5, 6, 7, 9, 5, 6, 7]), np.array([False] + [True] * 8)
    assert match_length(ids, content, 8, 5) == 3  # 5 6 7 stood before the 9
    assert match_length(ids, content, 7, 4) == 2
    assert match_length(ids, content, 6, 3) == 1
    assert match_length(ids, content, 5, 5) == 0
    cells = _cells(token_rows(tiny_model(), [ids]), 10, np.random.default_rng(0))
    assert list(zip(cells.query, cells.source, cells.prefix, strict=True)) == [(7, 4, 2), (8, 5, 3)]
    assert cells.other[0] in (1, 5)
    assert cells.other[1] == 1  # all else before the query is a part of the match
    with pytest.raises(InvalidInput, match="no match to cut"):
        prefix_corruption(tiny_model(), token_rows(tiny_model(), [np.arange(9)]), seed=0)
