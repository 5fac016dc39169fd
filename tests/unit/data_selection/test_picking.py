"""Picking under budgets, turns and quotas; duplicates; contamination."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from analyses.data_selection import decontaminate, near_duplicates, select
from analyses.data_selection.budgets import parse_budget
from analyses.data_selection.duplicates import exact_duplicates, near_duplicate_codes
from interp.errors import InvalidInput


def picked(table):
    """Return the selected rows in the order in which they were picked."""
    chosen = table[table["selected"]].sort_values("pick")
    return chosen.index.tolist()


@pytest.mark.parametrize(
    ("given_budget", "expected"),
    [(5, "5 samples"), ("5", "5 samples"), ("5%", "10 samples"), (0.05, "10 samples"), ("0.01%", "1 samples"),
     ("2k tokens", "2,000 tokens"), ("1_000 tokens", "1,000 tokens"), ("10% tokens", "500 tokens")],
)  # fmt: skip
def test_budgets(given_budget, expected):
    assert str(parse_budget(given_budget, n_samples=200, n_tokens=5000)) == expected


@pytest.mark.parametrize("wrong", ["five", "-1", 0, "201", "0%", "2.5", "10k tokens", True, "120%", float("nan")])
def test_impossible_budgets_are_refused(wrong):
    with pytest.raises(InvalidInput, match="budget"):
        parse_budget(wrong, n_samples=200, n_tokens=5000)


def test_the_best_are_picked_and_ties_keep_the_order():
    table = select([1.0, 3, 2, 3, np.nan, 0], 4)
    assert picked(table) == [1, 3, 2, 0]
    assert table["reason"].tolist()[4:] == ["no score", "below the cut"]
    assert table.attrs["spent"] == 4


def test_a_budget_in_tokens_is_never_passed():
    table = select([5.0, 4, 3, 2, 1], "10 tokens", n_tokens=[11, 4, 4, 4, 1])
    assert picked(table) == [1, 2]
    assert table["reason"][0] == "longer than the budget"


def test_examples_pick_in_turn():
    scores = np.array([[9.0, 1], [8, 9], [7, 8], [0, 7]])
    assert picked(select(scores, 4)) == [0, 1, 2, 3]
    assert picked(select(scores, 3)) == [0, 1, 2]


def test_tasks_pick_in_turn_whatever_their_scales():
    table = select({"a": [1.0, 2, 3, 4], "b": [100.0, 300, 200, 0]}, 4)
    assert picked(table) == [3, 1, 2, 0]
    assert table["task"].tolist() == ["b", "b", "a", "a"]
    assert table["reason"][3] == "best of a"


def test_quotas_hold():
    scores = {"a": np.arange(20.0), "b": -np.arange(20.0)}
    table = select(scores, 10, task_quotas={"a": 0.2})
    assert table["task"].value_counts().to_dict() == {"": 10, "b": 8, "a": 2}
    sources = ["x"] * 10 + ["y"] * 10
    table = select(np.arange(20.0), 10, sources=sources, per_source=0.7)
    assert picked(table) == [19, 18, 17, 16, 15, 14, 13, 9, 8, 7]
    assert set(table["reason"][10:13]) == {"source quota"}
    table = select(np.arange(20.0), 10, sources=sources, per_source={"y": 0.1})
    assert picked(table) == [19, 9, 8, 7, 6, 5, 4, 3, 2, 1]


def test_excluded_rows_say_why_and_do_not_count():
    table = select([3.0, 2, 1], 2, excluded=["near-duplicate of a:1", "", ""])
    assert picked(table) == [1, 2]
    assert table["reason"][0] == "near-duplicate of a:1"
    with pytest.raises(InvalidInput, match="2 can be picked"):
        select([3.0, 2, 1], 3, excluded=["contaminated", "", ""])


def test_temperature_samples_in_proportion():
    """Two rows of equal score and one that is better: with noise the better one is first more often, not always."""
    first = [picked(select([0.0, 0, 3], 1, temperature=1.0, seed=seed))[0] for seed in range(400)]
    sd = np.std([0, 0, 3])
    expected = np.exp(3 / sd) / (2 + np.exp(3 / sd))
    assert first.count(2) / 400 == pytest.approx(expected, abs=0.08)
    assert picked(select([0.0, 0, 3], 2, temperature=1.0, seed=5)) == picked(
        select([0.0, 0, 3], 2, temperature=1.0, seed=5)
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_whatever_is_asked_no_limit_is_passed_and_no_row_is_lost(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    sizes = rng.integers(1, 9, n)
    sources = [str(s) for s in rng.choice(["x", "y"], n)]
    scores = {"a": rng.random((n, 3)), "b": rng.random(n)}
    total = int(rng.integers(1, sizes.sum() + 1))
    cap = float(rng.uniform(0.2, 1))
    table = select(scores, f"{total} tokens", n_tokens=sizes, sources=sources, per_source=cap, seed=seed)
    chosen = table["selected"].to_numpy()
    assert len(table) == n
    assert sizes[chosen].sum() == table.attrs["spent"] <= total
    for source in set(sources):
        assert sizes[chosen & (np.array(sources) == source)].sum() <= cap * total
    assert (table["reason"] != "").all()
    assert sorted(table["pick"][chosen]) == list(range(1, chosen.sum() + 1))


def test_wrong_picks_are_refused():
    with pytest.raises(InvalidInput, match="no source 'z'"):
        select([1.0], 1, sources=["x"], per_source={"z": 0.5})
    with pytest.raises(InvalidInput, match="share of task 'a' is 2"):
        select({"a": [1.0]}, 1, task_quotas={"a": 2})
    with pytest.raises(InvalidInput, match="one entry for each of the 2 rows"):
        select([1.0, 2.0], 1, n_tokens=[1])
    with pytest.raises(InvalidInput, match="expected one pool"):
        select({"a": [1.0], "b": [1.0, 2.0]}, 1)
    with pytest.raises(InvalidInput, match="temperature"):
        select([1.0], 1, temperature=-1)


BASE = "the quick brown fox jumps over the lazy dog and runs far away into the dark green wood to sleep until dawn"


def test_equal_and_nearly_equal_texts_are_found():
    near = BASE.replace("dawn", "noon")
    other = "Paris is the capital of France and lies on the river Seine, far from the sea"
    texts = [BASE, other, BASE.upper() + "  ", near, "", "a", "A", other + " today"]
    assert exact_duplicates(texts).tolist() == [-1, -1, 0, -1, -1, -1, 5, -1]
    assert near_duplicates(texts).tolist() == [-1, -1, 0, 0, -1, -1, 5, 1]
    assert near_duplicates([near, BASE], threshold=1.0).tolist() == [-1, -1]


def test_near_duplicates_are_those_of_all_pairs():
    rng = np.random.default_rng(0)
    words = np.array([f"w{i}" for i in range(500)])
    texts = []
    for _ in range(60):
        base = rng.choice(words, 40)
        texts.append(" ".join(base))
        changed = base.copy()
        changed[rng.integers(0, 40, rng.integers(0, 6))] = "new"
        texts.append(" ".join(changed))
    sets = [{tuple(t.split()[i : i + 3]) for i in range(len(t.split()) - 2)} for t in texts]
    expected, kept = [], []
    for i, mine in enumerate(sets):
        same = next((j for j in kept if len(mine & sets[j]) / len(mine | sets[j]) >= 0.8), -1)
        expected.append(same)
        kept += [i] if same < 0 else []
    assert near_duplicates(texts).tolist() == expected
    assert 10 < sum(e >= 0 for e in expected) < 60


def test_near_duplicate_codes():
    codes = sparse.random(150, 40, 0.3, "csr", rng=np.random.default_rng(0), dtype=np.float32)
    both = sparse.csr_matrix(sparse.vstack([codes, codes * 1.02]))
    found = near_duplicate_codes(both)
    assert found[:150].tolist() == [-1] * 150
    assert found[150:].tolist() == list(range(150))


def test_contaminated_texts_are_listed_with_the_words():
    test = ["What is the capital of the country that lies between Spain and Germany?", "yes", "one two three four five"]
    pool = [
        f"Q: {test[0].upper()} A: France",
        "What is the capital of Norway?",
        "I say one two three four five six",
        "yes",
    ]
    found = decontaminate(pool, test)
    assert found["row"].tolist() == [0, 2]
    assert found["against"].tolist() == [0, 2]
    assert found["words"][0] == "what is the capital of the country that lies between spain and germany"
    assert found.attrs["too_short"] == [1]
    assert decontaminate(pool, test, n_words=5)["row"].tolist() == [0, 1, 2]
    with pytest.raises(InvalidInput, match="by chance"):
        decontaminate(pool, test, n_words=2)
