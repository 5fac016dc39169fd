"""One probe: planted labels are found, random ones are not, and what stands beside the score says why."""

from __future__ import annotations

import numpy as np
import pytest
from probing_planted import entities, planted
from sklearn.linear_model import Ridge
from sklearn.metrics import balanced_accuracy_score, r2_score, roc_auc_score

from analyses.probing import probe
from analyses.probing.fitting import ALPHAS, KINDS, held_out
from analyses.probing.labels import Labels, assign_folds, permuted, read_labels
from analyses.probing.scores import score
from interp.errors import InvalidInput
from interp.result import Result

QUICK = {"n_perm": 9, "n_boot": 50, "description_length": False}


def row_of(result: Result) -> dict:
    return result.table.iloc[0].to_dict()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_planted_classes_are_told_by_every_kind(kind, n_classes):
    x, codes, groups, _ = planted(n_classes=n_classes)
    row = row_of(probe(x, codes, groups=groups, kind=kind, **{**QUICK, "n_perm": 1 if kind == "mlp" else 9}))
    assert row["status"] == "ok"
    assert row["score"] > (0.9 if n_classes == 2 else 0.65)
    assert row["ci_low"] < row["score"] < row["ci_high"]
    assert abs(row["null_mean"] - row["baseline"]) < 0.1
    assert row["p"] == pytest.approx(1 / (row["n_perm"] + 1))


@pytest.mark.parametrize("kind", ["ridge", "mlp"])
def test_planted_numbers_are_told(kind):
    x, _, groups, numbers = planted(300, 6)
    row = row_of(probe(x, numbers, groups=groups, kind=kind, **{**QUICK, "n_perm": 1}))
    assert row["metric"] == "r2"
    assert row["score"] > 0.7
    assert row["baseline"] == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("kind", ["ridge", "logistic", "mass_mean"])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_labels_of_nothing_are_not_told(kind, n_classes):
    x, _, groups, _ = planted(400)
    y = np.random.default_rng(5).choice(n_classes, 400, p=np.array([0.7, *[0.3 / (n_classes - 1)] * (n_classes - 1)]))
    row = row_of(probe(x, y, groups=groups, kind=kind, **QUICK))
    assert abs(row["score"] - row["baseline"]) < 0.1
    assert row["p"] > 0.05


def test_p_of_labels_of_nothing_is_uniform():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 4)
    p = []
    for i in range(80):
        x, y = rng.standard_normal((120, 8)), rng.standard_normal(30)[groups] + rng.standard_normal(120)
        p.append(row_of(probe(x, y, groups=groups, seed=i, n_perm=19, n_boot=0))["p"])
    assert 0.0 <= np.mean(np.array(p) <= 0.05) <= 0.12  # binomial 99 % band around .05
    assert 0.05 < np.mean(np.array(p) <= 0.2) < 0.32


def test_a_label_that_belongs_to_the_entity_is_known_by_heart_and_not_told():
    x, y, entity = entities()
    honest = row_of(probe(x, y, groups=entity, **QUICK))
    assert honest["score"] < 0.75
    assert honest["score_row_folds"] > 0.95  # the same probe, were entities split
    assert honest["control_score"] > 0.95
    assert abs(honest["selectivity"]) < 0.05
    assert row_of(probe(x, y, types=entity, **QUICK))["score"] > 0.95  # without groups it looks like knowledge


def test_smooth_groups_are_permuted_whole():
    _, y, entity = entities()
    shuffled = permuted(y, entity, 20, seed=0)
    for labels in shuffled:
        assert all(len(set(labels[entity == e])) == 1 for e in range(40))
        assert sorted(labels) == sorted(y)
    uneven, mixed = np.array([0, 0, 0, 1, 1, 2]), np.array([5, 6, 7, 8, 9, 4])
    assert all(sorted(v) == sorted(mixed) for v in permuted(mixed, uneven, 20, seed=0))
    lone = permuted(mixed, np.array([3, 1, 0, 2, 5, 4]), 20, seed=0)
    assert all(sorted(v) == sorted(mixed) for v in lone)
    assert len({tuple(v) for v in lone}) > 15


def test_ridge_is_nested_cross_validation_done_by_hand():
    x, _, groups, y = planted(150, 12, n_groups=30)
    labels, folds = Labels(y), assign_folds(groups, 5, seed=0)
    found = held_out("ridge", x, y[None], folds, labels, seed=0)
    expected = np.empty(150)
    for fold in range(5):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        alphas = ALPHAS * np.linalg.eigvalsh(np.cov(x[train].T) * (len(train) - 1)).mean()
        errors = []
        for alpha in alphas:
            error = 0.0
            for inner in set(folds[train]):
                a, b = train[folds[train] != inner], train[folds[train] == inner]
                error += ((Ridge(alpha=alpha).fit(x[a], y[a]).predict(x[b]) - y[b]) ** 2).sum()
            errors.append(error)
        expected[test] = Ridge(alpha=alphas[int(np.argmin(errors))]).fit(x[train], y[train]).predict(x[test])
    np.testing.assert_allclose(found.values[0], expected, rtol=1e-7, atol=1e-8)
    assert row_of(probe(x, y, groups=groups, **QUICK))["score"] == pytest.approx(r2_score(y, expected))


def test_what_is_reported_is_not_touched_by_the_labels_of_its_own_fold():
    x, codes, groups, _ = planted()
    folds, labels = assign_folds(groups, 5, seed=0), read_labels(codes)
    changed = np.where(folds == 2, 1 - codes, codes)
    for kind in ("ridge", "logistic", "mass_mean"):
        both = [held_out(kind, x, y[None], folds, labels, seed=0).values[0] for y in (codes, changed)]
        np.testing.assert_array_equal(both[0][folds == 2], both[1][folds == 2])


