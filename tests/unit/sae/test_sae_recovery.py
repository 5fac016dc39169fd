"""Recovery, firing and absorption against brute force, planted answers and chance."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from interp.errors import InvalidInput
from interp.sae.synthetic import (
    absorption,
    firing_f1,
    flat_data,
    forest_data,
    match_truth,
    recovery,
    summarise_absorption,
    zipf_data,
)

RNG = np.random.default_rng(0)
TRUTH = flat_data(d=16, n=40, s=2, seed=5).dictionary


def directions(n: int, d: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def values(table) -> dict[str, float]:
    return dict(zip(table["metric"], table["value"], strict=True))


@pytest.mark.parametrize(("n", "m"), [(5, 5), (4, 7), (6, 3)])
def test_one_to_one_match_is_the_best_of_all_assignments(n, m):
    for seed in range(10):
        truth, found = directions(n, 4, seed), directions(m, 4, 100 + seed)
        cosines = truth @ found.T
        if m >= n:
            best = max(sum(cosines[i, j] for i, j in enumerate(p)) for p in permutations(range(m), n))
        else:
            best = max(sum(cosines[i, j] for j, i in enumerate(p)) for p in permutations(range(n), m))
        assert match_truth(found, truth).cosine.sum() == pytest.approx(best, abs=1e-12)
        table = recovery(found, truth, seed=0, n_null=1)
        assert values(table)["mcc"] == pytest.approx(best / n, abs=1e-12)  # over n: what is missing counts


def test_permuted_and_rescaled_truth_is_found_whole():
    order = np.random.default_rng(1).permutation(len(TRUTH))
    scale = np.random.default_rng(2).uniform(0.1, 9.0, (len(TRUTH), 1))
    table = recovery((TRUTH * scale)[order], TRUTH, seed=0, probability=zipf_data(d=16, n=40, seed=0).probability)
    np.testing.assert_allclose(table["value"], 1.0, rtol=1e-12)
    np.testing.assert_array_equal(order[match_truth((TRUTH * scale)[order], TRUTH).latent], np.arange(len(TRUTH)))
    assert table.set_index("metric").loc["mcc", "p"] == pytest.approx(1 / 40)


def test_random_dictionary_scores_as_chance_does():
    ps, gaps = [], []
    for seed in range(30):
        row = recovery(directions(60, 16, seed), TRUTH, seed=seed).set_index("metric").loc["mcc"]
        ps.append(row["p"])
        gaps.append((row["value"] - row["null_mean"]) / row["null_sd"])
    assert abs(np.mean(gaps)) < 4 / np.sqrt(30)
    assert 0.3 < np.mean(ps) < 0.7


def test_opposite_directions_are_not_found():
    table = values(recovery(-TRUTH, TRUTH, seed=0, n_null=1))
    assert table["recall"] == 0.0
    assert table["precision"] == 0.0


def test_counts_of_a_dictionary_with_a_split_and_a_missing_feature():
    truth = np.eye(4)
    found = np.array([truth[0], truth[0] + 0.1 * truth[3], truth[1], [1.0, 1.0, 1.0, 1.0]])
    got = values(recovery(found, truth, seed=0, n_null=1))
    assert got["recall"] == 0.5  # 0 and 1
    assert got["precision"] == 0.75
    assert got["uniqueness"] == pytest.approx(2 / 3)  # two of three hits are one feature
    near = 1 / np.sqrt(1.01)
    assert got["mmcs"] == pytest.approx((1 + 1 + 0.5 + 0.5) / 4)
    assert got["mcc"] == pytest.approx((1 + 1 + 0.5 + 0.1 * near) / 4)


def test_dead_latents_find_nothing():
    alive = np.arange(len(TRUTH)) % 2 == 0
    table = recovery(TRUTH, TRUTH, seed=0, alive=alive, n_null=3).set_index("metric")
    assert table.loc["recall", "value"] == 0.5
    assert table.loc["precision", "n"] == 20
    none = recovery(TRUTH, TRUTH, seed=0, alive=np.zeros(len(TRUTH), dtype=bool), n_null=3).set_index("metric")
    assert none.loc["mcc", "value"] == 0.0
    assert np.isnan(none.loc["precision", "value"])
    assert none.loc["precision", "status"] == "no latent takes part"


def test_recall_by_quartile_says_what_is_missed():
    data = zipf_data(d=16, n=40, l0=2.0, seed=0)
    table = values(recovery(data.dictionary[:20], data.dictionary, seed=0, probability=data.probability, n_null=1))
    assert table["recall, most frequent"] == table["recall, frequent"] == 1.0
    assert table["recall, rarest"] == table["recall, rare"] == 0.0


def test_equal_frequencies_have_no_quartiles():
    table = recovery(TRUTH, TRUTH, seed=0, probability=np.full(40, 0.05), n_null=1).set_index("metric")
    assert table.loc["recall, rarest", "n"] == 40
    assert table.loc["recall, most frequent", "status"] == "no feature of this frequency"
    assert np.isnan(table.loc["recall, most frequent", "value"])
    assert np.isnan(table.loc["recall, most frequent", "p"])


def test_a_metric_that_no_random_dictionary_has_gets_no_p():
    row = recovery(TRUTH, TRUTH, seed=0).set_index("metric").loc["uniqueness"]
    assert row["value"] == 1.0
    assert np.isnan(row["p"])
    assert "no p" in row["status"]


def test_f1_of_firing_equals_a_loop_over_pairs():
    rng = np.random.default_rng(3)
    truth, found = directions(6, 5, 0), directions(9, 5, 1)
    codes, latents = rng.random((200, 6)) * (rng.random((200, 6)) < 0.3), rng.random((200, 9)) - 0.6
    table = values(firing_f1(latents, codes, found=found, truth=truth, seed=0))

    def f1(latent, feature):
        a, b = latents[:, latent] > 0, codes[:, feature] > 0
        precision, recall_ = (a & b).sum() / max(a.sum(), 1), (a & b).sum() / max(b.sum(), 1)
        return 2 * precision * recall_ / (precision + recall_) if precision + recall_ else 0.0

    by_feature = [f1(int(np.argmax(found @ v)), i) for i, v in enumerate(truth)]
    by_latent = [f1(j, int(np.argmax(truth @ w))) for j, w in enumerate(found)]
    assert table["f1, true features"] == pytest.approx(np.mean(by_feature), abs=1e-12)
    assert table["f1, latents"] == pytest.approx(np.mean(by_latent), abs=1e-12)


def test_f1_of_perfect_latents_is_one_and_junk_counts_only_among_latents():
    data = flat_data(d=16, n=40, s=2, seed=5)
    codes = data.held_out(2000).codes
    found = np.concatenate([TRUTH, directions(40, 16, 9)])
    latents = np.concatenate([codes, np.zeros_like(codes)], axis=1)
    table = firing_f1(latents, codes, found=found, truth=TRUTH, seed=0)
    assert table["value"].tolist() == [1.0, 0.5]
    assert table["null_mean"].iloc[0] == pytest.approx(2 / 40, abs=0.01)  # chance: both on with probability 1/20 each
    assert table["p"].iloc[0] == pytest.approx(1 / 21)


def test_perfect_forest_has_no_absorption():
    data = forest_data(d=32, roots=6, children=3, seed=0)
    codes = data.held_out(3000).codes
    table = absorption(codes, codes, found=data.dictionary, truth=data.dictionary, parent=data.parent)
    assert len(table) == 18
    assert table["miss_with_child"].eq(0).all()
    np.testing.assert_allclose(table["score"], 0.0, atol=1e-12)
    assert table["status"].eq("ok").all()


def test_planted_absorption_is_measured():
    data = forest_data(d=32, roots=6, children=3, seed=0)
    codes = data.held_out(3000).codes
    found, latents = data.dictionary.copy(), codes.copy()
    children = np.flatnonzero(data.parent >= 0)
    found[children] += data.dictionary[data.parent[children]]  # a child's latent means "child and parent"
    for child in children:
        latents[codes[:, child] > 0, data.parent[child]] = 0.0  # and the parent's is off where it is on
    table = absorption(latents, codes, found=found, truth=data.dictionary, parent=data.parent)
    np.testing.assert_allclose(table["score"], np.sqrt(0.5), rtol=1e-12)
    assert table["miss_with_child"].eq(1).all()
    assert table["miss_without"].eq(0).all()
    summary = summarise_absorption(table)
    assert summary["score"] == pytest.approx(np.sqrt(0.5))
    assert summary["miss_with_child"] == 1.0


def test_parent_that_is_off_everywhere_misses_in_the_control_too():
    data = forest_data(d=32, roots=6, children=3, seed=0)
    codes = data.held_out(3000).codes
    latents = codes.copy()
    latents[:, :6] = 0.0
    table = absorption(latents, codes, found=data.dictionary, truth=data.dictionary, parent=data.parent)
    assert table["miss_with_child"].eq(1).all()
    assert table["miss_without"].eq(1).all()


def test_child_without_a_latent_or_a_row_says_so():
    data = forest_data(d=32, roots=2, children=1, active=1, seed=0)
    codes = data.held_out(300).codes
    codes[:, 3] = 0.0
    table = absorption(codes[:, :2], codes, found=data.dictionary[:2], truth=data.dictionary, parent=data.parent)
    assert table["status"].eq("no latent is left for the child").all()
    table = absorption(codes, codes, found=data.dictionary, truth=data.dictionary, parent=data.parent)
    assert table["status"].tolist() == ["ok", "the child never fires"]
    assert np.isnan(table["miss_with_child"].iloc[1])


def test_arguments_are_not_changed():
    found, truth = 3 * TRUTH, TRUTH.copy()
    recovery(found, truth, seed=0, n_null=1)
    match_truth(found, truth)
    assert np.array_equal(found, 3 * TRUTH)
    assert np.array_equal(truth, TRUTH)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: recovery(np.eye(3), np.eye(4), seed=0), r"\[latents, 4\]"),
        (lambda: recovery(np.zeros((4, 4)), np.eye(4), seed=0), "no direction"),
        (lambda: recovery(np.full((4, 4), np.nan), np.eye(4), seed=0), "no direction"),
        (lambda: recovery(np.eye(4), np.eye(4), seed=0, alive=[1, 1, 1, 1]), "alive is bool"),
        (lambda: recovery(np.eye(4), np.eye(4), seed=0, probability=np.ones(3)), r"probability is \[4\]"),
        (lambda: recovery(np.eye(4), np.eye(4), seed=0, n_null=0), "n_null"),
        (lambda: recovery(np.eye(4), np.eye(4), seed=-1), "seed"),
        (lambda: firing_f1(np.ones((3, 4)), np.ones((2, 4)), found=np.eye(4), truth=np.eye(4), seed=0), "same rows"),
        (lambda: firing_f1(np.ones((3, 5)), np.ones((3, 4)), found=np.eye(4), truth=np.eye(4), seed=0), "do not go"),
        (
            lambda: absorption(np.ones((3, 4)), np.ones((3, 4)), found=np.eye(4), truth=np.eye(4), parent=[0]),
            r"parent \[4\]",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, error):
    with pytest.raises(InvalidInput, match=error):
        call()
