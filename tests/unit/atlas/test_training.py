"""Training of the bundled model: schedule, exact resumption, kept weights, and equality with transformers."""

import json

import numpy as np
import pytest
import torch

import interp.atlas.train as module
from interp.atlas.network import Network, NetworkConfig
from interp.atlas.prepare import prepare
from interp.atlas.train import (
    TrainConfig,
    load_checkpoint,
    make_optimiser,
    make_step,
    rate_at,
    train,
    write_settings,
)
from interp.errors import InvalidInput

SMALL = NetworkConfig(vocab_size=600, d_model=32, n_layers=2, n_heads=2, d_mlp=48, n_ctx=64)
CONFIG = TrainConfig(tokens=24 * 8 * 64, batch_rows=8, n_cities=150, eval_every=100, checkpoint_every=4, keep=(0.5,))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("build")
    prepare(path, n_texts=1500, vocab_size=600, n_cities=150)
    return path


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    place = copy_of(folder, tmp_path_factory.mktemp("train") / "whole")
    return place, train(place, CONFIG, SMALL)


def copy_of(folder, target):
    target.mkdir()
    (target / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    return target


def test_the_rate_warms_up_stays_and_falls_to_zero():
    config = TrainConfig()
    rates = [rate_at(t, 1000, config) for t in range(1000)]
    assert rates[0] < rates[10] < rates[20] == rates[500] == config.lr
    assert rates[-1] < 5e-3 * config.lr
    assert np.diff(rates[610:]).max() < 0


def test_a_killed_run_goes_on_bit_for_bit(folder, whole, tmp_path, monkeypatch):
    killed = copy_of(folder, tmp_path / "killed")
    real = module.batch_at

    def power_cut(text, step, **kwargs):
        if step == 10:
            raise KeyboardInterrupt
        return real(text, step, **kwargs)

    monkeypatch.setattr(module, "batch_at", power_cut)
    with pytest.raises(KeyboardInterrupt):
        train(killed, CONFIG, SMALL)
    monkeypatch.setattr(module, "batch_at", real)
    assert load_checkpoint(killed / "checkpoint.npz", Network(SMALL)) == 8
    resumed = train(killed, CONFIG, SMALL)
    for a, b in zip(whole[1].parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert (killed / "kept" / "step12.npz").read_bytes() == (whole[0] / "kept" / "step12.npz").read_bytes()


def test_two_trainings_with_one_seed_give_the_same_weights(folder, whole, tmp_path):
    again = train(copy_of(folder, tmp_path / "again"), CONFIG, SMALL)
    assert all(torch.equal(a, b) for a, b in zip(whole[1].parameters(), again.parameters(), strict=True))


def test_kept_weights_are_those_of_their_step(whole):
    kept = CONFIG.kept_steps(SMALL.n_ctx)
    assert kept == [12]
    early = Network(SMALL)
    with np.load(whole[0] / "kept" / "step12.npz", allow_pickle=False) as arrays:
        names = {name.removeprefix("weight/") for name in arrays}
        assert names == {name for name, _ in early.named_parameters()}
        moved = np.abs(arrays["weight/model.norm.weight"] - whole[1].model["norm"].weight.detach().numpy())
    assert moved.max() > 0


def test_training_lowers_the_held_out_loss(folder, tmp_path):
    config = TrainConfig(tokens=60 * 8 * 64, batch_rows=8, n_cities=150, eval_every=20, checkpoint_every=60)
    seen = []
    train(copy_of(folder, tmp_path / "run"), config, SMALL, report=seen.append)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [line["step"] for line in seen] == [20, 40, 60]
    assert log[-1]["text_loss"] < log[0]["text_loss"] < np.log(600)


def test_low_precision_products_leave_weights_in_float32():
    network = Network(SMALL).initialise(0)
    config = TrainConfig(precision="bfloat16")
    step = make_step(network, make_optimiser(network, config), config)
    ids = torch.randint(2, 600, (4, 64), generator=torch.Generator().manual_seed(0))
    losses = [step(ids, ids).item() for _ in range(8)]
    assert losses[-1] < losses[0]
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_a_folder_begun_with_other_settings_is_refused(tmp_path):
    write_settings(tmp_path, CONFIG, SMALL)
    write_settings(tmp_path, CONFIG, SMALL)
    with pytest.raises(InvalidInput, match=r"train\.seed: 0 there, 5 now"):
        write_settings(tmp_path, TrainConfig(**{**vars(CONFIG), "seed": 5}), SMALL)


def test_the_network_is_the_llama_of_transformers():
    from transformers import LlamaConfig, LlamaForCausalLM

    network = Network(SMALL).initialise(3)
    llama = LlamaForCausalLM(LlamaConfig(**SMALL.to_hf())).float()
    missing = llama.load_state_dict(network.state_dict(), strict=False)
    assert missing.missing_keys in ([], ["lm_head.weight"])
    ids = torch.randint(0, 600, (3, 50), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network(ids), llama(ids).logits, rtol=1e-5, atol=1e-5)


def test_initial_weights_depend_on_the_seed_alone():
    torch.manual_seed(123)
    a = Network(SMALL).initialise(0)
    torch.manual_seed(456)
    b, c = Network(SMALL).initialise(0), Network(SMALL).initialise(1)
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(a.model["embed_tokens"].weight, c.model["embed_tokens"].weight)


def test_only_matrices_decay():
    groups = make_optimiser(Network(SMALL), TrainConfig()).param_groups
    assert all(p.dim() >= 2 for p in groups[0]["params"])
    assert groups[1]["weight_decay"] == 0
