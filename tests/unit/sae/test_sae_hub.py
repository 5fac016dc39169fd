"""SAEs by their names on the hub, with a folder in its place; and what is said where there is none."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sae_folders import D_IN, D_SAE, draw, relu, rows, write_folder_of

from interp.errors import InvalidInput, SaeMismatch, UnknownName
from interp.sae.hub import RELEASES, centred_input, fetch, is_hub_name
from interp.sae.io import load_sae, save_sae, training_record

X = rows() + 1.5  # a mean that matters
SHAPES = {"W_enc": (D_IN, D_SAE), "b_enc": (D_SAE,), "W_dec": (D_SAE, D_IN), "b_dec": (D_IN,)}
FLAT = {"model_name": "gpt2-small", "hook_point": "blocks.8.hook_resid_pre", "d_in": D_IN, "d_sae": D_SAE}
NESTED = {"architecture": "standard", "d_in": D_IN, "d_sae": D_SAE, "dtype": "float32", "device": "cpu"}
NESTED |= {"apply_b_dec_to_input": True, "normalize_activations": "none", "reshape_activations": "none"}
NESTED |= {"metadata": {"model_name": "gpt2", "hook_name": "blocks.3.hook_resid_post"}}


def saelens(path: Path, cfg) -> Path:
    return write_folder_of(path, files={"cfg.json": cfg, "sae_weights.safetensors": draw(SHAPES)})


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that delivers the folder tmp_path/hub/org/repo, and notes what it was asked for."""
    asked = []

    def snapshot(repo, *, revision=None, allow_patterns=None, local_files_only=False):
        asked.append({"repo": repo, "revision": revision, "patterns": allow_patterns, "offline": local_files_only})
        root, out = tmp_path / "hub" / repo, tmp_path / "cache" / repo
        if not root.is_dir():
            raise FileNotFoundError(f"404: no repository {repo}\nmore lines")
        for path in root.rglob("*"):
            relative = path.relative_to(root)
            if path.is_file() and str(relative) in allow_patterns:
                (out / relative).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, out / relative)
        out.mkdir(parents=True, exist_ok=True)
        return str(out)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    monkeypatch.setattr("interp.sae.hub._hub_is_out_of_reach", lambda: False)
    return asked


def test_a_folder_of_the_hub_is_loaded(tmp_path, hub):
    folder = saelens(tmp_path / "hub" / "org" / "repo" / "layer" / "3", NESTED)
    saelens(tmp_path / "hub" / "org" / "repo" / "layer" / "4", NESTED)
    sae = load_sae("hub:org/repo/layer/3")
    assert torch.equal(sae(X), load_sae(folder)(X))
    assert (hub[0]["repo"], hub[0]["revision"], hub[0]["offline"]) == ("org/repo", None, False)
    assert {"layer/3/cfg.json", "layer/3/sae_weights.safetensors", "layer/3/params.npz"} <= set(hub[0]["patterns"])
    assert all(pattern.startswith("layer/3/") and "*" not in pattern for pattern in hub[0]["patterns"])


def test_revision_and_root_of_a_repository(tmp_path, hub):
    folder = saelens(tmp_path / "hub" / "org" / "repo", NESTED)
    assert torch.equal(load_sae("hub:org/repo@v1.0")(X), load_sae(folder)(X))
    assert hub[0]["revision"] == "v1.0"
    assert "cfg.json" in hub[0]["patterns"]


def test_our_own_folder_is_verified_when_it_comes_from_the_hub(tmp_path, hub, make_sae):
    save_sae(make_sae(), tmp_path / "hub" / "org" / "repo" / "mine", training={"tokens": 5})
    assert load_sae("hub:org/repo/mine").golden_checked
    assert training_record("hub:org/repo/mine") == {"tokens": 5}


