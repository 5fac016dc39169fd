"""Scores with labels against their known answers."""

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from analyses.polysemanticity.concept_trees import feature_monosemanticity_score
from analyses.polysemanticity.disentanglement import _mutual_information, infomec
from interp.errors import InvalidInput


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def factors(rng):
    return rng.integers(1, 9, size=(4000, 3))


def named(s):
    return {f"s{i}": s[:, i] for i in range(s.shape[1])}


def test_identity_is_perfect(factors):
    found = infomec(factors.astype(float), named(factors), folds=0, seed=0)
    assert found.modularity == pytest.approx(1.0, abs=0.01)
    assert found.compactness == pytest.approx(1.0, abs=0.01)
    assert np.allclose(np.diag(found.mutual), 1.0, atol=0.01)
    assert found.latents["source"].tolist() == ["s0", "s1", "s2"]


def test_duplicated_latents_are_not_compact(factors):
    found = infomec(np.hstack([factors, factors]).astype(float), named(factors), folds=0, seed=0)
    assert found.modularity == pytest.approx(1.0, abs=0.01)
    assert found.compactness == pytest.approx(0.4, abs=0.01)


def test_two_factors_turned_by_45_degrees_are_half_modular_and_half_compact(factors):
    z = factors.astype(float) - factors.mean()
    turned = np.column_stack([z[:, 0] + z[:, 1], z[:, 0] - z[:, 1], z[:, 2]])
    found = infomec(turned + 1e-9, named(factors), folds=0, seed=0)
    assert found.modularity == pytest.approx(0.5, abs=0.02)
    assert found.compactness == pytest.approx(0.5, abs=0.02)


def test_explicitness_is_out_of_sample(rng, factors):
    binary = {f"s{i}": factors[:600, i] > 4 for i in range(3)}
    told = infomec(np.column_stack(list(binary.values())).astype(float), binary, seed=0)
    assert told.explicitness > 0.95
    noise = infomec(rng.normal(size=(600, 200)), binary, seed=0)
    assert noise.explicitness < 0.0  # in sample it would be far above 0


def test_rare_latents_count_by_how_often_they_fire(rng, factors):
    z = np.zeros((4000, 3))
    z[:, 0] = 100 * (factors[:, 0] == 1)
    z[:8, 1] = 0.5  # small, and in two of a thousand rows
    z[0, 2] = 1e6
    found = infomec(z, named(factors), folds=0, seed=0)
    assert found.latents["latent"].tolist() == [0, 1]


def test_mutual_information_is_that_of_sklearn_less_the_bias(rng):
    bins, code = rng.integers(5, size=(500, 3)), rng.integers(4, size=500)
    bias = (20 - 5 - 4 + 1) / (2 * 500)
    expected = [mutual_info_score(bins[:, j], code) - bias for j in range(3)]
    assert np.allclose(_mutual_information(bins, 6, code), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("z", "sources"),
    [
        (np.ones((4, 2)), {"a": [0, 1, 0, 1]}),
        (np.eye(4), {"a": [0, 1, 0], "b": [0, 1, 0, 1]}),
        (np.eye(4), {"a": [0, 0, 0, 0], "b": [0, 1, 0, 1]}),
        (np.zeros((4, 2)), {"a": [0, 1, 0, 1], "b": [0, 0, 1, 1]}),
    ],
)
def test_what_has_no_infomec_is_refused(z, sources):
    with pytest.raises(InvalidInput):
        infomec(z, sources, seed=0)


def planted(rng, kind):
    """Latents of a concept in one latent, in two copies, or spread over eight, among noise."""
    y = rng.random(800) < 0.2
    z = np.maximum(rng.normal(size=(800, 20)), 0)
    if kind == "spread":
        z[:, :8] += 0.45 * y[:, None]
    else:
        z[:, : 2 if kind == "copied" else 1] = 3.0 * y[:, None] + 0.1 * rng.random((800, 1))
    return z, y


def test_a_concept_in_one_latent_scores_1(rng):
    row = feature_monosemanticity_score(*planted(rng, "one"), n_shuffles=2, seed=0).set_index("concept").loc[True]
    assert row["fms"] > 0.95
    assert row["acc_0"] == pytest.approx(1.0)
    assert row["latent"] == 0
    assert row["gap"] == pytest.approx(0.0)
    assert row["null_mean"] < 0.4
    assert row["null_acc_0"] == pytest.approx(0.5, abs=0.1)


def test_copies_lose_the_local_score_and_spreading_the_global(rng):
    copied = feature_monosemanticity_score(*planted(rng, "copied"), n_shuffles=0, seed=0).iloc[1]
    assert copied["local_score"] == pytest.approx(0.0)
    assert copied["global_score"] == pytest.approx(1.0)
    assert copied["fms"] == pytest.approx(0.5)
    spread = feature_monosemanticity_score(*planted(rng, "spread"), n_shuffles=0, seed=0).iloc[1]
    assert spread["fms"] < 0.45
    assert spread["gap"] > 0.02


def test_concepts_that_are_too_rare_have_a_status(rng):
    y = np.array(["a"] * 60 + ["b"] * 37 + ["c"] * 3)
    table = feature_monosemanticity_score(rng.random((100, 12)), y, n_shuffles=1, seed=0)
    assert table["status"].tolist()[:2] == ["ok", "ok"]
    assert "fewer than 8" in table["status"].iloc[2]
    with pytest.raises(InvalidInput):
        feature_monosemanticity_score(rng.random((100, 12)), np.zeros(100), seed=0)
    with pytest.raises(InvalidInput):
        feature_monosemanticity_score(rng.random((100, 5)), y, seed=0)
