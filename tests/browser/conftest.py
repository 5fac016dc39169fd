"""The pages that a user opens, made once and small: the report of a run, a dashboard, a selection, a result."""

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


@pytest.fixture(scope="session")
def result(folder) -> Path:
    """What `Result.to_html` writes of a table with a hostile name in it."""
    import numpy as np
    import pandas as pd

    from interp.result import Result

    p = np.linspace(0.001, 0.9, 30)
    names = ["<img src=http://example.invalid/x onerror=alert(1)>", *(f"latent {i}" for i in range(29))]
    table = pd.DataFrame(
        {"unit": names, "I": 1 - p, "p": p, "q": p, "n": 120, "n_perm": 999, "seed": 0, "status": "ok"}
    )
    deep = {"config": {"rule": {"of": {"a": {"long_name_of_a_choice": 0.0625, "other": 1_000_000}}}}}
    result = Result("geospatial.moran", table, provenance=deep, notes=("made up",))
    return result.to_html(folder / "result.html")


@pytest.fixture(scope="session", params=["report", "dashboard", "selection", "result"])
def page(request) -> Path:
    return request.getfixturevalue(request.param)
