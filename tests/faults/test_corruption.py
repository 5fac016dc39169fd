"""Thousands of damaged files: each is refused by name or reads as what was written, none reads as something else."""

from __future__ import annotations

import json
import os
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from interp.errors import CorruptArtifact
from interp.store import Store, make_key, repair, verify_folder, write_folder
from interp.store.formats import FORMATS, BadBytes
from interp.work import run_units

PER_KIND = int(os.environ.get("INTERP_MUTATIONS", "600"))
KEY = make_key({"k": 8}, {"places": "aa"}, code_version="1")


def mutate(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Return `data` with one bit turned, cut, a block zeroed, or a piece moved, doubled or removed."""
    n = len(data)
    a, b = sorted(int(i) for i in rng.integers(0, n + 1, 2))
    kind = ["flip", "flip", "cut", "zero", "splice", "double", "remove", "longer"][rng.integers(8)]
    out = bytearray(data)
    if kind == "flip":
        out[rng.integers(n)] ^= 1 << rng.integers(8)
    elif kind == "cut":
        del out[a:]
    elif kind == "zero":
        out[a:b] = bytes(b - a)
    elif kind == "splice":
        start = int(rng.integers(0, n))
        piece = out[a:b][: n - start]
        out[start : start + len(piece)] = piece
    elif kind == "double":
        out[b:b] = out[a:b]
    elif kind == "remove":
        del out[a:b]
    else:
        out += rng.bytes(int(rng.integers(1, 50)))
    return kind, bytes(out)


def values() -> dict[str, object]:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"unit": [f"u{i}" for i in range(300)], "I": rng.normal(size=300), "n": np.arange(300)})
    return {
        "a.safetensors": {"x": rng.normal(size=(16, 24)).astype(np.float32), "mask": rng.random(50) < 0.5},
        "c.safetensors": sparse.random_array((40, 60), density=0.1, format="csr", rng=rng),
        "t.parquet": frame,
        "j.json": {"a": [0.1, 2, None], "text": "x" * 300},
        "page.html": b"<p>" + rng.bytes(500),
    }


def equal(a, b) -> bool:
    if isinstance(a, pd.DataFrame):
        return isinstance(b, pd.DataFrame) and a.equals(b) and (a.dtypes == b.dtypes).all()
    if sparse.issparse(a):
        return sparse.issparse(b) and a.shape == b.shape and a.dtype == b.dtype and (a != b).nnz == 0
    if isinstance(a, dict) and any(isinstance(v, np.ndarray) for v in a.values()):
        return a.keys() == b.keys() and all(a[n].dtype == b[n].dtype and np.array_equal(a[n], b[n]) for n in a)
    return type(a) is type(b) and a == b


@pytest.fixture
def full(tmp_path):
    with Store(tmp_path / "run") as store:
        for name, value in values().items():
            store.put(name, value, key=KEY, provenance={"seed": 0})
    return Store(tmp_path / "run", readonly=True)


@pytest.mark.parametrize("name", list(values()))
def test_every_damage_to_a_file_is_refused_by_its_name(full, name, record_property):
    path, value = full.root / name, values()[name]
    good = path.read_bytes()
    rng = np.random.default_rng(1)
    outcome, kinds = Counter(), Counter()
    for _ in range(PER_KIND):
        kind, bad = mutate(good, rng)
        kinds[kind] += 1
        path.write_bytes(bad)
        try:
            outcome["unchanged" if equal(value, full.get(name)) and bad == good else "silent"] += 1
        except CorruptArtifact as error:
            outcome["refused" if str(path) in str(error) else "unnamed"] += 1
    record_property("mutated", json.dumps(outcome))
    assert set(outcome) <= {"refused", "unchanged"}
    assert outcome["refused"] > 0.9 * PER_KIND
    assert len(kinds) == 7


def test_no_damage_to_the_manifest_changes_what_is_read(full, record_property):
    path, expected = full.root / "manifest.jsonl", values()
    entries = {name: full.entry(name) for name in expected}
    good = path.read_bytes()
    rng = np.random.default_rng(2)
    outcome = Counter()
    for _ in range(PER_KIND):
        path.write_bytes(mutate(good, rng)[1])
        try:
            store = Store(full.root, readonly=True)
        except CorruptArtifact as error:
            outcome["refused" if str(path) in str(error) else "unnamed"] += 1
            continue
        for name in expected:
            try:
                outcome["same" if store.entry(name) == entries[name] else "silent"] += 1
            except CorruptArtifact as error:
                outcome["refused" if name in str(error) else "unnamed"] += 1
    record_property("manifest", json.dumps(outcome))
    assert set(outcome) <= {"refused", "same"}
    assert outcome["refused"] > 0.9 * PER_KIND


def test_no_line_of_the_manifest_can_be_removed_moved_or_repeated(full):
    path = full.root / "manifest.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    variants = [lines[:i] + lines[i + 1 :] for i in range(len(lines) - 1)]
    variants += [[*lines[:i], lines[i + 1], lines[i], *lines[i + 2 :]] for i in range(len(lines) - 1)]
    variants += [[*lines[: i + 1], *lines[i:]] for i in range(len(lines))]
    for variant in variants:
        path.write_bytes(b"".join(variant))
        with pytest.raises(CorruptArtifact, match=r"manifest\.jsonl"):
            Store(full.root, readonly=True)


def test_a_torn_last_line_is_ignored_and_cut_off_by_the_next_writer(full):
    path = full.root / "manifest.jsonl"
    good = path.read_bytes()
    for torn in (b"0123", b"\x00" * 500, good.splitlines()[-1]):
        path.write_bytes(good + torn)
        assert Store(full.root, readonly=True).names() == sorted(values())
        with Store(full.root) as store:
            assert path.read_bytes() == good
            assert store.names() == sorted(values())


def test_a_sealed_folder_refuses_every_damage_to_any_of_its_files(tmp_path, record_property):
    files = {"model.safetensors": np.random.default_rng(0).bytes(2000), "cfg.json": b'{"k": 8, "bos": "always"}'}
    manifest = write_folder(tmp_path / "sae", files, provenance={"seed": 3, "note": "n" * 50})
    rng = np.random.default_rng(3)
    outcome = Counter()
    for name in [*files, "manifest.json"]:
        path = tmp_path / "sae" / name
        good = path.read_bytes()
        for _ in range(PER_KIND // 2):
            bad = mutate(good, rng)[1]
            path.write_bytes(bad)
            try:
                same = verify_folder(tmp_path / "sae") == manifest and (name == "manifest.json" or bad == good)
                outcome["unchanged" if same else "silent"] += 1
            except CorruptArtifact as error:
                outcome["refused" if "sae/" in str(error) else "unnamed"] += 1
        path.write_bytes(good)
    record_property("mutated", json.dumps(outcome))
    assert set(outcome) <= {"refused", "unchanged"}
    assert outcome["refused"] > 0.8 * sum(outcome.values())


@pytest.mark.parametrize("name", list(values())[:4])
def test_a_decoder_without_the_hash_in_front_refuses_or_returns_and_never_crashes(name):
    kind = {"a": "arrays", "c": "csr", "t": "table", "j": "json"}[name[0]]
    value = values()[name]
    data, contents = FORMATS[kind].encode(value)
    contents = json.loads(json.dumps(contents))
    rng = np.random.default_rng(4)
    outcome = Counter()
    for _ in range(PER_KIND // 2):
        how, bad = mutate(data, rng)
        try:
            back = FORMATS[kind].decode(bad, contents)
        except BadBytes:
            outcome["refused"] += 1
        else:
            outcome["same" if equal(value, back) else f"changed by {how}"] += 1
    if kind == "table":  # page checksums see values by themselves; the file's hash is what guards the rest
        assert set(outcome) <= {"refused", "same"}
    assert outcome["refused"] > 0.3 * PER_KIND // 2


def test_a_repaired_manifest_keeps_what_is_intact_and_the_run_completes_to_the_same_bytes(tmp_path):
    units = [f"u{i}" for i in range(8)]

    def go(folder):
        with Store(tmp_path / folder) as store:
            return run_units(
                units,
                lambda u: {"unit": u},
                store=store,
                name_of=lambda u: f"{u}.json",
                key_of=lambda u: make_key({"u": u}, {}, code_version="1"),
                rank=0,
                world=1,
            )

    go("run")
    go("clean")
    manifest = tmp_path / "run" / "manifest.jsonl"
    lines = manifest.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b"u2", b"u9")
    manifest.write_bytes(b"".join(lines))
    with pytest.raises(CorruptArtifact, match="Line 4"):
        go("run")
    assert repair(tmp_path / "run") == {"manifest.jsonl": [4]}
    assert go("run").computed == ("u2",)
    for unit in units:
        assert (tmp_path / "run" / f"{unit}.json").read_bytes() == (tmp_path / "clean" / f"{unit}.json").read_bytes()
    assert repair(tmp_path / "run") == {}
