"""dictionary_learning: each dictionary class against its own formula, from folders with its tensor names."""

from __future__ import annotations

import numpy as np
import pytest
from sae_folders import D_IN, D_SAE, doubles, draw, keep_largest, relu, rows, unit, write_folder_of

from interp.errors import InvalidInput
from interp.sae.io import load_sae

X = rows()
K = 5
LINEAR = {"encoder.weight": (D_SAE, D_IN), "encoder.bias": (D_SAE,), "decoder.weight": (D_IN, D_SAE)}
PLAIN = {"W_enc": (D_IN, D_SAE), "b_enc": (D_SAE,), "W_dec": (D_SAE, D_IN), "b_dec": (D_IN,)}
GATED = {"encoder.weight": (D_SAE, D_IN), "decoder.weight": (D_IN, D_SAE), "decoder_bias": (D_IN,)}
GATED |= dict.fromkeys(("r_mag", "gate_bias", "mag_bias"), (D_SAE,))
SHAPES = {
    "AutoEncoder": LINEAR | {"bias": (D_IN,)},
    "AutoEncoderNew": LINEAR | {"decoder.bias": (D_IN,)},
    "GatedAutoEncoder": GATED,
    "JumpReluAutoEncoder": PLAIN | {"threshold": (D_SAE,)},
    "AutoEncoderTopK": LINEAR | {"b_dec": (D_IN,)},
    "BatchTopKSAE": LINEAR | {"b_dec": (D_IN,)},
    "MatryoshkaBatchTopKSAE": PLAIN,
}


def tensors(dict_class: str, *, unit_rows: bool = True):
    arrays = draw(SHAPES[dict_class])
    name, axis = ("W_dec", 1) if "W_dec" in arrays else ("decoder.weight", 0)
    if unit_rows:
        arrays[name] = unit(arrays[name], axis)
    if dict_class == "JumpReluAutoEncoder":
        arrays["threshold"] = np.abs(arrays["threshold"])
    if dict_class in ("AutoEncoderTopK", "BatchTopKSAE", "MatryoshkaBatchTopKSAE"):
        arrays |= {"k": np.array(K, dtype=np.int32), "threshold": np.array(0.8, dtype=np.float32)}
    if dict_class == "MatryoshkaBatchTopKSAE":
        arrays["group_sizes"] = np.array([10, 30])
    return arrays


