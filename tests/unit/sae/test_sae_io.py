"""A saved SAE comes back as it was, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sae_planted import CLASSES, config_of, plant, random_sae
from safetensors.torch import load, save

from interp.errors import CorruptArtifact, InvalidInput, SaeMismatch, UnknownName
from interp.sae import golden
from interp.sae.config import topk_config
from interp.sae.io import list_saes, load_sae, rounded_sae, save_sae, training_record
from interp.sae.train import train_sae
from interp.store import write_folder

X = np.random.default_rng(1).standard_normal((50, 12)).astype(np.float32)
CASES = [(a, t) for a in CLASSES for t in ("float16", "bfloat16", "float32")]


@pytest.fixture(scope="module")
def trained():
    """A TopK SAE trained a little: unit rows, a bias that matters, as users have."""
    shift = np.linspace(1.0, 2.0, 32, dtype=np.float32)
    sae, _ = train_sae(
        plant().activations + shift,
        topk_config(32, 64, k=3, site="resid_post.1", hook_name="blocks.1.hook_resid_post", bos="always"),
        seed=0,
        steps=60,
        batch_size=64,
        lr=3e-3,
        progress=False,
    )
    return sae


@pytest.mark.parametrize(("architecture", "dtype"), CASES)
def test_round_trip_gives_the_rounded_sae_to_the_last_bit(tmp_path, make_sae, architecture, dtype):
    sae = make_sae(architecture, dtype=dtype)
    save_sae(sae, tmp_path / "sae", training={"tokens": 5})
    again = load_sae(tmp_path / "sae")
    assert again.golden_checked
    assert again.config == sae.config
    kind = getattr(torch, dtype)
    for name, value in sae.weights().items():
        assert torch.equal(again.weights()[name], value.to(kind).float())
    assert torch.equal(again(X), rounded_sae(sae)(X))
    assert training_record(tmp_path / "sae") == {"tokens": 5}


def test_stored_type_is_the_one_asked_for(tmp_path, make_sae):
    save_sae(make_sae(dtype="float16"), tmp_path / "half")
    save_sae(make_sae(dtype="float16"), tmp_path / "full", dtype="float32")
    kinds = [load((tmp_path / n / "sae_weights.safetensors").read_bytes())["W_enc"].dtype for n in ("half", "full")]
    assert kinds == [torch.float16, torch.float32]


def test_bundled_size_stays_under_the_limit(tmp_path):
    sae = random_sae(config_of("topk", d_in=128, d_sae=2048, k=16))
    save_sae(sae, tmp_path / "sae")
    assert sum(path.stat().st_size for path in (tmp_path / "sae").iterdir()) <= 1.5e6


def test_weight_too_large_for_16_bit_is_refused(tmp_path, make_sae):
    sae = make_sae()
    sae.b_dec[3] = 1e5
    with pytest.raises(InvalidInput, match=r"b_dec reaches 1e\+05, too large for float16"):
        save_sae(sae, tmp_path / "sae")
    assert not (tmp_path / "sae").exists()


def test_existing_folder_is_not_replaced_unless_asked(tmp_path, make_sae):
    save_sae(make_sae(seed=0), tmp_path / "sae")
    with pytest.raises(InvalidInput, match="overwrite=True"):
        save_sae(make_sae(seed=1), tmp_path / "sae")
    save_sae(make_sae(seed=1), tmp_path / "sae", overwrite=True)
    assert torch.equal(load_sae(tmp_path / "sae")(X), rounded_sae(make_sae(seed=1))(X))


FILES = ["cfg.json", "sae_weights.safetensors", "golden.safetensors", "training.json", "manifest.json"]


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_is_refused(tmp_path, make_sae, name):
    save_sae(make_sae(), tmp_path / "sae", training={"tokens": 5})
    path = tmp_path / "sae" / name
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for bit in rng.integers(0, 8 * len(whole), 120):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(bytes(data))
        with pytest.raises(CorruptArtifact, match=name.replace(".", r"\.")):
            load_sae(tmp_path / "sae")
    path.write_bytes(whole)
    load_sae(tmp_path / "sae")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", ["cut", "empty", "missing", "longer"])
def test_cut_or_missing_file_is_refused(tmp_path, make_sae, name, change):
    save_sae(make_sae(), tmp_path / "sae")
    path = tmp_path / "sae" / name
    whole = path.read_bytes()
    if change == "missing":
        path.unlink()
    else:
        path.write_bytes({"cut": whole[:-7], "empty": b"", "longer": whole + b"\0"}[change])
    with pytest.raises(CorruptArtifact):
        load_sae(tmp_path / "sae")


def rewrite(folder: Path, target: Path, change) -> None:
    """Copy an SAE folder with some files changed and a manifest that says all is well."""
    files = {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "manifest.json"}
    change(files)
    write_folder(target, files)


WRONG = [
    {"apply_b_dec_to_input": False},
    {"k": 2},
    {"k": 4},
    {"decoder_norm": "free"},
    {"rescale_acts_by_decoder_norm": True},
    {"normalize_activations": "layer_norm"},
    {"input_scale": 1.0},
    {"site": "resid_post.0"},
    {"bos": "never"},
    {"architecture": "standard", "activation": "relu", "k": None},
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda w: next(iter(w)) + "=" + str(next(iter(w.values()))))
def test_each_wrong_convention_fails_the_golden_check(tmp_path, trained, wrong):
    from interp.sae.formats import saelens_cfg

    save_sae(trained, tmp_path / "right")
    config = trained.config.with_(**wrong)

    def change(files):
        files["cfg.json"] = json.dumps(saelens_cfg(config)).encode()

    rewrite(tmp_path / "right", tmp_path / "wrong", change)
    with pytest.raises(SaeMismatch, match=next(iter(wrong))):
        load_sae(tmp_path / "wrong")


@pytest.mark.parametrize("wrong", WRONG[:3], ids=["apply_b_dec_to_input", "k less", "k more"])
def test_numbers_alone_catch_a_wrong_convention(trained, wrong):
    """The comparison of the numbers fails too, were the config's own record not looked at."""
    right = rounded_sae(trained)
    expected = load(golden.make_golden(right))
    golden.compare_golden(right, expected)
    sae = CLASSES["topk"](right.config.with_(**wrong), right.weights())
    with pytest.raises(SaeMismatch, match="golden input"):
        golden.compare_golden(sae, expected)


