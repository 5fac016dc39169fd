"""Folders that are read, not extended: whole or refused."""

from __future__ import annotations

import json

import pytest

from interp.errors import CorruptArtifact, InvalidInput
from interp.store import sealed, verify_folder, write_folder


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "model"
    write_folder(path, {"a.bin": b"alpha", "sub/b.txt": lambda p: p.write_text("beta")}, provenance={"seed": 1})
    return path


def test_a_written_folder_verifies_and_lists_its_files(folder):
    manifest = verify_folder(folder)
    assert {name: f["bytes"] for name, f in manifest["files"].items()} == {"a.bin": 5, "sub/b.txt": 4}
    assert manifest["provenance"] == {"seed": 1}
    assert (folder / "sub" / "b.txt").read_text() == "beta"
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_the_same_files_give_the_same_manifest_bytes(folder, tmp_path):
    write_folder(tmp_path / "again", {"sub/b.txt": b"beta", "a.bin": b"alpha"}, provenance={"seed": 1})
    assert (tmp_path / "again" / "manifest.json").read_bytes() == (folder / "manifest.json").read_bytes()


@pytest.mark.parametrize("damage", ["altered", "cut", "longer", "missing"])
def test_a_damaged_file_is_named(folder, damage):
    file = folder / "sub" / "b.txt"
    new = {"altered": b"bEta", "cut": b"bet", "longer": b"betaa"}.get(damage)
    file.unlink() if new is None else file.write_bytes(new)
    with pytest.raises(CorruptArtifact, match=r"sub/b\.txt"):
        verify_folder(folder)


@pytest.mark.parametrize("text", [None, b"", b"{", b"[]", b'{"files": {}}', b"\xff"])
def test_an_absent_or_garbled_manifest_is_named(folder, text):
    manifest = folder / "manifest.json"
    manifest.unlink() if text is None else manifest.write_bytes(text)
    with pytest.raises(CorruptArtifact, match=r"manifest\.json"):
        verify_folder(folder)


def test_a_manifest_that_was_edited_is_refused_even_where_no_file_depends_on_it(folder):
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["provenance"]["seed"] = 2
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CorruptArtifact, match="does not fit its contents"):
        verify_folder(folder)


def test_files_that_are_not_listed_do_not_matter(folder):
    (folder / "notes.txt").write_text("mine")
    verify_folder(folder)


def test_an_existing_folder_is_replaced_only_when_asked_and_only_if_it_is_ours(folder):
    with pytest.raises(InvalidInput, match="overwrite=True"):
        write_folder(folder, {"a.bin": b"new"})
    write_folder(folder, {"a.bin": b"new"}, overwrite=True)
    assert list(verify_folder(folder)["files"]) == ["a.bin"]
    assert not (folder / "sub").exists()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InvalidInput, match=r"notes\.txt"):
        write_folder(folder, {"a.bin": b"newer"}, overwrite=True)
    assert verify_folder(folder)["files"]["a.bin"]["bytes"] == 3


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_failure_while_writing_leaves_the_earlier_folder_whole(folder, monkeypatch, can_exchange):
    if not can_exchange:
        monkeypatch.setattr(sealed, "_exchange", lambda one, other: False)

    def fail(path):
        raise RuntimeError("killed")

    before = (folder / "manifest.json").read_bytes()
    with pytest.raises(RuntimeError):
        write_folder(folder, {"a.bin": b"new", "b.bin": fail}, overwrite=True)
    verify_folder(folder)
    assert (folder / "manifest.json").read_bytes() == before
    write_folder(folder, {"a.bin": b"new"}, overwrite=True)
    assert [p.name for p in folder.parent.iterdir()] == ["model"]
    assert (folder / "a.bin").read_bytes() == b"new"


@pytest.mark.parametrize("files", [{}, {"manifest.json": b""}, {"../out": b""}, {"/etc/x": b""}])
def test_names_that_lead_out_or_clash_are_refused(tmp_path, files):
    with pytest.raises(InvalidInput):
        write_folder(tmp_path / "f", files)
    assert list(tmp_path.iterdir()) == []
