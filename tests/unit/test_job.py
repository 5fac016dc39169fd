"""What every analysis gets from the job: the registry, a folder of tables and figures, the report, the summary."""

import sys
from types import ModuleType

import pandas as pd
import pytest

from analyses import registry
from analyses.job import Job, RunConfig, rebuild_report, run_job, status_of, tables_key
from analyses.registry import Analysis, find_analyses
from interp.errors import CorruptArtifact, InvalidInput, SaeMismatch, UnknownName
from interp.plot import Headline, Section, figure, report_figure
from interp.result import Result
from interp.store import Store


class Toy(ModuleType):
    """An analysis of three numbers; `table` can be changed, `drawn` counts the figures."""

    def __init__(self, name):
        super().__init__(name)
        self.table = pd.DataFrame({"feature": [0, 1, 2], "I": [0.5, 0.1, -0.2]})
        self.ran, self.drawn = 0, 0

    def run(self, job):
        self.ran += 1
        more = pd.DataFrame({"seed": [job.config.seed]})
        return Result("toy", self.table, {"more": more}, {"seed": job.config.seed})

    def figures(self, result):
        self.drawn += 1
        fig = figure("single", 40)
        fig.axes[0].plot(result.table["I"])
        return {"line": fig}

    def headline(self, result):
        return Headline(f"The largest is {result.table['I'].max():g}.", "chance gives 0.05.", n=len(result.table))

    def section(self, result, drawn):
        shown = [report_figure(drawn["line"], "A line.", caption="The numbers.", table=result.table)]
        return Section("toy", "Toy", "How large is it?", self.headline(result), shown, {}, "Counted.", "It is a toy.")


@pytest.fixture
def toy(monkeypatch):
    module = Toy("toy_analysis")
    monkeypatch.setitem(sys.modules, "toy_analysis", module)
    monkeypatch.setitem(registry.ANALYSES, "toy", Analysis("toy", "How large is it?", "toy_analysis"))
    return module


CONFIG = RunConfig(analyses=("toy",))


def test_an_unknown_analysis_names_the_nearest():
    with pytest.raises(UnknownName, match=r"'geospacial'\. Nearest: geospatial"):
        find_analyses(["geospacial"])


def test_no_names_mean_all_and_repeated_ones_count_once(toy):
    assert [a.name for a in find_analyses([])] == list(registry.ANALYSES)
    assert [a.name for a in find_analyses(["toy", "geospatial", "toy"])] == ["toy", "geospatial"]


@pytest.mark.parametrize("analysis", registry.ANALYSES.values(), ids=lambda a: a.name)
def test_every_registered_analysis_has_the_four_functions(analysis):
    module = analysis.load()
    assert all(callable(getattr(module, name)) for name in ("run", "figures", "headline", "section"))


