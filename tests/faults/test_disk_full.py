"""No room, no permission: the error says so, what was there stays whole, and the run goes on later.

Permission bits do not stop root, under which tests often run, so "no permission" and "read-only disk" are
injected as the errors that the system would give, at each system call in turn.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest

from interp.errors import InvalidInput, ResourceExhausted
from interp.store import Store, atomic_write_bytes, make_key, verify_folder, write_folder

OFFSETS = int(os.environ.get("INTERP_OFFSETS", "50"))
CALLS = ("open", "fsync", "replace", "pwrite", "ftruncate")
OLD, NEW = {"value": "old"}, {"value": "new" * 100}


class Failing:
    """Lets the k-th file-system call fail with an errno."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
        self.code, self.left = code, -1
        for name in CALLS:
            monkeypatch.setattr(os, name, self._wrap(getattr(os, name)))

    def _wrap(self, real):
        def call(*args, **kwargs):
            self.left -= 1
            if self.left == -1:
                raise OSError(self.code, os.strerror(self.code))
            return real(*args, **kwargs)

        return call

    def at(self, k: int) -> None:
        self.left = k


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EPERM])
def test_an_error_at_any_system_call_is_named_and_leaves_the_earlier_file(tmp_path, monkeypatch, code):
    failing = Failing(monkeypatch, code)
    named, done, k = True, False, 0
    for k in range(40):
        root = tmp_path / str(k)
        with Store(root) as store:
            store.put_json("a.json", OLD)
            failing.at(k)
            try:
                store.put_json("a.json", NEW)
                done = True
            except ResourceExhausted as error:
                done, named = False, named and "a.json" in str(error)
            reached, failing.left = failing.left < 0, -1
            assert store.get("a.json") in ((NEW,) if done else (OLD, NEW))
        with Store(root, readonly=True) as reader:
            assert reader.get("a.json") in ((NEW,) if done else (OLD, NEW))
        with Store(root) as store:
            store.put_json("a.json", NEW)
            assert store.get("a.json") == NEW
        assert list(root.glob(".interp-tmp-*")) == []
        if not reached:
            break
    assert k > 6
    assert done
    assert named


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_opening_a_store_without_room_or_permission_is_named(tmp_path, monkeypatch, code):
    failing = Failing(monkeypatch, code)
    failed = 0
    for k in range(40):
        failing.at(k)
        try:
            Store(tmp_path / str(k)).close()
        except ResourceExhausted:
            failed += 1
        if failing.left >= 0:
            break
        failing.left = -1
        Store(tmp_path / str(k)).close()
    assert failed > 5


def test_the_same_store_goes_on_after_there_is_room_again(tmp_path, monkeypatch):
    failing = Failing(monkeypatch, errno.ENOSPC)
    with Store(tmp_path) as store:
        for i in range(30):
            failing.at(i % 9)
            try:
                store.put_json(f"u{i}.json", i)
            except ResourceExhausted:
                failing.left = -1
                store.put_json(f"u{i}.json", i)
            failing.left = -1
    with Store(tmp_path, readonly=True) as store:
        assert [store.get(f"u{i}.json") for i in range(30)] == list(range(30))


LIMITED = """
import os, resource, sys
from pathlib import Path
from interp.errors import ResourceExhausted
from interp.store import Store, make_key, write_folder
root, limits = Path(sys.argv[1]), [int(n) for n in sys.argv[2:]]
for limit in limits:
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        code = 0
        try:
            with Store(root / str(limit)) as store:
                store.put_bytes("big.bin", b"n" * 20_000, key=make_key({"v": 2}, {}, code_version="1"))
        except ResourceExhausted as error:
            code = 4 if "big.bin" in str(error) and " bytes are free" in str(error) else 5
        try:
            write_folder(root / f"sealed-{limit}", {"a.bin": b"n" * 20_000}, overwrite=True)
        except ResourceExhausted:
            code += 10
        os._exit(code)
    print(limit, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_real_file_size_limit_at_fifty_places_loses_nothing(tmp_path, record_property):
    old = make_key({"v": 1}, {}, code_version="1")
    step = max(1, OFFSETS // 2)
    limits = [
        *range(300, 1500, 1200 // step),
        *range(1500, 20_000, 18_500 // step),
    ]  # the low ones hit the manifest, the high ones the file
    for limit in limits:
        with Store(tmp_path / str(limit)) as store:
            store.put_bytes("big.bin", b"o" * 15_000, key=old)
        write_folder(tmp_path / f"sealed-{limit}", {"a.bin": b"o" * 15_000})
    command = [sys.executable, "-c", LIMITED, str(tmp_path), *map(str, limits)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    record_property("full", json.dumps({"offsets": len(limits), "named": sum(line.endswith(" 14") for line in lines)}))
    assert lines == [f"{limit} 14" for limit in limits]
    assert len(limits) >= OFFSETS
    for limit in limits:
        with Store(tmp_path / str(limit)) as store:
            assert store.state("big.bin", old).status == "done"
            store.put_bytes("big.bin", b"n" * 20_000)
            assert store.get("big.bin") == b"n" * 20_000
        assert verify_folder(tmp_path / f"sealed-{limit}")["files"]["a.bin"]["bytes"] == 15_000


def test_a_full_disk_message_says_how_much_was_needed_and_is_free(tmp_path, monkeypatch):
    failing = Failing(monkeypatch, errno.ENOSPC)
    failing.at(1)
    with pytest.raises(ResourceExhausted, match=r"Needed 1,234,567 bytes, [\d,]+ bytes are free") as caught:
        atomic_write_bytes(tmp_path / "f.bin", bytes(1_234_567))
    assert caught.value.exit_code == 4


def test_a_file_where_a_folder_should_be_is_the_users_error(tmp_path):
    with Store(tmp_path) as store:
        store.put_bytes("a", b"x")
        with pytest.raises(InvalidInput, match="Cannot write"):
            store.put_bytes("a/b", b"x")
