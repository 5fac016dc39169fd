"""The scripts of figures: the same bytes twice, from saved tables alone; what is missing is said in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from analyses.job import tables_key
from interp.errors import InvalidInput
from interp.result import Result
from interp.store import Store

FIGURES = Path(__file__).resolve().parents[2] / "figures"


def shares() -> pd.DataFrame:
    rows = [("neuron", "trained", 12, 3), ("neuron", "random weights", 10, 2), ("latent", "trained", 8, 1)]
    columns = ["kind", "condition", "n", "n_polysemantic"]
    table = pd.DataFrame(rows, columns=columns).assign(n_monosemantic=2, ci_low=0.05, ci_high=0.6)
    share = table["n_polysemantic"] / table["n"]
    return table.assign(n_undecided=table["n"] - table["n_polysemantic"] - 2, share=share)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A folder that holds what `interp run` writes of one small study."""
    folder = tmp_path_factory.mktemp("run")
    result = Result("polysemanticity", pd.DataFrame({"unit": ["L0N1"]}), {"shares": shares()}, {"seed": 7})
    key = tables_key("polysemanticity", result)
    with Store(folder) as store:
        for name, table in {"polysemanticity": result.table, **result.tables}.items():
            store.put(f"polysemanticity/{name}.parquet", table, key=key)
        store.put("polysemanticity/units/part.parquet", result.table, key=key)
    return folder


@pytest.fixture
def result_of(monkeypatch):
    monkeypatch.syspath_prepend(FIGURES)
    from common import result_of

    return result_of


def draw(script: str, *arguments: object) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, str(FIGURES / f"fig_{script}.py"), *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("script", "reads_run"), [("polysemanticity", True), ("benchmarks", False), ("selection", False)]
)
def test_the_same_bytes_twice(script, reads_run, run, tmp_path):
    outputs = []
    for i in (0, 1):
        done = draw(script, *([run] if reads_run else []), "--out", tmp_path / str(i))
        assert done.returncode == 0, done.stderr
        outputs.append({p.name: p.read_bytes() for p in (tmp_path / str(i)).iterdir()})
    assert set(outputs[0]) == {f"{script}.pdf", f"{script}.png"}
    assert outputs[0] == outputs[1]
    assert all(len(data) > 5_000 for data in outputs[0].values())


def test_a_result_is_read_back_as_the_run_wrote_it(result_of, run):
    result = result_of(run, "polysemanticity")
    assert list(result.tables) == ["shares"]  # and not what it was put together from
    pd.testing.assert_frame_equal(result.tables["shares"], shares())
    assert result.provenance == {"seed": 7}


def test_an_analysis_that_is_not_there_is_named(result_of, run, tmp_path):
    with pytest.raises(InvalidInput, match="holds no finished probing"):
        result_of(run, "probing")
    with pytest.raises(InvalidInput, match="there is no run"):
        result_of(tmp_path / "nowhere", "probing")


def test_a_script_says_so_in_one_line_and_writes_nothing(run, tmp_path):
    done = draw("probing_layers", run, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "holds no finished probing" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