def test_an_unknown_analysis_leaves_no_folder(tmp_path):
    with pytest.raises(UnknownName):
        run_job(RunConfig(analyses=("nothing",)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_writes_tables_figures_and_the_report(toy, tmp_path):
    finished = run_job(CONFIG, tmp_path / "run")
    with Store(tmp_path / "run", readonly=True) as store:
        pd.testing.assert_frame_equal(store.get("toy/toy.parquet"), toy.table)
        assert store.get("toy/more.parquet")["seed"].tolist() == [0]
        assert store.get("toy/figures.json") == ["toy/line.png", "toy/line.pdf"]
        assert store.get("toy/line.pdf").startswith(b"%PDF")
        page = store.get("report.html").decode()
    assert "How large is it?" in page
    assert "The largest is 0.5." in page
    assert "To cite" not in page  # nothing is known of the toy
    assert "chance gives 0.05." in page
    assert finished.results["toy"].table is toy.table


def test_the_printed_summary_has_the_answer_and_its_null(toy, tmp_path):
    text = run_job(CONFIG, tmp_path / "run").text()
    lines = text.splitlines()
    assert lines[0] == "toy: How large is it?"
    assert lines[1:3] == ["  The largest is 0.5.", "  null: chance gives 0.05."]
    assert "n = 3" in lines[3]
    assert str(tmp_path / "run" / "report.html") in lines[-1]


def test_equal_tables_are_not_drawn_again(toy, tmp_path):
    run_job(CONFIG, tmp_path / "run")
    drawn = toy.drawn
    run_job(CONFIG, tmp_path / "run")
    assert (toy.ran, toy.drawn) == (2, drawn)


def test_a_changed_number_is_drawn_and_reported_again(toy, tmp_path):
    run_job(CONFIG, tmp_path / "run")
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.suffix in (".png", ".html")}
    toy.table = toy.table.assign(I=[0.7, 0.1, -0.2])
    assert "0.7" in run_job(CONFIG, tmp_path / "run").text()
    after = {p.name: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.suffix in (".png", ".html")}
    assert all(after[name] != before[name] for name in before)


def test_a_lost_figure_is_drawn_again(toy, tmp_path):
    run_job(CONFIG, tmp_path / "run")
    before = (tmp_path / "run" / "toy" / "line.png").read_bytes()
    (tmp_path / "run" / "toy" / "line.png").unlink()
    run_job(CONFIG, tmp_path / "run")
    assert (tmp_path / "run" / "toy" / "line.png").read_bytes() == before


def test_the_report_is_rebuilt_from_the_tables_with_another_look(toy, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    run_job(CONFIG, folder)
    before = {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert "The largest is 0.5." in rebuild_report(folder).text()
    unchanged = {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert {name for name in before if unchanged[name] != before[name]} <= {"manifest.jsonl"}
    monkeypatch.setattr(toy, "headline", lambda result: Headline("Other words.", "chance gives 0.05."))
    (folder / "report.html").unlink()
    (folder / "toy" / "line.png").unlink()
    rebuild_report(folder)
    assert "Other words." in (folder / "report.html").read_text()
    assert (folder / "toy" / "line.png").read_bytes() == before["line.png"]
    assert toy.ran == 1
    assert set(status_of(folder)["state"]) == {"done"}


def test_only_a_finished_run_of_one_configuration_is_rebuilt(toy, tmp_path):
    with pytest.raises(InvalidInput, match="there is no folder"):
        rebuild_report(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="no finished run"):
        rebuild_report(tmp_path / "empty")
    run_job(CONFIG, tmp_path / "run")
    other = RunConfig(analyses=("toy",), seed=1)
    run_job(other, tmp_path / "other")
    with Store(tmp_path / "other", readonly=True) as store:
        later, key = store.get("toy/more.parquet"), store.entry("toy/more.parquet").key
    with Store(tmp_path / "run") as store:
        store.put("toy/more.parquet", later, key=key)  # as a run with another seed leaves it when it is killed there
    with pytest.raises(InvalidInput, match=r"more than one run \(toy/"):
        rebuild_report(tmp_path / "run")


def test_a_damaged_table_is_not_drawn(toy, tmp_path):
    run_job(CONFIG, tmp_path / "run")
    table = tmp_path / "run" / "toy" / "toy.parquet"
    table.write_bytes(table.read_bytes()[:-1])
    with pytest.raises(CorruptArtifact, match=r"toy\.parquet"):
        rebuild_report(tmp_path / "run")


def test_the_key_of_the_tables_knows_every_table_and_the_provenance():
    table, more = pd.DataFrame({"I": [0.5]}), pd.DataFrame({"x": [1]})
    made = [
        Result("toy", table, {"more": more}, {"seed": 0}),
        Result("toy", table, {"more": more + 1}, {"seed": 0}),
        Result("toy", table + 0.1, {"more": more}, {"seed": 0}),
        Result("toy", table, {"more": more}, {"seed": 1}),
    ]
    assert len({tables_key("toy", result).digest for result in made}) == len(made)
    assert tables_key("toy", made[0]) == tables_key("toy", Result("toy", table, {"more": more}, {"seed": 0}))


def test_a_model_without_a_bundled_sae_asks_for_one(tmp_path):
    with Store(tmp_path) as store, pytest.raises(InvalidInput, match="--sae"):
        _ = Job(RunConfig(model="other"), store).sae_name


def a_job(monkeypatch, *, site="resid_post.1", own="twin"):
    """A job whose SAE has a control of its own, made for a model of fingerprint `own`."""
    from types import SimpleNamespace

    def config(fingerprint):
        return SimpleNamespace(config=SimpleNamespace(site=site, model_fingerprint=fingerprint))

    found = {"atlas/resid_post.2": config("model"), "atlas-random/resid_post.2": config(own)}
    monkeypatch.setattr("interp.sae.load_sae", found.__getitem__)
    monkeypatch.setattr("interp.sae.check_fit", lambda model, sae: None)
    made = Job(RunConfig(), store=None)  # type: ignore[arg-type]
    made.__dict__.update(model=SimpleNamespace(fingerprint="model"), twin=SimpleNamespace(fingerprint="twin"))
    return made, found


def test_the_twin_is_read_by_the_sae_that_was_trained_on_it(monkeypatch):
    made, found = a_job(monkeypatch)
    assert made.twin_sae is found["atlas-random/resid_post.2"]


def test_a_twin_of_other_random_weights_is_read_by_the_models_sae(monkeypatch):
    made, found = a_job(monkeypatch, own="the twin of another seed")
    assert made.twin_sae is made.sae is found["atlas/resid_post.2"]


def test_an_sae_that_does_not_say_where_it_reads_is_refused(monkeypatch):
    made, _ = a_job(monkeypatch, site=None)
    with pytest.raises(SaeMismatch, match="needs a site"):
        _ = made.sae


def test_the_status_of_a_folder_that_is_not_there_says_so(tmp_path):
    with pytest.raises(InvalidInput, match="there is no folder"):
        status_of(tmp_path / "nothing")


def test_the_status_of_a_run_lists_every_file_as_done(toy, tmp_path):
    run_job(CONFIG, tmp_path / "run")
    status = status_of(tmp_path / "run")
    assert {"report.html", "toy/toy.parquet", "toy/line.png"} <= set(status["name"])
    assert (status["state"] == "done").all()
