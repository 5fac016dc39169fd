"""How much damage the store has been given, and what came of it: the fault, attack and fuzz tests with larger counts.

python benchmarks/trust.py                 # make trust; writes benchmarks/results/trust.json, exit 1 if a test failed
INTERP_WRITER_KILLS=200 python benchmarks/trust.py

The counts come from environment variables that the tests read; `make test` runs the same tests with smaller ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from interp.provenance import versions
from interp.store import atomic_write_bytes

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "trust.json"
COUNTS = {
    "INTERP_MUTATIONS": 2000,  # of each kind of file
    "INTERP_WRITER_KILLS": 1000,
    "INTERP_KILLS": 20,  # of training runs, and of `interp run`, each of which takes seconds
    "INTERP_OFFSETS": 200,
    "INTERP_NAMES": 10_000,
}
SUITES = (
    "tests/faults",
    "tests/attacks",
    "tests/unit/test_sites.py",
    "tests/property",
    "tests/contract/test_analyses.py",
)
SETTLED = {"refused", "unchanged", "same"}  # what may come of a damaged file; anything else is a wrong read


def main() -> int:
    """Run the suites, write what they counted, and return 1 if anything failed."""
    counts = {name: int(os.environ.get(name, n)) for name, n in COUNTS.items()}
    began = time.perf_counter()
    cases = [case for suite in SUITES for case in run(suite, counts)]
    results = {**summary(cases), "counts": counts, "seconds": round(time.perf_counter() - began)}
    results |= {"machine": {"cores": os.cpu_count()}, "versions": versions()}
    atomic_write_bytes(RESULT, (json.dumps(results, indent=1) + "\n").encode())
    print(json.dumps({name: value for name, value in results.items() if name not in ("machine", "versions")}, indent=1))
    return 1 if results["failed"] else 0


def run(suite: str, counts: dict[str, int]) -> list[dict[str, Any]]:
    """Run one suite and return its tests: suite, name, outcome, and what each recorded (name, counts)."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        # xunit2, the default, takes no properties
        options = ["-o", "junit_family=xunit1", f"--junitxml={report}", "--rootdir", str(ROOT)]
        command = [sys.executable, "-m", "pytest", "-q", str(ROOT / suite), *options]
        environment = {**os.environ, **{name: str(n) for name, n in counts.items()}}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if not report.is_file():
            raise SystemExit(f"{suite} did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return read_cases(suite, report.read_text())


def read_cases(suite: str, xml: str) -> list[dict[str, Any]]:
    """Return the tests of a JUnit report."""
    cases = []
    for case in ElementTree.fromstring(xml).iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        recorded = [(p.attrib["name"], json.loads(p.attrib["value"])) for p in case.iter("property")]
        cases.append({"suite": suite, "name": case.attrib["name"], "outcome": outcome, "recorded": recorded})
    return cases


def summary(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what was done and what came of it, summed over tests."""
    totals: dict[str, Counter[str]] = {}
    for case in cases:
        for name, found in case["recorded"]:
            totals.setdefault(name, Counter()).update(found)
    damaged = totals.get("mutated", Counter()) + totals.get("manifest", Counter())
    killed, names = totals.get("killed", Counter()), totals.get("names", Counter())
    pool = totals.get("pool_files", Counter())
    full, attacks = totals.get("full", Counter()), [c for c in cases if c["suite"] == "tests/attacks"]
    outcomes = {suite: Counter(c["outcome"] for c in cases if c["suite"] == suite) for suite in SUITES}
    return {
        "artefacts_mutated": totals.get("mutated", Counter()).total(),
        "reads_after_damage": damaged.total(),
        "refused_by_name": damaged["refused"],
        "silent_wrong_reads": damaged.total() - sum(damaged[kind] for kind in SETTLED),
        "kills": killed["kills"],
        "lost_units": killed["lost"],
        "torn_files_accepted": killed["torn"],
        "different_bytes_after_resume": killed["different"],
        "disk_full_offsets": full["offsets"],
        "disk_full_named": full["named"],
        "names_mutated": names["tried"],
        "names_silent": names["silent"],
        "pool_files_mutated": pool["files"],
        "pool_rows_read": pool["rows"],
        "pool_rows_scored": pool["scored"],
        "pool_rows_lost": pool["rows"] - pool["scored"] - pool["listed"],
        "attacks": len(attacks),
        "executions": totals.get("attack", Counter())["executed"],
        "tests": {suite: dict(found) for suite, found in outcomes.items()},
        "failed": [f"{c['suite']}: {c['name']}" for c in cases if c["outcome"] == "failed"],
    }


if __name__ == "__main__":
    raise SystemExit(main())
