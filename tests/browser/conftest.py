"""The pages that a user opens, made once and small: the report of a run, a dashboard, a selection."""

from pathlib import Path

import pytest

from analyses.cli import main


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    from interp.testing import example_files

    path = tmp_path_factory.mktemp("pages")
    example_files(path)
    return path


@pytest.fixture(scope="session")
def report(folder) -> Path:
    """One analysis of the bundled model on 120 places."""
    places = ["--places", str(folder / "my.csv"), "--permutations", "99", "--no-survey"]
    assert main(["run", "geospatial", *places, "--out", str(folder / "run")]) == 0
    return folder / "run" / "report.html"


@pytest.fixture(scope="session")
def dashboard(folder) -> Path:
    """Three latents of an attention SAE, one of them dead on so few texts or nearly."""
    page = folder / "latents.html"
    options = ["--texts", str(folder / "held_out.txt"), "--latents", "0,7,40", "--out", str(page)]
    assert main(["dashboard", "atlas/z.2", "--model", "atlas", *options]) == 0
    return page


@pytest.fixture(scope="session")
def selection(folder) -> Path:
    """Fifteen of 300 samples."""
    pool = [str(folder / "pool.jsonl"), "--target", str(folder / "task.jsonl"), "--budget", "5%"]
    assert main(["select", *pool, "--out", str(folder / "picked")]) == 0
    return folder / "picked" / "report.html"


@pytest.fixture(scope="session", params=["report", "dashboard", "selection"])
def page(request) -> Path:
    return request.getfixturevalue(request.param)
