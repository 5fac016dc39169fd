"""What is to be trained is checked before the first batch; pairs train a transcoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sae_planted import plant
from test_sae_train import Killed, kill_at, same_weights

from interp.errors import InvalidInput, UnknownName
from interp.sae.config import topk_config
from interp.sae.learners.topk import TopKOptions
from interp.sae.pairs import joined
from interp.sae.sparse_grad import Aux, topk_step
from interp.sae.spec import make_spec
from interp.sae.train import train_sae

TRANSCODER = topk_config(12, 40, k=3, apply_b_dec_to_input=False, d_out=7, skip_connection=False)
SMALL = {"seed": 0, "batch_size": 64, "buffer": 512, "progress": False, "log_every": 10}


def test_config_widths_and_options_say_the_same_thing():
    config = topk_config(12, 40, k=3)
    specs = [
        make_spec(config),
        make_spec(d_in=12, d_sae=40, values={"k": 3}),
        make_spec(d_in=12, d_sae=40, options=TopKOptions(k=3)),
        make_spec(config, options=TopKOptions(k=3)),
    ]
    assert all(spec == specs[0] for spec in specs)
    assert specs[0].config == config


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"arch": "topq", "d_in": 3, "d_sae": 9}, UnknownName, "Nearest: topk"),
        ({"d_in": 3, "values": {"k": 2}}, InvalidInput, "d_in= and d_sae="),
        ({"d_in": 3, "d_sae": 9}, InvalidInput, "no default for k"),
        ({"config": topk_config(3, 9, k=2), "arch": "relu"}, InvalidInput, "makes standard SAEs.* arch='topk'"),
        ({"d_in": 3, "d_sae": 9, "values": {"kk": 2, "k": 3}}, InvalidInput, "no option 'kk'"),
        ({"d_in": 3, "d_sae": 9, "options": TopKOptions(k=2), "values": {"k": 2}}, InvalidInput, "not both"),
        ({"config": topk_config(3, 9, k=2), "d_in": 3}, InvalidInput, "in the config"),
        ({"config": topk_config(3, 9, k=2), "values": {"k": 3}}, InvalidInput, "options say k = 3"),
        ({"config": topk_config(3, 9, k=2, decoder_norm="free")}, InvalidInput, "decoder_norm 'unit'"),
        ({"d_in": 3, "d_sae": 9, "values": {"k": 2, "k_aux": -1}}, InvalidInput, "k_aux is an integer"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(given, error, match):
    with pytest.raises(error, match=match):
        make_spec(**given)


def pairs(n: int = 6000):
    """Targets that are a linear map of which of the planted directions are on, and the inputs that show them."""
    planted = plant(d=12, n=24, s=2, rows=n)
    codes = np.maximum(planted.activations @ planted.dictionary.T - 0.4, 0)
    images = np.random.default_rng(5).standard_normal((24, 7))
    return planted.activations + 3.0, (codes @ images + 2.0).astype(np.float32)


def test_pairs_are_joined_from_any_kind_of_stream():
    x, y = pairs(100)
    whole = np.concatenate([x, y], axis=1)
    parts = [(x[i : i + 10], y[i : i + 10]) for i in range(0, 100, 10)]
    for batches in (parts, lambda start: iter(parts[start:])):
        stream = joined(batches, TRANSCODER)
        items = stream(2) if callable(stream) else list(stream)[2:]
        np.testing.assert_array_equal(torch.cat(list(items)).numpy(), whole[20:])
    np.testing.assert_array_equal(joined((x, y), TRANSCODER), whole)


@pytest.mark.parametrize(
    ("batches", "config", "match"),
    [
        (np.zeros((9, 12)), TRANSCODER, "trained on pairs"),
        ((np.zeros((9, 12)), np.zeros((9, 12))), topk_config(12, 40, k=3), "state d_out"),
        ((np.zeros((9, 12)), np.zeros((8, 7))), TRANSCODER, r"\[9, 12\] and \[8, 7\]"),
        ((np.zeros((9, 7)), np.zeros((9, 12))), TRANSCODER, r"trained on \[n, 12\] and \[n, 7\]"),
    ],
)
def test_what_is_no_pair_is_refused(batches, config, match):
    with pytest.raises(InvalidInput, match=match):
        joined(batches, config)


@pytest.mark.parametrize("skip", [True, False])
def test_transcoder_gradient_equals_dense_autograd(skip):
    g = torch.Generator().manual_seed(0)
    weights = {"W_enc": torch.randn(12, 40, generator=g), "b_enc": torch.randn(40, generator=g)}
    weights |= {"W_dec": torch.randn(40, 7, generator=g), "b_dec": torch.randn(7, generator=g)}
    weights |= {"W_skip": torch.randn(7, 12, generator=g)} if skip else {}
    x, y = torch.randn(30, 12, generator=g), torch.randn(30, 7, generator=g)
    step = topk_step(weights, x, k=3, apply_b_dec=False, target=y, aux=Aux(torch.arange(9), 2, 1 / 32))
    exact = {name: value.double().requires_grad_() for name, value in weights.items()}
    pre = x.double() @ exact["W_enc"] + exact["b_enc"]
    keep = torch.zeros_like(pre).scatter(1, pre.topk(3, dim=1).indices, 1.0)
    y_hat = (pre * keep).relu() @ exact["W_dec"] + exact["b_dec"]
    y_hat = y_hat + x.double() @ exact["W_skip"].T if skip else y_hat
    keep = torch.zeros_like(pre).scatter(1, pre[:, :9].topk(2, dim=1).indices, 1.0)
    miss = (pre * keep).relu() @ exact["W_dec"] - (y.double() - y_hat).detach()
    loss = ((y_hat - y.double()).square().sum() + miss.square().sum() / 32) / y.numel()
    loss.backward()
    assert step.loss == pytest.approx(float(loss.detach()), rel=1e-5)
    for name, value in exact.items():
        torch.testing.assert_close(step.grads[name].double(), value.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("skip", [True, False])
def test_transcoder_predicts_its_targets_in_raw_units(skip):
    x, y = pairs()
    config = TRANSCODER.with_(skip_connection=skip)
    sae, history = train_sae((x, y), config, steps=400, lr=5e-3, **(SMALL | {"batch_size": 256}))
    fvu = float(((sae(x).numpy() - y) ** 2).sum() / ((y - y.mean(axis=0)) ** 2).sum())
    linear = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    rest = y - linear @ np.linalg.lstsq(linear, y, rcond=None)[0]
    # better than the best linear map, which no dictionary is needed for
    assert fvu < 0.7 * float((rest**2).sum() / ((y - y.mean(axis=0)) ** 2).sum())
    assert history["fvu"].iloc[-1] == pytest.approx(fvu, rel=0.15)
    assert sae.config.d_out == 7


def test_targets_that_the_inputs_do_not_hold_are_not_predicted():
    x, y = pairs()
    order = np.random.default_rng(0).permutation(len(y))
    sae, _ = train_sae((x[:5000], y[order][:5000]), TRANSCODER, steps=400, lr=5e-3, **(SMALL | {"batch_size": 256}))
    x, y = x[5000:], y[order][5000:]
    assert float(((sae(x).numpy() - y) ** 2).sum() / ((y - y.mean(axis=0)) ** 2).sum()) > 0.95


def test_killed_transcoder_goes_on_to_the_same_bits(tmp_path):
    x, y = pairs()
    config, args = TRANSCODER.with_(skip_connection=True), {"steps": 40, "checkpoint_every": 10, **SMALL}
    whole, history = train_sae((x, y), config, **args)
    with pytest.raises(Killed):
        train_sae((x, y), config, checkpoint_dir=tmp_path, log=kill_at(20), **args)
    resumed, again = train_sae((x, y), config, checkpoint_dir=tmp_path, **args)
    assert same_weights(whole, resumed)
    assert history.equals(again)


def test_checkpoint_of_other_options_is_refused_by_name(tmp_path):
    x, y = pairs()
    args = {"steps": 10, "checkpoint_every": 10, "checkpoint_dir": tmp_path, **SMALL}
    train_sae((x, y), TRANSCODER, **args)
    with pytest.raises(InvalidInput, match="k_aux was 3, now 2"):
        train_sae((x, y), TRANSCODER, k_aux=2, **args)
