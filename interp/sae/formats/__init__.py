"""Read the folders in which others publish SAEs, and write the one that most of them read.

A reader turns a folder into a `SaeConfig` and weights under our names, or refuses it by name: a convention that is
missing, a key that is unknown, an option that we do not compute. `declare` fills in what a file leaves out (it can
not contradict it). Nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from interp.errors import InvalidInput
from interp.sae.formats import dictionary_learning, gemma_scope, saelens, sparsify
from interp.sae.formats.parse import Files, Read, parse_json, parse_weights, site_of_hook
from interp.sae.formats.saelens import OWN_KEY, SAELENS, saelens_cfg

__all__ = [
    "FORMATS",
    "OWN_KEY",
    "SAELENS",
    "Files",
    "Read",
    "find_reader",
    "parse_json",
    "parse_weights",
    "saelens_cfg",
    "site_of_hook",
]

FORMATS: dict[str, tuple[tuple[str, ...], Callable[..., Read]]] = {
    "SAELens": (SAELENS, saelens.read_saelens),
    "sparsify": (sparsify.FILES, sparsify.read_sparsify),
    "Gemma Scope": (gemma_scope.FILES, gemma_scope.read_gemma_scope),
    "Gemma Scope 2": (gemma_scope.FILES_2, gemma_scope.read_gemma_scope_2),
    "dictionary_learning": (dictionary_learning.FILES, dictionary_learning.read_dictionary_learning),
}
"""Of each format the files that a folder of it has, and the reader of these files."""


def find_reader(names: Collection[str]) -> tuple[tuple[str, ...], Callable[..., Read]]:
    """Return the files that the format of a folder with these file names has, and its reader.

    Raises:
        InvalidInput: none of the formats, or one that is a pickle (with the command that converts it).
    """
    for files, reader in FORMATS.values():
        if set(files) <= set(names):
            return files, reader
    if "ae.pt" in names:
        raise InvalidInput(dictionary_learning.PICKLE)
    known = ", ".join(f"{' + '.join(files)} ({name})" for name, (files, _) in FORMATS.items())
    raise InvalidInput(
        f"no SAE in this folder: expected one of {known}; it holds {', '.join(sorted(names)) or 'nothing'}."
    )
