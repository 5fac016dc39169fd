"""SIGKILL anywhere: no finished unit is lost, nothing torn is read, and the end is as if nothing had happened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

WRITER = Path(__file__).with_name("killed_writer.py")
KILLS = os.environ.get("INTERP_WRITER_KILLS", "150")


@pytest.fixture
def folder():
    """A folder in memory where there is one: a kill asks the same of any file system, and a disk only adds waiting."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as path:
        yield path


def kill(folder: str, *arguments: str) -> dict[str, int]:
    command = [sys.executable, str(WRITER), folder, *arguments]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_kills_at_random_times_lose_nothing_and_tear_nothing(folder, record_property):
    counts = kill(folder, "random", KILLS, "0")
    record_property("killed", json.dumps(counts))
    assert counts["kills"] >= int(KILLS)
    assert (counts["lost"], counts["torn"], counts["different"], counts["leftovers_after"]) == (0, 0, 0, 0)


def test_kills_before_and_after_each_system_call_lose_nothing_and_tear_nothing(folder, record_property):
    counts = kill(folder, "calls", "0", "0")
    record_property("killed", json.dumps(counts))
    assert counts["calls"] > 100, "a writer of twelve units makes more calls than that"
    assert counts["kills"] > 200
    assert counts["leftovers"] > 20, "the kills should have hit half-written files"
    assert (counts["lost"], counts["torn"], counts["different"], counts["leftovers_after"]) == (0, 0, 0, 0)


def test_the_same_kills_are_noticed_over_a_writer_that_writes_in_place(folder):
    counts = kill(folder, "calls", "0", "0", "in-place")
    assert counts["torn"] + counts["lost"] > 10
