"""A capture that goes to disk as it comes: one file a run of texts, each written whole or not at all.

The key of a shard is made of the tokens it was computed from, the model's fingerprint and the options,
so a run that was killed goes on where it stopped, and a changed text recomputes its own shard alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from interp.activations import Activations
from interp.batches import Request
from interp.capturing import collect
from interp.errors import InvalidInput
from interp.models import width
from interp.store import Key, Store, canonical_json, make_key

CODE_VERSION = "1"
SHARD_VALUES = 2**26
"""Largest number of values in a shard, all sites together (256 MiB in float32)."""
_OPTIONS = ("sites", "pool", "bos", "include_special", "dtype", "model_dtype", "max_length")


@dataclass(frozen=True)
class StoredArrays(Mapping[str, Any]):
    """The arrays of a capture that lie in a store, read and checked when they are asked for."""

    store: Store
    names: tuple[str, ...]
    sites: tuple[str, ...]

    def __getitem__(self, site: str) -> np.ndarray:
        if site not in self.sites:
            raise KeyError(site)
        return np.concatenate([shard[site] for shard in self.shards()])

    def __iter__(self) -> Iterator[str]:
        return iter(self.sites)

    def __len__(self) -> int:
        return len(self.sites)

    def shards(self) -> Iterator[dict[str, np.ndarray]]:
        """Yield {site: array, "tokens_per_text": ...} of one shard after the other, in the order of the texts."""
        for name in self.names:
            yield self.store.get(name)


def capture_to_store(
    request: Request, store: Store, about: dict[str, Any], *, shard_values: int = SHARD_VALUES, progress: bool = False
) -> Activations:
    """Run a request shard by shard, writing each as soon as it is whole; those that are there are not run.

    Raises:
        InvalidInput: `pattern` was asked for, which has no fixed width.
    """
    if any(site.component == "pattern" for site in request.sites):
        raise InvalidInput(
            "'pattern' is not written to a store; reduce it batch by batch with interp.capturing.stream."
        )
    folder = f"activations/{_run_digest(request, about)[:16]}"
    names = []
    for start, stop in _shards(request, shard_values):
        name, part = f"{folder}/{start:09d}.safetensors", request.part(start, stop)
        key = _key(part, about)
        if store.state(name, key).status != "done":
            acts = collect(part, about, progress=progress)
            counts = {"tokens_per_text": acts.tokens_per_text, "truncated": acts.truncated}
            store.put_arrays(name, {**acts.arrays, **counts}, key=key, provenance={**about, "texts": [start, stop]})
        names.append(name)
    return Activations(
        arrays=StoredArrays(store, tuple(names), tuple(str(site) for site in request.sites)),
        sites=request.sites,
        pool=request.pool,
        tokens_per_text=request.n_chosen,
        truncated=request.encoded.truncated,
        provenance=about,
    )


def _run_digest(request: Request, about: dict[str, Any]) -> str:
    # Only what a user would call "the same capture": the texts are in the key of each shard.
    parts = {"model": about["model"], "n_texts": about["n_texts"], **{name: about[name] for name in _OPTIONS}}
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


def _shards(request: Request, shard_values: int) -> Iterator[tuple[int, int]]:
    rows = request.n_chosen if request.pool == "none" else np.ones(len(request.encoded), dtype=np.int64)
    values = sum(width(request.model, site) for site in request.sites)
    before = np.concatenate([[0], np.cumsum(rows * values)])
    start = 0
    while start < len(rows):
        stop = int(np.searchsorted(before, before[start] + shard_values, side="right")) - 1
        stop = min(max(stop, start + 1), len(rows))
        yield start, stop
        start = stop


def _key(part: Request, about: dict[str, Any]) -> Key:
    tokens = hashlib.sha256()
    for array in (part.encoded.ids, part.encoded.starts, part.chosen):
        tokens.update(np.ascontiguousarray(array).data)
    inputs = {"model": about["fingerprint"], "tokens": tokens.hexdigest()}
    return make_key({name: about[name] for name in _OPTIONS}, inputs, code_version=CODE_VERSION)
