from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from analyses.geospatial.moran import moran
from analyses.geospatial.weight_choice import sensitivity
from analyses.geospatial.weights import spatial_weights, unit_vectors
from interp.errors import InvalidInput

N = 300


@pytest.fixture(scope="module")
def places() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"lat": np.degrees(np.arcsin(rng.uniform(-1, 1, N))), "lon": rng.uniform(-180, 180, N)})


@pytest.fixture(scope="module")
def X(places) -> np.ndarray:
    """Two fields over the globe, one pattern of nearest pairs alone, noise, and a constant."""
    rng = np.random.default_rng(1)
    xyz = unit_vectors(places["lat"].to_numpy(), places["lon"].to_numpy())
    near = spatial_weights(places, k=2).csr
    pairs = near @ near @ rng.normal(size=N) * 2 + 0.1 * rng.normal(size=N)
    fields = xyz[:, :2] + 0.3 * rng.normal(size=(N, 2))
    return np.column_stack([fields, pairs, rng.normal(size=(N, 5)), np.ones(N)])


def test_each_weighting_is_a_moran_of_its_own(X, places):
    table, _ = sensitivity(X, places, k=(4, 32), bands_km=(2000,))
    assert table["weights"].unique().tolist() == ["k=4", "k=32", "2000 km"]
    for label, W in (
        ("k=32", spatial_weights(places, k=32)),
        ("2000 km", spatial_weights(places, kind="band", km=2000)),
    ):
        part, own = table[table["weights"] == label], moran(X, W, null="randomisation")
        for name in ("feature", "I", "z", "p", "q", "status"):
            np.testing.assert_array_equal(part[name], own[name])
        assert (part["n_islands"] == W.islands.size).all()


def test_stable_features_are_told_from_those_that_depend_on_the_weights(X, places):
    table, _ = sensitivity(X, places, k=(3, 8, 250))
    by_feature = table.groupby("feature")
    assert (by_feature["stable"].nunique() == 1).all()
    stable, found = by_feature["stable"].first(), by_feature["significant"].sum()
    assert stable[:2].all()
    assert (found[:2] == 3).all()
    assert 1 <= found[2] < 3
    assert not stable[2]
    assert (found[3:8] == 0).sum() >= 4
    assert not stable[8]  # constant: never tested
    assert table.loc[table["feature"] == 8, "status"].eq("constant").all()


def test_agreement_is_spearmans_over_the_tested_features(X, places):
    table, agreement = sensitivity(X, places, k=(4, 8, 16))
    assert agreement[["weights_a", "weights_b"]].to_numpy().tolist() == [
        ["k=4", "k=8"], ["k=4", "k=16"], ["k=8", "k=16"],
    ]  # fmt: skip
    wide = table.pivot_table(index="feature", columns="weights", values="I")
    for row in agreement.itertuples():
        rho = spearmanr(wide[row.weights_a][:8], wide[row.weights_b][:8]).statistic
        assert row.rank_correlation == pytest.approx(rho, abs=1e-12)
    assert (agreement["n_features"] == 8).all()
    assert np.isnan(sensitivity(X[:, :2], places, k=(4, 8))[1]["rank_correlation"][0])


def test_one_weighting_or_a_level_that_is_none_is_refused(X, places):
    with pytest.raises(InvalidInput, match="two or more"):
        sensitivity(X, places, k=(8,))
    with pytest.raises(InvalidInput, match="q_cut=1"):
        sensitivity(X, places, q_cut=1)
