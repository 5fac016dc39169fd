"""Layers: the planted one is found, chosen on some groups and reported on others, beside the twin and the embedding."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from probing_planted import planted

from analyses.probing import ProbeConfig, probe_layers
from analyses.probing.layers import RANDOM, TRAINED, held_out_groups, layer_of, layer_rows
from analyses.probing.view import plot
from interp.errors import InvalidInput, UnknownSite
from interp.plot import figure_bytes
from interp.result import Result
from interp.store import Store
from interp.testing import tiny_model

WORDS = ("Paris", "London", "Berlin", "city", "France")


@pytest.fixture(scope="module")
def texts() -> list[str]:
    rng = np.random.default_rng(0)
    return [" " + " ".join(rng.choice(WORDS, size=rng.integers(3, 9))) for _ in range(200)]


@pytest.fixture(scope="module")
def models():
    return tiny_model(0), tiny_model(1)


@pytest.fixture(scope="module")
def result(models, texts) -> Result:
    y = [text.split()[-1] for text in texts]
    return probe_layers(models[0], texts, y, twin=models[1], n_perm=9, n_boot=50)


def test_a_planted_layer_is_chosen_and_judged_on_groups_that_did_not_choose():
    x, codes, groups, _ = planted(400)
    noise = np.random.default_rng(1).standard_normal((5, *x.shape))
    acts = {
        TRAINED: {"embed": noise[0], "resid_post.0": noise[1], "resid_post.1": x, "resid_post.2": noise[2]},
        RANDOM: {"embed": noise[0], "resid_post.0": noise[1], "resid_post.1": noise[3], "resid_post.2": noise[4]},
    }
    keep = held_out_groups(groups, 0.3, seed=0)
    assert not set(groups[keep]) & set(groups[~keep])
    config = ProbeConfig(n_perm=19, n_boot=100, description_length=False)
    table, chosen = layer_rows(acts, codes, groups, None, keep, config)
    own = table[table["condition"] == TRAINED].set_index("unit")
    assert own.loc["resid_post.1", "score"] > 0.9
    assert (table.drop(table.index[2])["score"] < 0.7).all()
    first = chosen.iloc[0]
    assert (first["condition"], first["unit"], first["role"]) == (TRAINED, "resid_post.1", "chosen")
    assert first["score"] > 0.9
    assert first["n"] == keep.sum()
    assert first["p"] == pytest.approx(1 / 20)
    assert (chosen.iloc[1:]["score"] < 0.7).all()
    changed = np.where(keep, 1 - codes, codes)  # labels of the test groups choose nothing
    again, _ = layer_rows(acts, changed, groups, None, keep, config)
    np.testing.assert_array_equal(again["score"], table["score"])


def test_every_layer_of_both_models_is_there(result):
    assert list(result.table["condition"]) == [TRAINED] * 3 + [RANDOM] * 3
    assert list(result.table["unit"])[:3] == ["embed", "resid_post.0", "resid_post.1"]
    assert list(result.table["layer"])[:3] == [-1, 0, 1]
    assert (result.table["status"] == "ok").all()
    assert set(result.tables["chosen"]["role"]) == {"chosen", "same site", "its best", "embedding"}


def test_the_last_word_is_told_by_the_embedding_of_the_last_token_already(result):
    scores = result.table.set_index(["condition", "unit"])["score"]
    assert scores[TRAINED, "embed"] == 1.0
    assert scores[TRAINED, "resid_post.0"] > 0.9


def test_an_earlier_word_is_not_in_the_embedding_of_the_last_token(models, texts):
    y = [text.split()[0] for text in texts]
    found = probe_layers(models[0], texts, y, ["resid_post.1"], twin=models[1], n_perm=9)
    assert found.table["score"].iloc[0] == pytest.approx(0.2, abs=0.1)


def test_q_is_over_the_sites_of_a_condition(result):
    for _, part in result.table.groupby("condition"):
        assert (part["q"] >= part["p"]).all()
        assert part["q"].max() == pytest.approx(part["p"].max())


def test_a_result_survives_saving_and_draws_the_same_bytes(result, tmp_path):
    back = Result.load(result.save(tmp_path / "r"))
    assert list(back.tables) == ["chosen"]
    assert figure_bytes(back.plot(), "png", dpi=60) == figure_bytes(result.plot(), "png", dpi=60)


def test_the_figure_has_the_controls_in_its_legend(result):
    drawn = [text.get_text() for text in plot(result).axes[0].get_legend().get_texts()]
    assert {"permuted labels", "random weights", "embedding"} <= {t.split(" (")[0] for t in drawn}


def test_layers_without_a_score_are_drawn_all_the_same(models, texts):
    y = ["same"] * 199 + ["other"]
    empty = probe_layers(models[0], texts, y, ["resid_post.1"], twin=models[1], n_perm=3)
    assert set(empty.table["status"]) <= {"a class is in one group alone", "constant label"}
    assert not len(empty.tables["chosen"].query("role == 'chosen'"))
    assert len(figure_bytes(empty.plot(), "png", dpi=60)) > 1000


def test_what_does_not_fit_is_refused(models, texts):
    with pytest.raises(InvalidInput, match="row for each"):
        probe_layers(models[0], texts, ["a"] * 3, twin=models[1])
    with pytest.raises(UnknownSite, match=r"resid_post\.9"):
        probe_layers(models[0], texts, texts, ["resid_post.9"], twin=models[1])
    for share in (0.0, 1.0):
        with pytest.raises(InvalidInput, match="test_share"):
            held_out_groups(np.arange(10), share, seed=0)
    assert layer_of("mlp_out.3") == 3


def test_a_killed_call_goes_on_from_its_finished_rows(models, texts, tmp_path, monkeypatch):
    y = [text.split()[-1] for text in texts]
    options = {"twin": models[1], "n_perm": 3, "n_boot": 20}
    plain = probe_layers(models[0], texts, y, **options)
    from analyses.probing import layers

    done, probed = [], layers.probe_row

    def dies_at_the_third(*args):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(1)
        return probed(*args)

    monkeypatch.setattr(layers, "probe_row", dies_at_the_third)
    with Store(tmp_path) as store, pytest.raises(KeyboardInterrupt):
        probe_layers(models[0], texts, y, store=store, **options)
    again = []
    monkeypatch.setattr(layers, "probe_row", lambda *args: (again.append(1), probed(*args))[1])
    with Store(tmp_path) as store:
        found = probe_layers(models[0], texts, y, store=store, **options)
        assert len(again) == 4  # of 6 rows two were kept
        pd.testing.assert_frame_equal(found.table, plain.table)
        pd.testing.assert_frame_equal(found.tables["chosen"], plain.tables["chosen"])
        monkeypatch.setattr("interp.capturing.capture", lambda *a, **k: pytest.fail("read again"))
        pd.testing.assert_frame_equal(probe_layers(models[0], texts, y, store=store, **options).table, plain.table)
        with pytest.raises(pytest.fail.Exception):  # other labels are another key
            probe_layers(models[0], texts, y[::-1], store=store, **options)
