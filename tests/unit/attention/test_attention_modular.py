"""Residues that were planted are found and their exchange is exact; words without residues show none."""

import numpy as np
import pytest

from analyses.attention import modular_arithmetic
from analyses.attention.modular import EDITED, PLAIN, VARIANCE, edited, residue_share, wanted
from interp.errors import InvalidInput


@pytest.fixture(scope="module")
def counted():
    """Words 0 to 29: a part for the tens, a part for the units."""
    units, tens = np.arange(30) % 10, np.arange(30) // 10
    return np.concatenate([np.eye(10)[units], np.eye(3)[tens]], axis=1), units


def test_exchanging_a_residue_is_exact_where_parts_add(counted):
    x, units = counted
    made = edited(x, units, 10).reshape(30, 9, -1)
    for i in range(30):
        for made_j, j in zip(made[i], [j for j in range(10) if j != units[i]], strict=True):
            np.testing.assert_allclose(made_j[:10], np.eye(10)[j], atol=1e-12)
    assert wanted(units, 10)[:3].tolist() == [2, 3, 4]


def test_variance_between_residues(counted):
    x, units = counted
    assert residue_share(x[:, :10], units) == pytest.approx(1)
    rng = np.random.default_rng(0)
    noise = [residue_share(rng.standard_normal((60, 5)), np.arange(60) % 6) for _ in range(50)]
    assert abs(np.mean(noise)) < 0.02


def test_one_hot_words_have_no_residues(planted):
    words = planted.latents["word"].unique()[:12].tolist()
    found = modular_arithmetic(planted.model, words, 3, head=(1, 4), seed=0, n_perm=39).set_index("measure")
    assert abs(found.loc[VARIANCE, "value"]) < 0.05
    assert found.loc[VARIANCE, "p"] > 0.05
    assert found.loc[PLAIN, "value"] > 0.8  # the head knows the successor all the same
    assert found.loc[PLAIN, "p"] < 0.05
    assert found.loc[EDITED, "value"] < 0.5
    assert set(found["n_left_out"]) == {0}


def test_what_cannot_be_asked_is_refused(planted):
    words = ["one", "two", "three", "four"]
    with pytest.raises(InvalidInput, match="two words of one token"):
        modular_arithmetic(planted.model, words, 3, head=(1, 4), seed=0)
    with pytest.raises(InvalidInput, match="head below"):
        modular_arithmetic(planted.model, words, 2, head=(2, 0), seed=0)
