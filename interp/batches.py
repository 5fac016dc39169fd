"""What a capture was asked for, checked once, and the batches that answer it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from interp.errors import InvalidInput, NonFinite, nearest
from interp.models import Model, find_site
from interp.pooling import POOLS, finite_tokens, pool_tokens
from interp.reading import read_sites
from interp.sites import Site
from interp.tokens import Encoded, encode, find_tokenizer, special_ids

_DTYPES = {"float16": torch.float16, "float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Batch:
    """What one forward pass gave."""

    rows: np.ndarray
    """int64 [batch]: which texts."""
    n_tokens: np.ndarray
    """int64 [batch]: tokens of each that were pooled, or are given."""
    values: dict[str, Any]
    """For each site a tensor on the device: [batch, d], or with pool "none" [sum of n_tokens, d]; of `pattern`
    a list of [head, n, n] (one head: [n, n])."""


@dataclass(frozen=True)
class Request:
    model: Model
    encoded: Encoded
    chosen: np.ndarray
    """bool [n_tokens]: tokens that enter the pool."""
    sites: tuple[Site, ...]
    pool: str
    dtype: torch.dtype
    batch_tokens: int
    first: int = 0
    """Number of the first text, when this is a part of a larger request."""

    @property
    def n_chosen(self) -> np.ndarray:
        """Tokens of each text that enter the pool, int64 [n_texts]."""
        return np.add.reduceat(self.chosen.astype(np.int64), self.encoded.starts[:-1])

    def part(self, start: int, stop: int) -> Request:
        """Return the request for the texts [start, stop)."""
        ends = self.encoded.starts[[start, stop]]
        return replace(
            self,
            encoded=self.encoded.part(start, stop),
            chosen=self.chosen[slice(*ends)],
            first=self.first + start,
        )


def plan_batches(lengths: np.ndarray, batch_tokens: int) -> list[np.ndarray]:
    """Group texts of like length, longest first: each batch has at most `batch_tokens` padded tokens or one text."""
    order = np.argsort(-lengths, kind="stable")
    batches, at = [], 0
    while at < len(order):
        count = max(1, batch_tokens // max(1, int(lengths[order[at]])))
        batches.append(order[at : at + count])
        at += count
    return batches


def make_request(
    model: Model,
    texts: Sequence[str],
    sites: Any,
    *,
    pool: str,
    spans: Any,
    batch_tokens: int,
    bos: str | None,
    include_special: bool,
    max_length: int | None,
    dtype: str,
) -> Request:
    """Return what a capture of texts has to run: tokens, sites and the tokens of each text that are wanted."""
    if pool == "span" and spans is None:
        raise InvalidInput("pool='span' needs spans=: for each text (start, end) in characters.")
    names = [sites] if isinstance(sites, str | Site) else list(sites)
    found = [find_site(model, name) for name in names]
    encoded = encode(model, texts, bos=bos, max_length=max_length, spans=spans)
    return with_tokens(
        model, encoded, found, pool=pool, dtype=dtype, batch_tokens=batch_tokens, include_special=include_special
    )


def with_tokens(
    model: Model,
    encoded: Encoded,
    sites: Sequence[Site],
    *,
    pool: str,
    dtype: str,
    batch_tokens: int,
    include_special: bool,
) -> Request:
    """Return a request for texts that are tokens already. Raises UnknownSite, InvalidInput."""
    if pool not in POOLS:
        raise InvalidInput(f"pool={pool!r}; nearest: {', '.join(nearest(str(pool), POOLS))}.")
    if dtype not in _DTYPES:
        raise InvalidInput(f"dtype={dtype!r}; expected one of {', '.join(_DTYPES)}.")
    if isinstance(batch_tokens, bool) or not isinstance(batch_tokens, int) or batch_tokens < 1:
        raise InvalidInput(f"batch_tokens is a number of tokens from 1, not {batch_tokens!r}.")
    if not sites:
        raise InvalidInput("no sites were given; for instance 'resid_post.2'.")
    patterns = [s for s in sites if s.component == "pattern"]
    if patterns and (pool != "none" or not include_special or encoded.span_mask is not None):
        raise InvalidInput(
            f"'{patterns[0]}' has a value a pair of tokens: give pool='none', include_special=True and no spans "
            "(without BOS its rows would no longer sum to 1)."
        )
    if encoded.ids.max(initial=0) >= model.d_vocab:
        raise InvalidInput(
            f"the tokenizer gives id {encoded.ids.max()} and {model.name} has {model.d_vocab} embeddings: "
            "it is the tokenizer of another model."
        )
    chosen = encoded.span_mask
    if chosen is None:
        chosen = np.ones(len(encoded.ids), dtype=bool) if include_special else ~encoded.special
    request = Request(model, encoded, chosen, tuple(dict.fromkeys(sites)), pool, _DTYPES[dtype], batch_tokens)
    empty = np.flatnonzero(request.n_chosen == 0)
    if len(empty) and pool != "none":
        raise InvalidInput(f"text {empty[0]} has no token to pool over after it was cut; use a larger max_length.")
    return request


def packed(model: Model, rows: list[Any], include_special: bool) -> Encoded:
    """Return rows of ids, int [pos] each, as `Encoded`, used as they are. Raises InvalidInput for other rows."""
    arrays = [np.asarray(row) for row in rows]
    for row in arrays:
        if row.ndim != 1 or len(row) == 0 or not np.issubdtype(row.dtype, np.integer) or row.min() < 0:
            raise InvalidInput(f"a row is a text or a 1-D array of ids from 0, not {row.dtype} {list(row.shape)}.")
        if len(row) > model.n_ctx:
            raise InvalidInput(f"a row has {len(row)} ids and {model.name} takes {model.n_ctx}.")
    ids = np.concatenate(arrays).astype(np.int64)
    specials = () if include_special else special_ids(find_tokenizer(model))
    starts = np.concatenate([[0], np.cumsum([len(row) for row in arrays])]).astype(np.int64)
    return Encoded(ids, np.isin(ids, list(specials)), starts, np.zeros(len(arrays), dtype=np.int64))


def run_batch(request: Request, rows: np.ndarray) -> Batch:
    """Run the texts `rows`, int64 [batch], in one forward pass and return what was read, pooled as asked."""
    encoded, device = request.encoded, request.model.device
    ids = torch.from_numpy(encoded.pad(encoded.ids, rows, 0)).to(device)
    mask = torch.from_numpy(encoded.mask(rows)).to(device)
    chosen = torch.from_numpy(encoded.pad(request.chosen, rows, False)).to(device)
    values: dict[str, Any] = {}

    def reader(site: Site) -> Callable[[torch.Tensor], None]:
        def read(tensor: torch.Tensor) -> None:
            tensor = finite_tokens(tensor, mask, site)
            if site.component == "pattern":
                sizes = encoded.lengths[rows].tolist()
                values[str(site)] = [t[..., :n, :n].to(request.dtype) for t, n in zip(tensor, sizes, strict=True)]
            else:
                values[str(site)] = _cast(pool_tokens(tensor, chosen, request.pool), request.dtype, site)

        return read

    try:
        read_sites(request.model, ids, mask.long(), {site: reader(site) for site in request.sites})
    except NonFinite as error:
        row, position = error.args[1]
        text = request.first + int(rows[row])
        raise NonFinite(
            f"{error.args[0]} at token {position} (id {int(ids[row, position])}) of text {text} in "
            f"{request.model.name} ({request.model.dtype}); nothing is returned."
        ) from None
    n_chosen = request.n_chosen[rows]
    return Batch(rows=rows, n_tokens=n_chosen, values=values)


def _cast(values: torch.Tensor, dtype: torch.dtype, site: Site) -> torch.Tensor:
    cast = values.to(dtype)
    if dtype == torch.float16 and bool(torch.isinf(cast).any()):
        raise InvalidInput(f"{site} holds values up to {values.abs().max():.3g}, beyond float16; use dtype='float32'.")
    return cast
