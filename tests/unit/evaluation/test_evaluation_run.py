"""The evaluation of an SAE on a model: what stands in its tables is what its parts measure, with controls beside."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from evaluation_small import SITE, make_sae, make_texts

from analyses.evaluation import eval_sae_command, evaluate
from analyses.evaluation.run import token_rows
from interp.capturing import token_batches
from interp.errors import InvalidInput, SaeMismatch
from interp.result import Result
from interp.sae import evaluate_sae, loss_recovered
from interp.tokens import tokenize


def test_rows_are_the_ordinary_tokens_in_order(model, texts):
    rows = token_rows(model, make_sae(model), texts, SITE)
    tokens = tokenize(model, texts)
    ordinary = tokens.mask & ~tokens.special
    assert rows.ids.tolist() == tokens.ids[ordinary].tolist()
    assert rows.position.tolist() == np.nonzero(ordinary)[1].tolist()
    assert rows.text_index.tolist() == np.nonzero(ordinary)[0].tolist()
    assert rows.position.min() == 1  # BOS is left out


def test_activations_belong_to_their_tokens(model, texts):
    rows = token_rows(model, make_sae(model), texts, SITE)
    alone = next(iter(token_batches(model, [texts[17]], SITE))).numpy()
    np.testing.assert_allclose(rows.activations[rows.text_index == 17], alone, atol=1e-5)


def test_metrics_are_those_of_the_parts(result, model, texts):
    sae = make_sae(model)
    rows = token_rows(model, sae, texts, SITE)
    fidelity = evaluate_sae(sae, rows.activations, seed=0, n_boot=50, text_index=rows.text_index)
    losses = loss_recovered(model, sae, texts, seed=0, n_boot=50)
    expected = pd.concat([fidelity.set_index("metric")["value"], losses.set_index("metric")["value"]])
    pd.testing.assert_series_equal(result.table.set_index("metric")["value"], expected, rtol=1e-9)


def test_each_metric_of_the_sae_has_its_controls(result):
    table = result.table.set_index("metric")
    no_share = ["recovered_vs_zero", "recovered_vs_mean"]  # of a model that has learnt nothing no loss can be lost
    own = table.drop(["loss_clean", "loss_zero", "loss_mean", *no_share])
    assert own["null_random_sae"].notna().all()
    assert table.drop(no_share)["null_random_weights"].notna().all()
    assert table.loc["loss_spliced", "null_mean_predictor"] == table.loc["loss_mean", "value"]
    assert (table["n"] > 0).all()
    assert (table["seed"] == 0).all()


def test_random_weights_control_is_the_same_measure_of_the_twin(result, twin, texts):
    sae = make_sae(twin)
    rows = token_rows(twin, sae, texts, SITE)
    expected = evaluate_sae(sae, rows.activations, seed=0, n_boot=0).set_index("metric")["value"]
    found = result.table.set_index("metric")["null_random_weights"]
    np.testing.assert_allclose(found[expected.index], expected, rtol=1e-9)


def test_classes_cover_every_token(result):
    classes = result.tables["classes"]
    n = classes.groupby("family")["n"].sum()
    assert set(n.index) == {"all", "norm", "position", "frequency"}
    assert n.nunique() == 1


def test_density_counts_every_latent_of_both(result):
    density = result.tables["density"]
    assert density["n_latents"].sum() == 64
    assert density["n_random_sae"].sum() == 64


def test_label_that_the_last_token_is_can_be_told(result):
    labels = result.tables["labels"]
    assert set(labels["set"]) == {"last word"}
    assert (labels.loc[labels["k"] == 5, "auc"] > 0.8).all()
    assert set(result.tables["absorption"]["label"]) == set(labels["label"])


def test_result_survives_saving(result, tmp_path):
    back = Result.load(result.save(tmp_path / "tables"))
    for name, table in {"table": result.table, **result.tables}.items():
        other = back.table if name == "table" else back.tables[name]
        pd.testing.assert_frame_equal(other, table)


def test_same_seed_same_tables(result, model, texts):
    again = evaluate(make_sae(model), model, texts, seed=0, n_boot=50)
    shared = [c for c in result.table.columns if c != "null_random_weights"]
    pd.testing.assert_frame_equal(again.table[shared], result.table[shared])
    pd.testing.assert_frame_equal(again.tables["classes"], result.tables["classes"])


def test_sae_of_another_model_is_refused_and_can_be_allowed(model, twin, texts):
    with pytest.raises(SaeMismatch, match="fingerprint"):
        evaluate(make_sae(twin), model, texts, seed=0)
    allowed = evaluate(make_sae(twin), model, texts, seed=0, n_boot=0, allow_mismatch=True)
    assert any("fingerprint" in note for note in allowed.notes)


def test_control_at_another_site_is_refused(model, twin, texts):
    with pytest.raises(SaeMismatch, match=r"resid_post\.0"):
        evaluate(make_sae(model), model, texts, seed=0, n_boot=0, control=(make_sae(twin, site="resid_post.0"), twin))


@pytest.fixture
def by_name(monkeypatch, model, twin):
    """Loads the tiny model and its SAE whatever they are called."""
    monkeypatch.setattr("interp.models.load_model", lambda name, **kw: twin if kw["weights"] == "random" else model)
    saes = {"sae": make_sae(model), "twin-sae": make_sae(twin)}
    monkeypatch.setattr("interp.sae.load_sae", lambda name: saes[name], raising=False)


def command(tmp_path, **options):
    given = {"model": "m", "weights": "trained", "texts": tmp_path / "t.txt", "labels": None, "control": None,
             "n_texts": 20, "seed": 0, "out": None}  # fmt: skip
    return eval_sae_command("sae", **{**given, **options})


def test_command_writes_tables_and_figure(by_name, tmp_path, texts):
    (tmp_path / "t.txt").write_text("\n".join(texts))
    ends = make_texts(300, 1)
    (tmp_path / "l.csv").write_text("text,label\n" + "".join(f"{t},{t.split()[-1]}\n" for t in ends))
    result = command(tmp_path, out=tmp_path / "out", labels=tmp_path / "l.csv", control="twin-sae")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"tables", "evaluation.pdf", "evaluation.png"}
    assert (tmp_path / "out" / "tables" / "table.parquet").is_file()
    assert set(result.tables) == {"classes", "density", "labels", "absorption"}
    assert result.provenance["config"]["n_texts"] == 20


@pytest.mark.parametrize("texts", [None, "nowhere.txt", ""])
def test_command_without_texts_says_what_to_give(by_name, tmp_path, texts):
    (tmp_path / "empty.txt").write_text("\n \n")
    path = None if texts is None else tmp_path / (texts or "empty.txt")
    with pytest.raises(InvalidInput, match="--texts"):
        command(tmp_path, texts=path)
