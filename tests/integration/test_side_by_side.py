"""Analyses in processes of their own: the same bytes, the same errors, nothing left running, nothing finished lost."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from analyses.job import RunConfig, rebuild_report, run_job, status_of
from analyses.registry import ANALYSES
from analyses.side_by_side import default_jobs
from interp.errors import UnknownName

TWO = ("geospatial", "decoding")
SCRIPT = """
from pathlib import Path
import sys

import interp.provenance

interp.provenance.git_commit = lambda _: "0" * 40
import analyses.latent_pages
from analyses.job import RunConfig, run_job

analyses.latent_pages.N_TEXTS = 20

if __name__ == "__main__":
    config = RunConfig(("geospatial", "decoding"), places=sys.argv[1], permutations=19, survey=False)
    run_job(config, Path(sys.argv[2]), jobs=int(sys.argv[3]))
"""


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.suffix in (".parquet", ".safetensors", ".png", ".pdf", ".html")
    }


def processes_of(folder: Path) -> list[int]:
    """Return the processes that have a file of the folder open: those that hold its lock."""
    holders = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                targets = [os.readlink(handle) for handle in (entry / "fd").iterdir()]
            except OSError:  # it has ended meanwhile
                continue
            if any(target.startswith(str(folder)) for target in targets):
                holders.append(int(entry.name))
    return holders


@pytest.fixture(scope="module")
def script(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("script") / "side.py"
    path.write_text(SCRIPT)
    return path


def start(script: Path, places: Path, folder: Path, jobs: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(script), str(places), str(folder), str(jobs)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.mark.slow
def test_side_by_side_after_a_kill_gives_the_bytes_of_one_after_the_other(script, small_places, tmp_path):
    one = start(script, small_places, tmp_path / "one", 1)
    killed = start(script, small_places, tmp_path / "two", 2)
    deadline = time.monotonic() + 300
    while not list((tmp_path / "two").glob("*/trained*/*")):  # something is finished
        assert killed.poll() is None, killed.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(processes_of(tmp_path / "two")) >= 1
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    while processes_of(tmp_path / "two"):  # they end with the one that started them
        assert time.monotonic() < deadline
        time.sleep(0.05)
    again = start(script, small_places, tmp_path / "two", 2)
    for process in (one, again):
        text = process.communicate(timeout=560)[0]
        assert process.returncode == 0, text
    expected = bytes_of(tmp_path / "one")
    assert len(expected) > 15
    assert bytes_of(tmp_path / "two") == expected
    assert set(status_of(tmp_path / "two")["state"]) == {"done"}
    rebuild_report(tmp_path / "two")
    assert set(rebuild_report(tmp_path / "two").headlines) == set(TWO)


def test_the_error_of_an_analysis_comes_through_and_the_others_are_ended(small_places, tmp_path):
    config = RunConfig(TWO, places=str(small_places), permutations=19, survey=False)
    with pytest.raises(UnknownName, match="atlas/resid_post"):
        run_job(replace(config, sae="atlas/resid_post.99"), tmp_path / "run", jobs=2)
    assert processes_of(tmp_path / "run") == []


def test_how_many_go_side_by_side():
    assert default_jobs(5, cpus=16, memory=None) == 5
    assert default_jobs(5, cpus=2, memory=64e9) == 2
    assert default_jobs(5, cpus=8, memory=1e9) == 1
    assert default_jobs(1, cpus=8, memory=64e9) == 1


def test_every_analysis_says_about_how_long_it_takes():
    assert all(analysis.seconds > 0 for analysis in ANALYSES.values())
