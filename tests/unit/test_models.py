"""Loading a model, what it refuses, and the identities that guard its hooks."""

import contextlib
import copy
import gc
import json
import shutil

import numpy as np
import pytest
import torch

from interp import models, sources
from interp.atlas.eight_bit import encode
from interp.errors import CorruptArtifact, InvalidInput, ModelMismatch, UnknownName, UnknownSite
from interp.models import default_device, find_site, hook_name, load_model, points, width
from interp.store import write_folder
from interp.testing import tiny_model, tiny_module, tiny_tokenizer

SIZES = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
ARCHITECTURES = [
    "llama",
    "gpt2",
    "gpt_neox",
    "gemma2",
    "gemma3",
    "olmo2",
    "granite",
    "qwen3",
    "mistral",
    "opt",
    "bloom",
]
IDS = torch.arange(10)[None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small"
    tiny_module("llama", SIZES, seed=3).save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return path


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_identities_hold_in_every_layer_of_each_architecture(architecture):
    checks = tiny_model(1, architecture, n_layers=2).checks
    done = checks[~checks["status"].str.startswith("not applicable")]
    assert set(done["status"]) == {"ok"}
    assert done["error"].max() < 1e-5
    parallel = architecture == "gpt_neox"
    assert len(done) == (10 if parallel else 12)


def test_parallel_blocks_are_checked_in_their_own_form():
    checks = tiny_model(0, "gpt_neox").checks
    assert "resid_pre + attn_out + mlp_out == resid_post" in set(checks["identity"])
    skipped = checks[checks["identity"] == "resid_pre + attn_out == resid_mid"]["status"]
    assert skipped.str.contains("parallel block").all()


@pytest.mark.parametrize(
    ("component", "hook", "identity"),
    [
        ("attn_out", "blocks.{layer}.attn.hook_out", "resid_pre + attn_out == resid_mid"),
        ("mlp_out", "blocks.{layer}.mlp.hook_out", "resid_mid + mlp_out == resid_post"),
        ("z", "blocks.{layer}.attn.hook_q", "pattern x v == z"),
        ("pattern", "blocks.{layer}.attn.hook_attn_scores", "attention rows sum to 1"),
        ("resid_mid", "blocks.{layer}.hook_resid_pre", "resid_pre + attn_out == resid_mid"),
    ],
)
def test_a_hook_that_holds_another_tensor_of_the_same_shape_is_named(monkeypatch, component, hook, identity):
    # gemma2 puts a norm behind attention and MLP: the modules' raw outputs have the right shape and wrong numbers
    monkeypatch.setitem(models.HOOKS, component, hook)
    with pytest.raises(ModelMismatch, match=identity.replace("+", r"\+")):
        tiny_model(0, "gemma2")


def test_a_model_whose_rows_depend_on_the_rest_of_the_batch_is_refused():
    module = tiny_module("llama", SIZES)
    module.model.layers[1].mlp.register_forward_hook(lambda _m, _i, out: out - out.mean(dim=(0, 1)))
    with pytest.raises(ModelMismatch, match=r"padded batch == alone in layer 1"):
        load_model(module, bos="never")


def test_a_model_that_looks_ahead_is_refused():
    module = tiny_module("llama", SIZES)
    module.model.layers[0].register_forward_pre_hook(_open_mask, with_kwargs=True)
    with pytest.raises(ModelMismatch, match=r"does not look ahead in layer 0"):
        load_model(module, bos="never")


def _open_mask(_module, args, kwargs):
    return args, {**kwargs, "attention_mask": torch.zeros_like(kwargs["attention_mask"])}


def test_a_module_that_is_handed_in_is_not_changed():
    module = tiny_module(
        "gpt2", {k: v for k, v in SIZES.items() if k != "num_key_value_heads"} | {"num_key_value_heads": 4}
    )
    module.train()
    module.set_attn_implementation("sdpa")
    names, kinds = list(module.state_dict()), {type(m) for m in module.modules()}
    before = {k: v.clone() for k, v in module.state_dict().items()}
    model = load_model(module, bos="never")
    assert list(module.state_dict()) == names
    assert {type(m) for m in module.modules()} == kinds
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert module.training
    assert module.config._attn_implementation == "sdpa"
    assert "pattern.0" in model.shapes  # read with eager attention all the same


def test_logits_equal_those_of_the_module():
    module = tiny_module("llama", SIZES)
    expected = module(IDS, use_cache=False).logits
    torch.testing.assert_close(load_model(module, bos="never").logits(IDS), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "gptj"])
