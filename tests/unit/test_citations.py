"""What is to be cited: every analysis has its sources, and every source is of an analysis."""

import re

import pandas as pd
import pytest

from analyses.citations import KEYS, REFERENCES, cite
from analyses.registry import ANALYSES
from interp.plot import Headline, Section, render_report
from interp.result import Result


def named(name):
    return Result(name, pd.DataFrame({"x": [1]}))


@pytest.mark.parametrize("name", [*(n for n in ANALYSES if n != "decoding"), "geospatial.decoding", "sae.evaluation"])
def test_every_analysis_names_papers_and_software(name):
    found = named(name).cite()
    assert any(re.match(r"[A-Z].*\((19|20)\d\d\)\. ", line) for line in found)
    assert found[-1].startswith("Software: ")


def test_a_part_of_an_analysis_has_the_sources_of_the_whole_unless_it_has_its_own():
    assert named("probing.layers").cite() == named("probing").cite()
    assert "block" not in " ".join(named("geospatial").cite())
    assert any("Roberts" in line for line in named("geospatial.geo_probe").cite())
    assert not any("Anselin" in line for line in named("geospatial.geo_probe").cite())


def test_an_unknown_name_claims_no_source():
    assert named("mine").cite() == []


def test_the_table_has_no_loose_ends():
    used = {key for keys in KEYS.values() for key in keys}
    assert used == set(REFERENCES)
    assert len(set(REFERENCES.values())) == len(REFERENCES)


def test_several_results_cite_each_source_once_papers_first():
    both = cite(["geospatial", "attention"])
    assert sorted(both) == sorted(set(both))
    kinds = [line.partition(":")[0] in ("Data", "Software") for line in both]
    assert kinds == sorted(kinds)


def test_the_report_ends_with_what_to_cite_and_escapes_it():
    section = Section("toy", "Toy", "How?", Headline("It is.", "0.05."))
    page = render_report("Run", [section], {"seed": 0}, references=["A & B (2020). <b>"])
    assert "A &amp; B (2020). &lt;b&gt;" in page
    assert page.index("To cite</h2>") < page.index("Provenance</h2>")
    assert "To cite" not in render_report("Run", [section], {"seed": 0})


def test_the_page_of_one_result_cites_too(tmp_path):
    assert "Cliff &amp; Ord" in named("geospatial").to_html(tmp_path / "r.html").read_text()
