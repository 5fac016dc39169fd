"""An SAE without encoder weights is judged like any other; what asks for an encoder says that there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sae_planted import plant

from interp.sae.agreement import compare_saes
from interp.sae.config import topk_config
from interp.sae.evaluate import evaluate_sae
from interp.sae.matching_pursuit import MatchingPursuitSAE

PLANTED = plant(rows=1000)


@pytest.fixture(scope="module")
def sae():
    config = topk_config(32, 64, k=3).with_(
        architecture="matching_pursuit", activation="matching_pursuit", k=None, max_iterations=4,
        residual_threshold=0.0, stop_on_duplicate_support=False,
    )  # fmt: skip
    W_dec = torch.from_numpy(PLANTED.dictionary).float()
    return MatchingPursuitSAE(config, {"W_dec": W_dec, "b_dec": torch.zeros(32)})


def test_it_has_every_number_but_that_of_the_encoder(sae):
    table = evaluate_sae(sae, PLANTED.activations, seed=0).set_index("metric")
    assert np.isnan(table.loc["encoder_decoder_cosine", "value"])
    assert table.loc["encoder_decoder_cosine", "status"].startswith("reading and writing share no space")
    rest = table.drop("encoder_decoder_cosine")
    assert (rest["status"] == "ok").all()
    assert rest["value"].notna().all()


def test_true_dictionary_beats_random_directions_on_as_often(sae):
    table = evaluate_sae(sae, PLANTED.activations, seed=0).set_index("metric")
    assert table.loc["l0", "null_random_sae"] == pytest.approx(table.loc["l0", "value"], rel=1e-6)
    assert table.loc["fvu", "value"] < 0.5 * table.loc["fvu", "null_random_sae"]


def test_agreement_of_encoders_is_not_there(sae):
    table = compare_saes(sae, sae, seed=0, n_null=2).set_index("metric")
    assert table.loc["matched_cosine", "value"] == pytest.approx(1, abs=1e-6)
    assert np.isnan(table.loc["shared_both", ["value", "p"]].astype(float)).all()
    assert table.loc["shared_both", "status"].endswith("no encoder of its own")