def test_a_trainable_copy_has_the_same_logits_and_weights_of_its_own(architecture):
    model = tiny_model(architecture=architecture)
    before = {name: t.detach().clone() for name, t in model._tensors.items()}
    state = torch.get_rng_state()
    module = model.trainable_copy()
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(module(IDS).logits, model.logits(IDS), rtol=1e-4, atol=1e-4)
    module(IDS).logits.square().mean().backward()
    torch.optim.SGD(module.parameters(), lr=0.1).step()
    assert any(not torch.equal(p, before[name]) for name, p in module.named_parameters())
    assert all(torch.equal(t, before[name]) for name, t in model._tensors.items())


@pytest.mark.parametrize(
    ("environment", "n_gpus", "device"),
    [
        ({}, 0, "cpu"),
        ({"LOCAL_RANK": "3"}, 0, "cpu"),
        ({}, 8, "cuda"),
        ({"LOCAL_RANK": "3"}, 8, "cuda:3"),
        ({"SLURM_LOCALID": "9", "SLURM_PROCID": "9"}, 8, "cuda:1"),
        ({"SLURM_LOCALID": "5"}, 1, "cuda:0"),
        ({"LOCAL_RANK": ""}, 2, "cuda"),
    ],
)
def test_each_rank_of_a_machine_has_a_gpu_of_its_own(environment, n_gpus, device):
    assert default_device(environment, n_gpus) == device


def test_device_and_dtype_of_a_module_cannot_be_overridden():
    module = tiny_module("llama", SIZES)
    with pytest.raises(InvalidInput, match="never cast"):
        load_model(module, dtype="float64")
    with pytest.raises(InvalidInput, match="never moved"):
        load_model(module, device="meta")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_identities_hold_in_other_dtypes(folder, dtype):
    model = load_model(folder, dtype=dtype, device="cpu")
    assert model.dtype == getattr(torch, dtype)
    assert set(model.checks["status"]) == {"ok"}


def test_unknown_dtype_is_refused(folder):
    with pytest.raises(InvalidInput, match="dtype is"):
        load_model(folder, dtype="int8")


def test_folder_is_loaded_in_float32_with_its_tokenizer(folder):
    model = load_model(folder, bos="always", device="cpu")
    assert (model.name, model.dtype, model.device.type, model.weights) == ("small", torch.float32, "cpu", "trained")
    assert (model.n_layers, model.n_heads, model.n_kv_heads, model.d_model) == (2, 4, 2, 32)
    assert (model.d_head, model.d_mlp, model.d_vocab, model.n_ctx) == (8, 64, 300, 64)
    assert model.tokenizer("x").input_ids[0] == 0
    expected = tiny_module("llama", SIZES, seed=3)(IDS, use_cache=False).logits
    torch.testing.assert_close(model.logits(IDS), expected, rtol=1e-5, atol=1e-5)


def test_folder_without_tokenizer_loads_and_says_so_when_text_is_given(folder, tmp_path):
    from interp.tokens import tokenize

    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(folder / name, bare / name)
    model = load_model(bare, bos="never")
    with pytest.raises(InvalidInput, match="without a tokenizer"):
        tokenize(model, ["x"])


def test_card_of_a_folder_gives_the_bos_policy_and_the_caller_overrides_it(folder, tmp_path):
    named = tmp_path / "named"
    shutil.copytree(folder, named)
    (named / "card.json").write_text(json.dumps({"bos": "always"}))
    assert load_model(named).bos == "always"
    assert load_model(named, bos="never").bos == "never"
    with pytest.raises(InvalidInput, match="bos is one of"):
        load_model(named, bos="sometimes")


def test_pickled_weights_are_refused(folder, tmp_path):
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(InvalidInput, match="pickle"):
        load_model(tmp_path)


@pytest.mark.parametrize("kept", [(), ("model.safetensors",), ("config.json",)])
def test_incomplete_folder_is_refused_with_what_is_missing(folder, tmp_path, kept):
    for name in kept:
        shutil.copy(folder / name, tmp_path / name)
    with pytest.raises(InvalidInput, match="safetensors" if "config.json" in kept else r"config\.json"):
        load_model(tmp_path)


