"""The plan for a billion samples stands on what was measured last."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from analyses.data_selection import pool_of, score

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "billion_plan.py"


@pytest.fixture(scope="module")
def plan():
    spec = importlib.util.spec_from_file_location("billion_plan", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_the_page_are_those_of_the_measurements(plan):
    page = plan.PAGE.read_text()
    measured = json.loads(plan.MEASURED.read_text())
    assert plan.filled(page, plan.tables(measured)) == page, "run benchmarks/billion_plan.py"
    assert f"{-(-plan.ROWS // plan.SHARD_ROWS):,} shards" in page


def test_a_changed_measurement_changes_the_page(plan):
    page, measured = plan.PAGE.read_text(), json.loads(plan.MEASURED.read_text())
    measured["shards"]["bytes_an_entry"] *= 2
    assert plan.filled(page, plan.tables(measured)) != page
    with pytest.raises(SystemExit, match="no markers for 'gpu'"):
        plan.filled(page.replace("<!-- gpu -->", ""), plan.tables(measured))


def test_hours_are_what_a_hand_calculation_gives(plan):
    # 2 x 8e9 / 2 operations a token at 989e12 x 0.4: 20.2 microseconds, for 3.91e11 tokens
    assert f"{3.91e11 * 8e9 / (989e12 * 0.4) / 3600:,.0f}" in plan.gpu_hours().splitlines()[2]
    measured = {"shards": {"million_entries_read_and_checked_per_cpu_second": 100, "bytes_an_entry": 8,
                           "bytes_a_row_of_the_table": 0, "million_entries_scored_per_cpu_second": 100},
                "scoring": {"million_entries_per_second": {"numba, 64 prototypes, one pass": 10}}}  # fmt: skip
    assert plan.cpu_hours(measured).splitlines()[2].split(" | ")[2] == "11.1"  # 2e12 entries, twice, at 1e8 a second
    assert "16.0" in plan.disk(measured).splitlines()[2]  # 1e9 rows of 2,000 entries of 8 bytes


def test_parts_scored_with_one_background_are_the_pool_scored_whole():
    rng = np.random.default_rng(0)
    dense = rng.exponential(size=(40, 30)) * (rng.random((40, 30)) < 0.3)
    codes, target = sparse.csr_matrix(dense.astype(np.float32)), rng.exponential(size=30)
    parts = [pool_of(codes[:25]), pool_of(codes[25:])]
    mean = sum(part.total for part in parts) / sum(len(part) for part in parts)
    found = np.concatenate([score(p, target, method="background", background=mean)["score"] for p in parts])
    np.testing.assert_allclose(found, score(pool_of(codes), target, method="background")["score"], atol=1e-12)
