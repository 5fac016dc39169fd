"""What a capture gives back: one array a site, with the texts' token counts and where it all came from."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from interp.errors import InvalidInput, UnknownSite, nearest
from interp.models import Model
from interp.sites import Site


@dataclass(frozen=True)
class Activations:
    """Activations of n texts at some sites; `acts["resid_post.2"]` is the array of that site."""

    arrays: Mapping[str, Any]
    """[n_texts, d] of each site; with pool "none" [n_tokens_total, d]; of `pattern` a list of [head, n, n]."""
    sites: tuple[Site, ...]
    pool: str
    tokens_per_text: np.ndarray
    """int64 [n_texts]: tokens that were pooled, or are given."""
    truncated: np.ndarray
    """int64 [n_texts]: tokens that were cut off."""
    provenance: dict[str, Any]

    def __getitem__(self, site: str | Site) -> Any:
        """Return the array of a site. Raises UnknownSite when it was not captured."""
        name = str(Site.parse(site))
        if name not in self.arrays:
            near = ", ".join(nearest(name, self.arrays))
            raise UnknownSite(f"{name!r} was not captured; there are: {near}. Ask capture for it.")
        return self.arrays[name]

    def __len__(self) -> int:
        return len(self.tokens_per_text)

    @property
    def offsets(self) -> np.ndarray:
        """Rows [offsets[i], offsets[i + 1]) of a pool="none" array belong to text i; int64 [n_texts + 1]."""
        return np.concatenate([[0], np.cumsum(self.tokens_per_text)])

    def per_text(self, site: str | Site) -> list[np.ndarray]:
        """Return a list with one array a text, [n_tokens, d] views, of a capture that was not pooled."""
        if self.pool != "none":
            raise InvalidInput(f"these activations are pooled ({self.pool}); per_text is of pool='none'.")
        values = self[site]
        return values if isinstance(values, list) else np.split(values, self.offsets[1:-1])


def provenance(
    model: Model, texts: Sequence[str], sites: Sequence[Site], *, spans: Any = None, **options: Any
) -> dict[str, Any]:
    """Return what decides the numbers of a capture: model, texts, sites, options and versions."""
    return {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "weights": model.weights,
        "model_dtype": str(model.dtype).removeprefix("torch."),
        "sites": [str(site) for site in sites],
        **options,
        "n_texts": len(texts),
        "texts_sha256": texts_sha256(texts),
        "spans_sha256": None if spans is None else _sha256(json.dumps(_plain(spans))),
        "versions": dict(_versions()),
    }


def texts_sha256(texts: Sequence[str]) -> str:
    """Return the sha256 of texts, each with its length before it."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(f"{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()


@functools.cache
def _versions() -> tuple[tuple[str, str], ...]:
    return tuple((name, version(name)) for name in ("torch", "transformers", "transformer-lens"))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(spans: Any) -> Any:
    return int(spans) if np.ndim(spans) == 0 else [_plain(item) for item in spans]
