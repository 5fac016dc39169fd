"""The report leads to a dashboard of each latent that it shows; pages of other numbers are not linked."""

import re
import sys
from types import ModuleType

import pandas as pd
import pytest

import analyses.latent_pages
from analyses import registry
from analyses.job import RunConfig, rebuild_report, run_job
from analyses.registry import Analysis
from interp.errors import InvalidInput
from interp.plot import Headline, Link, Section
from interp.result import Result

CONFIG = RunConfig(analyses=("toy",))


class Showing(ModuleType):
    """An analysis that shows latents of two sites; `latents` decides which."""

    latents = (0, 1, 2)

    def run(self, job):
        table = pd.DataFrame({"latent": self.latents})
        return Result("toy", table, provenance={"seed": job.config.seed})

    def figures(self, result):
        return {}

    def headline(self, result):
        return Headline("Some.", "None.")

    def section(self, result, drawn):
        return Section("toy", "Toy", "Which?", self.headline(result))

    def example_latents(self, result):
        return {"z.0": result.table["latent"].tolist(), "resid_post.2": [5]}


@pytest.fixture
def showing(monkeypatch):
    module = Showing("showing_analysis")
    monkeypatch.setitem(sys.modules, "showing_analysis", module)
    monkeypatch.setitem(registry.ANALYSES, "toy", Analysis("toy", "How large is it?", "showing_analysis"))
    monkeypatch.setattr(analyses.latent_pages, "N_TEXTS", 40)
    return module


def links(folder):
    return re.findall(r'href="(latents/[^"]*)"', (folder / "report.html").read_text())


def test_every_latent_shown_has_a_dashboard_that_the_report_leads_to(showing, tmp_path):
    run_job(CONFIG, tmp_path)
    targets = ["latents/resid_post.2.html#latent-5", *(f"latents/z.0.html#latent-{n}" for n in (0, 1, 2))]
    assert links(tmp_path) == targets
    for target in targets:
        page, anchor = target.split("#")
        assert f'id="{anchor}"' in (tmp_path / page).read_text()
    assert "Heads by decoder weight" in (tmp_path / "latents/z.0.html").read_text()
    assert "Heads by decoder weight" not in (tmp_path / "latents/resid_post.2.html").read_text()


def test_pages_are_made_once_and_again_for_other_latents(showing, tmp_path, monkeypatch):
    run_job(CONFIG, tmp_path)
    first = {f.name: f.read_bytes() for f in (tmp_path / "latents").iterdir()}
    made = []
    page = analyses.latent_pages._page
    monkeypatch.setattr(analyses.latent_pages, "_page", lambda job, site, n: made.append(site) or page(job, site, n))
    run_job(CONFIG, tmp_path)
    rebuild_report(tmp_path)
    assert made == []
    assert {f.name: f.read_bytes() for f in (tmp_path / "latents").iterdir()} == first
    assert len(links(tmp_path)) == 4
    showing.latents = (7, 8, 9)
    run_job(CONFIG, tmp_path)
    assert made == ["resid_post.2", "z.0"]
    assert 'id="latent-9"' in (tmp_path / "latents/z.0.html").read_text()


def test_without_texts_there_are_no_pages(showing, tmp_path):
    from interp.store import Store, make_key

    key = make_key({}, {}, code_version="1")
    with Store(tmp_path) as store:
        job = analyses.job.Job(RunConfig(analyses=("toy",), model="some-model"), store)
        result = showing.run(job)
        analyses.latent_pages.write_latent_pages([registry.ANALYSES["toy"]], {"toy": result}, job, key)
        assert analyses.latent_pages.latent_links(store, key) == {}
        assert analyses.latent_pages.latent_links(store, make_key({}, {}, code_version="2")) == {}


@pytest.mark.parametrize(
    "href", ["https://example.org/x", "/etc/passwd", "../up.html", "a//b", "x.html#a b", "", "javascript:x"]
)
def test_a_link_stays_beside_the_report(href):
    with pytest.raises(InvalidInput, match="beside the report"):
        Link("page", href)
