"""Files and manifests made by somebody who wants to run code, fill the memory or leave the folder.

The attacker owns the whole folder here: the manifests vouch for the evil files with the right sha256.
"""

from __future__ import annotations

import ast
import json
import os
import pickle
import resource
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import interp.store
from interp.errors import CorruptArtifact, InterpError, InvalidInput
from interp.store import Entry, Store, sha256_bytes, verify_folder, write_folder
from interp.store.keys import canonical_json
from interp.store.manifest import ManifestWriter
from interp.store.sealed import _sealed

CAP_BYTES = 60 << 20


class Payload:
    """Runs a command when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (os.system, (f"touch {self.mark}",))


@pytest.fixture(autouse=True)
def memory_cap():
    """Fail a test in which the memory of the process grows by more than the cap."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < CAP_BYTES


def plant(root: Path, name: str, kind: str, data: bytes, contents: dict | None = None) -> Store:
    """Put `data` under `name` with a manifest line that vouches for it; return a reader."""
    root.mkdir(exist_ok=True)
    if not name.startswith(("/", "..")):
        (root / name).write_bytes(data)
    writer = ManifestWriter(root, None)
    writer.append("put", 1, Entry(name, kind, sha256_bytes(data), len(data), contents or {}))
    os.close(writer.handle)
    return Store(root, readonly=True)


def safetensors(header: object, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


@pytest.mark.parametrize(
    ("name", "kind"),
    [("x.safetensors", "arrays"), ("x.safetensors", "csr"), ("x.parquet", "table"), ("x.json", "json")],
)
def test_a_renamed_pickle_is_refused_and_never_run(tmp_path, name, kind, record_property):
    mark = tmp_path / "ran"
    contents = {"x": {"shape": [1], "dtype": "float32"}} if kind == "arrays" else {"n_rows": 1, "columns": []}
    reader = plant(tmp_path / "run", name, kind, pickle.dumps(Payload(mark)), contents)
    with pytest.raises(CorruptArtifact, match=name):
        reader.get(name)
    record_property("attack", json.dumps({"executed": int(mark.exists())}))
    assert not mark.exists()


def one(shape: list, dtype: str = "F32", offsets: tuple[int, int] = (0, 4)) -> dict:
    return {"x": {"dtype": dtype, "shape": shape, "data_offsets": list(offsets)}}


@pytest.mark.parametrize(
    "data",
    [
        safetensors(b"{}", length=2**63),
        safetensors(b"{}", length=2**64 - 1),
        safetensors(b"{}", length=10**9),
        safetensors(b"{" * 200_000),
        safetensors(b'{"x":' * 50_000),
        safetensors(one([2**40]), b"abcd"),
        safetensors(one([2**62, 2**62]), b"abcd"),
        safetensors(one([-1]), b"abcd"),
        safetensors(one([-(2**63)]), b"abcd"),
        safetensors(one([1], offsets=(0, 2**40)), b"abcd"),
        safetensors(one([1], offsets=(4, 0)), b"abcd"),
        safetensors(one([1], offsets=(2**64 - 4, 2**64 - 1)), b"abcd"),
        safetensors(one([0], offsets=(0, 0)), b"hidden"),
        safetensors(one([1], "OBJ"), b"abcd"),
        safetensors(one([2], "BF16"), b"abcd"),
        safetensors({**one([1]), "y": one([1])["x"]}, b"abcd"),
        b"",
        b"\x00" * 7,
    ],
    ids=lambda data: f"{len(data)} bytes {data[8:40]!r}",
)
def test_a_lying_safetensors_header_is_refused_without_taking_memory(tmp_path, data):
    reader = plant(tmp_path / "run", "x.safetensors", "arrays", data, {"x": {"shape": [1], "dtype": "float32"}})
    with pytest.raises(CorruptArtifact, match=r"x\.safetensors"):
        reader.get("x.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        {"indices": np.array([0, 99], dtype=np.int32)},
        {"indices": np.array([0, -1], dtype=np.int32)},
        {"indptr": np.array([0, 2, 1, 2], dtype=np.int32)},
        {"indptr": np.array([0, 1, 2, 9], dtype=np.int32)},
        {"indptr": np.array([1, 1, 2, 2], dtype=np.int32)},
        {"indptr": np.array([0, 1, 2, -(2**31)], dtype=np.int32)},
        {"indptr": np.array([0.0, 1.0, 2.0, 2.0])},
        {"shape": np.array([-3, 4])},
        {"shape": np.array([3, 4, 5])},
        {"shape": np.array([2**50, 4])},
        {"data": np.zeros(5)},
    ],
    ids=lambda change: f"{change}",
)
def test_a_csr_whose_parts_point_outside_is_refused(tmp_path, change):
    parts = {
        "data": np.ones(2),
        "indices": np.array([0, 1], dtype=np.int32),
        "indptr": np.array([0, 1, 2, 2], dtype=np.int32),
        "shape": np.array([3, 4]),
    } | change
    data, arrays = interp.store.formats.encode_arrays(parts)
    contents = {"arrays": arrays, "shape": parts["shape"].tolist(), "nnz": 2, "container": "csr_matrix"}
    reader = plant(tmp_path / "run", "c.safetensors", "csr", data, contents)
    with pytest.raises(CorruptArtifact, match=r"c\.safetensors"):
        reader.get("c.safetensors")


def test_a_small_parquet_of_many_rows_is_refused_before_it_is_unpacked(tmp_path):
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    schema = pa.schema([("a", pa.int64())])
    with pq.ParquetWriter(buffer, schema, write_page_checksum=True) as writer:
        for _ in range(40):
            writer.write_table(pa.table({"a": np.zeros(500_000, dtype=np.int64)}))
    assert len(buffer.getvalue()) < 1 << 20
    contents = {"n_rows": 3, "columns": [["a", "int64"]]}
    reader = plant(tmp_path / "run", "t.parquet", "table", buffer.getvalue(), contents)
    with pytest.raises(CorruptArtifact, match="claims 20,000,000 rows"):
        reader.get("t.parquet")