def test_release_brings_what_its_files_leave_out(tmp_path, hub):
    """The first SAEs on GPT-2: the conventions, and the mean that its model had taken from the residual stream."""
    repo = tmp_path / "hub" / "jbloom" / "GPT2-Small-SAEs-Reformatted"
    folder = saelens(repo / "blocks.8.hook_resid_pre", FLAT)
    with pytest.raises(InvalidInput, match="does not state architecture"):
        load_sae(folder)
    w = {name: value.astype(np.float64) for name, value in draw(SHAPES).items()}
    centred = X - X.mean(axis=1, keepdims=True)
    expected = relu((centred - w["b_dec"]) @ w["W_enc"] + w["b_enc"])
    for name in ("gpt2-small-res-jb", "hub:jbloom/GPT2-Small-SAEs-Reformatted"):
        sae = load_sae(f"{name}/blocks.8.hook_resid_pre")
        assert sae.config.site == "resid_pre.8"
        np.testing.assert_allclose(sae.encode(X).numpy(), expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(sae(X).numpy(), expected @ w["W_dec"] + w["b_dec"], rtol=1e-4, atol=1e-3)
    plain = load_sae(folder, declare=RELEASES["gpt2-small-res-jb"].declare)
    assert np.abs(plain.encode(X).numpy() - expected).max() > 0.1  # the folder alone does not say so


@pytest.mark.parametrize("apply_b_dec", [True, False])
def test_centring_of_the_input_is_folded_exactly(make_sae, apply_b_dec):
    sae = make_sae("standard", decoder_norm="free", apply_b_dec_to_input=apply_b_dec)
    before = {name: value.clone() for name, value in sae.weights().items()}
    folded = type(sae)(sae.config, centred_input(sae.config, sae.weights()))
    x = torch.from_numpy(X)
    torch.testing.assert_close(folded.encode(x), sae.encode(x - x.mean(dim=1, keepdim=True)), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(folded(x + 7.0), folded(x), rtol=1e-4, atol=1e-4)  # a constant is not seen
    assert all(torch.equal(value, before[name]) for name, value in sae.weights().items())


def test_release_says_where_a_gemma_scope_sae_reads(tmp_path, hub):
    """The cache of a hub may have any path: the name on the hub tells, not the folder."""
    params = draw(SHAPES) | {"threshold": np.ones(D_SAE, dtype=np.float32)}
    below = "layer_20/width_16k/average_l0_71"
    write_folder_of(tmp_path / "hub" / "google" / "gemma-scope-2b-pt-res" / below, files={"params.npz": params})
    (tmp_path / "elsewhere").mkdir()
    sae = load_sae(f"gemma-scope-2b-pt-res/{below}")
    assert (sae.config.site, sae.config.model_name, sae.config.is_transcoder) == ("resid_post.20", "gemma-2-2b", False)


def test_layer_of_an_id_becomes_a_folder(tmp_path, hub):
    saelens(tmp_path / "hub" / "jbloom" / "GPT2-Small-OAI-v5-32k-resid-mid-SAEs" / "v5_32k_layer_11", NESTED)
    assert load_sae("gpt2-small-resid-mid-v5-32k/blocks.11.hook_resid_mid").config.d_sae == D_SAE
    with pytest.raises(InvalidInput, match=r"named as gpt2-small-resid-mid-v5-32k/blocks\.8"):
        load_sae("gpt2-small-resid-mid-v5-32k/11")


def test_a_local_folder_comes_before_the_hub(tmp_path, hub, monkeypatch):
    saelens(tmp_path / "gpt2-small-res-jb" / "blocks.8.hook_resid_pre", NESTED)
    monkeypatch.chdir(tmp_path)
    assert load_sae("gpt2-small-res-jb/blocks.8.hook_resid_pre").config.model_name == "gpt2"
    assert hub == []


def test_a_folder_that_is_not_there_is_named(tmp_path, hub):
    saelens(tmp_path / "hub" / "org" / "repo" / "a", NESTED)
    with pytest.raises(UnknownName, match="folder 'b' of org/repo on the Hugging Face hub \\(it has none of"):
        load_sae("hub:org/repo/b")


def test_a_repository_that_is_not_there_is_named_with_the_reason(hub):
    with pytest.raises(UnknownName, match=r"\(404: no repository org/none\)") as error:
        load_sae("hub:org/none/a")
    assert "hf download org/none --include 'a/*'" in str(error.value)
    assert "load_sae('none/a')" in str(error.value)
    assert "more lines" not in str(error.value)


def test_a_repository_of_pickles_is_refused_with_the_way_out(tmp_path, hub):
    folder = write_folder_of(tmp_path / "hub" / "org" / "repo" / "trainer_0", files={"config.json": {"trainer": {}}})
    (folder / "ae.pt").write_bytes(b"\x80\x04")
    with pytest.raises(InvalidInput, match=r"holds no weights in safetensors or npz.*weights_only=True"):
        load_sae("hub:org/repo/trainer_0")
    assert not list((tmp_path / "cache").rglob("ae.pt"))


@pytest.mark.parametrize("name", ["hub:org", "hub:", "hub:org/repo//a", "hub:org/repo/a b", "hub:/org/repo/a"])
def test_names_of_another_form_are_refused(hub, name):
    with pytest.raises(InvalidInput, match="hub:org/repo/path or hub:org/repo@revision/path"):
        load_sae(name)
    assert hub == []


@pytest.mark.parametrize("name", ["hub:org/repo/../../etc", "hub:org/repo/..", "gpt2-small-res-jb/../x"])
def test_a_name_cannot_lead_out_of_its_repository(hub, name):
    with pytest.raises(InvalidInput, match="leads out of its repository"):
        load_sae(name)
    assert hub == []


def test_unknown_release_names_the_nearest():
    with pytest.raises(UnknownName, match="nearest releases: gemma-scope-2b-pt-res"):
        load_sae("gemma-scope-2b-pt-rse/layer_20")
    assert is_hub_name("gpt2-small-res-jb/x")
    assert not is_hub_name("atlas/resid_post.2")


CACHE = "models--jbloom--GPT2-Small-SAEs-Reformatted"


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """The real client of the hub, with an empty cache and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr("interp.sae.hub._hub_is_out_of_reach", lambda: True)
    return tmp_path / "hf"


def test_an_earlier_download_is_read_offline(offline):
    saelens(offline / CACHE / "snapshots" / ("a" * 40) / "blocks.8.hook_resid_pre", FLAT)
    (offline / CACHE / "refs").mkdir()
    (offline / CACHE / "refs" / "main").write_text("a" * 40)
    found = fetch("gpt2-small-res-jb/blocks.8.hook_resid_pre")
    assert (found.folder.name, found.centred) == ("blocks.8.hook_resid_pre", True)
    assert load_sae("gpt2-small-res-jb/blocks.8.hook_resid_pre").config.d_sae == D_SAE
    with pytest.raises(UnknownName, match="the hub is out of reach, and no earlier download holds it"):
        load_sae("gpt2-small-res-jb/blocks.9.hook_resid_pre")


def test_offline_says_what_was_tried_and_how_to_download(offline):
    with pytest.raises(UnknownName) as error:
        load_sae("gpt2-small-res-jb/blocks.8.hook_resid_pre")
    text = str(error.value)
    assert "folder 'blocks.8.hook_resid_pre' of jbloom/GPT2-Small-SAEs-Reformatted" in text
    assert "hf download jbloom/GPT2-Small-SAEs-Reformatted --include 'blocks.8.hook_resid_pre/*'" in text
    assert "load_sae('gpt2-small-res-jb/blocks.8.hook_resid_pre') again" in text
    assert "--local-dir" not in text  # a folder alone would be read without the centring


def test_what_a_release_declares_cannot_contradict_its_files(tmp_path, hub):
    repo = tmp_path / "hub" / "jbloom" / "GPT2-Small-SAEs-Reformatted"
    saelens(repo / "blocks.8.hook_resid_pre", FLAT | {"apply_b_dec_to_input": False})
    with pytest.raises(SaeMismatch, match="declared apply_b_dec_to_input True"):
        load_sae("gpt2-small-res-jb/blocks.8.hook_resid_pre")
