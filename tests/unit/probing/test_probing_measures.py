"""Sparse probes, control task, description length, variance explained, erasure: planted, and on nothing."""

from __future__ import annotations

import numpy as np
import pytest
from probing_planted import entities, planted
from scipy import sparse

from analyses.probing import control_task, erase, mdl, probe, sparse_probe, variance_explained
from interp.errors import InvalidInput

QUICK = {"n_perm": 9, "n_boot": 50, "description_length": False}


def test_the_planted_column_is_chosen_and_one_is_enough():
    rng = np.random.default_rng(0)
    x, groups = rng.standard_normal((400, 30)), np.repeat(np.arange(80), 5)
    y = np.where(x[:, 7] + 0.3 * rng.standard_normal(400) > 0, "yes", "no")
    table = sparse_probe(x, y, k=(1, 3), groups=groups, n_perm=9, n_boot=50)
    assert list(table["unit"]) == ["yes", "yes"]
    assert table["chosen"].iloc[0] == "7"
    assert table["chosen"].iloc[1].split()[0] == "7"
    assert (table["auc"] > 0.95).all()
    assert (table["p"] == 0.1).all()
    again = sparse_probe(sparse.csr_array(x), y, k=(1, 3), groups=groups, n_perm=9, n_boot=50)
    np.testing.assert_allclose(again["auc"], table["auc"])


def test_choosing_among_many_columns_of_noise_finds_nothing():
    x = np.random.default_rng(0).standard_normal((200, 2000))
    row = sparse_probe(x, np.arange(200) % 2, k=(5,), n_perm=9).iloc[0]
    assert abs(row["auc"] - 0.5) < 0.15  # on the rows that chose them they would tell .8
    assert row["p"] > 0.1


def test_each_of_several_classes_is_told_from_the_rest():
    x, codes, groups, _ = planted(n_classes=3)
    table = sparse_probe(x, codes, k=(1,), groups=groups, n_perm=3, n_boot=0)
    assert list(table["unit"]) == ["0", "1", "2"]
    assert list(table["chosen"].str.split().str[0]) == ["0", "1", "2"]
    with pytest.raises(InvalidInput, match="k ="):
        sparse_probe(x, codes, k=(21,), groups=groups)


def test_what_is_known_by_heart_has_no_selectivity_and_what_is_told_has():
    x, y, entity = entities()
    heart = control_task(x, y, entity).iloc[0]
    assert heart["score"] > 0.95
    assert abs(heart["selectivity"]) < 0.05
    real, codes, groups, _ = planted(400)
    knowledge = control_task(real, codes, groups).iloc[0]
    assert knowledge["selectivity"] > 0.3
    assert knowledge["control_score"] == pytest.approx(0.5, abs=0.1)
    assert "of its own" in control_task(real, codes, np.arange(400)).iloc[0]["status"]


def test_bits_of_planted_and_of_permuted_classes():
    x, codes, groups, _ = planted(1000, 8, noise=0.05)
    row = mdl(x, codes, groups=groups).iloc[0]
    assert row["compression"] > 2.5
    assert 0.9 < row["null_mean"] <= 1.0
    assert row["uniform_bits"] == 1000
    assert mdl(x, np.zeros(1000, dtype=int)).iloc[0]["status"] == "constant label"


def test_variance_of_planted_and_of_random_labels():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 1000)
    x = np.sqrt(0.3) * (2 * y - 1)[:, None] * np.eye(20)[0] + np.sqrt(0.7 / 20) * rng.standard_normal((1000, 20))
    row = variance_explained(x, y, n_perm=19).iloc[0]
    assert row["variance_explained"] == pytest.approx(0.3, abs=0.03)
    assert row["p"] == pytest.approx(1 / 20)
    null = variance_explained(x, rng.permutation(y), n_perm=19).iloc[0]
    assert abs(null["variance_explained"]) < 0.01
    assert null["p"] > 0.05


@pytest.mark.parametrize("method", ["leace", "mean_projection"])
@pytest.mark.parametrize("kind", ["ridge", "logistic"])
def test_after_erasure_a_fresh_probe_is_at_chance(method, kind):
    x, codes, groups, _ = planted(600, n_classes=3)
    erased = erase(x, codes, method=method)
    before, after = (probe(a, codes, groups=groups, kind=kind, **QUICK).table.iloc[0] for a in (x, erased))
    assert before["score"] > 0.65
    assert after["score"] < 1 / 3 + 0.05
    other = probe(erase(x, codes, method="random"), codes, groups=groups, kind=kind, **QUICK).table.iloc[0]
    assert other["score"] > 0.6  # as many random directions leave it where it was


def test_erasure_fitted_on_some_rows_works_on_others():
    x, codes, groups, _ = planted(4000)
    rest = np.arange(4000) >= 2000
    erased = erase(x, codes, fit_rows=~rest)
    row = probe(erased[rest], codes[rest], groups=groups[rest], **QUICK).table.iloc[0]
    assert row["score"] < 0.6
    with pytest.raises(InvalidInput, match="leace"):
        erase(x, codes, method="inlp")  # type: ignore[arg-type]
