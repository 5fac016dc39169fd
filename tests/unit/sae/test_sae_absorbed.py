"""Absorption and splitting that were planted, and dictionaries without any."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sae_planted import config_of
from sklearn import metrics

from interp.errors import InvalidInput
from interp.sae.absorbed import absorption, best_threshold, f1_score
from interp.sae.relu import StandardSAE

D, N, CHILDREN = 32, 4000, 12
PARENT, OTHER = 0, 20  # other directions, of what has nothing to do with the label


def planted(share: float = 0.3, seed: int = 0):
    """Rows x = codes (axis j is feature j): feature 0 the label, 1..12 its rare children, 20..31 of no label."""
    rng = np.random.default_rng(seed)
    codes = np.zeros((N, D))
    label = rng.random(N) < 0.5
    codes[label, PARENT] = 1.0
    child = rng.integers(1, CHILDREN + 1, N)
    has_child = label & (rng.random(N) < share)
    codes[has_child, child[has_child]] = 1.0
    codes[:, OTHER:] = rng.uniform(0.5, 1.5, (N, D - OTHER)) * (rng.random((N, D - OTHER)) < 0.2)
    return codes.astype(np.float32), np.where(label, "yes", "no"), has_child


def dictionary(*, silent: float = 0.0, written: float = 0.0):
    """One latent a feature; a child silences the parent by `silent` and writes `written` of it."""
    W_enc, W_dec = torch.eye(D), torch.eye(D)
    W_enc[1 : CHILDREN + 1, PARENT] = -silent
    W_dec[1 : CHILDREN + 1, PARENT] = written
    weights = {"W_enc": W_enc, "W_dec": W_dec, "b_enc": torch.zeros(D), "b_dec": torch.zeros(D)}
    return StandardSAE(config_of("standard", d_in=D, d_sae=D, decoder_norm="free"), weights)


def of_yes(sae, x, labels, **options):
    return absorption(sae, x, labels, seed=0, **options).set_index("label").loc["yes"]


X, LABELS, HAS_CHILD = planted()


def test_perfect_dictionary_absorbs_nothing():
    row = of_yes(dictionary(), X, LABELS)
    assert (row["n_main"], row["main"]) == (1, "0")
    assert (row["missed_share"], row["absorbed_share"]) == (0.0, 0.0)
    assert row["f1_one"] == 1.0


def test_planted_absorption_is_found_in_its_share_and_by_its_latents():
    row = of_yes(dictionary(silent=10, written=1), X, LABELS)
    assert row["n_main"] == 1
    assert row["ci_low"] < 0.3 < row["ci_high"]
    assert row["absorbed_share"] == row["missed_share"] == pytest.approx(0.3, abs=0.03)
    assert set(map(int, row["absorbers"].split())) <= set(range(1, CHILDREN + 1))


def test_silence_without_a_latent_that_writes_the_label_is_missed_and_not_absorbed():
    row = of_yes(dictionary(silent=10, written=0), X, LABELS)
    assert row["missed_share"] == pytest.approx(0.3, abs=0.03)
    assert row["absorbed_share"] == 0.0


def test_latent_that_writes_too_little_of_the_label_does_not_absorb():
    sae = dictionary(silent=10, written=0.35)
    assert of_yes(sae, X, LABELS, min_share=0.2, min_cosine=0.1)["absorbed_share"] > 0.25
    assert of_yes(sae, X, LABELS, min_share=0.8, min_cosine=0.1)["absorbed_share"] == 0.0


def test_latent_that_hardly_points_at_the_label_does_not_absorb():
    sae = dictionary(silent=10, written=1)  # cosine of about 0.7
    assert of_yes(sae, X, LABELS, min_cosine=0.9)["absorbed_share"] == 0.0


def test_reconstruction_does_not_show_it():
    x = torch.from_numpy(X)
    absorbing = dictionary(silent=10, written=1)
    assert float((absorbing(x) - x).square().sum()) < 1e-6 * float(x.square().sum())


def test_label_in_two_latents_is_split():
    context = X[:, 25] > 0
    W_enc = torch.eye(D)
    W_enc[25, 0], W_enc[25, 13], W_enc[0, 13], W_enc[13, 13] = -10.0, 1.0, 1.0, 0.0
    b_enc = torch.zeros(D)
    x = X.copy()
    x[:, 25] = context
    b_enc[13] = -1.0  # on for label and context together
    weights = {**dictionary().weights(), "W_enc": W_enc, "b_enc": b_enc}
    row = of_yes(StandardSAE(dictionary().config, weights), x, LABELS)
    assert row["n_main"] == 2
    assert row["main"].split() == ["0", "13"]
    assert row["f1_one"] < 0.95 < row["f1_main"]
    assert row["missed_share"] == 0.0


def test_random_dictionary_stands_beside_it():
    table = absorption(dictionary(silent=10, written=1), X, LABELS, seed=0).set_index("label")
    assert table.loc["yes", "null_random_sae"] < 0.1


def test_rare_label_has_no_number_and_says_why():
    labels = LABELS.astype(object)
    labels[:6] = "rare"
    row = absorption(dictionary(), X, labels, seed=0).set_index("label").loc["rare"]
    assert np.isnan(row["absorbed_share"])
    assert "10 are needed" in row["status"]


def test_seed_decides():
    one, same = (absorption(dictionary(silent=10, written=1), X, LABELS, seed=0) for _ in range(2))
    assert one.equals(same)


def test_f1_equals_scikit_learn():
    rng = np.random.default_rng(0)
    guess, truth = rng.random(200) < 0.4, rng.random(200) < 0.3
    assert f1_score(guess, truth) == pytest.approx(metrics.f1_score(truth, guess), rel=1e-12)


def test_threshold_is_the_best_of_all():
    rng = np.random.default_rng(0)
    truth = rng.random(300) < 0.1
    scores = np.round(rng.standard_normal(300) + 1.5 * truth, 1)  # with ties
    best = max(f1_score(scores >= t, truth) for t in np.unique(scores))
    assert f1_score(scores >= best_threshold(scores, truth), truth) == best


@pytest.mark.parametrize("labels", [LABELS[:-1], np.full(N, "yes")])
def test_labels_that_tell_nothing_are_refused(labels):
    with pytest.raises(InvalidInput):
        absorption(dictionary(), X, labels, seed=0)
