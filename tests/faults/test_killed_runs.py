"""`interp run` killed at random moments and resumed: the same bytes as a run that was left alone.

Each attempt is a forked child with the models already loaded, so that the kill falls into the work and not into
importing torch; the parent only forks, kills and compares.
"""

import importlib
import json
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
from tqdm import tqdm

from analyses.job import Job, RunConfig, run_job

KILLS = int(os.environ.get("INTERP_KILLS", "20"))  # a hundred take five minutes


@pytest.fixture
def loaded(monkeypatch, fixed_commit):
    """Load models and SAEs once, before the first fork."""
    import torch

    for module in ("analyses.geospatial.run", "interp.plot.report", "numba"):
        importlib.import_module(module)

    # one figure, in its three formats, is as good as three: most of the seconds of a small run are drawing
    view = importlib.import_module("analyses.geospatial.run")
    every = view.figures
    monkeypatch.setattr(view, "figures", lambda result: {"moran_null": every(result)["moran_null"]})
    monkeypatch.setattr("analyses.latent_pages.N_TEXTS", 20)
    tqdm.set_lock(threading.RLock())  # its own is shared by forks, and may be held by one that is killed
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    job = Job(RunConfig(), store=None)  # type: ignore[arg-type]
    for name in ("model", "twin", "sae", "twin_sae"):
        monkeypatch.setattr(Job, name, getattr(job, name))
    yield
    torch.set_num_threads(threads)


def start(config: RunConfig, folder: Path) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            run_job(config, folder)
            os._exit(0)
        except BaseException:  # the child must never return into pytest
            import traceback

            (folder.parent / "traceback.txt").write_text(traceback.format_exc())
            os._exit(1)
    return pid


def finish(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.suffix in (".parquet", ".safetensors", ".png", ".pdf", ".html")
    }


@pytest.mark.slow
def test_kills_at_random_moments_change_no_byte(loaded, small_places, tmp_path, record_property):
    config = RunConfig(("geospatial",), places=str(small_places), permutations=99, survey=False)
    began = time.perf_counter()
    assert finish(start(config, tmp_path / "whole")) == 0, (tmp_path / "traceback.txt").read_text()
    seconds = time.perf_counter() - began
    expected = bytes_of(tmp_path / "whole")
    assert len(expected) > 10

    rng, kills, rounds = random.Random(0), 0, 0
    while kills < KILLS:
        folder = tmp_path / f"killed-{rounds}"
        rounds += 1
        while kills < KILLS:
            pid = start(config, folder)
            time.sleep(rng.uniform(0, seconds))
            os.kill(pid, signal.SIGKILL)
            code = finish(pid)
            if code == 0:  # it was done before the kill came
                break
            assert code == -signal.SIGKILL, (tmp_path / "traceback.txt").read_text()
            kills += 1
        assert finish(start(config, folder)) == 0, (tmp_path / "traceback.txt").read_text()
        assert bytes_of(folder) == expected
    record_property("killed", json.dumps({"kills": kills, "different": 0}))
