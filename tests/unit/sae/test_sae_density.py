"""How often latents are on: the histogram holds each latent once, and the dead ones apart."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from interp.errors import InvalidInput
from interp.sae.density import density_histogram, density_shares
from interp.stats.intervals import wilson_interval

N = 1000
DENSITY = np.array([0, 0, 0.001, 0.001, 0.01, 0.1, 0.5, 1.0])


def test_each_latent_is_in_one_bin():
    table = density_histogram(DENSITY, n_rows=N)
    assert table["n_latents"].sum() == len(DENSITY)
    assert table["share"].sum() == pytest.approx(1)
    np.testing.assert_allclose(table["high"].iloc[:-1], table["low"].iloc[1:])
    assert table["high"].iloc[-1] == 1.0


def test_the_first_bin_holds_the_dead_alone():
    first, second = density_histogram(DENSITY, n_rows=N).iloc[:2].to_dict("records")
    assert (first["low"], first["high"], first["n_latents"]) == (0.0, 1 / N, 2)
    assert second["n_latents"] == 2


@pytest.mark.parametrize("n_rows", [2, 3, 7, 999, 1000, 1001, 123_457])
def test_every_count_that_rows_can_give_finds_a_bin(n_rows):
    counts = np.unique(np.concatenate([[0, 1, 2, n_rows - 1, n_rows], np.linspace(0, n_rows, 50).astype(int)]))
    table = density_histogram(counts / n_rows, n_rows=n_rows)
    assert table["n_latents"].sum() == len(counts)
    assert table["n_latents"].iloc[0] == 1


@pytest.mark.parametrize(("density", "n_rows"), [([0.0001], 100), ([1.1], 100), ([np.nan], 100), ([0.5], 1)])
def test_what_rows_cannot_give_is_refused(density, n_rows):
    with pytest.raises(InvalidInput):
        density_histogram(np.array(density), n_rows=n_rows)


def test_shares_count_dead_and_dense():
    shares = density_shares(DENSITY)
    assert shares == {"dead_share": 0.25, "dense_share": 0.25, "density_median": pytest.approx(0.055)}


@pytest.mark.parametrize(("hits", "n"), [(0, 9), (3, 10), (10, 10), (471, 2048)])
def test_wilson_interval_equals_statsmodels(hits, n):
    np.testing.assert_allclose(wilson_interval(hits, n), proportion_confint(hits, n, method="wilson"), atol=1e-12)
