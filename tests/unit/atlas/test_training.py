"""Training of the bundled model: packing, repeats, exact resumption, and equality with transformers."""

import json

import numpy as np
import pytest
import torch

from interp.atlas.data import BOS_ID, IGNORE, batch_at, pack, repeat_row, repeats_at, schedule
from interp.atlas.network import Network, NetworkConfig
from interp.atlas.prepare import prepare
from interp.atlas.train import TrainConfig, load_checkpoint, make_optimiser, rate_at, train

SMALL = NetworkConfig(vocab_size=600, d_model=32, n_layers=2, n_heads=2, d_mlp=48, n_ctx=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("build")
    prepare(path, tokens=20_000, vocab_size=600, n_ctx=64)
    return path


def copy_of(folder, target):
    target.mkdir()
    for name in ("rows.npy", "held_out.npy", "tokenizer.json"):
        (target / name).write_bytes((folder / name).read_bytes())
    return target


def test_rows_begin_with_bos_and_keep_the_texts_in_order():
    rows = pack(iter([[0, 5, 6, 7], [0, 8, 9, 10, 11]]), 8, 4)
    assert rows.tolist() == [[0, 5, 6, 7], [0, 8, 9, 10]]


def test_a_row_of_repeats_has_no_loss_in_its_first_period():
    ids, targets = repeat_row(np.random.default_rng(1), 64, 600)
    period = int(np.flatnonzero(targets != IGNORE)[0])
    assert ids[0] == BOS_ID
    assert (ids[1 + period :] == ids[1:-period]).all()
    assert (targets[period:-1] == ids[period + 1 :]).all()


def test_the_middle_phase_is_heavy_in_repeats():
    assert repeats_at(0.1) < repeats_at(0.4) > repeats_at(0.95)


def test_text_rows_are_read_once_and_in_order():
    rows = np.arange(1600, dtype=np.uint16).reshape(100, 16)
    plan = schedule(12, 8)
    firsts = [batch_at(rows, t, plan=plan, batch=8, vocab=50, seed=0)[0][: 8 - plan[0][t], 0] for t in range(12)]
    assert np.concatenate(firsts).tolist() == list(range(0, 16 * sum(8 - plan[0]), 16))


def test_the_rate_warms_up_and_ends_at_zero():
    config = TrainConfig()
    rates = [rate_at(t, 1000, config) for t in range(1000)]
    assert rates[0] < rates[10] < max(rates) == pytest.approx(config.lr, rel=1e-3)
    assert rates[-1] < 1e-3 * config.lr


def test_two_preparations_with_one_seed_give_the_same_corpus(folder, tmp_path):
    other = prepare(tmp_path, tokens=20_000, vocab_size=600, n_ctx=64)
    assert other == prepare(tmp_path / "again", tokens=20_000, vocab_size=600, n_ctx=64)
    assert (tmp_path / "rows.npy").read_bytes() == (folder / "rows.npy").read_bytes()
    assert other != prepare(tmp_path / "seed", tokens=20_000, vocab_size=600, n_ctx=64, seed=1)


def test_a_killed_run_goes_on_bit_for_bit(folder, tmp_path, monkeypatch):
    config = TrainConfig(tokens=24 * 8 * 64, batch_rows=8, eval_every=100, checkpoint_every=4)
    whole = train(copy_of(folder, tmp_path / "whole"), config, SMALL)

    killed = copy_of(folder, tmp_path / "killed")
    import interp.atlas.train as module

    real = module.batch_at

    def power_cut(rows, step, **kwargs):
        if step == 10:
            raise KeyboardInterrupt
        return real(rows, step, **kwargs)

    monkeypatch.setattr(module, "batch_at", power_cut)
    with pytest.raises(KeyboardInterrupt):
        train(killed, config, SMALL)
    monkeypatch.setattr(module, "batch_at", real)
    network = Network(SMALL)
    assert load_checkpoint(killed / "checkpoint.npz", network) == 8
    resumed = train(killed, config, SMALL)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_training_lowers_the_held_out_loss(folder, tmp_path):
    place = copy_of(folder, tmp_path / "run")
    train(place, TrainConfig(tokens=60 * 8 * 64, batch_rows=8, eval_every=20, checkpoint_every=60), SMALL)
    log = [json.loads(line) for line in (place / "log.jsonl").read_text().splitlines()]
    assert log[-1]["text_loss"] < log[0]["text_loss"] < np.log(600)


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
