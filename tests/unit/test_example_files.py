"""The example files are read by what they are made for, and nothing of the user's is replaced."""

import json

import pandas as pd
import pytest

import interp
from interp.errors import InvalidInput, SaeMismatch
from interp.sae import check_fit, save_sae
from interp.testing import example_files


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("examples")
    assert {p.name for p in example_files(path)} == {p.name for p in path.iterdir()}
    return path


@pytest.mark.parametrize(("name", "family"), [("my-model", "gpt2"), ("my-llama", "llama"), ("my-neox", "gpt_neox")])
def test_models_pass_the_checks_of_loading(folder, name, family):
    model = interp.load_model(folder / name, bos="always")
    assert model.config.model_type == family
    assert interp.capture(model, ["Paris"], "resid_post.1")["resid_post.1"].shape == (1, 32)


def test_the_sae_fits_once_it_says_whose_it_is(folder, tmp_path):
    model = interp.load_model(folder / "my-model", bos="always")
    with pytest.raises(SaeMismatch, match="model fingerprint"):
        check_fit(model, interp.load_sae(folder / "saelens-sae"))
    stated = {"model_fingerprint": model.fingerprint}
    save_sae(interp.load_sae(folder / "saelens-sae", declare=stated), tmp_path / "sae")
    assert not check_fit(model, interp.load_sae(tmp_path / "sae")).mismatches


def test_tables_and_texts_have_what_is_asked_of_them(folder):
    labels = pd.read_csv(folder / "labels.csv", keep_default_na=False)
    assert set(labels["label"].value_counts()) == {12}
    assert {"name", "lat", "lon", "country", "population"} == set(pd.read_csv(folder / "my.csv").columns)
    rows = [json.loads(line) for line in (folder / "pool.jsonl").read_text().splitlines()]
    assert all(set(row) == {"prompt", "completion"} for row in rows)
    held_out, corpus = ((folder / name).read_text().splitlines() for name in ("held_out.txt", "corpus.txt"))
    assert len(corpus) > 512  # what train-sae holds out
    assert len(set(held_out) - set(corpus)) > 0.5 * len(held_out)


def test_what_is_there_is_left_alone(tmp_path):
    (tmp_path / "my.csv").write_text("mine")
    with pytest.raises(InvalidInput, match=r"my\.csv is there already"):
        example_files(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["my.csv"]


def test_the_same_files_every_time(folder, tmp_path):
    for path in example_files(tmp_path):
        if path.is_file():
            assert path.read_bytes() == (folder / path.name).read_bytes()
