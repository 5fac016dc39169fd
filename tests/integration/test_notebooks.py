"""The notebooks: every script runs from top to bottom offline and its assertions hold; the notebooks hold its cells."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(path for path in (ROOT / "notebooks").glob("*.py") if path.stem != "build")
OFFLINE = """
import runpy, socket, sys

def refuse(self, address):
    raise OSError(f"a notebook tried to reach {address}; notebooks are offline")

socket.socket.connect = socket.socket.connect_ex = refuse
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@pytest.fixture(scope="module")
def build():
    """The script that makes the notebooks."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("build_notebooks", ROOT / "notebooks" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_registered_analysis_has_a_notebook():
    from analyses.registry import ANALYSES

    assert {path.stem for path in SCRIPTS} >= {"quickstart", *ANALYSES}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_it_runs_offline(script, tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not list(tmp_path.iterdir())  # nothing is written


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_notebook_has_the_cells_of_its_script(build, script):
    assert build.in_step(script), f"run: python notebooks/build.py {script.stem}"


def test_a_changed_script_is_out_of_step(build, tmp_path):
    for suffix in (".py", ".ipynb"):
        source = SCRIPTS[0].with_suffix(suffix)
        (tmp_path / source.name).write_text(source.read_text())
    copy = tmp_path / SCRIPTS[0].name
    assert build.in_step(copy)
    copy.write_text(copy.read_text() + "\n# %%\n1 + 1\n")
    assert not build.in_step(copy)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_it_is_small_shows_a_figure_and_ends_in_an_assertion(script):
    path = script.with_suffix(".ipynb")
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    shown = [out for cell in code for out in cell["outputs"]]
    assert path.stat().st_size < 300_000
    assert any("image/png" in out.get("data", {}) for out in shown)
    assert not [out for out in shown if out["output_type"] == "error" or out.get("name") == "stderr"]
    assert "assert " in "".join(code[-1]["source"])
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
