"""Result: saved and loaded exactly, drawn only by our own views, honest about what has no p."""

from __future__ import annotations

import os
import subprocess
import sys
import types

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from interp.errors import CorruptArtifact, InvalidInput, UnknownName
from interp.provenance import git_commit, provenance, versions
from interp.result import Result, load_result
from interp.store import make_key


def result(**changes) -> Result:
    table = pd.DataFrame(
        {
            "feature": [0, 1, 2, 3],
            "I": [0.1 + 0.2, 0.02, np.nan, 0.5],
            "p": [0.001, 0.4, np.nan, 0.002],
            "q": [0.003, 0.4, np.nan, 0.003],
            "n": [20, 20, 20, 20],
            "n_perm": [999] * 4,
            "seed": [7] * 4,
            "status": ["ok", "ok", "constant", "ok"],
        }
    )
    key = make_key({"k": 8}, {"places": "aa"}, code_version="1")
    extra = pd.DataFrame({"x": np.arange(3, dtype="float32")}, index=pd.Index(["a", "b", "c"], name="place"))
    given = {
        "name": "geospatial.moran",
        "table": table,
        "tables": {"z-second": extra, "a-first": extra.astype("float16")},
        "provenance": provenance(key, seed=7),
        "notes": ("999 permutations have a floor of p = .001.",),
    }
    return Result(**(given | changes))


def test_a_loaded_result_is_exactly_what_was_saved(tmp_path):
    saved = result(view="interp.plot.panels:ranked_panel")
    saved.save(tmp_path / "moran")
    back = load_result(tmp_path / "moran")
    assert_frame_equal(back.table, saved.table, check_exact=True)
    assert list(back.tables) == ["z-second", "a-first"]
    for name, table in saved.tables.items():
        assert_frame_equal(back.tables[name], table, check_exact=True)
    for name in ("name", "provenance", "notes", "view"):
        assert getattr(back, name) == getattr(saved, name)
    assert back.summary() == saved.summary()


def test_the_same_result_saves_to_the_same_bytes(tmp_path):
    for folder in ("one", "two"):
        result().save(tmp_path / folder)
    for path in (tmp_path / "one").iterdir():
        if not path.name.startswith("."):
            assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_saving_again_replaces_the_whole_earlier_result(tmp_path):
    result().save(tmp_path / "moran")
    result(tables={}).save(tmp_path / "moran")
    assert load_result(tmp_path / "moran").tables == {}
    assert [p.name for p in tmp_path.iterdir()] == ["moran"]
    assert not (tmp_path / "moran" / "a-first.parquet").exists()


def test_saving_never_touches_files_of_others(tmp_path):
    result().save(tmp_path)
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InvalidInput, match=r"thesis\.tex"):
        result().save(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_a_failed_save_leaves_the_earlier_result(tmp_path):
    result().save(tmp_path / "moran")
    with pytest.raises(InvalidInput, match="parquet"):
        result(tables={"bad": pd.DataFrame({"a": [[1], [2]]})}).save(tmp_path / "moran")
    assert list(load_result(tmp_path / "moran").tables) == ["z-second", "a-first"]
    assert [p.name for p in tmp_path.iterdir()] == ["moran"]


@pytest.mark.parametrize("name", ["table.parquet", "a-first.parquet", "result.json", "manifest.jsonl"])
def test_a_lost_file_is_named(tmp_path, name):
    result().save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(CorruptArtifact):
        load_result(tmp_path)


def test_a_manifest_that_lost_its_end_does_not_pass_for_a_smaller_result(tmp_path):
    result().save(tmp_path)
    manifest = tmp_path / "manifest.jsonl"
    lines = manifest.read_bytes().splitlines(keepends=True)
    for n in range(len(lines)):
        manifest.write_bytes(b"".join(lines[:n]))
        with pytest.raises(CorruptArtifact):
            load_result(tmp_path)


def test_a_folder_without_result_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="no folder"):
        load_result(tmp_path / "no")
    with pytest.raises(CorruptArtifact):
        load_result(tmp_path)


def test_a_p_beside_a_reason_why_there_is_none_is_refused():
    table = result().table.assign(p=[0.001, 0.4, 0.001, 0.002])
    with pytest.raises(InvalidInput, match="'constant'"):
        result(table=table)


@pytest.mark.parametrize("p", [-0.1, 1.5, "<.001"])
def test_a_p_that_is_no_probability_is_refused(p):
    with pytest.raises(InvalidInput, match=r"probabilit|0 to 1"):
        result(table=pd.DataFrame({"p": [p], "n": 3, "status": "ok"}))


