"""Gemma Scope and Gemma Scope 2: JumpReLU in npz without a config, and in safetensors with one."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from sae_folders import D_IN, D_OUT, D_SAE, doubles, draw, relu, rows, write_folder_of

from interp.errors import CorruptArtifact, InvalidInput, SaeMismatch
from interp.sae.formats.parse import parse_arrays
from interp.sae.io import load_sae

X = rows()


def params(d_out: int = D_IN):
    arrays = draw({"W_enc": (D_IN, D_SAE), "b_enc": (D_SAE,), "W_dec": (D_SAE, d_out), "b_dec": (d_out,)})
    return arrays | {"threshold": np.abs(draw({"t": (D_SAE,)}, seed=3)["t"])}


def expected(arrays) -> tuple[np.ndarray, np.ndarray]:
    """Latents and reconstruction after the report of Gemma Scope: z = (x W + b) where that is above theta."""
    w = doubles(arrays)
    pre = X.astype(np.float64) @ w["W_enc"] + w["b_enc"]
    latents = relu(pre) * (pre > w["threshold"])
    return latents, latents @ w["W_dec"] + w["b_dec"]


def folder(tmp_path, repo="gemma-scope-2b-pt-res", below="layer_20/width_16k/average_l0_71", **changes):
    return write_folder_of(tmp_path / repo / below, files={"params.npz": params() | changes})


def close(sae, arrays):
    latents, out = expected(arrays)
    np.testing.assert_allclose(sae.encode(X).numpy(), latents, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sae(X).numpy(), out, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("repo", "model", "site"),
    [
        ("gemma-scope-2b-pt-res", "gemma-2-2b", "resid_post.20"),
        ("gemma-scope-9b-it-res", "gemma-2-9b-it", "resid_post.20"),
        ("models--google--gemma-scope-9b-pt-att/snapshots/abc", "gemma-2-9b", "z.20"),
        ("gemma-scope-27b-pt-mlp", "gemma-2-27b", "mlp_out.20"),
    ],
)
def test_sae_is_read_and_its_place_is_in_the_path(tmp_path, repo, model, site):
    sae = load_sae(folder(tmp_path, repo))
    close(sae, params())
    assert (sae.config.model_name, sae.config.site, sae.config.architecture) == (model, site, "jumprelu")
    assert (sae.config.apply_b_dec_to_input, sae.config.is_transcoder, sae.config.bos) == (False, False, None)


def test_a_path_that_says_nothing_needs_a_declared_place(tmp_path):
    """An SAE and a transcoder of one width hold the same arrays: which it is has to be said."""
    path = folder(tmp_path, "downloads")
    with pytest.raises(InvalidInput, match="whether it is an SAE or a transcoder"):
        load_sae(path)
    sae = load_sae(path, declare={"site": "resid_post.20"})
    close(sae, params())
    transcoder = load_sae(path, declare={"d_out": D_IN, "site_out": "mlp_out.20"})
    close(transcoder, params())
    assert (transcoder.config.is_transcoder, transcoder.config.skip_connection) == (True, False)


def test_place_in_the_path_cannot_be_overruled(tmp_path):
    with pytest.raises(SaeMismatch, match=r"declared site 'z\.20'"):
        load_sae(folder(tmp_path), declare={"site": "z.20"})


def test_transcoder_writes_what_the_mlp_adds(tmp_path):
    sae = load_sae(folder(tmp_path, "gemma-scope-2b-pt-transcoders"))
    close(sae, params())
    c = sae.config
    assert (c.d_out, c.site, c.site_out) == (D_IN, None, "mlp_out.20")
    assert (c.hook_name, c.hook_name_out) == ("blocks.20.ln2.hook_normalized", "blocks.20.hook_mlp_out")


def test_sae_on_the_embedding_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="reads the embedding"):
        load_sae(folder(tmp_path, below="embedding/width_4k/average_l0_6"))


@pytest.mark.parametrize("name", ["W_enc", "b_enc", "W_dec", "b_dec", "threshold"])
def test_missing_array_is_refused_by_name(tmp_path, name):
    arrays = {key: value for key, value in params().items() if key != name}
    path = write_folder_of(tmp_path / "gemma-scope-2b-pt-res" / "layer_3", files={"params.npz": arrays})
    with pytest.raises(InvalidInput, match=f"missing key '{name}'"):
        load_sae(path)


def test_unknown_array_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="unknown key 'scaling_factor'"):
        load_sae(folder(tmp_path, scaling_factor=np.ones(1, dtype=np.float32)))


def test_an_object_array_is_not_unpickled(tmp_path):
    with pytest.raises(CorruptArtifact, match="not a whole npz file of numbers"):
        load_sae(folder(tmp_path, threshold=np.array([{"a": 1}], dtype=object)))


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04" + b"\0" * 60, b"\x80\x04pickle"])
def test_damaged_npz_is_corrupt(tmp_path, damage):
    path = folder(tmp_path)
    (path / "params.npz").write_bytes(damage)
    with pytest.raises(CorruptArtifact, match=r"params\.npz"):
        load_sae(path)


def test_cut_or_flipped_npz_is_corrupt(tmp_path):
    path = folder(tmp_path)
    whole = (path / "params.npz").read_bytes()
    for data in (whole[:-40], whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:]):
        (path / "params.npz").write_bytes(data)
        with pytest.raises(CorruptArtifact):
            load_sae(path)


def test_npz_that_unpacks_to_much_more_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "bomb.npz", W_enc=np.zeros((4000, 1000), dtype=np.float32))
    with pytest.raises(CorruptArtifact, match="64 times its size"):
        parse_arrays((tmp_path / "bomb.npz").read_bytes(), "bomb.npz")


def test_every_mutation_of_an_npz_is_corrupt_or_changes_nothing(tmp_path):
    """A flipped bit is found by the sums of the zip, or lies where no number stands."""
    whole = (folder(tmp_path) / "params.npz").read_bytes()
    right = parse_arrays(whole, "params.npz")
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(300):
        data = bytearray(whole)
        if number % 3 == 0:
            data = data[: rng.integers(len(data))]
        else:
            # a third of them in the directory at the end, where the lengths and sums stand
            at = rng.integers(len(data)) if number % 3 == 1 else len(data) - 1 - rng.integers(400)
            data[at] ^= 1 << int(rng.integers(8))
        try:
            found = parse_arrays(bytes(data), "params.npz")
        except CorruptArtifact:
            refused += 1
            continue
        # an array whose entry is gone or renamed is refused by name afterwards; what is there is what was written
        assert all(np.array_equal(found[key].numpy(), right[key].numpy()) for key in found if key in right)
    assert refused > 200


@pytest.mark.parametrize("kind", ["int64", "complex64", "<U3"])
def test_arrays_that_are_no_floats_are_refused(tmp_path, kind):
    with pytest.raises(CorruptArtifact, match="it holds threshold"):
        load_sae(folder(tmp_path, threshold=np.ones(D_SAE).astype(kind)))


def test_an_array_longer_than_its_file_is_corrupt(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000, ), }"
    header += b" " * (117 - len(header)) + b"\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 64
    with zipfile.ZipFile(tmp_path / "params.npz", "w") as archive:
        archive.writestr("W_enc.npy", data)
    with pytest.raises(CorruptArtifact, match="not a whole npz file"):
        parse_arrays((tmp_path / "params.npz").read_bytes(), "params.npz")


CONFIG = {"architecture": "jump_relu", "model_name": "google/gemma-3-1b-pt", "width": D_SAE, "l0": 20}


def folder_2(tmp_path, arrays, **config):
    lower = {key.lower() if key.startswith("W") else key: value for key, value in arrays.items()}
    path = tmp_path / "resid_post" / "layer_9_width_16k_l0_small"
    return write_folder_of(path, files={"config.json": CONFIG | config, "params.safetensors": lower})


@pytest.mark.parametrize(
    ("module", "site"),
    [
        ("model.layers.9.output", "resid_post.9"),
        ("model.layers.9.self_attn.o_proj.input", "z.9"),
        ("model.layers.9.post_feedforward_layernorm.output", "mlp_out.9"),
        ("model.layers.9.something.else", None),
    ],
)
def test_gemma_scope_2_sae_is_read(tmp_path, module, site):
    sae = load_sae(folder_2(tmp_path, params(), hf_hook_point_in=module))
    close(sae, params())
    assert (sae.config.site, sae.config.model_name) == (site, "google/gemma-3-1b-pt")


@pytest.mark.parametrize("affine", [True, False])
def test_gemma_scope_2_transcoder_is_read(tmp_path, affine):
    arrays = params(D_OUT)
    skip = draw({"s": (D_IN, D_OUT)}, seed=5)["s"]  # stored input by output
    extra = {"affine_skip_connection": skip} if affine else {}
    places = {"hf_hook_point_in": "model.layers.9.pre_feedforward_layernorm.output"}
    places |= {"hf_hook_point_out": "model.layers.9.post_feedforward_layernorm.output"}
    sae = load_sae(folder_2(tmp_path, arrays | extra, affine_connection=affine, **places))
    latents, out = expected(arrays)
    np.testing.assert_allclose(sae.encode(X).numpy(), latents, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sae(X).numpy(), out + affine * X.astype(np.float64) @ skip, rtol=1e-4, atol=1e-4)
    assert (sae.config.site, sae.config.site_out, sae.config.skip_connection) == (None, "mlp_out.9", affine)


@pytest.mark.parametrize(
    ("config", "match"),
    [({"architecture": "topk"}, "architecture jump_relu, not 'topk'"), ({}, "no hf_hook_point_in")],
)
def test_gemma_scope_2_config_that_says_too_little_is_refused(tmp_path, config, match):
    with pytest.raises(InvalidInput, match=match):
        load_sae(folder_2(tmp_path, params(), **config))
