"""Smooth fields that have nothing to do with each other: random folds say that they tell each other, blocks say no.

The fields are alike over about a twelfth of the square; the blocks are a third of it. Blocks narrower than that length
leak as random folds do.
"""

from __future__ import annotations

import numpy as np
import pytest

from analyses.probing import probe
from interp.stats import leave_group_out

ALPHAS = np.logspace(-4, 4, 9)


def smooth_fields(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return places [n, 2] in a square, d smooth fields [n, d] at them, and one more that is independent of these."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, 1, (n, 2))
    waves, phases = rng.normal(0, 4 * np.pi, (2, d + 1, 20)), rng.uniform(0, 2 * np.pi, (d + 1, 20))
    fields = np.cos(np.einsum("nk,kdw->ndw", places, waves) + phases).sum(axis=2)
    return places, fields[:, :d], fields[:, d]


def r2(y: np.ndarray, errors: np.ndarray) -> float:
    """Return the best R² over penalties of errors [a, n, 1]."""
    return float((1 - (errors**2).sum(axis=1) / ((y - y.mean()) ** 2).sum()).max())


def blocks_of(places: np.ndarray) -> np.ndarray:
    return (np.floor(places[:, 0] * 3) * 3 + np.floor(places[:, 1] * 3)).astype(int)


@pytest.fixture(scope="module")
def draws():
    return [smooth_fields(600, 150, seed) for seed in range(8)]


def test_random_folds_say_that_independent_fields_tell_each_other(draws):
    found = [r2(y, leave_group_out(x, y, np.arange(600) % 10, ALPHAS).errors) for _, x, y in draws]
    assert np.median(found) > 0.9


def test_blocks_of_space_say_that_they_do_not(draws):
    found = [r2(y, leave_group_out(x, y, blocks_of(places), ALPHAS).errors) for places, x, y in draws]
    assert np.median(found) < 0.15  # the penalty is chosen on the same rows, which flatters


def test_the_probe_leads_with_the_blocks_and_shows_what_random_folds_would_say(draws):
    options = {"n_perm": 19, "n_boot": 50}
    rows = [probe(x, y, groups=blocks_of(p), **options).table.iloc[0] for p, x, y in draws[:4]]
    assert np.median([row["score"] for row in rows]) < 0.1
    assert np.median([row["score_row_folds"] for row in rows]) > 0.9
