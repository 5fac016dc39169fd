"""The site builds without a warning and asks nobody for anything; its lists hold all that there is."""

import ast
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LOADS = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
}


class Resources(HTMLParser):
    """What a page loads by itself (a link to click on is none), and what its styles name."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in LOADS and given.get("rel") not in ("canonical", "search", "index", "next", "prev"):
            self.found.append(given.get(LOADS[tag]) or "")
        self.found += re.findall(r"url\(([^)]+)\)", given.get("style") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build as `make docs` does, in a process whose every connection fails."""
    guard = tmp_path_factory.mktemp("guard")
    (guard / "sitecustomize.py").write_text(
        "import socket\ndef refuse(*a): raise OSError('the build tried to reach the network')\n"
        "socket.socket.connect = refuse\nsocket.getaddrinfo = refuse\n"
    )
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(out / "trees"), "docs", str(out)]
    ran = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(guard), str(ROOT)])},
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return out


def test_no_page_loads_anything_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        resources = Resources()
        resources.feed(page.read_text())
        away = [r for r in resources.found if re.match(r"['\"]?(https?:)?//", r)]
        assert not away, f"{page.name} loads {away}"


def test_no_style_or_script_loads_anything_from_elsewhere(site):
    for path in site.rglob("*.css"):
        text = re.sub(r"url\(['\"]?data:[^)]*\)", "", path.read_text())
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", text), path.name
    for path in (site / "_static").rglob("*.js"):
        assert not re.search(r"(import|fetch|importScripts)\(['\"]https?:", path.read_text()), path.name


SHOWN = (
    "index findings gotchas howto/own-sae statistics/spatial tutorials/geospatial reference/commands "
    "reference/python/interp.stats errors/InvalidInput extending/analysis"
).split()


@pytest.mark.parametrize("page", SHOWN)
def test_a_page_is_silent_and_fits_a_phone(site, chrome, page):
    chrome.load(site / f"{page}.html", width=375, mobile=True)
    assert chrome.complaints() == []
    assert [request for request in chrome.requests() if not request.startswith("file:")] == []
    assert chrome.run("document.scrollingElement.scrollWidth") == 375


def test_the_search_finds_the_page_of_a_message(site, chrome):
    chrome.load(site / "search.html", "?q=fingerprint+stated")
    wait = "new Promise(done => setInterval(() => document.querySelector('ul.search li a') && done(true), 50))"
    assert chrome.run(wait)
    found = chrome.run("[...document.querySelectorAll('ul.search li a')].map(a => a.getAttribute('href'))")
    assert any("errors/SaeMismatch" in link for link in found)


def test_formulas_are_drawn_by_the_browser(site):
    page = (site / "statistics" / "spatial.html").read_text()
    assert page.count("<math ") > 5
    assert "MathJax" not in page


def test_every_public_name_is_in_the_reference(site):
    sys.path.insert(0, str(DOCS))
    try:
        from made_pages import public_packages
    finally:
        sys.path.remove(str(DOCS))
    for package in public_packages():
        page = (site / "reference" / "python" / f"{package.__name__}.html").read_text()
        for name in package.__all__:
            if not inspect.ismodule(getattr(package, name)) and name != "__version__":
                assert re.search(rf"\b{name}\b", page), f"{package.__name__}.{name}"


def test_every_command_is_in_the_reference(site):
    from analyses.cli import app

    page = (site / "reference" / "commands.html").read_text()
    for name in app:
        if not name.startswith("-"):
            assert f'id="interp-{name}"' in page, name
    assert "interp run [OPTIONS]" in page
    assert "sphinx [OPTIONS]" not in page


def test_notebooks_are_shown_with_the_outputs_that_were_kept(site):
    page = (site / "tutorials" / "geospatial.html").read_text()
    assert "dataframe" in page
    assert "image/png" in page or "_images/" in page


def error_names() -> list[str]:
    sys.path.insert(0, str(DOCS))
    try:
        from made_pages import error_classes
    finally:
        sys.path.remove(str(DOCS))
    return sorted(error_classes())


def test_the_errors_found_in_the_source_are_the_classes_there_are():
    from analyses.probing.conllu import MalformedConllu
    from interp.errors import InterpError

    def below(base):
        return {base.__name__}.union(*(below(child) for child in base.__subclasses__()))

    assert set(error_names()) >= below(InterpError)
    assert MalformedConllu.__name__ in error_names()


@pytest.mark.parametrize("error", error_names())
def test_every_error_has_its_page_and_messages(error, site):
    page = (site / "errors" / f"{error}.html").read_text()
    for part in ("What it means.", "What to do.") if error != "InterpError" else ("Catch it",):
        assert part in page
    assert error == "InterpError" or "‹" in page or "…" in page


def test_messages_are_as_the_code_writes_them(site):
    page = (site / "errors" / "InvalidInput.html").read_text()
    assert "expected at least 2" in page or "expected" in page
    assert "analyses.geospatial.places" in page


NAMED = [
    (page.name, test)
    for page in sorted((DOCS / "statistics").glob("*.md"))
    for test in re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", page.read_text())
]


def test_measured_rates_are_those_of_the_file(site):
    page = (site / "statistics" / "calibration.html").read_text()
    found = json.loads((ROOT / "benchmarks" / "results" / "spatial_calibration.json").read_text())
    assert page.count("<tr") > len(found["nulls"])
    assert page.count("<strong>") == len(found["outside_the_band"])
    assert "{{" not in (site / "gotchas.html").read_text()


@pytest.mark.parametrize(("page", "test"), NAMED, ids=lambda v: v if v.startswith("tests") else "")
def test_the_test_that_is_said_to_check_a_statistic_exists(page, test):
    path, _, name = test.partition("::")
    assert (ROOT / path).is_file(), f"{page} names {path}"
    functions = {
        node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.FunctionDef)
    }
    assert not name or name in functions, f"{page} names {test}"


IN_CODE = sorted(
    {
        name
        for page in (DOCS / "statistics").glob("*.md")
        for name in re.findall(r"{py:func}`([\w.]+)`", page.read_text())
    }
)


def test_a_statistic_leads_to_its_functions(site):
    pages = "".join(page.read_text() for page in (site / "statistics").glob("*.html"))
    assert [name for name in IN_CODE if f'#{name}"' not in pages] == []
    for name in IN_CODE:
        package, _, function = name.rpartition(".")
        assert function in importlib.import_module(package).__all__, name


def test_every_kernel_is_defined_somewhere():
    import interp.stats

    kernels = {
        f"interp.stats.{name}" for name in interp.stats.__all__ if inspect.isfunction(getattr(interp.stats, name))
    }
    assert kernels <= set(IN_CODE)


def test_every_statistic_says_how_it_is_checked():
    for page in sorted((DOCS / "statistics").glob("*.md")):
        for part in page.read_text().split("\n## ")[1:] if page.name not in ("index.md", "calibration.md") else []:
            for word in ("**In code**: {py:func}`", "**Tests**: `tests/"):
                assert word in part, f"{page.name}: {part.splitlines()[0]}"
    assert len(NAMED) > 120
