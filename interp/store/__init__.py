"""Artefacts on disk: written whole, listed in a manifest, checked whenever they are read."""

from __future__ import annotations

from interp.store.artefacts import State, Store
from interp.store.atomic import atomic_write_bytes, atomic_write_file
from interp.store.hashing import sha256_array, sha256_bytes, sha256_file, sha256_table
from interp.store.keys import Key, canonical_json, changed_parts, make_key
from interp.store.manifest import Entry
from interp.store.repair import repair
from interp.store.sealed import verify_folder, write_folder

__all__ = [
    "Entry",
    "Key",
    "State",
    "Store",
    "atomic_write_bytes",
    "atomic_write_file",
    "canonical_json",
    "changed_parts",
    "make_key",
    "repair",
    "sha256_array",
    "sha256_bytes",
    "sha256_file",
    "sha256_table",
    "verify_folder",
    "write_folder",
]
