"""What a few huge activations hide: reconstruction of each class of tokens about its own mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sae_planted import config_of, plant, random_sae

from interp.errors import InvalidInput
from interp.sae.classes import Bands, frequency_bands, norm_bands, position_bands, reconstruction_by_class
from interp.sae.config import topk_config
from interp.sae.evaluate import evaluate_sae
from interp.sae.topk import TopKSAE

SAE = random_sae(config_of("topk", d_in=32, d_sae=64, k=4))
X = plant(rows=2000).activations
CLASS = np.arange(2000) % 3
FAMILIES = {"thirds": Bands(("a", "b", "c"), CLASS)}


def direction_sae():
    """An SAE that keeps the first coordinate and gives back nothing of the others."""
    W = torch.zeros(2, 32)
    W[0, 0], W[1, 0] = 1.0, -1.0
    weights = {"W_enc": W.T, "W_dec": W, "b_enc": torch.zeros(2), "b_dec": torch.zeros(32)}
    return TopKSAE(topk_config(32, 2, k=1), weights)


def test_each_class_is_measured_as_if_it_were_alone():
    table = reconstruction_by_class(SAE, X, FAMILIES, seed=0).set_index("group")
    for code, name in enumerate("abc"):
        alone = evaluate_sae(SAE, X[code == CLASS], seed=0).set_index("metric")["value"]
        for metric in ("fvu", "l0", "cosine"):
            assert table.loc[name, metric] == pytest.approx(alone[metric], rel=1e-6)
    assert table.loc["all tokens", "fvu"] == pytest.approx(
        evaluate_sae(SAE, X, seed=0).set_index("metric").loc["fvu", "value"], rel=1e-9
    )


def test_shares_of_error_and_variance_add_up_to_one():
    table = reconstruction_by_class(SAE, X + np.eye(3, 32, dtype=np.float32)[CLASS] * 50, FAMILIES, seed=0)
    parts = table[table["family"] == "thirds"]
    assert parts["error_share"].sum() == pytest.approx(1)
    assert parts["variance_share"].sum() == pytest.approx(1)
    assert parts["n"].sum() == 2000


def test_huge_tokens_hide_the_rest_from_the_whole_and_not_from_the_classes():
    x = X.copy()
    x[::500] = 0.0
    x[::500, 0] = 1000.0 * np.arange(1, 5)
    bands = norm_bands(np.linalg.norm(x, axis=1))
    table = reconstruction_by_class(direction_sae(), x, {"norm": bands}, seed=0).set_index("group")
    assert table.loc["all tokens", "fvu"] < 0.01
    assert table.loc["norm up to 10 medians", "fvu"] > 0.9
    assert table.loc["norm above 10 medians", "fvu"] < 1e-6
    assert table.loc["norm above 10 medians", "n"] == 4
    assert table.loc["norm above 10 medians", "variance_share"] > 0.99


def test_class_that_never_varies_has_no_fvu_and_says_why():
    x = X.copy()
    x[CLASS == 0] = 1.0
    codes = CLASS.copy()
    codes[7] = 3
    table = reconstruction_by_class(SAE, x, {"f": Bands(("a", "b", "c", "one"), codes)}, seed=0).set_index("group")
    assert table.loc["a", "status"].startswith("constant activations")
    assert table.loc["one", "status"].startswith("1 row")
    assert table.loc[["a", "one"], ["fvu", "ci_low", "null_mean_predictor"]].isna().all(axis=None)
    assert table.loc["b", "status"] == "ok"


def test_streaming_equals_one_shot():
    whole = reconstruction_by_class(SAE, X, FAMILIES, seed=0)
    parts = reconstruction_by_class(SAE, np.array_split(X, 7), FAMILIES, seed=0)
    for column in ("fvu", "ci_low", "ci_high", "variance_share"):
        np.testing.assert_allclose(parts[column], whole[column], rtol=1e-5)


def test_random_sae_stands_beside_each_class():
    x = X.copy()
    x[CLASS == 0] *= 0.01  # classes that random directions rebuild unequally well
    table = reconstruction_by_class(direction_sae(), x, FAMILIES, seed=0)
    assert table["null_random_sae"].notna().all()
    assert table["null_random_sae"].nunique() == len(table)


def test_position_bands_are_octaves():
    bands = position_bands(np.array([0, 1, 2, 3, 4, 7, 8, 15, 16]))
    assert bands.names == (
        "position 0", "position 1", "positions 2-3", "positions 4-7", "positions 8-15", "positions 16-31",
    )  # fmt: skip
    assert bands.codes.tolist() == [0, 1, 2, 2, 3, 3, 4, 4, 5]


def test_position_bands_leave_out_what_no_token_has():
    bands = position_bands(np.array([1, 9, 1]))
    assert bands.names == ("position 1", "positions 8-15")
    assert bands.codes.tolist() == [0, 1, 0]


def test_frequency_bands_count_the_ids():
    ids = np.repeat([5, 6, 7, 8], [1, 9, 10, 100])
    bands = frequency_bands(ids)
    assert bands.names == ("ids seen 1-9 times", "ids seen 10-99 times", "ids seen 100-999 times")
    assert np.bincount(bands.codes).tolist() == [10, 10, 100]


@pytest.mark.parametrize("n", [1999, 2001])
def test_classes_of_other_rows_are_refused(n):
    with pytest.raises(InvalidInput):
        reconstruction_by_class(SAE, X, {"f": Bands(("a",), np.zeros(n, np.int64))}, seed=0)


@pytest.mark.parametrize(
    "make", [lambda: position_bands(np.array([-1])), lambda: norm_bands(np.array([np.nan])),
             lambda: frequency_bands(np.zeros((2, 2)))]
)  # fmt: skip
def test_what_has_no_class_is_refused(make):
    with pytest.raises(InvalidInput):
        make()