@pytest.mark.parametrize("column", ["p", "q"])
@pytest.mark.parametrize("lacking", ["n", "status"])
def test_a_p_that_does_not_say_of_how_many_or_whether_it_may_be_read_is_refused(column, lacking):
    table = pd.DataFrame({column: [0.5], "n": 3, "status": "ok"})
    result(table=table)
    with pytest.raises(InvalidInput, match=f"without {lacking};"):
        result(table=table.drop(columns=lacking))


@pytest.mark.parametrize("column", ["p", "q"])
def test_the_summary_counts_tests_states_and_says_the_null(column):
    text = result().summary()
    assert "4 rows (1 constant, 3 ok)" in text
    assert "3 tests, smallest p 0.001, 2 with p <= 0.05 uncorrected, 2 with q <= 0.05" in text
    assert "n_perm: 999" in text
    assert "seed: 7" in text
    assert "floor of p" in text


def test_a_table_without_tests_claims_none():
    text = result(table=pd.DataFrame({"x": [1]}), tables={}).summary()
    assert "tests" not in text


def test_the_arguments_are_not_changed_and_not_shared():
    tables = {"one": pd.DataFrame({"x": [1]})}
    made = result(tables=tables)
    tables["two"] = tables["one"]
    assert list(made.tables) == ["one"]


def test_notebook_html_escapes_what_comes_from_data():
    evil = pd.DataFrame({"unit": ["<script>alert(1)</script>"]})
    html = result(table=evil, tables={}, notes=("<b>",))._repr_html_()
    assert "<script>" not in html
    assert "&lt;b&gt;" in html


@pytest.mark.parametrize(
    "view",
    [
        "os:system",
        "analyses.x:os.system",
        "builtins:exec",
        "analyses:plot",
        "analyses..x:y",
        "interp.store:Store",
        ":",
        "",
    ],
)
def test_only_our_own_views_are_ever_imported(view):
    with pytest.raises(InvalidInput, match="view"):
        result(view=view)


def test_a_view_may_not_be_a_thing_that_its_module_imported_from_elsewhere(monkeypatch):
    module = types.ModuleType("interp.plot.leaky")
    vars(module)["system"] = os.system
    monkeypatch.setitem(sys.modules, "interp.plot.leaky", module)
    with pytest.raises(InvalidInput, match="no function of"):
        result(view="interp.plot.leaky:system").plot()


def test_a_view_is_called_with_the_result_and_the_options(monkeypatch):
    module = types.ModuleType("analyses.fake")

    def plot(result, **options):
        return result.name, options

    plot.__module__ = "analyses.fake"
    vars(module)["plot"] = plot
    monkeypatch.setitem(sys.modules, "analyses.fake", module)
    assert result(view="analyses.fake:plot").plot(width=3) == ("geospatial.moran", {"width": 3})


def test_a_view_that_does_not_exist_is_named():
    with pytest.raises(UnknownName, match=r"analyses\.nowhere\.view:plot"):
        result(view="analyses.nowhere.view:plot").plot()
    with pytest.raises(InvalidInput, match="no view"):
        result().plot()


def test_the_page_is_one_file_without_network_and_holds_the_numbers(tmp_path):
    path = result().to_html(tmp_path / "r.html")
    page = path.read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert "geospatial.moran" in page
    assert "2 with q &lt;= 0.05" in page


def test_versions_name_what_is_installed_without_importing_it():
    code = "import sys; from interp.provenance import versions; print('torch' in versions(), 'torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["True", "False"]
    assert versions()["numpy"] == np.__version__
    assert versions()["python"] == ".".join(map(str, sys.version_info[:3]))


def test_the_commit_is_read_from_a_loose_a_packed_and_a_detached_head(tmp_path):
    git = tmp_path / ".git"
    (git / "refs/heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "packed-refs").write_text("# pack-refs with: peeled\nbbb refs/heads/main\nccc refs/heads/mainly\n")
    assert git_commit(tmp_path) == "bbb"
    (git / "refs/heads/main").write_text("aaa\n")
    assert git_commit(tmp_path) == "aaa"
    (git / "HEAD").write_text("ddd\n")
    assert git_commit(tmp_path) == "ddd"
    assert git_commit(tmp_path / "no") is None


def test_provenance_holds_key_seed_versions_and_inputs():
    key = make_key({"k": 8}, {"places": "aa"}, code_version="1")
    record = provenance(key, seed=np.int64(3), n_tests=12)
    assert (record["key"], record["seed"], record["inputs"], record["n_tests"]) == (key.digest, 3, {"places": "aa"}, 12)
    assert "numpy" in record["versions"]