def test_weights_that_lack_a_tensor_are_corrupt_and_not_filled_with_random_numbers(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    state = load_file(folder / "model.safetensors")
    del state["model.layers.1.mlp.up_proj.weight"]
    save_file(state, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CorruptArtifact, match="up_proj"):
        load_model(broken)


def test_weights_with_more_layers_than_the_configuration_are_refused(folder, tmp_path):
    longer = tmp_path / "longer"
    shutil.copytree(folder, longer)
    config = json.loads((longer / "config.json").read_text())
    (longer / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    with pytest.raises(CorruptArtifact, match=r"beyond the 1 of its config\.json \(model\.layers\.1"):
        load_model(longer)


def test_weights_cut_short_are_corrupt(folder, tmp_path):
    broken = tmp_path / "cut"
    shutil.copytree(folder, broken)
    (broken / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(CorruptArtifact, match="cannot be read"):
        load_model(broken)


def test_unknown_names_say_what_there_is(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "getproxies", dict)
    monkeypatch.setattr(sources.socket, "getaddrinfo", _no_name)
    with pytest.raises(UnknownName, match=r"Bundled: atlas.*give its folder"):
        load_model("atals")
    with pytest.raises(UnknownName, match="no folder"):
        load_model(tmp_path / "absent")
    (tmp_path / "weights.pt").write_bytes(b"x")
    with pytest.raises(InvalidInput, match="is a file"):
        load_model(tmp_path / "weights.pt")
    with pytest.raises(InvalidInput, match="a model is"):
        load_model(7)


def _no_name(*_args):
    raise OSError("Name or service not known")


def test_bundled_name_without_its_files_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "ASSETS", tmp_path)
    with pytest.raises(UnknownName, match="install the package again"):
        load_model("atlas")


def test_bundled_model_is_loaded_as_its_card_says():
    model = load_model("atlas", device="cpu")
    assert (model.name, model.bos, model.dtype, model.weights) == ("atlas", "always", torch.float32, "trained")
    assert model.card["processing"] == "none"
    assert set(model.checks["status"]) == {"ok"}
    ids = torch.tensor([model.tokenizer("Paris is a city in").input_ids])
    assert model.tokenizer.decode(model.logits(ids)[0, -1].argmax()).strip() == "France"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "card.json", "manifest.json"])
