"""A config states every convention, and nothing that it does not know gets in."""

from __future__ import annotations

import dataclasses
import json

import pytest

from interp.errors import InvalidInput, UnknownSite
from interp.sae.config import OPTIONAL, SaeConfig, topk_config

CONFIG = topk_config(8, 32, k=4, site="resid_post.1", bos="always", context_size=64)


def test_config_survives_json():
    assert SaeConfig.from_dict(json.loads(json.dumps(CONFIG.to_dict()))) == CONFIG


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(SaeConfig) if f.name not in OPTIONAL])
def test_every_missing_key_is_refused_by_name(name):
    values = CONFIG.to_dict()
    del values[name]
    with pytest.raises(InvalidInput, match=f"missing key '{name}'"):
        SaeConfig.from_dict(values)


def test_unknown_key_is_refused_with_the_nearest():
    with pytest.raises(InvalidInput, match=r"unknown key 'apply_b_dec' \(nearest: apply_b_dec_to_input"):
        SaeConfig.from_dict(CONFIG.to_dict() | {"apply_b_dec": True})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"architecture": "vanilla"}, "architecture is one of"),
        ({"normalize_activations": "expected_average_only_in"}, "normalize_activations is one of"),
        ({"decoder_norm": "l2"}, "decoder_norm is one of"),
        ({"apply_b_dec_to_input": 1}, "true or false"),
        ({"rescale_acts_by_decoder_norm": "no"}, "true or false"),
        ({"k": None}, "k is an integer"),
        ({"k": 33}, "more than the 32 latents"),
        ({"k": True}, "k is an integer"),
        ({"d_in": 0}, "d_in is an integer"),
        ({"d_sae": 3.0}, "d_sae is an integer"),
        ({"activation": "relu"}, "a topk SAE has activation"),
        ({"input_scale": 0.0}, "input_scale"),
        ({"input_scale": float("nan")}, "input_scale"),
        ({"bos": "sometimes"}, "bos is one of"),
        ({"dtype": "float64"}, "dtype is one of"),
        ({"model_name": ""}, "model_name is a name"),
        ({"context_size": 0}, "context_size"),
        ({"architecture": "standard", "activation": "relu"}, "k belongs to a topk SAE"),
        (
            {"architecture": "standard", "activation": "relu", "k": None, "rescale_acts_by_decoder_norm": True},
            "belongs to topk",
        ),
    ],
)
def test_value_out_of_range_is_refused(change, match):
    with pytest.raises(InvalidInput, match=match):
        CONFIG.with_(**change)


def test_site_that_is_no_site_is_refused():
    with pytest.raises(UnknownSite):
        CONFIG.with_(site="resid_pots.1")


def test_changing_an_unknown_field_names_the_nearest():
    with pytest.raises(InvalidInput, match="Nearest: hook_name"):
        CONFIG.with_(hookname="x")
