"""k-sparse probes: a label planted in one, two or no latent, and the controls that must not have it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import roc_auc_score

from interp.errors import InvalidInput
from interp.sae.labels import auc, best_coordinates, halve, sparse_probing

N, M = 600, 40
RNG = np.random.default_rng(0)
LABELS = np.array(["one", "two", "rest"])[RNG.choice(3, N, p=[0.2, 0.3, 0.5])]


def latents() -> np.ndarray:
    """Noise that is mostly 0; latent 3 is on for "one", 7 or 8 (one row each) for "two"."""
    rng = np.random.default_rng(1)
    x = rng.exponential(size=(N, M)) * (rng.random((N, M)) < 0.2)
    x[:, 3] = (LABELS == "one") * rng.uniform(0.5, 1.5, N)
    half = rng.random(N) < 0.5
    x[:, 7], x[:, 8] = (LABELS == "two") & half, (LABELS == "two") & ~half
    return x


X = latents()
NOISE = np.random.default_rng(2).standard_normal((N, M))


def probed(x=X, labels=LABELS, **options) -> pd.DataFrame:
    return sparse_probing(x, labels, **{"controls": {"noise": NOISE}, "seed": 0, **options})


@pytest.fixture(scope="module")
def table():
    return probed().set_index(["label", "k"])


def test_latent_that_is_the_label_is_found_and_tells_it_wholly(table):
    assert table.loc[("one", 1), "chosen"] == "3"
    assert table.loc[("one", 1), "auc"] == 1.0


def test_label_split_over_two_latents_needs_both(table):
    assert table.loc[("two", 1), "auc"] == pytest.approx(0.75, abs=0.06)
    assert table.loc[("two", 2), "auc"] == 1.0
    assert set(table.loc[("two", 2), "chosen"].split()) == {"7", "8"}


def test_control_without_the_label_tells_nothing(table):
    assert (table["null_noise"] - 0.5).abs().max() < 0.15
    assert abs(table["null_noise"].mean() - 0.5) < 0.06


def test_shuffled_labels_tell_nothing(table):
    assert abs(table["null_shuffled"].mean() - 0.5) < 0.04
    assert (table["auc"] - table["null_shuffled"] > 5 * table["null_sd"]).all()


def test_p_is_small_for_what_is_there_and_uniform_for_what_is_not():
    assert (probed()["q"] < 1e-6).all()
    p = []
    for seed in range(60):
        labels = np.random.default_rng(100 + seed).permutation(LABELS)
        p.append(sparse_probing(NOISE, labels, controls={}, seed=seed, k=(2,), n_shuffles=0, n_boot=0)["p"].iloc[0])
    assert sum(v < 0.1 for v in p) <= 13  # 6 expected; more has probability 3e-3
    assert 0.35 < np.mean(p) < 0.65


def test_choice_is_by_difference_of_means_in_sds():
    y = LABELS == "one"
    gap = np.abs(X[y].mean(axis=0) - X[~y].mean(axis=0)) / X.std(axis=0)
    assert best_coordinates(X, y, 5).tolist() == np.argsort(-gap)[:5].tolist()


def test_scale_of_a_coordinate_changes_nothing(table):
    scaled = probed(X * 10.0 ** np.random.default_rng(3).uniform(-3, 3, M)).set_index(["label", "k"])
    np.testing.assert_allclose(scaled["auc"], table["auc"], atol=1e-6)


def test_sparse_latents_give_the_numbers_of_dense_ones(table):
    other = probed(sparse.csr_matrix(X)).set_index(["label", "k"])
    pd.testing.assert_frame_equal(other, table, rtol=1e-9)


def test_latents_that_never_vary_are_chosen_last_and_tell_nothing():
    x = np.full((N, 3), 0.1)
    row = probed(x, k=(1,)).iloc[0]
    assert row["auc"] == 0.5
    assert row["p"] == 1.0


def test_rare_label_has_no_number_and_says_why():
    labels = LABELS.copy()
    labels[:6] = "rare"
    rare = probed(labels=labels).set_index("label").loc[["rare"]]
    assert rare[["auc", "p", "q", "null_noise"]].isna().all(axis=None)
    assert rare["status"].str.contains("10 are needed").all()


def test_halves_share_no_row_and_every_label():
    split = halve(LABELS, np.random.default_rng(0))
    assert np.array_equal(np.sort(np.concatenate(split)), np.arange(N))
    for label in np.unique(LABELS):
        counts = [(LABELS[half] == label).sum() for half in split]
        assert abs(counts[0] - counts[1]) <= 1


def test_auc_equals_scikit_learn_with_ties():
    scores = np.random.default_rng(0).integers(0, 5, N).astype(float)
    assert auc(scores, LABELS == "one") == pytest.approx(roc_auc_score(LABELS == "one", scores), rel=1e-12)


def test_seed_decides():
    pd.testing.assert_frame_equal(probed(), probed())
    assert not probed(seed=1)["auc"].equals(probed()["auc"])


@pytest.mark.parametrize(
    "change",
    [{"labels": LABELS[:-1]}, {"labels": np.full(N, "one")}, {"k": (0,)}, {"k": (M + 1,)},
     {"x": np.where(np.arange(M) == 3, np.nan, X)}, {"controls": {"short": NOISE[:-1]}}],
)  # fmt: skip
def test_what_cannot_be_probed_is_refused(change):
    with pytest.raises(InvalidInput):
        probed(**change)
