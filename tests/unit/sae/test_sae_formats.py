"""Folders of other libraries are read with their conventions, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sae_planted import CLASSES, config_of, random_sae
from safetensors.torch import save_file

from interp.errors import CorruptArtifact, InvalidInput, SaeMismatch
from interp.sae.formats import site_of_hook
from interp.sae.io import load_sae

X = np.random.default_rng(1).standard_normal((50, 12)).astype(np.float32)
METADATA = {"model_name": "gpt2", "hook_name": "blocks.3.hook_resid_post", "prepend_bos": True, "context_size": 128}


def saelens_folder(path: Path, sae, *, drop=(), layout="nested", **changes) -> Path:
    """Write an SAE as SAELens does, in its layout of 6.0 or in the flat one before."""
    c = sae.config
    cfg = {"architecture": c.architecture, "d_in": c.d_in, "d_sae": c.d_sae, "dtype": "float32", "device": "cuda:0"}
    cfg |= {"apply_b_dec_to_input": c.apply_b_dec_to_input, "normalize_activations": c.normalize_activations}
    if layout == "nested":
        cfg |= {"reshape_activations": "none", "metadata": METADATA}
        if c.architecture == "topk":
            cfg |= {"k": c.k, "rescale_acts_by_decoder_norm": c.rescale_acts_by_decoder_norm}
    else:
        cfg |= {
            **METADATA,
            "hook_layer": 3,
            "hook_head_index": None,
            "dataset_path": "x",
            "finetuning_scaling_factor": False,
        }
        cfg["activation_fn_str"] = "topk" if c.architecture == "topk" else "relu"
        cfg["activation_fn_kwargs"] = {"k": c.k} if c.architecture == "topk" else {}
    cfg = {k: v for k, v in (cfg | changes).items() if k not in drop}
    path.mkdir()
    (path / "cfg.json").write_text(json.dumps(cfg))
    save_file({k: v.clone() for k, v in sae.weights().items()}, path / "sae_weights.safetensors")
    return path


def free(architecture: str, **stated):
    return random_sae(config_of(architecture, decoder_norm="free", **stated))


@pytest.mark.parametrize("architecture", CLASSES)
@pytest.mark.parametrize("apply_b_dec", [True, False])
@pytest.mark.parametrize("layout", ["nested", "flat"])
def test_saelens_folder_is_read(tmp_path, architecture, apply_b_dec, layout):
    sae = free(architecture, apply_b_dec_to_input=apply_b_dec)
    again = load_sae(saelens_folder(tmp_path / "sae", sae, layout=layout))
    assert torch.equal(again.encode(X), sae.encode(X))
    assert torch.equal(again(X), sae(X))
    assert (again.config.site, again.config.model_name, again.config.bos) == ("resid_post.3", "gpt2", "always")
    assert again.config.context_size == 128
    assert again.config.decoder_norm == "free"
    assert not again.golden_checked


def test_rescaling_by_decoder_norm_is_read(tmp_path):
    sae = free("topk", rescale_acts_by_decoder_norm=True)
    assert torch.equal(load_sae(saelens_folder(tmp_path / "sae", sae)).encode(X), sae.encode(X))


@pytest.mark.parametrize("key", ["architecture", "d_in", "d_sae", "apply_b_dec_to_input", "normalize_activations", "k"])
@pytest.mark.parametrize("layout", ["nested", "flat"])
def test_missing_convention_is_refused_by_name(tmp_path, key, layout):
    drop = {"k": "activation_fn_kwargs"}.get(key, key) if layout == "flat" else key
    folder = saelens_folder(tmp_path / "sae", free("topk"), drop=(drop,), layout=layout)
    if layout == "flat" and key == "architecture":
        assert load_sae(folder).config.k == 5  # the flat layout says it twice: activation_fn_str is topk
        return
    with pytest.raises(InvalidInput, match=key):
        load_sae(folder)


def test_missing_convention_can_be_declared(tmp_path):
    sae = free("topk", apply_b_dec_to_input=False)
    folder = saelens_folder(tmp_path / "sae", sae, drop=("apply_b_dec_to_input",))
    again = load_sae(folder, declare={"apply_b_dec_to_input": False})
    assert torch.equal(again(X), sae(X))


def test_stated_convention_cannot_be_overruled(tmp_path):
    folder = saelens_folder(tmp_path / "sae", free("topk"))
    with pytest.raises(SaeMismatch, match="declared apply_b_dec_to_input False"):
        load_sae(folder, declare={"apply_b_dec_to_input": False})


# cfg.json of one of the first SAEs on GPT-2: the settings of the whole training, and few conventions
OLDEST = json.loads(
    """{
    "model_name": "gpt2-small", "hook_point": "blocks.8.hook_resid_pre", "hook_point_layer": 8,
    "hook_point_head_index": null, "dataset_path": "Skylion007/openwebtext", "is_dataset_tokenized": false,
    "context_size": 128, "use_cached_activations": false, "cached_activations_path": "activations/x", "d_in": 12,
    "n_batches_in_buffer": 128, "total_training_tokens": 300000000, "store_batch_size": 32, "device": "mps",
    "seed": 42, "dtype": "torch.float32", "b_dec_init_method": "geometric_median", "expansion_factor": 32,
    "from_pretrained_path": null, "l1_coefficient": 8e-05, "lr": 0.0004, "lr_scheduler_name": null,
    "lr_warm_up_steps": 5000, "train_batch_size": 4096, "use_ghost_grads": false,
    "feature_sampling_window": 1000, "feature_sampling_method": null, "resample_batches": 1028,
    "feature_reinit_scale": 0.2, "dead_feature_window": 5000, "dead_feature_estimation_method": "no_fire",
    "dead_feature_threshold": 1e-08, "log_to_wandb": true, "wandb_project": "x", "wandb_entity": null,
    "wandb_log_frequency": 100, "n_checkpoints": 10, "checkpoint_path": "checkpoints/x", "d_sae": 40,
    "tokens_per_buffer": 67108864, "run_name": "24576-L1-8e-05-LR-0.0004-Tokens-3.000e+08"
    }"""
)
ASSUMED = {"architecture": "standard", "activation": "relu", "apply_b_dec_to_input": True}
ASSUMED |= {"normalize_activations": "none"}


def oldest_folder(path: Path, sae, *, drop=(), **changes) -> Path:
    path.mkdir()
    (path / "cfg.json").write_text(json.dumps({k: v for k, v in (OLDEST | changes).items() if k not in drop}))
    weights = {k: v.clone() for k, v in sae.weights().items()} | {"scaling_factor": torch.ones(40)}
    save_file(weights, path / "sae_weights.safetensors")
    save_file({"sparsity": torch.zeros(40)}, path / "sparsity.safetensors")
    return path


def test_oldest_saelens_folder_is_refused_until_its_conventions_are_declared(tmp_path):
    sae = free("standard")
    folder = oldest_folder(tmp_path / "sae", sae)
    with pytest.raises(InvalidInput, match="does not state architecture, activation, apply_b_dec_to_input, normalize"):
        load_sae(folder)
    with pytest.raises(InvalidInput, match=r"would assume declare=\{'activation': 'relu'\}"):
        load_sae(folder, declare={key: value for key, value in ASSUMED.items() if key != "activation"})
    again = load_sae(folder, declare=ASSUMED)
    assert torch.equal(again(X), sae(X))
    assert (again.config.site, again.config.model_name, again.config.bos) == ("resid_pre.8", "gpt2-small", None)


@pytest.mark.parametrize(("flag", "layer_norm"), [(False, False), (None, False), ("layer_norm", True)])
def test_normalisation_of_older_files_is_read(tmp_path, flag, layer_norm):
    sae = free("standard", normalize_activations="layer_norm" if layer_norm else "none")
    folder = oldest_folder(tmp_path / "sae", sae, normalize_activations=flag)
    declare = {key: value for key, value in ASSUMED.items() if key != "normalize_activations"}
    assert torch.equal(load_sae(folder, declare=declare)(X), sae(X))


def test_normalisation_by_an_unknown_factor_is_refused(tmp_path):
    folder = oldest_folder(tmp_path / "sae", free("standard"), normalize_activations=True)
    declare = {key: value for key, value in ASSUMED.items() if key != "normalize_activations"}
    with pytest.raises(InvalidInput, match="needs a factor that the file does not hold"):
        load_sae(folder, declare=declare)


def test_unknown_key_of_an_older_file_is_refused_by_name(tmp_path):
    folder = oldest_folder(tmp_path / "sae", free("standard"), is_transcoder=True)
    with pytest.raises(InvalidInput, match="unknown key 'is_transcoder'"):
        load_sae(folder, declare=ASSUMED)


@pytest.mark.parametrize("architecture", ["standard", "jumprelu"])
@pytest.mark.parametrize("skip", [True, False])
def test_saelens_transcoder_is_read(tmp_path, architecture, skip):
    sae = free(architecture, apply_b_dec_to_input=False, d_out=9, skip_connection=skip)
    kind = ("jumprelu_" if architecture == "jumprelu" else "") + ("skip_transcoder" if skip else "transcoder")
    places = {"hook_name": "blocks.3.hook_resid_mid", "hook_name_out": "blocks.3.hook_mlp_out"}
    folder = saelens_folder(tmp_path / "sae", sae, architecture=kind, d_out=9, metadata=METADATA | places)
    again = load_sae(folder)
    assert torch.equal(again.encode(X), sae.encode(X))
    assert torch.equal(again(X), sae(X))
    assert (again.config.site, again.config.site_out) == ("resid_mid.3", "mlp_out.3")
    assert again.config.skip_connection is skip


def test_saelens_transcoder_without_its_width_is_refused(tmp_path):
    sae = free("standard", apply_b_dec_to_input=False, d_out=9, skip_connection=False)
    with pytest.raises(InvalidInput, match="missing key 'd_out'"):
        load_sae(saelens_folder(tmp_path / "sae", sae, architecture="transcoder"))


def test_sae_of_one_head_is_written_and_read_as_one(tmp_path, make_sae):
    from interp.sae.io import save_sae

    sae = make_sae("topk", site="z.3.h5", hook_name="blocks.3.attn.hook_z")
    cfg = json.loads((save_sae(sae, tmp_path / "head") / "cfg.json").read_text())
    assert (cfg["reshape_activations"], cfg["metadata"]["hook_head_index"]) == ("none", 5)
    whole = save_sae(make_sae("topk", site="z.3", hook_name="blocks.3.attn.hook_z"), tmp_path / "all")
    assert json.loads((whole / "cfg.json").read_text())["reshape_activations"] == "hook_z"
    assert load_sae(tmp_path / "head").config == sae.config
    metadata = METADATA | {"hook_name": "blocks.3.attn.hook_z", "hook_head_index": 5}
    assert load_sae(saelens_folder(tmp_path / "theirs", free("topk"), metadata=metadata)).config.site == "z.3.h5"


@pytest.mark.parametrize("architecture", CLASSES)
@pytest.mark.parametrize("skip", [True, False])
def test_our_transcoders_are_written_and_read(tmp_path, make_sae, architecture, skip):
    from interp.sae.io import rounded_sae, save_sae

    stated = {"d_out": 9, "skip_connection": skip, "site": "resid_mid.1", "site_out": "mlp_out.1"}
    stated |= {"hook_name": "blocks.1.hook_resid_mid", "hook_name_out": "blocks.1.hook_mlp_out"}
    sae = make_sae(architecture, apply_b_dec_to_input=False, **stated)
    again = load_sae(save_sae(sae, tmp_path / "sae"))
    assert again.golden_checked
    assert again.config == sae.config
    assert torch.equal(again(X), rounded_sae(sae)(X))
    cfg = json.loads((tmp_path / "sae" / "cfg.json").read_text())
    assert cfg["architecture"].endswith("skip_transcoder" if skip else "transcoder")
    assert (cfg["d_out"], cfg["metadata"]["hook_name_out"]) == (9, "blocks.1.hook_mlp_out")


@pytest.mark.parametrize(
    "change",
    [
        {"normalize_activations": "expected_average_only_in"},
        {"normalize_activations": "constant_norm_rescale"},
        {"architecture": "temporal"},
        {"skip": True},
        {"d_sae": "40"},
    ],
)
def test_what_is_not_computed_is_refused(tmp_path, change):
    folder = saelens_folder(tmp_path / "sae", free("standard"), **change)
    with pytest.raises(InvalidInput, match=next(iter(change))):
        load_sae(folder)


def test_finetuning_scale_is_refused(tmp_path):
    folder = saelens_folder(tmp_path / "sae", free("standard"), layout="flat", finetuning_scaling_factor=True)
    with pytest.raises(InvalidInput, match="finetuning_scaling_factor"):
        load_sae(folder)


def sparsify_folder(path: Path, sae, *, drop=(), **changes) -> Path:
    """Write a TopK SAE as sparsify does."""
    cfg = {"activation": "topk", "expansion_factor": 32, "normalize_decoder": True, "num_latents": sae.config.d_sae}
    cfg |= {"k": sae.config.k, "multi_topk": False, "skip_connection": False, "transcode": False, "d_in": 12}
    cfg = {k: v for k, v in (cfg | changes).items() if k not in drop}
    path.mkdir(parents=True)
    (path / "cfg.json").write_text(json.dumps(cfg))
    w = sae.weights()
    names = {"encoder.weight": w["W_enc"].T, "encoder.bias": w["b_enc"]}
    names |= {key: value for key, value in w.items() if key not in ("W_enc", "b_enc")}
    save_file({k: v.contiguous().clone() for k, v in names.items()}, path / "sae.safetensors")
    return path


@pytest.mark.parametrize(
    ("name", "site"), [("layers.5", "resid_post.5"), ("h.0", "resid_post.0"), ("layers.5.mlp", None)]
)
def test_sparsify_folder_is_read(tmp_path, name, site):
    sae = free("topk")
    again = load_sae(sparsify_folder(tmp_path / name, sae))
    assert torch.equal(again.encode(X), sae.encode(X))
    assert torch.equal(again(X), sae(X))
    assert again.config.site == site


def test_sparsify_width_may_be_an_expansion(tmp_path):
    sae = free("topk", d_sae=48)
    folder = sparsify_folder(tmp_path / "layers.5", sae, num_latents=0, expansion_factor=4)
    assert load_sae(folder).config.d_sae == 48


@pytest.mark.parametrize("skip", [True, False])
def test_sparsify_transcoder_is_read(tmp_path, skip):
    """x W_enc + b_enc without the decoder bias, the k largest, decoded, with x W_skip^T where there is one."""
    sae = free("topk", apply_b_dec_to_input=False, d_out=12, skip_connection=skip)
    folder = sparsify_folder(tmp_path / "layers.5.mlp", sae, transcode=True, skip_connection=skip)
    again = load_sae(folder)
    assert torch.equal(again.encode(X), sae.encode(X))
    assert torch.equal(again(X), sae(X))
    assert (again.config.site, again.config.site_out, again.config.d_out) == (None, None, 12)


OFF = ("skip_connection", "signed", "embed_skip", "gram_lookup")


@pytest.mark.parametrize("change", [{"activation": "groupmax"}, *({name: True} for name in OFF)])
def test_sparsify_options_that_are_not_computed_are_refused(tmp_path, change):
    with pytest.raises(InvalidInput, match=next(iter(change))):
        load_sae(sparsify_folder(tmp_path / "layers.5", free("topk"), **change))


@pytest.mark.parametrize("key", ["k", "activation", "transcode", "d_in"])
def test_sparsify_missing_key_is_refused_or_declared(tmp_path, key):
    sae = free("topk")
    folder = sparsify_folder(tmp_path / "layers.5", sae, drop=(key,))
    with pytest.raises(InvalidInput, match=f"missing key '{key}'"):
        load_sae(folder)
    value = {"k": 5, "activation": "topk", "transcode": False, "d_in": 12}[key]
    assert torch.equal(load_sae(folder, declare={key: value})(X), sae(X))


def test_unknown_key_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="unknown key 'k_decay'"):
        load_sae(sparsify_folder(tmp_path / "layers.5", free("topk"), k_decay=3))


def test_pickle_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "ae.pt").write_bytes(b"\x80\x04")
    with pytest.raises(InvalidInput, match=r"weights_only=True.*'ae\.safetensors'"):
        load_sae(tmp_path)


def test_folder_without_an_sae_says_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InvalidInput, match=r"expected one of cfg\.json.*it holds notes\.txt"):
        load_sae(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_config_that_is_no_json_object_is_corrupt(tmp_path, damage):
    folder = saelens_folder(tmp_path / "sae", free("topk"))
    (folder / "cfg.json").write_bytes(damage)
    with pytest.raises(CorruptArtifact, match=r"cfg\.json"):
        load_sae(folder)


@pytest.mark.parametrize("damage", [b"", b"\x80\x04pickle", b"\xff" * 64, b"PK\x03\x04" + b"\0" * 60])
def test_weights_that_are_no_safetensors_are_corrupt(tmp_path, damage):
    folder = saelens_folder(tmp_path / "sae", free("topk"))
    (folder / "sae_weights.safetensors").write_bytes(damage)
    with pytest.raises(CorruptArtifact, match="sae_weights"):
        load_sae(folder)


@pytest.mark.parametrize(
    ("hook", "head", "site"),
    [
        ("blocks.3.hook_resid_post", None, "resid_post.3"),
        ("blocks.12.attn.hook_z", None, "z.12"),
        ("blocks.0.attn.hook_z", 5, "z.0.h5"),
        ("hook_embed", None, "embed"),
        ("blocks.3.hook_resid_pots", None, None),
        (None, None, None),
    ],
)
def test_hook_names_are_turned_into_sites(hook, head, site):
    assert site_of_hook(hook, head) == site


def test_nothing_in_the_package_can_unpickle():
    root = Path(load_sae.__code__.co_filename).parent
    words = ("import pickle", "torch.load(", "np.load(", "read_pickle", "eval(", "exec(")
    safe = ("np.load(io.BytesIO(data), allow_pickle=False)", "torch.load('ae.pt', map_location='cpu', ", ".eval(")
    paths = sorted(root.rglob("*.py"))
    assert len(paths) > 20
    for path in paths:
        text = path.read_text()
        for allowed in safe:
            text = text.replace(allowed, "")
        assert not [w for w in words if w in text], path
