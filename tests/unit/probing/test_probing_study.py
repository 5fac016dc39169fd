"""The study of places: its tasks leak nothing, it resumes, draws itself, and says where there is nothing to do."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from analyses.probing import ProbeConfig, probe_features, readout_study
from analyses.probing import study as study_module
from analyses.probing.kinds import KINDS, kind_rows
from analyses.probing.made_up import random_label_rows
from analyses.probing.places import CONTINENT, COUNTRY, country_atlas, place_tasks
from analyses.probing.study import figures, headline, section
from interp.atlas import facts
from interp.plot import figure_bytes, render_report
from interp.result import Result
from interp.store import Store
from interp.testing import tiny_model

CODES = ("IN", "NG", "JP", "BR", "US", "FR", "DE", "EG", "ZA", "KE", "CN")


@pytest.fixture(scope="module")
def places() -> pd.DataFrame:
    cities = facts().cities
    return cities[cities["seen"]][["name", "lat", "lon", "country"]].reset_index(drop=True)


@pytest.fixture(scope="module")
def few(places) -> pd.DataFrame:
    return places[places["country"].isin(CODES)].groupby("country").head(9).reset_index(drop=True)


@pytest.fixture(scope="module")
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_module, "N_PERM", 3)
        patch.setattr(study_module, "N_BOOT", 20)
        patch.setattr(study_module, "KINDS", ("ridge", "mass_mean"))
        patch.setattr(
            study_module, "causal_check",
            lambda *a, _real=study_module.causal_check, **k: _real(*a, n_random=2, n_permuted=2, **k),
        )  # fmt: skip
        yield


@pytest.fixture(scope="module")
def models():
    return tiny_model(0, n_ctx=128), tiny_model(1, n_ctx=128)


@pytest.fixture(scope="module")
def kept(models, few, quick, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    with Store(folder) as store:
        return readout_study(models[0], few, twin=models[1], store=store), folder


def test_no_continent_can_be_known_by_its_country_and_no_country_by_the_place(places):
    tasks, skipped = place_tasks(places, country_atlas("atlas"), seed=0)
    assert not skipped
    country, continent = tasks
    assert (country.name, continent.name) == (COUNTRY, CONTINENT)
    assert set(continent.groups) == set(places["country"].iloc[continent.rows])
    assert len(set(country.rows)) == len(country.rows)
    names = {code: row["name"] for code, row in facts().countries.items()}
    assert country.labels.tolist() == [names[c] for c in places["country"].iloc[country.rows]]
    truth = {code: row["continent"] for code, row in facts().countries.items()}
    assert continent.labels.tolist() == [truth[c] for c in places["country"].iloc[continent.rows]]


def test_countries_may_be_given_by_name_and_places_that_share_a_name_are_left_out(places):
    atlas = country_atlas("other")
    named = places.assign(country=places["country"].map(atlas.name))
    tasks, _ = place_tasks(named, atlas, seed=0)
    same, _ = place_tasks(places, atlas, seed=0)
    for a, b in zip(tasks, same, strict=True):
        assert a.rows.tolist() == b.rows.tolist()
        assert a.labels.tolist() == b.labels.tolist()
    twice = pd.concat([places, places.head(5).assign(country="FR")], ignore_index=True)
    for task in place_tasks(twice, atlas, seed=0)[0]:
        assert not set(places["name"].head(5)) & set(twice["name"].iloc[task.rows])


def test_a_finished_study_is_read_and_not_computed(kept, models, few, monkeypatch):
    result, folder = kept
    for name in ("causal_check", "kind_rows", "random_label_rows"):
        monkeypatch.setattr(study_module, name, lambda *a, **k: pytest.fail("computed again"))
    monkeypatch.setattr("interp.capturing.capture", lambda *a, **k: pytest.fail("read again"))
    with Store(folder) as store:
        again = readout_study(models[0], few, twin=models[1], store=store)
    pd.testing.assert_frame_equal(again.table, result.table)
    for name, table in result.tables.items():
        pd.testing.assert_frame_equal(again.tables[name], table)
    countries = few["country"].to_numpy()
    for change in (few.assign(country=np.roll(countries, 1)), few.iloc[::-1]):
        with Store(folder, readonly=False) as store, pytest.raises(pytest.fail.Exception):
            readout_study(models[0], change, twin=models[1], store=store)


def test_what_was_kept_for_other_countries_is_computed_again(models, few, quick, tmp_path):
    moved = few.assign(country=np.random.default_rng(0).permutation(few["country"]))
    with Store(tmp_path) as store:
        readout_study(models[0], few, twin=models[1], store=store)
        found = readout_study(models[0], moved, twin=models[1], store=store)
    fresh = readout_study(models[0], moved, twin=models[1])
    for name in fresh.tables:
        pd.testing.assert_frame_equal(found.tables[name], fresh.tables[name])


def test_every_row_has_its_status_and_a_random_model_knows_nothing(kept):
    result, _ = kept
    assert set(result.tables) == {"tasks", "chosen", "kinds", "random_labels", "causal"}
    tested = result.table[result.table["status"] == "ok"]
    assert len(tested)
    assert tested[["score", "null_mean", "p", "q", "n", "seed"]].notna().all(axis=None)
    chosen = result.tables["chosen"].query("role == 'chosen' and task == 'country'").iloc[0]
    assert chosen["score"] < 0.5  # of a tiny model whose weights were drawn; 1 on the bundled one


def test_the_study_draws_and_reports_itself(kept, tmp_path):
    back = Result.load(kept[0].save(tmp_path / "r"))
    drawn = figures(back)
    assert set(drawn) == {"layers", "chosen", "information", "causal"}
    assert all(len(figure_bytes(fig, "png", dpi=50)) > 1000 for fig in drawn.values())
    page = render_report("t", [section(back, figures(back))], {})
    for word in ("permuted labels", "random weights", "LEACE", "control task", "labels by lot"):
        assert word in page
    assert not re.search(r"\bnan\b", headline(back).text + headline(back).null)
    assert "balanced accuracy" in headline(back).text
    back.tables["chosen"] = back.tables["chosen"].assign(metric="auc")  # as of two classes
    assert "area under the ROC curve" in headline(back).text


@pytest.mark.parametrize(
    "change", [lambda p: p.drop(columns="country"), lambda p: p.head(3), lambda p: p.assign(country=None)]
)
def test_places_without_countries_are_a_statement_and_not_a_crash(models, few, change):
    result = readout_study(models[0], change(few), twin=models[1])
    assert (result.table["status"] != "ok").all()
    assert headline(result).text.startswith("Not measured: country (")
    assert figures(result) == {}
    assert "Not measured" in render_report("t", [section(result, {})], {})
    assert len(result.plot().axes) == 1


def test_labels_by_lot_keep_their_p_uniform_through_the_choice_of_a_layer():
    rng = np.random.default_rng(0)
    acts = {f"resid_post.{i}": rng.standard_normal((120, 10)) for i in range(3)}
    groups = np.repeat(np.arange(60), 2)
    config = ProbeConfig(task="classes", n_perm=19, n_boot=0)
    table = random_label_rows(acts, groups, groups < 20, config, n_labels=60)
    assert table["score"].mean() == pytest.approx(0.5, abs=0.04)
    assert (table["p"] <= 0.1).mean() < 0.25  # binomial 99.9 %
    assert set(table["unit"]) == set(acts)


def test_a_label_of_two_signs_is_told_by_the_network_alone():
    rng = np.random.default_rng(0)
    x, groups = rng.standard_normal((400, 4)), np.arange(400)
    from analyses.probing.compute import read_data

    config = ProbeConfig(task="classes", n_perm=9, n_boot=0, description_length=False)
    rows = kind_rows(read_data(x, (x[:, 0] * x[:, 1] > 0).astype(int), groups, None, config), groups < 120, config)
    scores = rows.set_index("kind")["score"]
    assert list(rows["kind"]) == list(KINDS)
    assert scores["mlp"] > 0.85
    assert (abs(scores.drop("mlp") - 0.5) < 0.15).all()
    assert rows.set_index("kind").loc[["logistic", "mlp"], "p"].isna().all()
    assert set(rows.set_index("kind").loc[["logistic", "mlp"], "status"]) == {"score alone (no permutations)"}


def test_one_latent_tells_what_many_columns_of_the_activations_share():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 240)
    latents = np.maximum(0, 3.0 * (y[:, None] == np.arange(3)) + 0.3 * rng.standard_normal((240, 3)))
    latents = np.concatenate([latents, rng.exponential(1, (240, 40)) * (rng.random((240, 40)) < 0.1)], axis=1)
    spread = latents[:, :3] @ rng.standard_normal((3, 60)) + 14.0 * rng.standard_normal((240, 60))
    table = probe_features({"activations": spread, "latents": latents}, y, k=(1,), n_perm=19, n_boot=20)
    mean = table.groupby(["representation", "k"])["auc"].mean()
    assert mean["latents", "1"] > 0.97 > 0.85 > mean["activations", "1"]
    assert mean["activations", "all"] > mean["activations", "1"] + 0.1
    assert (table[(table["representation"] == "latents") & (table["k"] == "1")]["chosen"].str.split().str[0]
            == table[(table["representation"] == "latents") & (table["k"] == "1")]["unit"]).all()  # fmt: skip
    none = probe_features({"latents": latents}, rng.integers(0, 2, 240), k=(1,), n_perm=19, n_boot=0)
    assert (none["p"] > 0.05).all()
