"""Training finds a planted dictionary, repeats itself, and goes on after a kill to the same bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sae_planted import plant, recall

from interp.errors import CorruptArtifact, InvalidInput, NonFinite
from interp.sae.config import topk_config
from interp.sae.settings import TrainSettings
from interp.sae.train import train_sae

PLANTED = plant()
SMALL = {"batch_size": 64, "buffer": 512, "lr": 3e-3, "progress": False, "log_every": 10}


class Killed(Exception):
    """Stands for the process dying."""


def kill_at(step: int):
    def log(row):
        if row["step"] >= step:
            raise Killed

    return log


def same_weights(one, two) -> bool:
    return all(torch.equal(value, two.weights()[name]) for name, value in one.weights().items())


@pytest.mark.parametrize(("s", "seed"), [(2, 0), (3, 1)])
def test_planted_dictionary_is_recovered(s, seed):
    planted = plant(s=s, seed=seed)
    sae, history = train_sae(
        planted.activations,
        topk_config(32, 128, k=3),
        seed=seed,
        steps=900,
        batch_size=256,
        lr=3e-3,
        buffer=8192,
        progress=False,
    )
    assert recall(sae.W_dec.numpy(), planted.dictionary) >= 0.95
    assert history["fvu"].iloc[-1] < 0.08


def test_untrained_sae_recovers_nothing():
    sae, _ = train_sae(PLANTED.activations, topk_config(32, 128, k=3), seed=0, steps=1, **SMALL)
    assert recall(sae.W_dec.numpy(), PLANTED.dictionary) == 0.0


def test_same_seed_gives_the_same_bits_and_another_seed_does_not():
    runs = [
        train_sae(PLANTED.activations, topk_config(32, 64, k=3), seed=seed, steps=30, **SMALL) for seed in (0, 0, 1)
    ]
    assert same_weights(runs[0][0], runs[1][0])
    assert runs[0][1].equals(runs[1][1])
    assert not same_weights(runs[0][0], runs[2][0])


@pytest.mark.parametrize("kind", ["array", "list", "function"])
def test_killed_run_goes_on_to_the_same_bits(tmp_path, kind):
    parts = np.array_split(PLANTED.activations[:8000], 80)
    batches = {"array": PLANTED.activations[:1000], "list": parts, "function": lambda start: iter(parts[start:])}[kind]
    args = {"seed": 0, "steps": 60, "dead_after": 500, "checkpoint_every": 20, **SMALL}
    config = topk_config(32, 128, k=3)
    whole, history = train_sae(batches, config, **args)
    for step in (30, 50):  # killed twice, between checkpoints
        with pytest.raises(Killed):
            train_sae(batches, config, checkpoint_dir=tmp_path, log=kill_at(step), **args)
    resumed, resumed_history = train_sae(batches, config, checkpoint_dir=tmp_path, **args)
    assert same_weights(whole, resumed)
    assert history.equals(resumed_history)
    assert history["dead_share"].max() > 0  # so the AuxK term took part


def test_two_checkpoints_are_kept(tmp_path):
    train_sae(
        PLANTED.activations,
        topk_config(32, 64, k=3),
        seed=0,
        steps=50,
        checkpoint_dir=tmp_path,
        checkpoint_every=10,
        **SMALL,
    )
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["step_000000040", "step_000000050"]


def test_checkpoint_of_other_settings_is_refused_by_name(tmp_path):
    args = {"steps": 20, "checkpoint_dir": tmp_path, "checkpoint_every": 10, **SMALL}
    train_sae(PLANTED.activations, topk_config(32, 64, k=3), seed=0, **args)
    with pytest.raises(InvalidInput, match="seed was 0, now 1"):
        train_sae(PLANTED.activations, topk_config(32, 64, k=3), seed=1, **args)
    with pytest.raises(InvalidInput, match="k was 3, now 4"):
        train_sae(PLANTED.activations, topk_config(32, 64, k=4), seed=0, **args)


def test_checkpoint_of_other_activations_is_refused(tmp_path):
    args = {"seed": 0, "steps": 20, "checkpoint_dir": tmp_path, "checkpoint_every": 10, **SMALL}
    train_sae(PLANTED.activations, topk_config(32, 64, k=3), **args)
    with pytest.raises(InvalidInput, match="other activations"):
        train_sae(PLANTED.activations + 1, topk_config(32, 64, k=3), **args)


def test_altered_checkpoint_is_refused(tmp_path):
    args = {"seed": 0, "steps": 20, "checkpoint_dir": tmp_path, "checkpoint_every": 10, **SMALL}
    train_sae(PLANTED.activations, topk_config(32, 64, k=3), **args)
    path = tmp_path / "step_000000020" / "checkpoint.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CorruptArtifact, match=r"checkpoint\.safetensors"):
        train_sae(PLANTED.activations, topk_config(32, 64, k=3), **args)


def test_result_reads_raw_activations_whatever_their_scale():
    config = topk_config(32, 64, k=3)
    one, _ = train_sae(PLANTED.activations, config, seed=0, steps=40, **SMALL)
    big, _ = train_sae(PLANTED.activations * 64.0, config, seed=0, steps=40, **SMALL)  # a power of two: exact
    assert one.config.input_scale == 64.0 * big.config.input_scale
    x = PLANTED.activations[:100]
    torch.testing.assert_close(big(x * 64.0), 64.0 * one(x), rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(big.encode(x * 64.0), 64.0 * one.encode(x), rtol=1e-6, atol=1e-5)
    scale = float(np.sqrt(32 / PLANTED.activations.astype(np.float64).var(axis=0).sum()))
    assert one.config.input_scale == pytest.approx(scale, rel=0.05)  # measured on the first buffer alone


def test_a_large_mean_does_no_harm():
    config, args = topk_config(32, 64, k=3), {"seed": 0, "steps": 300, **(SMALL | {"batch_size": 256})}
    _, centred = train_sae(PLANTED.activations, config, **args)
    _, shifted = train_sae(PLANTED.activations + 50.0, config, **args)
    assert shifted["fvu"].iloc[-1] == pytest.approx(centred["fvu"].iloc[-1], abs=0.03)


def test_decoder_rows_have_length_one():
    sae, _ = train_sae(PLANTED.activations, topk_config(32, 64, k=3), seed=0, steps=40, **SMALL)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(64), rtol=0, atol=1e-6)


def test_reported_fvu_and_l0_are_those_of_the_returned_sae():
    sae, history = train_sae(
        PLANTED.activations, topk_config(32, 64, k=3), seed=0, steps=400, **(SMALL | {"batch_size": 256})
    )
    x = torch.from_numpy(PLANTED.activations)
    fvu = float((sae(x) - x).square().sum() / (x - x.mean(dim=0)).square().sum())
    l0 = float((sae.encode(x) > 0).sum(dim=1).double().mean())
    assert history["fvu"].iloc[-1] == pytest.approx(fvu, rel=0.1)
    assert history["l0"].iloc[-1] == pytest.approx(l0, rel=0.02)


def test_learning_rate_warms_up_stays_and_falls_to_zero():
    settings = TrainSettings(
        steps=1000, batch_size=1, lr=1.0, seed=0, buffer=2, dead_after=1, log_every=1, checkpoint_every=1
    )
    rates = [settings.learning_rate(step) for step in range(1000)]
    assert rates[0] == pytest.approx(1 / 50)
    assert rates[49] == rates[500] == rates[799] == 1.0
    assert rates[900] == pytest.approx(0.5)
    assert rates[999] == pytest.approx(1 / 200)


def test_stream_that_ends_early_is_refused():
    with pytest.raises(InvalidInput, match="ended at step"):
        train_sae([PLANTED.activations[:1000]], topk_config(32, 64, k=3), seed=0, steps=100, **SMALL)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"steps": None}, "either tokens or steps"),
        ({"tokens": 100}, "either tokens or steps"),
        ({"lr": 0.0}, "lr is a positive"),
        ({"steps": 0}, "steps from 1"),
        ({"steps": None, "tokens": 63}, "at least 64 tokens"),
        ({"batch_size": 0}, "batch_size is an integer"),
        ({"k_aux": -1}, "k_aux is an integer"),
        ({"batches": []}, "empty"),
        ({"batches": np.ones((5000, 32), np.float32)}, "the same"),
        ({"batches": np.zeros((5000, 31), np.float32)}, "d_in 32"),
        ({"config": topk_config(32, 64, k=3, decoder_norm="free")}, "decoder_norm 'unit'"),
    ],
)
def test_what_cannot_be_trained_is_refused(change, error):
    args = {"batches": PLANTED.activations, "config": topk_config(32, 64, k=3), "seed": 0, "steps": 10, **SMALL}
    args |= change
    with pytest.raises(InvalidInput, match=error):
        train_sae(args.pop("batches"), args.pop("config"), **args)


def test_diverging_run_stops():
    bad = PLANTED.activations.copy()
    bad[4000:] *= 1e30  # finite, but its square is not
    with pytest.raises(NonFinite, match="the loss is inf"):
        train_sae([bad[:4000], bad[4000:]], topk_config(32, 64, k=3), seed=0, steps=200, **SMALL)
