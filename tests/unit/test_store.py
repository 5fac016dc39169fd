"""The store: what goes in comes out exactly, and nothing counts that the manifest does not vouch for."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from scipy import sparse

from interp.errors import CorruptArtifact, InvalidInput, RunLocked, UnknownName
from interp.store import Store, atomic_write_bytes, atomic_write_file, make_key, sha256_table

KEY = make_key({"k": 8}, {"places": "aa"}, code_version="1")
DTYPES = ["float16", "float32", "float64", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint64"]


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "run") as opened:
        yield opened


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "unit": ["a", "b", None],
            "I": [0.1 + 0.2, np.nan, -np.inf],
            "n": np.array([1, 2, 3], dtype="int16"),
            "half": np.array([1, 2.5, 6e-8], dtype="float16"),
            "ok": [True, False, True],
            "class": pd.Categorical(["u", "v", "u"], ["v", "u"], ordered=True),
            "count": pd.array([1, None, 3], dtype="Int64"),
            "day": pd.date_range("2020-01-01", periods=3, tz="UTC"),
            "text": pd.Index(["NA", "", "None"], dtype=object),
        },
        index=pd.Index([5, 3, 9], name="row"),
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_come_back_with_their_values_shapes_and_dtypes(store, dtype):
    values = np.random.default_rng(0).integers(0, 2, (3, 4)).astype(dtype)
    arrays = {"plain": values, "turned": values.T, "scalar": values[0, 0], "empty": values[:0], "step": values[:, ::2]}
    store.put_arrays("a.safetensors", arrays)
    back = store.get("a.safetensors")
    assert sorted(back) == sorted(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array, strict=True)


def test_nan_bits_and_other_byte_orders_survive(store):
    values = np.array([np.nan, -0.0, np.inf, 5e-324])
    store.put_arrays("a.safetensors", {"x": values, "big": values.astype(">f8")})
    back = store.get("a.safetensors")
    assert back["x"].tobytes() == values.tobytes() == back["big"].tobytes()


@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csr_array])
def test_csr_comes_back_equal_and_of_its_type(store, container):
    dense = np.array([[0, 1.5, 0], [0, 0, 0], [2, 0, -1]], dtype=np.float32)
    store.put_csr("c.safetensors", container(dense))
    back = store.get("c.safetensors")
    assert type(back) is container
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back.toarray(), dense)


def test_equal_csr_matrices_give_equal_bytes_and_the_argument_is_left_alone(store):
    unsorted = sparse.csr_matrix((np.array([1.0, 2.0]), np.array([2, 0]), np.array([0, 2])), shape=(1, 3))
    ordered = sparse.csr_matrix(unsorted.toarray())
    assert store.put_csr("a.safetensors", unsorted).sha256 == store.put_csr("b.safetensors", ordered).sha256
    np.testing.assert_array_equal(unsorted.indices, [2, 0])


def test_tables_come_back_exactly_equal(store):
    store.put_table("t.parquet", frame())
    assert_frame_equal(store.get("t.parquet"), frame(), check_exact=True)
    assert sha256_table(store.get("t.parquet")) == sha256_table(frame())


@pytest.mark.parametrize(
    "odd",
    [
        pd.DataFrame(),
        pd.DataFrame({"a": []}),
        pd.DataFrame({1: [1], 2: [2]}),
        pd.DataFrame(np.eye(2), columns=pd.MultiIndex.from_tuples([("a", "x"), ("b", "y")])),
        pd.DataFrame({"a": [1, 2]}, index=["u", "v"]),
        pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([(0, "x"), (1, "y")], names=["i", "j"])),
    ],
    ids=["empty", "no rows", "int names", "two-level names", "text index", "two-level index"],
)
def test_odd_tables_come_back_exactly_equal(store, odd):
    store.put_table("t.parquet", odd)
    assert_frame_equal(store.get("t.parquet"), odd, check_exact=True)


_UNFAITHFUL = {
    "lists": [[1], [2]],
    "mixed": [1, "x"],
    "complex": [1j, 2j],
    "object": [object(), None],
    "tuple": [(1, 2), None],
}


@pytest.mark.parametrize("column", _UNFAITHFUL.values(), ids=_UNFAITHFUL)
def test_a_column_that_parquet_would_change_is_refused_when_written(store, column):
    bad = pd.DataFrame({"a": pd.Series(column, dtype=complex if column == [1j, 2j] else object)})
    with pytest.raises(InvalidInput, match="Turn lists and mixed cells"):
        store.put_table("t.parquet", bad)
    assert store.names() == []


def test_a_missing_cell_of_an_object_column_stays_missing_and_text_stays_text(store):
    given = pd.DataFrame({"a": pd.Series(["nan", None, np.nan], dtype=object)})
    store.put_table("t.parquet", given)
    back = store.get("t.parquet")["a"]
    assert (back.dtype, back.isna().tolist(), back[0]) == (object, [False, True, True], "nan")


def test_two_columns_of_one_name_are_refused(store):
    with pytest.raises(InvalidInput, match="one name"):
        store.put_table("t.parquet", pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_json_bytes_and_files_come_back(store):
    value = {"a": [1, 2.5, None, True, "é"]}
    store.put_json("j.json", value)
    store.put_bytes("page.html", b"<p>")
    store.put_file("fig/one.pdf", lambda path: path.write_bytes(path.suffix.encode()))
    assert [store.get(n) for n in ("j.json", "page.html", "fig/one.pdf")] == [value, b"<p>", b".pdf"]


def test_put_chooses_the_format_from_type_and_suffix(store):
    store.put("a.safetensors", {"x": np.eye(2)})
    store.put("c.safetensors", sparse.eye_array(2, format="csr"))
    store.put("t.parquet", frame())
    store.put("j.json", [1])
    store.put("note.txt", b"x")
    kinds = [store.entry(n).kind for n in ("a.safetensors", "c.safetensors", "t.parquet", "j.json", "note.txt")]
    assert kinds == ["arrays", "csr", "table", "json", "file"]
    with pytest.raises(InvalidInput, match="suffix"):
        store.put("note.txt", "text")


@pytest.mark.parametrize("name", ["a.safetensors", "c.safetensors", "t.parquet", "j.json"])
def test_the_same_value_gives_the_same_bytes_in_another_store(tmp_path, name):
    values = {
        "a.safetensors": {"y": np.eye(3), "x": np.arange(4)},
        "c.safetensors": sparse.eye_array(5, format="csr"),
        "t.parquet": frame(),
        "j.json": {"b": 1, "a": [0.1]},
    }
    digests = set()
    for folder in ("one", "two"):
        with Store(tmp_path / folder) as store:
            digests.add(store.put(name, values[name], key=KEY, provenance={"seed": 0}).sha256)
    manifests = {(tmp_path / f / "manifest.jsonl").read_bytes() for f in ("one", "two")}
    assert len(digests) == len(manifests) == 1


def test_entry_says_what_the_file_is_and_where_it_came_from(store):
    store.put_arrays("a.safetensors", {"x": np.eye(2, dtype=np.float32)}, key=KEY, provenance={"seed": np.int64(3)})
    path = store.root / "a.safetensors"
    with Store(store.root, readonly=True) as reader:
        entry = reader.entry("a.safetensors")
    assert entry.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (entry.n_bytes, entry.kind, entry.key) == (path.stat().st_size, "arrays", KEY)
    assert entry.contents == {"x": {"shape": [2, 2], "dtype": "float32"}}
    assert entry.provenance == {"seed": 3}


def test_state_tells_done_stale_missing_and_corrupt(store):
    store.put_json("j.json", 1, key=KEY)
    other = make_key({"k": 16}, {"places": "aa"}, code_version="1")
    assert store.state("j.json", KEY).status == "done"
    assert store.state("j.json", other).changed == ("config.k: 8 -> 16",)
    assert store.state("j.json", other).status == "stale"
    assert store.state("k.json", KEY).status == "missing"
    (store.root / "j.json").write_bytes(b"2")
    assert store.state("j.json", KEY).status == "corrupt"
    (store.root / "j.json").unlink()
    assert store.state("j.json", KEY).status == "missing"


def test_a_file_without_a_record_is_missing_and_never_read(store):
    (store.root / "j.json").write_bytes(b"1")
    assert store.state("j.json", KEY).status == "missing"
    with pytest.raises(CorruptArtifact, match=r"j\.json exists, but no manifest"):
        store.get("j.json")


def test_status_lists_every_name_with_its_state(store):
    store.put_json("done.json", 1, key=KEY)
    store.put_json("stale.json", 1, key=make_key({}, {}, code_version="0"))
    store.put_json("bad.json", 1)
    (store.root / "bad.json").write_bytes(b"x")
    (store.root / "extra.txt").write_bytes(b"x")
    with Store(store.root / "inner") as inner:
        inner.put_json("own.json", 1)
    table = store.status({"stale.json": KEY, "done.json": KEY, "never.json": KEY}).set_index("name")
    assert table["state"].to_dict() == {
        "bad.json": "corrupt",
        "done.json": "done",
        "never.json": "missing",
        "stale.json": "stale",
        "extra.txt": "unrecorded",
    }
    assert "code_version" in table.loc["stale.json", "reason"]


def test_a_replaced_artefact_reads_as_the_new_one_also_for_a_reader_that_was_open(store):
    store.put_json("j.json", "old", key=KEY)
    reader = Store(store.root, readonly=True)
    store.put_json("j.json", "newer", key=KEY)
    assert reader.get("j.json") == "newer"


def test_writing_the_very_same_again_writes_nothing(store):
    manifest = store.root / "manifest.jsonl"
    store.put_json("j.json", 1, key=KEY)
    before = (manifest.read_bytes(), (store.root / "j.json").stat().st_ino)
    store.put_json("j.json", 1, key=KEY)
    assert (manifest.read_bytes(), (store.root / "j.json").stat().st_ino) == before
    (store.root / "j.json").write_bytes(b"2")
    store.put_json("j.json", 1, key=KEY)
    assert store.get("j.json") == 1


def test_a_changed_key_or_provenance_of_the_same_bytes_is_recorded(store):
    store.put_json("j.json", 1, key=KEY)
    store.put_json("j.json", 1, key=KEY, provenance={"seed": 1})
    assert store.entry("j.json").provenance == {"seed": 1}


def test_clear_forgets_what_was_recorded_by_any_rank_and_keeps_other_files(tmp_path):
    with Store(tmp_path, rank=0) as store:
        store.put_json("a.json", 1)
        with pytest.raises(InvalidInput, match="may not clear"):
            store.clear()
    (tmp_path / "notes.txt").write_text("mine")
    with Store(tmp_path) as store:
        store.put_json("b.json", 1)
        store.clear()
        assert store.names() == []
        store.put_json("b.json", 2)
    with Store(tmp_path, readonly=True) as store:
        assert store.names() == ["b.json"]
        assert store.get("b.json") == 2
    assert not (tmp_path / "a.json").exists()
    assert (tmp_path / "notes.txt").exists()


def test_an_unknown_name_gets_its_nearest(store):
    store.put_json("probing/layer_03.json", 1)
    with pytest.raises(UnknownName, match=r"Nearest: probing/layer_03\.json"):
        store.get("probing/layer_3.json")


def test_a_name_must_bear_the_suffix_of_its_format(store):
    with pytest.raises(InvalidInput, match=r"ending in \.parquet"):
        store.put_table("t.csv", frame())


def test_a_second_writer_is_refused_with_the_pid_of_the_first(store):
    code = (
        "import sys; from interp.store import Store; from interp.errors import RunLocked\n"
        "try: Store(sys.argv[1])\nexcept RunLocked as e: print(e)"
    )
    out = subprocess.run([sys.executable, "-c", code, str(store.root)], capture_output=True, text=True, check=True)
    assert f"process {os.getpid()} " in out.stdout
    with pytest.raises(RunLocked, match="this very process"):
        Store(store.root)
    store.close()
    Store(store.root).close()


def test_ranks_share_a_folder_but_not_a_rank_and_not_with_a_lone_writer(tmp_path):
    with Store(tmp_path, rank=0), Store(tmp_path, rank=1):
        with pytest.raises(RunLocked, match="own rank"):
            Store(tmp_path, rank=1)
        with pytest.raises(RunLocked):
            Store(tmp_path)
    with Store(tmp_path), pytest.raises(RunLocked):
        Store(tmp_path, rank=0)


def test_manifests_of_ranks_are_merged_and_the_later_line_wins(tmp_path):
    with Store(tmp_path, rank=1) as store:
        store.put_json("u.json", "first")
        store.put_json("only1.json", 1)
    with Store(tmp_path, rank=0) as store:
        store.put_json("u.json", "second, from another rank")
    reader = Store(tmp_path, readonly=True)
    assert reader.names() == ["only1.json", "u.json"]
    assert reader.get("u.json") == "second, from another rank"


def test_reading_needs_no_lock_and_cannot_write(store):
    reader = Store(store.root, readonly=True)
    with pytest.raises(InvalidInput, match="opened for reading"):
        reader.put_json("j.json", 1)


def test_a_folder_without_manifest_is_no_store_to_read(tmp_path):
    with pytest.raises(CorruptArtifact, match="no manifest"):
        Store(tmp_path, readonly=True)


def test_a_missing_folder_or_a_file_in_its_place_is_the_users_error(tmp_path):
    for how in ({"readonly": True}, {"create": False}):
        with pytest.raises(InvalidInput, match="There is no folder"):
            Store(tmp_path / "no", **how)
    assert not (tmp_path / "no").exists()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InvalidInput, match="is a file"):
        Store(tmp_path / "file")


def test_leftovers_of_dead_writers_are_removed_and_those_of_live_ones_kept(tmp_path):
    (tmp_path / "sub").mkdir()
    dead = tmp_path / "sub" / ".interp-tmp-0123456789ab.json"
    dead.write_bytes(b"half")

    def write(path):
        path.write_bytes(b"live")
        with Store(tmp_path, rank=1):
            assert path.read_bytes() == b"live"

    with Store(tmp_path, rank=0) as store:
        assert not dead.exists()
        store.put_file("sub/f.bin", write)
        assert store.get("sub/f.bin") == b"live"


def test_an_exception_in_the_writer_leaves_the_earlier_file_and_no_temporary_one(store):
    store.put_bytes("f.bin", b"earlier")

    def fail(path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.put_file("f.bin", fail)
    assert store.get("f.bin") == b"earlier"
    assert [p.name for p in store.root.iterdir() if p.name.startswith(".interp-tmp")] == []


def test_a_writer_that_writes_nothing_is_refused(store):
    with pytest.raises(InvalidInput, match="wrote nothing"):
        store.put_file("f.bin", lambda path: None)


def test_single_files_are_replaced_whole(tmp_path):
    atomic_write_bytes(tmp_path / "f.txt", b"one")
    atomic_write_bytes(tmp_path / "f.txt", b"two")
    atomic_write_file(tmp_path / "g.txt", lambda path: path.write_text("three"))
    assert [p.read_bytes() for p in sorted(tmp_path.iterdir())] == [b"two", b"three"]
    with pytest.raises(InvalidInput, match="Cannot write"):
        atomic_write_bytes(tmp_path / "no" / "f.txt", b"")


def test_importing_the_store_loads_neither_torch_nor_pandas():
    code = "import sys, interp.store; print([m for m in ('torch', 'pandas', 'pyarrow', 'scipy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