def test_weights_of_another_sae_fail_the_golden_check(tmp_path, make_sae):
    save_sae(make_sae(seed=0), tmp_path / "one")
    save_sae(make_sae(seed=1), tmp_path / "two")
    other = (tmp_path / "two" / "sae_weights.safetensors").read_bytes()
    rewrite(tmp_path / "one", tmp_path / "mixed", lambda files: files.update({"sae_weights.safetensors": other}))
    with pytest.raises(SaeMismatch, match="golden input"):
        load_sae(tmp_path / "mixed")


@pytest.mark.parametrize("tensor", ["W_enc", "W_dec", "b_enc", "b_dec"])
def test_a_changed_weight_tensor_fails_the_golden_check(tmp_path, make_sae, tensor):
    save_sae(make_sae(), tmp_path / "one")

    def change(files):
        weights = load(files["sae_weights.safetensors"])
        weights[tensor] = weights[tensor].flip(0)
        files["sae_weights.safetensors"] = save({k: v.contiguous() for k, v in weights.items()})

    rewrite(tmp_path / "one", tmp_path / "two", change)
    with pytest.raises(SaeMismatch):
        load_sae(tmp_path / "two")


def test_golden_rows_survive_rounding_of_the_inputs(trained):
    """Another machine computes with other roundings; golden rows are chosen so that no latent turns."""
    expected = load(golden.make_golden(trained))
    rng = np.random.default_rng(0)
    for _ in range(20):
        noise = torch.from_numpy(rng.uniform(-3e-6, 3e-6, tuple(expected["inputs"].shape))).float()
        golden.compare_golden(trained, {**expected, "inputs": expected["inputs"] * (1 + noise)})


def test_golden_inputs_come_from_the_activations_given(trained):
    given = plant(seed=5).activations[:600]
    inputs = load(golden.make_golden(trained, given))["inputs"].numpy()
    assert len(inputs) == golden.N_ROWS
    assert all(any(np.array_equal(row, g) for g in given) for row in inputs)


def test_sae_that_is_never_on_has_no_golden_input(make_sae):
    sae = make_sae()
    sae.b_enc -= 1e4
    with pytest.raises(InvalidInput, match="candidate inputs"):
        golden.make_golden(sae)


def test_unknown_name_says_what_there_is(tmp_path):
    with pytest.raises(UnknownName, match=r"no bundled SAE and no folder 'atlas/resid_pots\.2'"):
        load_sae("atlas/resid_pots.2")


def test_bundled_names_are_listed_and_found(tmp_path, make_sae, monkeypatch):
    from interp.sae import io

    monkeypatch.setattr(io, "BUNDLED", tmp_path)
    save_sae(make_sae(), tmp_path / "atlas" / "resid_post.2")
    assert list_saes() == ["atlas/resid_post.2"]
    assert load_sae("atlas/resid_post.2").golden_checked
    with pytest.raises(UnknownName, match=r"Nearest bundled: atlas/resid_post\.2"):
        load_sae("atlas/resid_post.3")


def test_config_that_contradicts_itself_is_refused(tmp_path, make_sae):
    save_sae(make_sae(), tmp_path / "one")

    def change(files):
        cfg = json.loads(files["cfg.json"])
        cfg["k"] = 7
        files["cfg.json"] = json.dumps(cfg).encode()

    rewrite(tmp_path / "one", tmp_path / "two", change)
    with pytest.raises(SaeMismatch, match="contradicts itself: k is 7"):
        load_sae(tmp_path / "two")