def test_deeply_nested_json_is_refused(tmp_path):
    reader = plant(tmp_path / "run", "x.json", "json", b"[" * 200_000)
    with pytest.raises(CorruptArtifact, match=r"x\.json"):
        reader.get("x.json")


@pytest.mark.parametrize(
    "name",
    ["../out.json", "/etc/out.json", "a/../../out.json", "a//b.json", "./a.json", ".hidden.json", "a\\b.json", "",
     "a\x00.json", "a\n.json", "manifest.jsonl", "manifest.rank00001.jsonl", "n" * 300 + ".json", "\ud800.json", "a/"],
)  # fmt: skip
def test_no_name_leads_out_or_onto_the_stores_own_files(tmp_path, name):
    with Store(tmp_path / "run") as store:
        for act in (
            lambda: store.put_bytes(name, b"x"),
            lambda: store.put_file(name, lambda path: path.write_bytes(b"x")),
            lambda: store.state(name),
            lambda: store.get(name),
        ):
            with pytest.raises(InterpError):
                act()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]
    assert [p.name for p in (tmp_path / "run").rglob("*") if not p.name.startswith((".", "manifest"))] == []


def test_a_planted_name_that_leads_out_is_neither_read_nor_cleared(tmp_path):
    victim = tmp_path / "victim.json"
    victim.write_bytes(b"1")
    reader = plant(tmp_path / "run", "../victim.json", "json", b"1")
    with pytest.raises(InvalidInput):
        reader.get("../victim.json")
    with Store(tmp_path / "run") as store, pytest.raises(InvalidInput):
        store.clear()
    assert victim.read_bytes() == b"1"


@pytest.mark.parametrize("kind", ["no such kind", 7, None])
def test_a_manifest_of_nonsense_is_refused_by_name(tmp_path, kind):
    with pytest.raises(CorruptArtifact, match="run"):
        plant(tmp_path / "run", "x.json", kind, b"1", {"a": 1}).get("x.json")


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.json").write_bytes(b"1")
    root = tmp_path / "run"
    plant(root, "x.json", "json", b"1")
    (root / "x.json").unlink()
    (root / "x.json").symlink_to(outside / "secret.json")
    (root / "sub").symlink_to(outside)
    (root / "loop").symlink_to(root / "loop")
    with Store(root) as store:
        for name in ("x.json", "sub/new.json", "loop/a.json"):
            with pytest.raises(InvalidInput, match="symbolic link"):
                store.put_json(name, 2)
            with pytest.raises(InvalidInput, match="symbolic link"):
                store.get(name)
    assert [p.read_bytes() for p in outside.iterdir()] == [b"1"]


@pytest.mark.parametrize("own", [".interp-lock", "manifest.jsonl"])
def test_the_stores_own_files_are_never_links(tmp_path, own):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / own).symlink_to(victim)
    with pytest.raises(InterpError):
        Store(tmp_path / "run")
    assert victim.read_bytes() == b"precious"


def test_cleaning_up_leaves_what_links_point_to_and_does_not_wait_at_pipes(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_bytes(b"1")
    root = tmp_path / "run"
    root.mkdir()
    (root / ".interp-tmp-dir").symlink_to(outside)
    (root / ".interp-tmp-file").symlink_to(outside / "f")
    os.mkfifo(root / ".interp-tmp-pipe")
    Store(root).close()
    assert (outside / "f").read_bytes() == b"1"


def test_a_pipe_in_place_of_a_file_is_refused_without_waiting(tmp_path):
    reader = plant(tmp_path / "run", "x.json", "json", b"")
    (tmp_path / "run" / "x.json").unlink()
    os.mkfifo(tmp_path / "run" / "x.json")
    with pytest.raises(CorruptArtifact, match="no ordinary file"):
        reader.get("x.json")


@pytest.mark.parametrize("name", ["../victim", "/etc/hostname", "sub/../../victim"])
def test_a_sealed_folder_does_not_verify_files_outside_itself(tmp_path, name):
    (tmp_path / "victim").write_bytes(b"1")
    write_folder(tmp_path / "sae", {"a": b"1"})
    body = {"files": {name: {"bytes": 1, "sha256": sha256_bytes(b"1")}}, "format": 1, "provenance": {}}
    (tmp_path / "sae" / "manifest.json").write_text(canonical_json(_sealed(body)))
    with pytest.raises(InvalidInput, match="cannot name"):
        verify_folder(tmp_path / "sae")


def test_a_table_of_objects_keeps_no_pickles(tmp_path):
    with Store(tmp_path) as store, pytest.raises(InvalidInput):
        store.put_table("t.parquet", pd.DataFrame({"a": pd.Series([Payload(tmp_path / "ran")], dtype=object)}))
    assert not (tmp_path / "ran").exists()


def test_the_library_has_no_reader_that_could_run_code():
    banned = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
    calls = {"eval", "exec", "read_pickle", "to_pickle"}
    found = []
    package = Path(interp.__file__).parent
    for path in [*package.rglob("*.py"), *(package.parent / "analyses").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found += [(path.name, a.name) for a in node.names if a.name.split(".")[0] in banned]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in banned:
                found.append((path.name, node.module))
            elif isinstance(node, ast.Call):
                owner = getattr(getattr(node.func, "value", None), "id", None)
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                is_model_eval = isinstance(node.func, ast.Attribute) and name == "eval"
                if (name in calls and not is_model_eval) or (owner == "torch" and name == "load"):
                    found.append((path.name, name))
    assert found == []
