"""`interp run --dry-run`: it counts what the run then does, touches nothing, and refuses what the run refuses."""

import importlib

import numpy as np
import pandas as pd
import pytest

from analyses.cli import main
from analyses.dry_run import _PARTS, Outline, dry_run, sae_config
from analyses.job import Job, RunConfig
from analyses.registry import ANALYSES
from interp.errors import InvalidInput, UnknownName
from interp.store import Store


@pytest.fixture
def no_weights(monkeypatch):
    def refuse(*_, **__):
        pytest.fail("weights were read")

    monkeypatch.setattr("interp.models.load_model", refuse)
    monkeypatch.setattr("interp.sources.build_module", refuse)
    monkeypatch.setattr("interp.sae.load_sae", refuse)


def row(plan, part):
    return plan.table[plan.table["part"] == part].iloc[0]


def test_every_analysis_is_planned(no_weights, tmp_path, small_places):
    plan = dry_run(RunConfig(places=str(small_places)), tmp_path / "run")
    assert set(plan.table["analysis"]) == set(_PARTS) == set(ANALYSES)
    assert (plan.table["finished"] == 0).all()
    assert (plan.table["memory"] > 5e8).all()
    assert not (tmp_path / "run").exists()
    assert "nothing was run" in plan.text()


def test_a_folder_of_other_files_has_nothing_finished(no_weights, tmp_path, small_places):
    (tmp_path / "notes.txt").write_text("mine")
    table = dry_run(RunConfig(("geospatial",), places=str(small_places)), tmp_path).table
    assert table["finished"].sum() == 0
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_prompts_and_tokens_are_those_that_are_read(no_weights, tmp_path, small_places):
    from interp.sources import find_source, load_tokenizer

    tokenizer = load_tokenizer(find_source("atlas"))
    names = pd.read_csv(small_places)["name"]
    config = RunConfig(("geospatial",), places=str(small_places), template="{name} is a city in")
    found = row(dry_run(config, tmp_path), "activations, trained model")
    tokens = sum(len(tokenizer(f"{name} is a city in", add_special_tokens=False).input_ids) + 1 for name in names)
    assert (found["prompts"], found["tokens"]) == (120, tokens)


def units_of(name, config):
    return {artefact for part in _PARTS[name](Outline(config)) for unit in part.units for artefact in unit}


def test_the_units_of_a_geospatial_run_are_those_planned_and_then_count_as_finished(tmp_path, small_places):
    config = RunConfig(("geospatial",), places=str(small_places), permutations=19, survey=False)
    with Store(tmp_path) as store:
        ANALYSES["geospatial"].load().run(Job(config, store))
        kept = set(store.names())
    assert kept == units_of("geospatial", config)
    table = dry_run(config, tmp_path).table
    assert (table["finished"] == table["units"]).all()
    other = dry_run(RunConfig(("geospatial",), places=str(small_places), permutations=20, survey=False), tmp_path)
    assert row(other, "activations, trained model")["finished"] == 1
    assert row(other, "tests")["finished"] == 0
    (tmp_path / "geospatial/tests/trained.parquet").write_bytes(b"damaged")
    assert row(dry_run(config, tmp_path), "tests")["finished"] == row(other, "tests")["units"] - 1


class _Asked(Exception):
    """Raised where a study would begin to compute."""


@pytest.mark.parametrize(
    ("name", "runs"),
    [("attention", "analyses.attention.run"), ("polysemanticity", "analyses.polysemanticity.study_units")],
)
def test_the_units_of_a_study_are_those_planned(name, runs, tmp_path, monkeypatch):
    asked = set()

    def record(units, compute, *, name_of, **_):
        asked.update(artefact for unit in units for artefact in np.atleast_1d(name_of(unit)).tolist())
        raise _Asked

    module = importlib.import_module(ANALYSES[name].module)
    monkeypatch.setattr(importlib.import_module(runs), "run_units", record)
    config = RunConfig((name,))
    with Store(tmp_path) as store, pytest.raises(_Asked):
        module.run(Job(config, store))
    assert asked == units_of(name, config)


def test_a_model_without_texts_or_sae_has_less_to_do(no_weights, monkeypatch):
    outline = Outline(RunConfig())
    outline.config = RunConfig(model="other")
    outline.job = Job(outline.config, store=None)  # type: ignore[arg-type]
    outline.sizes, outline.sae, outline.is_atlas = Outline(RunConfig()).sizes, None, False
    (attention, _), (poly,) = _PARTS["attention"](outline), _PARTS["polysemanticity"](outline)
    assert [unit[0].rpartition("/")[2] for unit in attention.units] == [
        "heads.parquet",
        "profiles.parquet",
        "prefixes.parquet",
    ]
    assert poly.units == []


def test_the_configuration_of_an_sae_is_read_without_its_weights(no_weights):
    config = sae_config("atlas/resid_post.2")
    assert (config.d_in, config.d_sae, config.k, config.site) == (192, 2048, 16, "resid_post.2")


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (RunConfig(("geospacial",)), UnknownName),
        (RunConfig(("geospatial",), template="a city"), InvalidInput),
        (RunConfig(("geospatial",), places="nowhere.csv"), InvalidInput),
        (RunConfig(("attention",), texts="nowhere.txt"), InvalidInput),
        (RunConfig(model="atlsa"), UnknownName),
    ],
)
def test_what_the_run_would_refuse_is_refused(no_weights, tmp_path, config, error):
    with pytest.raises(error):
        dry_run(config, tmp_path / "run")


def test_the_command_prints_the_plan_and_runs_nothing(monkeypatch, tmp_path, capsys, small_places):
    monkeypatch.setattr("analyses.job.run_job", lambda *_: pytest.fail("it ran"))
    out = tmp_path / "run"
    assert main(["run", "geospatial", "--places", str(small_places), "--dry-run", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    lines = [line.split("\t") for line in printed.out.splitlines()]
    assert lines[0] == ["analysis", "part", "units", "finished", "prompts", "tokens", "bytes", "memory"]
    assert lines[1][:2] == ["geospatial", "activations, trained model"]
    assert "15 of 15 work units to do; nothing was run" in printed.err
    assert not out.exists()
