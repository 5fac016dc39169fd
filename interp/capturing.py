"""Texts in, activations out: named sites, one forward pass, pooled on the device.

The model runs on right-padded batches of texts of like length and stops as soon as every site that was
asked for has been read: no deeper block runs and no logits are computed. Nothing is pooled over BOS, EOS
or padding unless asked. What was asked is compared with what fired, batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch

from interp.activations import Activations, provenance
from interp.batches import Batch, Request, make_request, packed, plan_batches, run_batch, with_tokens
from interp.errors import ResourceExhausted
from interp.models import Model, find_site, width
from interp.reading import hooked, read_sites
from interp.sites import Site
from interp.tokens import bos_policy, encode

__all__ = [
    "MAX_BYTES",
    "Activations",
    "Batch",
    "capture",
    "collect",
    "hooked",
    "read_sites",
    "site_batches",
    "stream",
    "token_batches",
]

_CHUNK_ROWS = 1024  # rows of an endless stream that are sorted by length together
MAX_BYTES = 4 * 2**30


def capture(
    model: Model,
    texts: Sequence[str],
    sites: str | Site | Iterable[str | Site],
    *,
    pool: str = "last",
    spans: Sequence[Any] | None = None,
    batch_tokens: int = 8192,
    bos: str | None = None,
    include_special: bool = False,
    max_length: int | None = None,
    to: Any = None,
    dtype: str = "float32",
    max_bytes: int = MAX_BYTES,
    progress: bool = False,
) -> Activations:
    """Return the activations of texts at sites, in the order of the texts.

    Args:
        sites: "resid_post.2", or a list; all are read in one pass.
        pool: over the tokens of a text: "last", "mean", "max", "span" (the mean over `spans`), or "none".
        spans: for each text (start, end) in characters, or a list of them; restricts any pool to their tokens.
        batch_tokens: padded tokens of a batch; results do not depend on it beyond rounding.
        bos: see `interp.tokenize`; default the policy of the model.
        include_special: also pool over BOS and EOS. `pattern` requires it, for its rows sum to 1 only then.
        max_length: cut longer texts to so many tokens (counted in `.truncated`); None: they raise.
        to: an `interp.Store`: shards are written as they come and finished ones are not computed again.
        dtype: of the result: "float32", "float16" or "float64".
        max_bytes: refuse a result larger than this in memory.

    Raises:
        UnknownSite, InvalidInput: before the model runs. HookNotFired, NonFinite: what was read cannot be trusted.
        ResourceExhausted: the result would be larger than `max_bytes`.
    """
    options = {"pool": pool, "bos": bos_policy(model, bos), "include_special": include_special, "dtype": dtype}
    request = make_request(
        model, texts, sites, spans=spans, batch_tokens=batch_tokens, max_length=max_length, **options
    )
    about = provenance(model, texts, request.sites, spans=spans, max_length=max_length, **options)
    if to is not None:
        from interp.capture_store import capture_to_store

        return capture_to_store(request, to, about, progress=progress)
    _check_bytes(request, max_bytes)
    return collect(request, about, progress=progress)


def stream(
    model: Model,
    texts: Sequence[str],
    sites: str | Site | Iterable[str | Site],
    *,
    pool: str = "last",
    spans: Sequence[Any] | None = None,
    batch_tokens: int = 8192,
    bos: str | None = None,
    include_special: bool = False,
    max_length: int | None = None,
    dtype: str = "float32",
) -> Iterator[Batch]:
    """Yield one `Batch` a forward pass, longest texts first; arguments and errors as `capture`."""
    return run_batches(
        make_request(
            model,
            texts,
            sites,
            pool=pool,
            spans=spans,
            batch_tokens=batch_tokens,
            bos=bos,
            include_special=include_special,
            max_length=max_length,
            dtype=dtype,
        )
    )


def token_batches(
    model: Model,
    rows: Iterable[Any],
    site: str | Site,
    *,
    batch_tokens: int = 8192,
    bos: str | None = None,
    include_special: bool = False,
    max_length: int | None = None,
    start: int = 0,
) -> Iterator[torch.Tensor]:
    """Yield activations [n_tokens, d] in float32 on the device, batch by batch: what an SAE is trained on.

    Args:
        rows: texts, or int arrays of ids (packed rows, used as they are); any iterable, read in chunks.
        include_special: also give BOS, EOS and padding, which are left out wherever they stand in a row.
        start: number of the first batch that is given; those before it are not run.
    """
    name = str(find_site(model, site))
    batches = site_batches(
        model,
        rows,
        [name],
        batch_tokens=batch_tokens,
        bos=bos,
        include_special=include_special,
        max_length=max_length,
        start=start,
    )
    return (batch[name] for batch in batches)


def site_batches(
    model: Model,
    rows: Iterable[Any],
    sites: Iterable[str | Site],
    *,
    batch_tokens: int = 8192,
    bos: str | None = None,
    include_special: bool = False,
    max_length: int | None = None,
    start: int = 0,
    every: int = 1,
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield {site: activations [n_tokens, d]} of several sites, one forward pass a batch; see `token_batches`.

    Args:
        every: only each so-many-th batch from `start` on is given; the others are not run.
    """
    found = [find_site(model, site) for site in sites]
    iterator, number = iter(rows), 0
    while chunk := list(islice(iterator, _CHUNK_ROWS)):
        if isinstance(chunk[0], str):
            encoded = encode(model, chunk, bos=bos, max_length=max_length)
        else:
            encoded = packed(model, chunk, include_special)
        request = with_tokens(model, encoded, found, pool="none", dtype="float32", batch_tokens=batch_tokens,
                               include_special=include_special)  # fmt: skip
        # a batch of nothing but specials is never given, so it is not counted either
        batches = [b for b in plan_batches(encoded.lengths, batch_tokens) if request.n_chosen[b].any()]
        for batch in batches[max(start - number, (start - number) % every) :: every]:
            yield run_batch(request, batch).values
        number += len(batches)


