"""A writer that is killed again and again: at random times, and at every system call. Run by test_kill.py.

One process imports the store once and forks a child for every kill, so that hundreds take seconds.
After each kill the parent opens the folder as the next run would and counts what is wrong:
  lost      a unit that the child had reported as finished is not there any more
  torn      a unit reads as something that was never written, or as corrupt
Prints the counts as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from interp.store import Store, make_key

UNITS = [f"unit_{i:02d}" for i in range(12)]
CALLS = ("open", "fsync", "replace", "pwrite", "ftruncate", "unlink", "mkdir")


def name(unit: str) -> str:
    return f"part/{unit}.safetensors" if int(unit[-2:]) % 2 else f"{unit}.json"


def value(unit: str, version: int):
    i = int(unit[-2:])
    if i % 2 == 0:
        return {"unit": unit, "version": version, "text": "x" * (version * 1000 + i)}
    return {"x": np.full(3000 * (1 + version) + i, version * 100 + i, dtype=np.float32)}


def key(unit: str, version: int):
    return make_key({"unit": unit, "version": version}, {}, code_version="1")


def same(a, b) -> bool:
    return np.array_equal(a["x"], b["x"]) if "x" in a else a == b


def write_all(root: Path, version: int, report: int) -> None:
    with Store(root) as store:
        for unit in UNITS:
            if store.state(name(unit), key(unit, version)).status != "done":
                store.put(name(unit), value(unit, version), key=key(unit, version))
            os.write(report, f"{unit} {version}\n".encode())


def killed_child(root: Path, version: int, prepare: Callable[[], None], wait: float | None) -> tuple[list[str], bool]:
    """Fork a writer and kill it after `wait` seconds (None: it kills itself); return its reports, and if killed."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        try:
            prepare()
            write_all(root, version, write)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(write)
    if wait is not None:
        time.sleep(wait)
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(read) as file:
        said = file.read().splitlines()
    _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError("the writer failed by itself; see above")
    return said, os.WIFSIGNALED(status)


def inspect(root: Path, said: list[str], version: int, finished: dict[str, int], counts: dict[str, int]) -> None:
    """Check the folder after a kill; `finished` is the least version that each unit must have."""
    for line in said:
        unit, done = line.split()
        finished[unit] = int(done)
    counts["leftovers"] += sum(1 for _ in root.rglob(".interp-tmp-*"))
    if not (root / "manifest.jsonl").exists():
        counts["lost"] += len(finished)
        return
    try:
        store = Store(root, readonly=True)
    except Exception:
        counts["torn"] += 1
        return
    for unit in UNITS:
        found = {}
        for v in (version - 1, version):
            state = store.state(name(unit), key(unit, v)).status
            found[v] = state
            counts["torn"] += state == "corrupt" or (
                state == "done" and not same(store.get(name(unit)), value(unit, v))
            )
        must = finished.get(unit)
        counts["lost"] += must is not None and not any(s == "done" for v, s in found.items() if v >= must)


def finish(root: Path, version: int, finished: dict[str, int], counts: dict[str, int]) -> None:
    """Let the run complete and compare every file with one that was never interrupted."""
    write_all(root, version, os.open(os.devnull, os.O_WRONLY))
    with Store(root.with_name(f"{root.name}-clean-{version}")) as clean:
        for unit in UNITS:
            clean.put(name(unit), value(unit, version), key=key(unit, version))
            counts["different"] += (clean.root / name(unit)).read_bytes() != (root / name(unit)).read_bytes()
    counts["leftovers_after"] += sum(1 for _ in root.rglob(".interp-tmp-*"))
    finished.update(dict.fromkeys(UNITS, version))


def at_random_times(base: Path, kills: int, seed: int, counts: dict[str, int]) -> None:
    rng = random.Random(seed)
    for warm in ("first", "second"):  # the first also imports what the children then have
        began = time.perf_counter()
        write_all(base / warm, 1, os.open(os.devnull, os.O_WRONLY))
    longest = time.perf_counter() - began
    root, version, finished = base / "random", 1, {}
    while counts["kills"] < kills:
        said, was_killed = killed_child(root, version, lambda: None, rng.uniform(0, longest))
        root.mkdir(exist_ok=True)
        counts["kills"] += was_killed
        if not was_killed or len(said) == len(UNITS):
            finish(root, version, finished, counts)
            version += 1  # the next round replaces every unit
        elif said or (root / "manifest.jsonl").exists():
            inspect(root, said, version, finished, counts)


def at_every_call(base: Path, counts: dict[str, int]) -> None:
    for version in (1, 2):  # 1 writes new names, 2 replaces them
        for when in ("before", "after"):
            k = 0
            while True:
                root, finished = base / f"call-{version}-{when}-{k}", {}
                if version == 2:
                    write_all(root, 1, os.open(os.devnull, os.O_WRONLY))
                    finished = dict.fromkeys(UNITS, 1)
                said, was_killed = killed_child(root, version, lambda k=k, when=when: die_at(k, when), None)
                if not was_killed:
                    counts["calls"] = max(counts["calls"], k)
                    break
                counts["kills"] += 1
                if (root / "manifest.jsonl").exists():
                    inspect(root, said, version, finished, counts)
                if k % 10 == 0:
                    root.mkdir(exist_ok=True)
                    finish(root, version, finished, counts)
                k += 1 if k < 40 else 5  # units repeat the same calls: look at the first few in full


def die_at(k: int, when: str) -> None:
    """Make this process kill itself before or after its k-th file-system call."""
    count = [0]

    def wrap(real: Callable):
        def call(*args, **kwargs):
            now = count[0]
            count[0] += 1
            if now == k and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return real(*args, **kwargs)
            finally:  # also after a call that fails, such as removing what was published
                if now == k:
                    os.kill(os.getpid(), signal.SIGKILL)

        return call

    for call in CALLS:
        setattr(os, call, wrap(getattr(os, call)))


def write_in_place() -> None:
    """Make the store write like a careless program: straight into the final file. The counts must show it."""
    from interp.store import artefacts

    @contextlib.contextmanager
    def in_place(target: Path):
        target.touch()
        os.truncate(target, 0)
        yield target

    artefacts.temporary_file = in_place
    artefacts.publish = lambda temporary, target: None


if __name__ == "__main__":
    if "in-place" in sys.argv:
        write_in_place()
    base, mode, kills, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    totals = dict.fromkeys(("kills", "calls", "lost", "torn", "different", "leftovers", "leftovers_after"), 0)
    at_every_call(base, totals) if mode == "calls" else at_random_times(base, kills, seed, totals)
    print(json.dumps(totals))
