"""Local, ranks, Ray, killed or not: who coded the pool does not show in the shards, nor in what is picked."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from selection_pool import rows_of
from slow_coding import SlowCoder, config_of, n_shards

from analyses.data_selection import encoding
from analyses.data_selection.coders import SaeCoder
from analyses.data_selection.command import select_command, share_command
from interp.errors import InvalidInput
from interp.store import Store

ROWS, SHARDS = 48, 12
SCRIPT = Path(__file__).with_name("slow_coding.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("engines")
    for name, rows in (("pool", rows_of(ROWS, 3)), ("task", rows_of(4, 9))):
        (made / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return made


@pytest.fixture
def loaded(model, sae, monkeypatch):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    coder = SlowCoder(SaeCoder(sae))
    monkeypatch.setattr("analyses.data_selection.command.load", lambda config: (model, coder))
    yield model, coder
    torch.set_num_threads(threads)


@pytest.fixture
def local(folder, loaded, monkeypatch):
    """What one process writes that nobody disturbs."""
    if not (folder / "local" / "ranking.parquet").is_file():
        monkeypatch.setattr("slow_coding.SECONDS", 0.0)
        select_command(config_of(folder), folder / "local")
    return bytes_of(folder / "local")


def bytes_of(out):
    names = [name for part in ("codes", "rows", "listed", "sums") for name in sorted((out / part).iterdir())]
    found = {path.relative_to(out).as_posix(): path.read_bytes() for path in names}
    assert len(found) == 4 * SHARDS
    return found | {name: (out / name).read_bytes() for name in ("ranking.parquet", "selected.jsonl")}


def in_child(function):
    pid = os.fork()
    if pid:
        return pid
    try:
        function()
        os._exit(0)
    except BaseException:  # the child must never return into pytest
        import traceback

        traceback.print_exc()
        os._exit(1)


def exit_code(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("names", [("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")], ids=["torchrun", "srun"])
def test_two_ranks_of_which_one_is_killed_and_comes_again(folder, loaded, local, names, monkeypatch):
    out = folder / names[0]

    def rank(number):
        os.environ.update(dict(zip(names, (str(number), "2"), strict=True)))
        assert share_command(config_of(folder), out)["ranks"].tolist() == [2]

    first, second = (in_child(lambda number=number: rank(number)) for number in (0, 1))
    deadline = time.monotonic() + 60
    while not list(out.glob("sums/00000[13].safetensors")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(second, signal.SIGKILL)
    assert exit_code(second) == -signal.SIGKILL
    assert exit_code(first) == 0
    left = SHARDS - n_shards(out)
    assert 0 < left < SHARDS // 2
    with monkeypatch.context() as patch:
        for name, value in zip(names, ("0", "2"), strict=True):
            patch.setenv(name, value)
        mine = share_command(config_of(folder), out).loc[0]
        assert (mine["shards_coded"], mine["shards_already_done"]) == (0, SHARDS // 2)
    assert exit_code(in_child(lambda: rank(1))) == 0
    calls, shard = [], encoding._shard
    monkeypatch.setattr(encoding, "_shard", lambda *given: calls.append(1) or shard(*given))
    select_command(config_of(folder), out)
    assert len(calls) == 1, "nothing but the target was left to code"
    assert bytes_of(out) == local


@pytest.fixture
def temporary():
    """A folder for a Ray of its own (its sockets take short paths alone); whatever still runs from there is ended."""
    path = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    yield path
    for pid in running(path):
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.slow
def test_two_workers_of_ray_on_one_cpu_of_which_one_is_killed(folder, loaded, local, temporary):
    out = folder / "ray"
    with Store(folder / "local", readonly=True) as whole, Store(out) as begun:  # a run that was stopped after a shard
        for part in ("codes", "rows", "listed", "sums"):
            name = next(name for name in whole.names() if name.startswith(f"{part}/000002"))
            begun.put(name, whole.get(name), key=whole.entry(name).key)
    command = [sys.executable, str(SCRIPT), str(folder), temporary]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["workers"], told["killed"], told["in_the_middle"]) == (2, 1, True)
    assert bytes_of(out) == local
    assert not running(temporary), "processes of Ray are left"


def running(session):
    """Processes whose command line names a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [int(path.parent.name)] if session.encode() in path.read_bytes() else []
        except OSError:
            continue
    return found


def test_without_ray_the_error_says_what_to_install(folder, loaded, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InvalidInput, match=r"pip install 'interp\[ray\]'"):
        select_command(config_of(folder), folder / "no-ray", engine="ray")


@pytest.mark.parametrize(("options", "match"), [({"engine": "spark"}, "'local' or 'ray'"), ({}, "without torchrun")])
def test_engines_that_cannot_be_are_refused(folder, loaded, monkeypatch, options, match):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InvalidInput, match=match):
        select_command(config_of(folder), folder / "refused", **{"engine": "ray", **options})