def run_batches(request: Request) -> Iterator[Batch]:
    """Yield the batches of a request; each holds every text once."""
    for rows in plan_batches(request.encoded.lengths, request.batch_tokens):
        yield run_batch(request, rows)


def collect(request: Request, about: dict[str, Any], *, progress: bool = False) -> Activations:
    """Run a request and return its results in the order of the texts."""
    n_tokens = request.n_chosen
    offsets = np.concatenate([[0], np.cumsum(n_tokens)])
    ragged = request.pool == "none"
    n_rows = int(offsets[-1]) if ragged else len(n_tokens)
    kind = np.dtype(about["dtype"])
    arrays: dict[str, Any] = {
        str(site): [None] * len(n_tokens)
        if site.component == "pattern"
        else np.empty((n_rows, width(request.model, site)), dtype=kind)
        for site in request.sites
    }
    for batch in _shown(run_batches(request), request, progress):
        target = _places(offsets, batch.rows) if ragged else batch.rows
        for site, values in batch.values.items():
            if isinstance(values, list):
                for row, value in zip(batch.rows, values, strict=True):
                    arrays[site][row] = value.cpu().numpy()
            else:
                arrays[site][target] = values.cpu().numpy()
    return Activations(
        arrays=arrays,
        sites=request.sites,
        pool=request.pool,
        tokens_per_text=n_tokens,
        truncated=request.encoded.truncated,
        provenance=about,
    )


def _places(offsets: np.ndarray, rows: np.ndarray) -> np.ndarray:
    lengths = np.diff(offsets)[rows]
    return np.arange(lengths.sum()) + np.repeat(offsets[rows] - (np.cumsum(lengths) - lengths), lengths)


def _check_bytes(request: Request, max_bytes: int) -> None:
    n_chosen = request.n_chosen
    size = torch.empty(0, dtype=request.dtype).element_size()
    total = 0
    for site in request.sites:
        if site.component == "pattern":
            heads = 1 if site.head is not None else request.model.n_heads
            total += heads * int((n_chosen**2).sum()) * size
        else:
            n_rows = int(n_chosen.sum()) if request.pool == "none" else len(n_chosen)
            total += n_rows * width(request.model, site) * size
    if total > max_bytes:
        raise ResourceExhausted(
            f"the result would take {total:,} bytes and max_bytes is {max_bytes:,}: give to= (a Store), pool the "
            "tokens, ask for fewer sites, use dtype='float16', or raise max_bytes."
        )


def _shown(batches: Iterator[Batch], request: Request, progress: bool) -> Iterator[Batch]:
    if not progress:
        yield from batches
        return
    from tqdm.auto import tqdm

    with tqdm(total=int(request.encoded.starts[-1]), unit=" tokens", unit_scale=True) as bar:
        for batch in batches:
            yield batch
            bar.update(int(request.encoded.lengths[batch.rows].sum()))
