"""SIGKILL at random moments of a training run: what it ends as, weights and history, does not depend on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

TRAINING = Path(__file__).with_name("killed_training.py")
KILLS = os.environ.get("INTERP_KILLS", "20")  # about five in a second


@pytest.fixture
def folder():
    """A folder in memory where there is one: a kill asks the same of any file system, and a disk only adds waiting."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as path:
        yield path


def kill(folder: str, *arguments: str) -> dict[str, int]:
    command = [sys.executable, str(TRAINING), folder, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_kills_at_random_moments_change_no_bit_of_what_is_trained(folder, record_property):
    counts = kill(folder, KILLS, "0")
    record_property("killed", json.dumps(counts))
    assert counts["kills"] >= int(KILLS)
    assert counts["resumable"] > int(KILLS) / 4, "the kills should have hit runs that had something to go on from"
    assert counts["finished"] > 0
    assert counts["different"] == 0


def test_the_same_kills_are_noticed_over_a_trainer_that_forgets_its_moments(folder):
    assert kill(folder, "12", "0", "forget-moments")["different"] > 0