def test_bundled_model_with_one_byte_changed_is_corrupt(tmp_path, monkeypatch, name):
    shutil.copytree(sources.ASSETS / "atlas", tmp_path / "atlas")
    data = bytearray((tmp_path / "atlas" / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "atlas" / name).write_bytes(data)
    monkeypatch.setattr(sources, "ASSETS", tmp_path)
    with pytest.raises(CorruptArtifact, match=name):
        load_model("atlas", device="cpu")


def test_random_twin_has_the_configuration_and_other_weights(folder):
    trained = load_model(folder)
    twin, again, other = (load_model(folder, weights="random", seed=s) for s in (0, 0, 1))
    assert twin.weights == "random"
    assert twin.shapes == trained.shapes
    assert twin.fingerprint == again.fingerprint
    assert len({trained.fingerprint, twin.fingerprint, other.fingerprint}) == 3


def test_random_twin_of_a_module_leaves_the_module_alone():
    module = tiny_module("llama", SIZES)
    before = copy.deepcopy(module.state_dict())
    twin = load_model(module, weights="random", seed=1)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert twin.fingerprint != load_model(module).fingerprint


@pytest.mark.parametrize("weights", ["trained", "random"])
def test_loading_does_not_move_the_random_state_of_the_caller(folder, weights):
    torch.manual_seed(5)
    numpy_before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    load_model(folder, weights=weights, seed=9)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


@pytest.fixture(scope="module")
def stepped(folder, tmp_path_factory):
    """A sealed folder with two checkpoints, and the weights that were put into them."""
    path = tmp_path_factory.mktemp("stepped") / "small"
    early = {s: dict(tiny_module("llama", SIZES, seed=s).named_parameters()) for s in (20, 100)}
    weights = {step: {name: p.detach().numpy() for name, p in state.items()} for step, state in early.items()}
    files: dict = {p.name: p.read_bytes() for p in folder.iterdir()}
    files["card.json"] = json.dumps({"bos": "always", "measured": [1], "tables": {}, "figures": [2]}).encode()
    for step, state in weights.items():
        files[f"checkpoints/step{step}.safetensors"] = encode(state, step=step, tokens=64 * step)
    write_folder(path, files)
    return path, weights


def test_a_checkpoint_has_its_own_weights_up_to_half_a_scale(stepped):
    path, weights = stepped
    model = load_model(f"{path}@step20", device="cpu")
    assert model.name == "small@step20"
    assert set(model.checks["status"]) == {"ok"}
    for name, tensor in model._tensors.items():
        given = weights[20][name]
        bound = np.abs(given).max(axis=-1, keepdims=True) / 127 / 2 * 1.001 if given.ndim == 2 else 0
        assert (np.abs(tensor.detach().numpy() - given) <= bound).all(), name
    assert len({load_model(s).fingerprint for s in (path, f"{path}@step20", f"{path}@step100")}) == 3


def test_a_checkpoint_gives_nearly_the_logits_of_its_weights(stepped):
    logits = load_model(f"{stepped[0]}@step20", device="cpu").logits(IDS)
    expected = tiny_module("llama", SIZES, seed=20)(IDS, use_cache=False).logits
    other = tiny_module("llama", SIZES, seed=100)(IDS, use_cache=False).logits
    assert (logits - expected).norm() < 0.05 * (logits - other).norm()


def test_the_card_of_a_checkpoint_says_its_step_and_no_figure_of_the_final_weights(stepped):
    card = load_model(f"{stepped[0]}@step100").card
    assert card == {"bos": "always", "checkpoint": {"step": 100, "tokens": 6400}}


def test_the_random_twin_of_a_checkpoint_is_that_of_the_model(stepped):
    twins = [load_model(s, weights="random", seed=2).fingerprint for s in (stepped[0], f"{stepped[0]}@step20")]
    assert twins[0] == twins[1]


def test_an_unknown_checkpoint_is_answered_with_those_there_are(stepped, folder):
    with pytest.raises(UnknownName, match=r"small@step20, small@step100\. Nearest: small@step20"):
        load_model(f"{stepped[0]}@step21")
    with pytest.raises(UnknownName, match="it has none"):
        load_model(f"{folder}@step20")
    with pytest.raises(UnknownName, match=r"no checkpoint 'atlas@latest' of 'atlas'"):
        load_model("atlas@latest")


def test_a_damaged_checkpoint_is_corrupt(stepped, tmp_path):
    mine = tmp_path / "small"
    shutil.copytree(stepped[0], mine)
    file = mine / "checkpoints" / "step20.safetensors"
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    with pytest.raises(CorruptArtifact, match=r"step20\.safetensors"):
        load_model(f"{mine}@step20")
    (mine / "manifest.json").unlink()
    file.write_bytes(data[:1000])
    with pytest.raises(CorruptArtifact, match=r"step20\.safetensors is damaged"):
        load_model(f"{mine}@step20")


def test_a_checkpoint_of_another_shape_is_corrupt(stepped, tmp_path):
    mine = tmp_path / "small"
    shutil.copytree(stepped[0], mine)
    (mine / "manifest.json").unlink()
    state = dict(stepped[1][20])
    file = mine / "checkpoints" / "step20.safetensors"
    for change in ({"model.norm.weight": np.ones(7)}, {"extra": np.ones(3)}):
        file.write_bytes(encode(state | change, step=20, tokens=1))
        with pytest.raises(CorruptArtifact, match=r"fit its config\.json"):
            load_model(f"{mine}@step20")
    del state["model.layers.0.mlp.up_proj.weight"]
    file.write_bytes(encode(state, step=20, tokens=1))
    with pytest.raises(CorruptArtifact, match="up_proj"):
        load_model(f"{mine}@step20")


def test_a_hub_name_with_a_revision_asks_for_that_revision(monkeypatch):
    import transformers

    asked = []

    def config(location, **kwargs):
        asked.append((location, kwargs["revision"]))
        raise OSError("not here")

    monkeypatch.setattr(sources, "_hub_is_out_of_reach", lambda: True)
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", config)
    for name in ("org/name@step1000", "org/name"):
        with pytest.raises(UnknownName, match="no folder"):
            load_model(name)
    assert asked == [("org/name", "step1000"), ("org/name", "main")]


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("source", ["folder", "nothing"])
def test_the_collector_is_paused_while_loading_and_left_as_it_was(folder, monkeypatch, running, source):
    seen = []
    monkeypatch.setattr(
        models, "find_source", lambda given: (seen.append(gc.isenabled()), sources.find_source(given))[1]
    )
    try:
        (gc.enable if running else gc.disable)()
        with contextlib.nullcontext() if source == "folder" else pytest.raises(UnknownName):
            load_model(folder if source == "folder" else "./nothing")
        assert gc.isenabled() is running
    finally:
        gc.enable()
    assert seen == [False]


def test_fingerprint_is_of_the_numbers_and_follows_an_edit(folder):
    model = load_model(folder)
    assert model.fingerprint == load_model(folder).fingerprint
    before = model.fingerprint
    with torch.no_grad():
        model._tensors["model.norm.weight"][0] += 1
    assert model.fingerprint != before


def test_fingerprint_of_16_bit_weights_is_that_of_the_same_numbers_in_32_bit(folder, tmp_path):
    half = tmp_path / "half"
    shutil.copytree(folder, half)
    tiny_module("llama", SIZES, seed=3).half().save_pretrained(half)
    assert load_model(half, dtype="float16").fingerprint == load_model(half, dtype="float32").fingerprint


def test_wrong_weights_option_is_refused(folder):
    with pytest.raises(InvalidInput, match="'trained' or 'random'"):
        load_model(folder, weights="fresh")


def test_points_lists_every_site_with_its_shape():
    model = tiny_model(0, "gpt_neox")
    table = points(model).set_index("site")
    assert len(table) == 1 + 12 * model.n_layers
    assert table.loc["resid_post.1", "shape"] == "batch pos 32"
    assert table.loc["z.0", "hook"] == "blocks.0.attn.hook_z"
    assert table.loc["pattern.0", "shape"] == "batch 4 pos pos"
    assert not table.loc["resid_mid.0", "exists"]
    assert "parallel" in table.loc["resid_mid.0", "what"]
    for site in table.index[table["exists"]]:
        assert hook_name(site) in model.bridge.hook_dict


@pytest.mark.parametrize(
    ("site", "reason"),
    [
        ("resid_post.2", "layers are 0 to 1"),
        ("z.0.h4", "heads 0 to 3"),
        ("k.0.h2", "heads 0 to 1"),
        ("z.9.h0", "0 to 1"),
    ],
)
def test_layer_or_head_beyond_the_model_raises_with_the_nearest(site, reason):
    with pytest.raises(UnknownSite, match=f"{reason}.*Nearest: "):
        find_site(tiny_model(), site)


def test_parallel_block_has_no_resid_mid_and_the_error_says_why():
    with pytest.raises(UnknownSite, match="in parallel"):
        find_site(tiny_model(0, "gpt_neox"), "resid_mid.0")


def test_width_counts_heads_together_or_one():
    model = tiny_model()
    assert [width(model, s) for s in ("z.0", "z.0.h1", "k.0", "mlp_post.1", "embed")] == [32, 8, 16, 64, 32]
    with pytest.raises(InvalidInput, match="pair of tokens"):
        width(model, "pattern.0")


def test_thousand_mutated_site_names_all_raise():
    model = tiny_model()
    rng = np.random.default_rng(0)
    letters = list("abcdefghijklmnopqrstuvwxyz_.0123456789hH -éß٣")
    valid = set(model.shapes) | {f"{s}.h{h}" for s in model.shapes for h in range(4)}
    tried = 0
    while tried < 1000:
        name = list(str(rng.choice(sorted(valid))))
        for _ in range(rng.integers(1, 4)):
            at, kind = rng.integers(len(name)) if name else 0, rng.integers(3)
            if kind == 0 and name:
                del name[at]
            else:
                name[at : at + (kind == 1)] = rng.choice(letters)
        text = "".join(name)
        if text in valid and _exists(model, text):
            continue
        with pytest.raises(UnknownSite):
            find_site(model, text)
        tried += 1


def _exists(model, text):
    component, _, head = text.partition(".h")
    heads = {"q": 4, "z": 4, "pattern": 4, "k": 2, "v": 2}.get(component.split(".")[0], 0)
    return not head or int(head) < heads


def test_a_copy_of_the_bundled_folder_with_one_byte_changed_is_corrupt(tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(sources.ASSETS / "atlas", mine)
    assert load_model(mine).fingerprint == load_model("atlas").fingerprint
    data = bytearray((mine / "model.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (mine / "model.safetensors").write_bytes(data)
    with pytest.raises(CorruptArtifact, match=r"model.safetensors"):
        load_model(mine)
