"""Read a folder that `store.write_folder` wrote, checked."""

from __future__ import annotations

from pathlib import Path

from interp.errors import CorruptArtifact
from interp.store import sha256_bytes, verify_folder


def read_folder(path: Path) -> dict[str, bytes]:
    """Return the contents of every file that the folder's manifest lists.

    Raises:
        CorruptArtifact: the manifest or a file is missing, or has other bytes than were written; it is named.
    """
    manifest = verify_folder(path)
    files = {name: (path / name).read_bytes() for name in manifest["files"]}
    for name, data in files.items():  # what is parsed is what was checked, even if the file changed in between
        if sha256_bytes(data) != manifest["files"][name]["sha256"]:
            raise CorruptArtifact(f"{path / name} changed while it was being read.")
    return files
