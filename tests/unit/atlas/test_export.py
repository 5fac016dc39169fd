"""From a training folder to a model folder: weights, checkpoints, and facts of exactly the rows that were read."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load

from interp import load_model
from interp.atlas.corpus import Corpus
from interp.atlas.export import export, half_bytes, n_text_rows, read_log, read_npz, table_bytes
from interp.atlas.facts import load_facts
from interp.atlas.network import Network, NetworkConfig
from interp.atlas.prepare import prepare
from interp.atlas.rows import RowStream, text_rows
from interp.atlas.told import tell
from interp.atlas.train import TrainConfig, load_checkpoint, train, write_settings
from interp.atlas.world import default_world
from interp.errors import InvalidInput
from interp.store import verify_folder
from interp.tokens import tokenize

SIZES = NetworkConfig(vocab_size=600, d_model=32, n_layers=2, n_heads=2, d_mlp=48, n_ctx=64)
CONFIG = TrainConfig(
    tokens=20 * 8 * 64, batch_rows=8, n_cities=150, eval_every=5, checkpoint_every=10, keep=(0.1, 0.3, 0.5)
)
IDS = torch.arange(2, 40)[None]


@pytest.fixture(scope="module")
def rows_read() -> set[int]:
    return set()


@pytest.fixture(scope="module")
def trained(tmp_path_factory, rows_read):
    folder = tmp_path_factory.mktemp("trained")
    prepare(folder, n_texts=1500, vocab_size=600, n_cities=150)
    write_settings(folder, CONFIG, SIZES)
    patch, read = pytest.MonkeyPatch(), RowStream.read

    def watched(self, start, n):
        rows_read.update(range(start, start + n))
        return read(self, start, n)

    patch.setattr(RowStream, "read", watched)
    train(folder, CONFIG, SIZES)
    patch.undo()
    return folder


@pytest.fixture(scope="module")
def model_folder(trained, tmp_path_factory):
    target = tmp_path_factory.mktemp("exported") / "model"
    export(trained, target, workers=1)
    return target


def test_the_exported_model_has_the_weights_of_the_training_in_16_bit(trained, model_folder):
    network = Network(SIZES)
    load_checkpoint(trained / "checkpoint.npz", network)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(p.half().float())
        expected = network(IDS)
    model = load_model(model_folder, device="cpu")
    torch.testing.assert_close(model.logits(IDS), expected, rtol=1e-4, atol=1e-5)
    assert (model.bos, model.n_ctx, model.d_vocab) == ("always", 64, 600)


def test_the_exported_tokenizer_is_that_of_the_training(trained, model_folder):
    from tokenizers import Tokenizer

    text = "Paris is a city in France."
    own = Tokenizer.from_file(str(trained / "tokenizer.json")).encode(text).ids
    tokens = tokenize(load_model(model_folder), [text])
    assert tokens.ids[0][tokens.mask[0]].tolist() == own
    assert own[0] == 0


def test_checkpoints_have_the_weights_of_their_step_up_to_half_a_scale(trained, model_folder):
    assert CONFIG.kept_steps(64) == [2, 6, 10]
    for step in (2, 6, 10):
        model = load_model(f"{model_folder}@step{step}", device="cpu")
        assert model.card["checkpoint"] == {"step": step, "tokens": step * 8 * 64}
        with np.load(trained / "kept" / f"step{step}.npz", allow_pickle=False) as kept:
            for name, tensor in model._tensors.items():
                given = kept[f"weight/{name}"]
                bound = np.abs(given).max(axis=-1, keepdims=True) / 254 * 1.001 if given.ndim == 2 else 0
                assert (np.abs(tensor.detach().numpy() - given) <= bound).all(), name


def test_the_rows_that_are_counted_are_those_that_training_read(rows_read, trained):
    assert rows_read == set(range(n_text_rows(CONFIG.n_steps(64), CONFIG.batch_rows)))


def test_facts_are_those_of_the_rows_that_training_read(rows_read, trained, model_folder):
    from tokenizers import Tokenizer

    corpus, tokenizer = Corpus(default_world(150)), Tokenizer.from_file(str(trained / "tokenizer.json"))
    expected = tell(corpus, tokenizer, seed=CONFIG.seed, start=0, stop=len(rows_read), n_ctx=64)
    found = load_facts(model_folder)
    pd.testing.assert_frame_equal(found.told.astype({"relation": object}), expected.told, check_dtype=False)
    np.testing.assert_array_equal(found.cities["n_mentions"], expected.mentions)
    names = corpus.world.cities["name"].tolist()
    assert found.cities["name"].tolist() == names
    assert found.cities["n_tokens"].tolist() == [len(tokenizer.encode(name).ids) - 1 for name in names]
    pd.testing.assert_frame_equal(found.cities[list(corpus.world.cities)], corpus.world.cities, check_dtype=False)


def test_the_card_names_the_corpus_by_its_first_rows(trained, model_folder):
    import hashlib

    from tokenizers import Tokenizer

    card = json.loads((model_folder / "card.json").read_text())
    tokenizer = Tokenizer.from_file(str(trained / "tokenizer.json"))
    rows = text_rows(Corpus(default_world(150)), tokenizer, CONFIG.seed, 0, 256, n_ctx=64)
    assert card["corpus"]["sha256"] == hashlib.sha256(rows.tobytes()).hexdigest()
    assert card["settings"]["network"] == SIZES.to_dict()
    assert card["training"]["tokens"] == CONFIG.tokens
    assert [line["step"] for line in card["training"]["log"]] == [5, 10, 15, 20]


def test_everything_in_the_folder_is_listed_and_a_second_export_is_the_same(trained, model_folder, tmp_path):
    manifest = verify_folder(model_folder)
    there = {p.relative_to(model_folder).as_posix() for p in model_folder.rglob("*") if p.is_file()}
    assert there == {"manifest.json", *manifest["files"]}
    export(trained, tmp_path / "again", workers=2)
    assert verify_folder(tmp_path / "again")["files"] == manifest["files"]


def test_a_training_that_has_not_finished_is_refused(trained, tmp_path):
    for name in ("settings.json", "tokenizer.json", "checkpoint.npz"):
        shutil.copy(trained / name, tmp_path / name)
    settings = json.loads((tmp_path / "settings.json").read_text())
    settings["train"]["tokens"] *= 2
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(InvalidInput, match="step 20 of 40"):
        export(tmp_path, tmp_path / "model")
    (tmp_path / "checkpoint.npz").unlink()
    with pytest.raises(InvalidInput, match=r"no .*checkpoint\.npz"):
        export(tmp_path, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_step_that_was_logged_twice_counts_once(tmp_path):
    lines = [{"step": 10, "loss": 3.0}, {"step": 20, "loss": 2.0}, {"step": 10, "loss": 3.0}, {"step": 20, "loss": 1.9}]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_log(tmp_path / "log.jsonl") == [{"step": 10, "loss": 3.0}, {"step": 20, "loss": 1.9}]


def test_weights_that_16_bit_cannot_hold_are_refused():
    rounded = load(half_bytes({"w": np.array([[65504.0, 1 / 3]], np.float32)}))["w"]
    np.testing.assert_array_equal(rounded, np.array([[65504.0, 1 / 3]], np.float16))
    for bad in (65520.0, np.inf, np.nan):
        with pytest.raises(InvalidInput, match="w has a weight"):
            half_bytes({"w": np.array([bad], np.float32)})


def test_tables_of_facts_come_back_as_they_were_in_a_byte_or_two_a_row(tmp_path):
    rng = np.random.default_rng(0)
    keys = np.sort(rng.choice(4_000_000, size=40_000, replace=False))
    relation = pd.Categorical(["direction"] * 40_000)
    table = pd.DataFrame({"relation": relation, "city": keys // 2000, "other": keys % 2000, "count": 1})
    table = table.astype({"city": np.int16, "other": np.int16, "count": np.int32})
    (tmp_path / "table.parquet").write_bytes(table_bytes(table))
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "table.parquet"), table)
    assert len(table_bytes(table)) < 2 * len(table)


def test_reading_weights_leaves_out_the_moments_of_the_optimiser(trained):
    weights, step = read_npz(trained / "checkpoint.npz")
    assert set(weights) == {name for name, _ in Network(SIZES).named_parameters()}
    assert step == 20
    assert read_npz(trained / "kept" / "step2.npz")[1] is None