def test_no_group_is_in_two_folds():
    groups = np.random.default_rng(0).integers(0, 40, 500)
    folds = assign_folds(groups, 5, seed=0)
    assert all(len(set(folds[groups == g])) == 1 for g in range(40))
    assert np.bincount(folds).min() > 60


def test_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    y, guess, weights = rng.integers(0, 2, 200), np.round(rng.standard_normal(200), 1), rng.integers(0, 3, 200)
    one = np.zeros(200)
    two = Labels(y, ("a", "b"))
    assert score(two, y, guess, one, weights) == pytest.approx(roc_auc_score(y, guess, sample_weight=weights))
    halves = np.arange(200) % 2
    within = [roc_auc_score(y[halves == h], guess[halves == h]) for h in (0, 1)]
    pairs = [(y[halves == h] == 1).sum() * (y[halves == h] == 0).sum() for h in (0, 1)]
    assert score(two, y, guess, halves) == pytest.approx(np.average(within, weights=pairs))
    four, told = Labels(rng.integers(0, 4, 200), tuple("abcd")), rng.standard_normal((200, 4))
    expected = balanced_accuracy_score(four.y, told.argmax(axis=1), sample_weight=weights)
    assert score(four, four.y, told, one, weights) == pytest.approx(expected)
    assert score(Labels(guess), guess, guess / 2, one) == pytest.approx(r2_score(guess, guess / 2))


def test_a_result_carries_what_its_score_needs(tmp_path):
    x, codes, groups, _ = planted(n_classes=3)
    result = probe(x, np.array(["red", "green", "blue"])[codes], groups=groups, n_perm=19, seed=3)
    row = row_of(result)
    assert row["mdl_compression"] > 1.3 > 1.02 > row["mdl_compression_null"]
    assert row["variance_explained"] > 0.02 > 0.0 > row["variance_explained_null"]
    assert row["alpha"] > 0
    assert (row["n"], row["n_groups"], row["seed"], row["n_perm"]) == (300, len(set(groups)), 3, 19)
    assert row["q"] == row["p"]
    guesses = result.tables["predictions"]["guess"]
    assert set(guesses) <= {"red", "green", "blue"}
    back = Result.load(result.save(tmp_path / "r"))
    assert back.table["score"].iloc[0] == row["score"]
    assert len(back.plot().axes) == 1


def test_the_seed_decides_everything():
    x, codes, groups, _ = planted()
    again = [probe(x, codes, groups=groups, seed=s, **QUICK).table for s in (0, 0, 1)]
    assert again[0].equals(again[1])
    assert again[0]["score"].iloc[0] != again[2]["score"].iloc[0]


def test_names_of_labels_and_groups_do_not_matter():
    x, codes, groups, _ = planted()
    found = probe(x, codes, groups=groups, **QUICK).table
    named = probe(
        x, np.array(["a", "b"], dtype=object)[codes], groups=np.char.add("g", groups.astype("U3")), **QUICK
    ).table
    assert found["n_groups"].iloc[0] == named["n_groups"].iloc[0]
    assert named["score"].iloc[0] == pytest.approx(found["score"].iloc[0], abs=0.05)


@pytest.mark.parametrize(
    ("y", "groups", "status"),
    [
        (np.zeros(40, dtype=int), None, "constant label"),
        (np.arange(40) % 2, np.arange(40) % 3, "too few groups"),
        (np.array([1] + [0] * 39), None, "one group alone"),
        (np.full(40, 2.0), None, "constant label"),
    ],
)
def test_where_there_is_no_score_the_status_says_why(y, groups, status):
    row = row_of(probe(np.random.default_rng(0).standard_normal((40, 3)), y, groups=groups, **QUICK))
    assert status in row["status"]
    assert np.isnan(row["score"])
    assert np.isnan(row["p"])


def test_constant_activations_tell_nothing():
    y = np.arange(60) % 2
    for kind in ("ridge", "logistic", "mass_mean"):
        row = row_of(probe(np.full((60, 4), 3.0), y, kind=kind, **QUICK))
        assert row["score"] == pytest.approx(0.5)
        assert row["p"] == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.zeros((4, 2))}, "row for each"),
        ({"X": np.full((6, 2), np.nan)}, "NaN"),
        ({"y": [1.0, np.nan, 2, 3, 4, 5]}, "1 of 6 labels are missing"),
        ({"y": list("abcdef"), "task": "numbers"}, "no numbers"),
        ({"groups": [1, 2]}, "groups"),
        ({"kind": "rigde"}, "ridge"),
        ({"kind": "logistic", "y": np.arange(6.0)}, "classes"),
        ({"n_folds": 2}, "n_folds"),
        ({"task": "guess"}, "task"),
    ],
)
def test_what_cannot_be_probed_is_refused_in_one_sentence(change, message):
    given = {"X": np.zeros((6, 2)), "y": list("ababab"), **change}
    with pytest.raises(InvalidInput, match=message):
        probe(given.pop("X"), given.pop("y"), **given)


def test_arguments_are_left_as_they_were():
    x, codes, groups, _ = planted(100)
    before = x.copy(), codes.copy(), groups.copy()
    probe(x, codes, groups=groups, **QUICK)
    for now, then in zip((x, codes, groups), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_few_permutations_say_how_small_p_can_be():
    x, codes, groups, _ = planted(100)
    few, many = (probe(x, codes, groups=groups, n_perm=n, n_boot=0, description_length=False) for n in (19, 99))
    assert few.table["p_floor"].iloc[0] == few.table["p"].iloc[0] == 0.05
    assert any("never below 0.05" in note for note in few.notes)
    assert not any("never below" in note for note in many.notes)
