"""The trust report counts what the tests recorded, and hides neither a silent read nor a failed test."""

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "trust.py"


@pytest.fixture(scope="module")
def trust():
    spec = importlib.util.spec_from_file_location("trust", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def case(name, inside="", **recorded):
    values = "".join(
        f"<property name='{n}' value='{json.dumps(v).replace(chr(34), '&quot;')}'/>" for n, v in recorded.items()
    )
    return f"<testcase name='{name}'><properties>{values}</properties>{inside}</testcase>"


def test_what_was_recorded_is_summed(trust):
    faults = case("a", mutated={"refused": 9, "unchanged": 1}) + case("b", mutated={"refused": 5, "silent": 2})
    faults += case("c", manifest={"refused": 3, "same": 4, "unnamed": 1})
    faults += case("d", killed={"kills": 150, "lost": 0, "torn": 0}) + case("e", killed={"kills": 50, "lost": 2})
    faults += case("j", pool_files={"files": 10, "rows": 20, "scored": 15, "listed": 5, "refused": 3})
    faults += case("k", pool_files={"files": 20, "rows": 50, "scored": 40, "listed": 8})
    faults += case("f", "<failure/>", full={"offsets": 50, "named": 49}) + case("g", "<skipped/>")
    attacks = case("h", attack={"executed": 0}) + case("i", attack={"executed": 1})
    found = trust.summary(
        trust.read_cases("tests/faults", f"<testsuites><testsuite>{faults}</testsuite></testsuites>")
        + trust.read_cases("tests/attacks", f"<testsuites><testsuite>{attacks}</testsuite></testsuites>")
    )
    assert (found["artefacts_mutated"], found["reads_after_damage"], found["refused_by_name"]) == (17, 25, 17)
    assert found["silent_wrong_reads"] == 3
    assert (found["pool_files_mutated"], found["pool_rows_scored"], found["pool_rows_lost"]) == (30, 55, 2)
    assert (found["kills"], found["lost_units"]) == (200, 2)
    assert (found["disk_full_offsets"], found["disk_full_named"]) == (50, 49)
    assert (found["attacks"], found["executions"]) == (2, 1)
    assert found["failed"] == ["tests/faults: f"]
    assert found["tests"]["tests/faults"] == {"passed": 7, "failed": 1, "skipped": 1}


def test_every_count_is_read_by_a_test_and_every_suite_exists(trust):
    root = SCRIPT.parents[1]
    assert all((root / suite).exists() for suite in trust.SUITES)
    sources = "".join(
        path.read_text() for suite in trust.SUITES
        for path in ([root / suite] if suite.endswith(".py") else (root / suite).glob("*.py"))
    )  # fmt: skip
    assert all(f'"{name}"' in sources for name in trust.COUNTS)


def test_a_suite_is_run_with_its_counts_and_what_it_recorded_is_read(trust):
    cases = trust.run("tests/unit/test_sites.py", {"INTERP_NAMES": 50})
    found = trust.summary(cases)
    assert (found["names_mutated"], found["names_silent"], found["failed"]) == (50, 0, [])