def formula(dict_class: str, arrays, *, rescale: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Latents and reconstruction as the library's classes compute them, in float64."""
    w, x = doubles(arrays), X.astype(np.float64)
    decoder = w["W_dec"] if "W_dec" in w else w["decoder.weight"].T
    length = np.linalg.norm(decoder, axis=1) if rescale else 1.0
    if dict_class == "GatedAutoEncoder":
        inner = (x - w["decoder_bias"]) @ w["encoder.weight"].T
        f = (inner + w["gate_bias"] > 0) * relu(np.exp(w["r_mag"]) * inner + w["mag_bias"]) * length
        return f, f / length @ decoder + w["decoder_bias"]
    if dict_class == "JumpReluAutoEncoder":
        pre = x @ w["W_enc"] + w["b_enc"]
        f = relu(pre * (pre > w["threshold"])) * length
        return f, f / length @ decoder + w["b_dec"]
    if dict_class == "AutoEncoderNew":
        f = relu(x @ w["encoder.weight"].T + w["encoder.bias"])
        return f, f @ decoder + w["decoder.bias"]
    bias = w["bias"] if dict_class == "AutoEncoder" else w["b_dec"]
    encoder, b_enc = (w["W_enc"], w["b_enc"]) if "W_enc" in w else (w["encoder.weight"].T, w["encoder.bias"])
    f = relu((x - bias) @ encoder + b_enc)
    if dict_class == "AutoEncoderTopK":
        f = keep_largest(f, K)
    elif dict_class != "AutoEncoder":
        f = f * (f > w["threshold"])
    return f, f @ decoder + bias


def folder(path, dict_class, arrays, *, drop=(), buffer=None, **trainer):
    stated = {"trainer_class": "X", "dict_class": dict_class, "activation_dim": D_IN, "dict_size": D_SAE, "lr": 1e-3}
    stated |= {"layer": 4, "lm_name": "EleutherAI/pythia-70m-deduped", "submodule_name": "resid_post_layer_4"}
    stated = {key: value for key, value in (stated | trainer).items() if key not in drop}
    config = {"trainer": stated, "buffer": buffer or {"d_submodule": D_IN, "io": "out", "ctx_len": 128}}
    return write_folder_of(path, files={"config.json": config, "ae.safetensors": arrays})


def close(sae, dict_class, arrays, **options):
    latents, out = formula(dict_class, arrays, **options)
    np.testing.assert_allclose(sae.encode(X).numpy(), latents, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sae(X).numpy(), out, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dict_class", SHAPES)
def test_folder_is_read_as_its_class_computes(tmp_path, dict_class):
    arrays = tensors(dict_class)
    sae = load_sae(folder(tmp_path / "trainer_0", dict_class, arrays))
    close(sae, dict_class, arrays)
    c = sae.config
    assert (c.site, c.hook_name, c.context_size) == ("resid_post.4", "blocks.4.hook_resid_post", 128)
    assert (c.model_name, c.bos, c.input_scale) == ("EleutherAI/pythia-70m-deduped", None, 1.0)


@pytest.mark.parametrize("dict_class", ["GatedAutoEncoder", "JumpReluAutoEncoder"])
@pytest.mark.parametrize("rescale", [True, False])
def test_rescaling_by_free_decoder_rows_has_to_be_declared(tmp_path, dict_class, rescale):
    arrays = tensors(dict_class, unit_rows=False)
    path = folder(tmp_path / "trainer_0", dict_class, arrays)
    with pytest.raises(InvalidInput, match="rescale_acts_by_decoder_norm"):
        load_sae(path)
    sae = load_sae(path, declare={"rescale_acts_by_decoder_norm": rescale})
    close(sae, dict_class, arrays, rescale=rescale)
    other, _ = formula(dict_class, arrays, rescale=not rescale)
    assert np.abs(sae.encode(X).numpy() - other).max() > 0.1


def test_threshold_that_was_never_set_is_refused(tmp_path):
    arrays = tensors("BatchTopKSAE") | {"threshold": np.array(-1.0, dtype=np.float32)}
    with pytest.raises(InvalidInput, match="threshold is -1: it was never set"):
        load_sae(folder(tmp_path / "trainer_0", "BatchTopKSAE", arrays))


def test_topk_is_read_without_the_threshold_of_later_versions(tmp_path):
    arrays = {key: value for key, value in tensors("AutoEncoderTopK").items() if key != "threshold"}
    sae = load_sae(folder(tmp_path / "trainer_0", "AutoEncoderTopK", arrays))
    close(sae, "AutoEncoderTopK", arrays)
    assert sae.config.k == K


@pytest.mark.parametrize("dict_class", SHAPES)
def test_each_missing_tensor_is_refused_by_name(tmp_path, dict_class):
    whole = tensors(dict_class)
    for number, name in enumerate(whole):
        if (dict_class, name) == ("AutoEncoderTopK", "threshold"):
            continue
        path = folder(tmp_path / str(number), dict_class, {k: v for k, v in whole.items() if k != name})
        with pytest.raises(InvalidInput, match=f"missing key '{name}'"):
            load_sae(path)


def test_unknown_tensor_is_refused(tmp_path):
    arrays = tensors("AutoEncoder") | {"decoder.bias": np.zeros(D_IN, dtype=np.float32)}
    with pytest.raises(InvalidInput, match=r"unknown key 'decoder\.bias'"):
        load_sae(folder(tmp_path / "trainer_0", "AutoEncoder", arrays))


@pytest.mark.parametrize("dict_class", ["CrossCoder", None])
def test_other_dictionaries_are_refused(tmp_path, dict_class):
    with pytest.raises(InvalidInput, match=r"trainer\.dict_class is one of AutoEncoder"):
        load_sae(folder(tmp_path / "trainer_0", dict_class, tensors("AutoEncoder")))


@pytest.mark.parametrize("key", ["activation_dim", "dict_size"])
def test_missing_width_is_refused(tmp_path, key):
    with pytest.raises(InvalidInput, match="is an integer from 1, not None"):
        load_sae(folder(tmp_path / "trainer_0", "AutoEncoder", tensors("AutoEncoder"), drop=(key,)))


@pytest.mark.parametrize(
    "changes", [{"submodule_name": "mlp_layer_4"}, {"submodule_name": None}, {"buffer": {"io": "in", "ctx_len": 64}}]
)
def test_a_place_that_is_not_clear_is_not_guessed(tmp_path, changes):
    sae = load_sae(folder(tmp_path / "trainer_0", "AutoEncoder", tensors("AutoEncoder"), **changes))
    assert (sae.config.site, sae.config.hook_name) == (None, None)


def test_the_conversion_that_the_refusal_names_gives_a_folder_that_is_read(tmp_path, monkeypatch):
    import shlex

    import torch

    from interp.sae.formats.dictionary_learning import PICKLE

    arrays = tensors("AutoEncoder")
    path = folder(tmp_path / "trainer_0", "AutoEncoder", arrays)
    (path / "ae.safetensors").unlink()
    torch.save({k: torch.as_tensor(v) for k, v in arrays.items()}, path / "ae.pt")
    with pytest.raises(InvalidInput) as refusal:
        load_sae(path)
    assert str(refusal.value) == PICKLE
    command = shlex.split(PICKLE[PICKLE.index("python -c") :])
    monkeypatch.chdir(path)
    exec(command[2], {})  # what `python -c` runs
    close(load_sae(path), "AutoEncoder", arrays)
