"""The format audit flags a pick that is format and no other, and finds features that are on everywhere."""

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import spearmanr

from analyses.data_selection import pool_of, read_samples
from analyses.data_selection.format_audit import TRAITS, always_on_share, format_audit


@pytest.fixture(scope="module")
def pool():
    rng = np.random.default_rng(0)
    words = ["paris", "is", "the", "city", "of", "france"]
    plain = [" ".join(rng.choice(words, 12)) for _ in range(160)]
    listed = ["\n".join(f"- {word}!" for word in rng.choice(words, 6)) for _ in range(40)]
    rows = [{"text": one} for one in [*plain, *listed]]
    return list(read_samples([rows[i] for i in rng.permutation(200)]))


def test_a_pick_of_lists_is_flagged_and_one_of_all_kinds_is_not(pool):
    is_list = np.array([one.text.startswith("- ") for one in pool])
    target = [one for one, listed in zip(pool, is_list, strict=True) if not listed][:10]
    noise = np.random.default_rng(1).random(200)
    table = format_audit(pool, target, is_list + noise, is_list).set_index("trait")
    row = table.loc["has a list"]
    assert (row["pool"], row["target"], row["pick"]) == (0.2, 0.0, 1.0)
    assert row["shift"] == pytest.approx(0.8 / 0.4)
    assert row["spearman"] == pytest.approx(spearmanr(is_list, is_list + noise).statistic)
    flagged = set(table.index[table["flag"] == "follows format"])
    assert flagged == {"has a list", "punctuation, share of characters", "line breaks, share of characters"}
    assert table.loc["digits, share of characters", "status"] == "constant"
    chance = format_audit(pool, target, noise, noise > np.sort(noise)[-50])
    assert (chance["flag"] == "").all()
    assert (chance["p"].dropna() > 0.001).all()
    alike = format_audit(pool, [pool[i] for i in np.flatnonzero(is_list)], is_list + noise, is_list)
    assert (alike["flag"] == "").all()  # a pick that looks as the target does is no fault


def test_rows_without_a_score_and_no_pick_have_a_status(pool):
    scores = np.full(200, np.nan)
    table = format_audit(pool, pool[:3], scores, np.zeros(200, bool))
    assert set(table["status"]) <= {"nothing picked", "constant"}
    assert table["pick"].isna().all()
    assert (table["n"] == 0).all()
    assert list(table["trait"]) == list(TRAITS)


def test_traits_are_what_they_say():
    (one,) = read_samples([{"prompt": "Hi 2!", "completion": "def f():\n    return {1}\n1. é"}])
    found = {name: trait(one) for name, trait in TRAITS.items()}
    n = len(one.text)
    assert found["digits, share of characters"] == pytest.approx(3 / n)
    assert found["capitals, share of characters"] == pytest.approx(1 / n)
    assert found["not ASCII, share of characters"] == pytest.approx(1 / n)
    assert found["has code"] == found["has a list"] == 1
    assert found["turns"] == 2
    assert found["answer, share of characters"] == pytest.approx(len(one.turns[1].content) / n)


def test_features_that_are_on_everywhere():
    dense = np.array([[3, 1, 0], [3, 0, 2], [3, 0, 0], [1, 0, 4]], dtype=np.float32)
    found = always_on_share(pool_of(sparse.csr_matrix(dense)), np.array([2.0, 2.0, 2.0]), np.array([0, 1, 0, 1]) > 0)
    assert found == {"n_features": 1, "pick": pytest.approx(3 / 7), "pool": pytest.approx(7 / 12)}
