"""The card of an SAE says what the evaluation says, is sealed with the SAE, and is written once."""

import json

import numpy as np
import pandas as pd
import pytest
from evaluation_small import make_sae

from analyses.evaluation.card import card_page, card_saes, sae_card, write_sae_card
from interp.errors import CorruptArtifact, InvalidInput
from interp.sae import load_sae, save_sae, stability


@pytest.fixture
def folder(model, tmp_path):
    save_sae(make_sae(model), tmp_path / "resid_post.1", dtype="float32")
    return tmp_path / "resid_post.1"


def test_a_card_holds_every_table_of_the_evaluation_with_its_controls(result):
    card = json.loads(json.dumps(sae_card(result, "tiny/resid_post.1")))
    assert set(card["tables"]) == {"table", *result.tables}
    stated = pd.DataFrame(card["tables"]["table"]).set_index("metric")
    found = result.table.set_index("metric")
    assert stated.index.tolist() == found.index.tolist()
    for column in ("value", "ci_low", "null_random_sae", "null_random_weights", "n"):
        np.testing.assert_allclose(stated[column].astype(float), found[column].astype(float), rtol=1e-5)


def test_a_set_of_labels_is_one_row_for_each_k(result):
    card, labels = sae_card(result, "a"), result.tables["labels"]
    stated = pd.DataFrame(card["tables"]["labels"])
    assert len(stated) == labels["k"].nunique()
    for row in stated.itertuples():
        part = labels[(labels["k"] == row.k) & (labels["status"] == "ok")]
        assert row.auc == pytest.approx(part["auc"].mean(), rel=1e-5)
        assert row.auc_lowest == pytest.approx(part["auc"].min(), rel=1e-5)
        assert row.null_random_sae == pytest.approx(part["null_random_sae"].mean(), rel=1e-5)
        assert (row.n_labels, row.n_significant) == (len(part), (part["q"] < 0.05).sum())
    absorbed = pd.DataFrame(card["tables"]["absorption"])
    assert absorbed["absorbed_share"].item() == pytest.approx(result.tables["absorption"]["absorbed_share"].mean())


def test_the_page_shows_each_metric_and_a_table_of_stability_only_where_there_is_one(result, model):
    saes = [make_sae(model, 0), make_sae(model, 1)]
    table = stability(saes, seed=0, n_null=2, n_boot=10)
    plain, with_seeds = sae_card(result, "a"), sae_card(result, "a", table)
    assert "Agreement with SAEs of other seeds" not in card_page(plain, saes[0])
    page = card_page(with_seeds, saes[0])
    assert "Agreement with SAEs of other seeds" in page
    for metric in result.table["metric"]:
        assert f"| {metric} |" in page
    assert "nan" not in page.lower().split()


def test_a_card_is_sealed_with_the_sae_which_still_loads(result, folder):
    before = load_sae(folder).weights()
    write_sae_card(folder, result, name="tiny/resid_post.1")
    after = load_sae(folder)
    assert after.golden_checked
    assert all((after.weights()[name] == value).all() for name, value in before.items())
    card = folder / "card.json"
    card.write_bytes(card.read_bytes().replace(b'"fvu"', b'"fvv"', 1))
    with pytest.raises(CorruptArtifact, match=r"card\.json"):
        load_sae(folder)


def test_cards_that_are_there_are_kept(result, folder, tmp_path, monkeypatch):
    import analyses.evaluation.card as module

    asked = []

    class Bench:
        def __init__(self, *args):
            pass

        def evaluated(self, path):
            asked.append(path.name)
            return result

        def stability(self, path):
            return None

    monkeypatch.setattr(module, "_Bench", Bench)
    root = tmp_path / "saes"
    (root / "tiny").mkdir(parents=True)
    folder.rename(root / "tiny" / "resid_post.1")
    first = card_saes(tmp_path, root)
    second = card_saes(tmp_path, root)
    assert asked == ["resid_post.1"]
    assert (first["state"].item(), second["state"].item()) == ("done", "kept")
    pd.testing.assert_frame_equal(first.drop(columns="state"), second.drop(columns="state"))
    assert card_saes(tmp_path, root, again=True)["state"].item() == "done"


def test_a_folder_without_saes_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="has no SAE"):
        card_saes(tmp_path, tmp_path)
