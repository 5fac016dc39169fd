"""The whole selection: rows in and out, the folder it leaves, kills, cuts, and the command line."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from selection_pool import rows_of

from analyses.cli import main
from analyses.data_selection import read_samples
from analyses.data_selection.command import dry_run, select_command
from analyses.data_selection.method_names import DEFAULT_METHOD, NAMES
from analyses.data_selection.selection_config import SelectionConfig
from analyses.data_selection.study import run_selection
from interp.errors import InvalidInput
from interp.store import Store

FILES = (
    "ranking",
    "listed",
    "reasons",
    "lacking",
    "features",
    "tokens",
    "causal",
    "length",
    "format",
    "controls",
    "stability",
    "contaminated",
)


@pytest.fixture
def files(tmp_path):
    rows = rows_of(60, 3)
    rows[5] = rows[4]  # a duplicate
    raw = [json.dumps(row, separators=(",", " : ")) for row in rows]
    raw[7:7] = ["{broken", '{"text": 3}']
    target = [{"prompt": "Where is the city of Paris", "completion": "in France is the city of Paris"}, *rows_of(5, 9)]
    raw.append(json.dumps(target[0]))  # contaminated
    (tmp_path / "pool.jsonl").write_text("\n".join(raw) + "\n")
    (tmp_path / "task.jsonl").write_text("".join(json.dumps(row) + "\n" for row in target))
    return tmp_path, raw


@pytest.fixture
def loaded(model, sae, monkeypatch):
    monkeypatch.setattr("analyses.data_selection.command.load", lambda config: (model, sae))


def config_of(folder, **more):
    stated = {"budget": "20%", "shard_rows": 16, **more}
    return SelectionConfig(pool=(str(folder / "pool.jsonl"),), target=(str(folder / "task.jsonl"),), **stated)


def test_every_row_is_selected_ranked_or_listed_and_selected_rows_keep_their_bytes(files, loaded):
    folder, raw = files
    out = folder / "out"
    summary = select_command(config_of(folder), out, command="interp select ...")
    ranking, listed = (pd.read_parquet(out / f"{name}.parquet") for name in ("ranking", "listed"))
    assert len(ranking) + len(listed) == len(raw)
    assert listed["number"].tolist() == [8, 9]
    chosen = (out / "selected.jsonl").read_text().splitlines()
    assert chosen == [raw[i - 1] for i in ranking[ranking["selected"]]["number"]]
    assert len(chosen) == 12 == summary["picked"][0]
    assert ranking[ranking["number"] == len(raw)]["reason"].iloc[0] == "contaminated by task.jsonl:1"
    assert ranking["reason"].str.startswith("near duplicate of").sum() >= 1
    assert (ranking[ranking["selected"]]["top_features"] != "").all()
    about = json.loads((out / "selection.json").read_text())
    assert about["command"] == "interp select ..."
    assert about["counts"] == {"rows_in": 63, "rows_scored": 61, "rows_selected": 12}
    page = (out / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    with Store(out, readonly=True) as store:
        assert set(store.status()["state"]) == {"done"}
        assert {f"{name}.parquet" for name in FILES} <= set(store.names())


def test_the_same_command_gives_the_same_bytes(files, loaded, fixed_commit):
    folder, _ = files
    for name in ("a", "b"):
        select_command(config_of(folder), folder / name)
    select_command(config_of(folder), folder / "a")  # again over a finished run
    for file in ("selected.jsonl", "ranking.parquet", "report.html", "selection.json"):
        assert (folder / "a" / file).read_bytes() == (folder / "b" / file).read_bytes(), file


def test_a_killed_run_ends_as_one_that_was_not(files, loaded, monkeypatch):
    folder, _ = files
    config = config_of(folder, random_control=False)
    select_command(config, folder / "whole")
    calls = []
    from analyses.data_selection import encoding

    real = encoding._run

    def dies(*args):
        calls.append(1)
        if len(calls) == 4:  # one for the target, two shards of the pool
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(encoding, "_run", dies)
    with pytest.raises(KeyboardInterrupt):
        select_command(config, folder / "killed")
    select_command(config, folder / "killed")
    assert len(calls) == 4 + 1 + 2
    for file in ("selected.jsonl", "ranking.parquet"):
        assert (folder / "killed" / file).read_bytes() == (folder / "whole" / file).read_bytes(), file


@pytest.mark.parametrize("method", ["mona", "background"])
def test_cut_codes_give_the_pick_of_whole_ones(files, model, sae, method):
    folder, _ = files
    pool, target = read_samples(folder / "pool.jsonl"), {"task": read_samples(folder / "task.jsonl")}
    config = config_of(folder, method=method)
    whole = run_selection(config, pool, target, None, model, sae)
    for top, all_again in ((8, True), (34, False)):  # few entries leave bounds that tell nothing apart
        cut = run_selection(replace(config, top=top), pool, target, None, model, sae)
        assert cut.selected.tolist() == whole.selected.tolist()
        assert "straddled" in cut.notes[0]
        assert bool((cut.ranking["upper"] == cut.ranking["lower"]).all()) == all_again


@pytest.mark.parametrize(
    "more",
    [
        *({"method": name} for name in (*NAMES, "random")), {"random_control": False}, {"top": 4, "method": "mona"},
        {"temperature": 0.5}, {"duplicates": "none", "contaminated": "report"}, {"budget": "100 tokens"},
        {"tokens": "answer", "pooling": "max"}, {"weigh": ("3=0", "5=2")},
    ],
)  # fmt: skip
def test_every_choice_goes_through(files, model, sae, more):
    folder, _ = files
    pool, target = read_samples(folder / "pool.jsonl"), {"task": read_samples(folder / "task.jsonl")}
    ranking = run_selection(config_of(folder, **more), pool, target, None, model, sae).ranking
    assert ranking["selected"].any()
    assert np.isfinite(ranking["score"]).all() or more.get("method") == "length-matched"


def test_a_random_sae_is_a_control_of_small_pools_and_where_it_is_asked_for(files, model, sae, monkeypatch):
    folder, _ = files
    pool, target = read_samples(folder / "pool.jsonl"), {"task": read_samples(folder / "task.jsonl")}

    def controls(**more):
        found = run_selection(config_of(folder, **more), pool, target, None, model, sae).tables["controls"]
        return {name.split(",")[0] for name in found["method"]}

    assert {"random SAE", "shuffled target", "residual-centred", "mona", "random"} <= controls()
    assert "random SAE" not in controls(random_control=False)
    monkeypatch.setattr("analyses.data_selection.study.SMALL", 10)
    assert "random SAE" not in controls()
    assert "random SAE" in controls(random_control=True)


def test_tasks_take_turns(files, loaded):
    folder, _ = files
    (folder / "other.jsonl").write_text('{"text": "Berlin and London and Berlin"}\n')
    config = config_of(folder)
    config = replace(config, target=(*config.target, str(folder / "other.jsonl")))
    summary = select_command(config, folder / "out")
    assert summary["task"].tolist() == ["task", "other"]
    assert abs(int(summary["picked"].diff().iloc[1])) <= 1
    assert len(pd.read_parquet(folder / "out" / "ranking.parquet")) == 2 * 61


def test_quotas_hold_and_take_turns(files, model, sae):
    folder, _ = files
    (folder / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_of(30, 11)))
    (folder / "other.jsonl").write_text('{"text": "Berlin and London and Berlin"}\n')
    config = config_of(folder, budget="20", duplicates="none", contaminated="report")
    config = replace(config, pool=(*config.pool, str(folder / "more.jsonl")))
    pool = read_samples(list(config.pool))
    targets = {name: read_samples(folder / f"{name}.jsonl") for name in ("task", "other")}
    config = replace(config, target=("task", "other"), task_quota=("other=0.2",), source_quota=("more.jsonl=0.25",))
    found = run_selection(config, pool, targets, None, model, sae)
    picked = found.ranking[found.ranking["selected"] & (found.ranking["task"] == found.ranking["picked_for"])]
    assert picked["task"].value_counts().to_dict() == {"task": 16, "other": 4}
    assert (picked["source"] == "more.jsonl").sum() <= 5
    assert "source quota" in set(found.pick["reason"])
    even = run_selection(
        replace(config, task_quota=(), source_quota=(), per_source=0.5), pool, targets, None, model, sae
    )
    assert even.pick["task"].value_counts()[["task", "other"]].tolist() == [10, 10]
    sources = even.pool.rows["source"][even.selected].value_counts()
    assert sources.to_dict() == {"pool.jsonl": 10, "more.jsonl": 10}


def test_temperature_draws_other_rows_and_the_seed_the_same(files, model, sae):
    folder, _ = files
    pool, target = read_samples(folder / "pool.jsonl"), {"task": read_samples(folder / "task.jsonl")}

    def picked(**more):
        return run_selection(config_of(folder, **more), pool, target, None, model, sae).selected.tolist()

    assert picked() == picked(seed=1)
    assert picked(temperature=1.0) != picked()
    assert picked(temperature=1.0) == picked(temperature=1.0) != picked(temperature=1.0, seed=1)


def test_a_dry_run_writes_nothing(files, loaded):
    folder, _ = files
    before = sorted(folder.iterdir())
    table = dry_run(config_of(folder)).set_index("what")["value"]
    assert table["rows in the pool"] == "63"
    assert table["samples that can be scored"] == "61"
    assert table["budget"] == "12 samples"
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"method": "monna"}, "Nearest: 'mona'"),
        ({"method": "bm25", "weigh": ("3=0",)}, "reads no features"),
        ({"top": 3, "method": "adjusted"}, "bounds under mona"),
        ({"task_quota": ("task=2",)}, "task_quota takes NAME=SHARE"),
        ({"task_quota": ("tusk=0.5",)}, "no task 'tusk'"),
        ({"source_quota": ("pool",)}, "source_quota takes NAME=SHARE"),
        ({"budget": "many"}, "budget 'many'"),
        ({"top": 3, "method": "cosine"}, "bounds under mona"),
        ({"weigh": ("three",)}, "FEATURE=FACTOR"),
        ({"pool": ("gone.jsonl",)}, "no file"),
        ({"target": ()}, "there is no target"),
    ],
)
def test_mistakes_are_named(files, loaded, more, match):
    folder, _ = files
    with pytest.raises(InvalidInput, match=match):
        select_command(replace(config_of(folder), **more), folder / "out")


def test_the_command_line_offers_every_method_and_names_it_in_its_help():
    import inspect
    from typing import get_args

    from analyses import cli_select

    assert set(get_args(cli_select.Method)) == {*NAMES, "random"}
    told = inspect.getdoc(cli_select.select).split("\nmethod\n")[1].split("\nweigh\n")[0]
    assert all(re.search(rf"[ ,]{re.escape(name)}[ ,;.(]", told.replace("\n", " ")) for name in (*NAMES, "random"))
    assert inspect.signature(cli_select.select).parameters["method"].default == DEFAULT_METHOD


def test_the_command_line(files, loaded, capsys):
    folder, _ = files
    arguments = ["select", str(folder / "pool.jsonl"), "--target", str(folder / "task.jsonl"), "--budget", "10"]
    assert main([*arguments, "--out", str(folder / "out")]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1].startswith("task\t10\t61")
    assert "not used, not JSON: 1 rows, first pool.jsonl:8" in printed.err
    assert len((folder / "out" / "selected.jsonl").read_text().splitlines()) == 10
    assert main([*arguments, "--dry-run"]) == 0
    assert "seconds to code the pool" in capsys.readouterr().out
    assert main(["select", "gone.jsonl", "--target", str(folder / "task.jsonl")]) == 2
    assert main(["select", "--help"]) == 0
    assert "interp select pool.jsonl --target gsm8k.jsonl --budget 5%" in capsys.readouterr().out
