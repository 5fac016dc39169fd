"""The share of loss that an SAE recovers, from losses whose answer is known."""

import numpy as np
import pytest

from interp.sae.splicing import _table


def table(damage: float, noise: float, n: int = 200):
    rng = np.random.default_rng(0)
    counts = np.full(n, 10.0)
    clean = rng.normal(20, 1, n)
    ablated = clean + damage + rng.normal(0, noise, n)
    sums = {"clean": clean, "spliced": clean + 0.1 * damage, "zero": ablated, "mean": ablated}
    return _table(sums, counts, seed=0, n_boot=200).set_index("metric")


def test_a_share_over_a_damage_that_is_there_is_given():
    row = table(damage=5.0, noise=0.1).loc["recovered_vs_zero"]
    assert row["value"] == pytest.approx(0.9, abs=0.01)
    assert row["status"] == "ok"


def test_a_share_over_a_damage_that_may_be_nothing_is_not_a_number():
    small = table(damage=0.02, noise=2.0)
    for name in ("recovered_vs_zero", "recovered_vs_mean"):
        assert np.isnan(small.loc[name, "value"])
        assert "does not raise the loss" in small.loc[name, "status"]
