"""Text to token ids, under one explicit rule for BOS.

A doubled, missing or unexpected BOS moves every activation and raises no error anywhere, so the rule
is a required choice: of the caller, or of the card of the model. Ids are right padded and int64; what
the model sees beyond the text (BOS, EOS, padding) is marked, and the tokenizer of the caller is not
changed (neither its padding side nor its padding token is used or set).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from interp.errors import InvalidInput

POLICIES = ("always", "never", "tokenizer")
Span = tuple[int, int]


@dataclass(frozen=True)
class Tokens:
    """A batch of texts as ids, right padded with 0."""

    ids: np.ndarray
    """int64 [batch, pos]"""
    mask: np.ndarray
    """bool [batch, pos]: a token, not padding."""
    special: np.ndarray
    """bool [batch, pos]: BOS, EOS or padding."""
    offsets: np.ndarray | None
    """int64 [batch, pos, 2]: characters [start, end) of each token; None for tokenizers without offsets."""
    span_mask: np.ndarray | None
    """bool [batch, pos]: tokens of the spans that were asked for."""
    lengths: np.ndarray
    """int64 [batch]: tokens of each text, specials included."""
    truncated: np.ndarray
    """int64 [batch]: tokens cut off each text."""


@dataclass(frozen=True)
class Encoded:
    """Texts as ids end to end, without padding: text i is [starts[i], starts[i + 1])."""

    ids: np.ndarray
    special: np.ndarray
    starts: np.ndarray
    truncated: np.ndarray
    offsets: np.ndarray | None = None
    span_mask: np.ndarray | None = None

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text, int64 [n_texts]."""
        return np.diff(self.starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def part(self, start: int, stop: int) -> Encoded:
        """Return the texts [start, stop)."""
        tokens = slice(int(self.starts[start]), int(self.starts[stop]))
        return Encoded(
            ids=self.ids[tokens],
            special=self.special[tokens],
            starts=self.starts[start : stop + 1] - self.starts[start],
            truncated=self.truncated[start:stop],
            offsets=None if self.offsets is None else self.offsets[tokens],
            span_mask=None if self.span_mask is None else self.span_mask[tokens],
        )

    def pad(self, values: np.ndarray, rows: np.ndarray, fill: Any) -> np.ndarray:
        """Return `values` [n_tokens, ...] of the texts `rows` as [batch, pos, ...], right padded with `fill`."""
        lengths = self.lengths[rows]
        mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
        out = np.full((*mask.shape, *values.shape[1:]), fill, dtype=values.dtype)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        out[mask] = values[np.repeat(self.starts[rows], lengths) + within]
        return out

    def mask(self, rows: np.ndarray) -> np.ndarray:
        """Return bool [batch, pos]: the tokens, not the padding, of the texts `rows`."""
        lengths = self.lengths[rows]
        return np.arange(lengths.max(initial=0)) < lengths[:, None]


def tokenize(
    model_or_tokenizer: Any,
    texts: Sequence[str],
    *,
    bos: str | None = None,
    max_length: int | None = None,
    spans: Sequence[Any] | None = None,
) -> Tokens:
    """Return texts as right-padded ids with exactly the BOS that was asked for.

    Args:
        bos: "always" (one BOS, no EOS), "never" (neither), or "tokenizer" (what the tokenizer adds, BOS never
            twice). None takes the policy of the model card.
        max_length: longer texts are cut to so many tokens, and the cut is counted. None: a text that is longer
            than the context of the model raises.
        spans: for each text a (start, end) character span, or a list of them.

    Raises:
        InvalidInput: no policy, no tokenizer, an empty text, a text that is too long, or a span without a token.
    """
    has_offsets = bool(getattr(find_tokenizer(model_or_tokenizer), "is_fast", False))
    encoded = encode(model_or_tokenizer, texts, bos=bos, max_length=max_length, spans=spans, offsets=has_offsets)
    rows = np.arange(len(encoded))
    mask = encoded.mask(rows)
    return Tokens(
        ids=encoded.pad(encoded.ids, rows, 0),
        mask=mask,
        special=encoded.pad(encoded.special, rows, True),
        offsets=None if encoded.offsets is None else encoded.pad(encoded.offsets, rows, 0),
        span_mask=None if encoded.span_mask is None else encoded.pad(encoded.span_mask, rows, False),
        lengths=encoded.lengths,
        truncated=encoded.truncated,
    )


def encode(
    model_or_tokenizer: Any,
    texts: Sequence[str],
    *,
    bos: str | None = None,
    max_length: int | None = None,
    spans: Sequence[Any] | None = None,
    offsets: bool = False,
) -> Encoded:
    """Return texts as ids end to end; arguments and errors as `tokenize`."""
    tokenizer = find_tokenizer(model_or_tokenizer)
    policy = bos_policy(model_or_tokenizer, bos)
    _check_texts(texts)
    n_ctx = getattr(model_or_tokenizer, "n_ctx", None)
    limit = _limit(max_length, n_ctx)
    pairs = _call(tokenizer, texts, policy, offsets or spans is not None)
    bos_id = tokenizer.bos_token_id
    if policy == "always" and bos_id is None:
        raise InvalidInput("bos='always', but this tokenizer has no BOS token; use bos='never' or 'tokenizer'.")
    rows = [_with_policy(ids, places, policy, bos_id) for ids, places in pairs]
    wanted = None if spans is None else _spans_of(texts, spans)
    specials = special_ids(tokenizer)
    kept, cut = [], np.zeros(len(rows), dtype=np.int64)
    masks: list[np.ndarray] = []
    for i, (ids, places) in enumerate(rows):
        if not any(token not in specials for token in ids):
            raise InvalidInput(f"text {i} ({texts[i][:40]!r}) has no token but special ones; leave it out.")
        if limit is not None and len(ids) > limit:
            if max_length is None:
                raise InvalidInput(
                    f"text {i} has {len(ids)} tokens and the model takes {limit}; split it, "
                    f"or give max_length={limit} to cut it (the cut is counted)."
                )
            cut[i] = len(ids) - limit
        if wanted is not None:
            masks.append(_span_tokens(i, texts[i], wanted[i], np.asarray(places), limit)[:limit])
        kept.append((ids[:limit], None if places is None else places[:limit]))
    return _join(kept, masks, cut, specials)


def find_tokenizer(model_or_tokenizer: Any) -> Any:
    """Return the Hugging Face tokenizer of a model, or the tokenizer itself."""
    found = model_or_tokenizer
    if hasattr(found, "bridge"):
        found = found.tokenizer
        if found is None:
            raise InvalidInput(
                f"{model_or_tokenizer.name} was loaded without a tokenizer; give load_model(..., tokenizer=...)."
            )
    if not callable(found) or not hasattr(found, "bos_token_id"):
        raise InvalidInput(
            f"expected a Model or a Hugging Face tokenizer, not {type(found).__name__}; a tokenizers.Tokenizer "
            "is wrapped by transformers.PreTrainedTokenizerFast(tokenizer_object=...)."
        )
    return found


def bos_policy(model_or_tokenizer: Any, bos: str | None) -> str:
    """Return the BOS policy of the caller, else of the model. Raises InvalidInput when neither chose."""
    policy = bos if bos is not None else getattr(model_or_tokenizer, "bos", None)
    if policy is None:
        raise InvalidInput(
            "whether texts begin with BOS changes every activation, and neither the call nor the model card says: "
            "give bos='always', 'never' or 'tokenizer', here or to load_model; on the command line --bos."
        )
    if policy not in POLICIES:
        raise InvalidInput(f"bos is one of {', '.join(map(repr, POLICIES))}, not {policy!r}.")
    return policy


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Return the ids that stand for no text: BOS, EOS, padding, and the CLS and SEP of older tokenizers."""
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "cls_token_id", "sep_token_id")
    ids = [getattr(tokenizer, name, None) for name in names]
    return frozenset(int(i) for i in ids if i is not None)


def show_tokens(model_or_tokenizer: Any, text: str, *, bos: str | None = None) -> pd.DataFrame:
    """Return one row a token of `text`: position, id, token, is_special, and its characters [start, end)."""
    tokens = tokenize(model_or_tokenizer, [text], bos=bos)
    tokenizer = find_tokenizer(model_or_tokenizer)
    ids = tokens.ids[0]
    table = pd.DataFrame(
        {
            "position": np.arange(len(ids)),
            "id": ids,
            "token": tokenizer.convert_ids_to_tokens(ids.tolist()),
            "is_special": tokens.special[0],
        }
    )
    if tokens.offsets is not None:
        table["start"], table["end"] = tokens.offsets[0].T
        table["text"] = [text[a:b] for a, b in tokens.offsets[0]]
    return table


def _check_texts(texts: Sequence[str]) -> None:
    if isinstance(texts, str) or not hasattr(texts, "__len__"):
        raise InvalidInput(f"texts is a list of strings, not one {type(texts).__name__}; write [text].")
    if len(texts) == 0:
        raise InvalidInput("no texts were given.")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidInput(f"text {i} is a {type(text).__name__} ({text!r}), not a string.")
        if not text:
            raise InvalidInput(f"text {i} is empty; leave it out.")


def _limit(max_length: int | None, n_ctx: int | None) -> int | None:
    if max_length is None:
        return n_ctx
    if isinstance(max_length, bool) or not isinstance(max_length, int | np.integer) or max_length < 1:
        raise InvalidInput(f"max_length is a number of tokens from 1, not {max_length!r}.")
    if n_ctx is not None and max_length > n_ctx:
        raise InvalidInput(f"max_length={max_length} is beyond the {n_ctx} tokens that the model takes.")
    return int(max_length)


def _call(tokenizer: Any, texts: Sequence[str], policy: str, offsets: bool) -> list[tuple[list[int], Any]]:
    if offsets and not getattr(tokenizer, "is_fast", False):
        raise InvalidInput(
            f"character spans need offsets, which the slow tokenizer {type(tokenizer).__name__} does not give; "
            "load the fast one (transformers.AutoTokenizer)."
        )
    backend = getattr(tokenizer, "backend_tokenizer", None) if getattr(tokenizer, "is_fast", False) else None
    before = (backend.padding, backend.truncation) if backend is not None else None
    try:
        out = tokenizer(
            list(texts),
            add_special_tokens=policy == "tokenizer",
            padding=False,
            truncation=False,
            return_attention_mask=False,
            verbose=False,
            **({"return_offsets_mapping": True} if offsets else {}),
        )
    finally:
        if backend is not None and before is not None:
            _restore(backend, *before)
    places = out["offset_mapping"] if offsets else [None] * len(texts)
    return list(zip(out["input_ids"], places, strict=True))


def _restore(backend: Any, padding: dict | None, truncation: dict | None) -> None:
    # the call switches both off in the tokenizer that it is made on
    if padding is not None:
        backend.enable_padding(**padding)
    if truncation is not None:
        backend.enable_truncation(**truncation)


def _with_policy(ids: list[int], places: Any, policy: str, bos_id: int | None) -> tuple[list[int], Any]:
    n_leading = 0
    while bos_id is not None and n_leading < len(ids) and ids[n_leading] == bos_id:
        n_leading += 1
    one = policy == "always" or (policy == "tokenizer" and n_leading > 0)
    front = [bos_id] if one and bos_id is not None else []
    return front + list(ids[n_leading:]), None if places is None else [(0, 0)] * len(front) + list(places[n_leading:])


def _spans_of(texts: Sequence[str], spans: Sequence[Any]) -> list[list[Span]]:
    if isinstance(spans, str) or len(spans) != len(texts):
        raise InvalidInput(f"spans has {len(spans)} entries for {len(texts)} texts; give one, or a list, a text.")
    out = []
    for i, given in enumerate(spans):
        try:
            pairs = [given] if len(given) == 2 and np.ndim(given[0]) == 0 else list(given)
            pairs = [(int(start), int(end)) for start, end in pairs]
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"spans of text {i} are (start, end) in characters, not {given!r}.") from error
        if not pairs:
            raise InvalidInput(f"text {i} has no span; leave the text out.")
        for start, end in pairs:
            if not 0 <= start < end <= len(texts[i]):
                raise InvalidInput(f"span ({start}, {end}) of text {i} is not inside its {len(texts[i])} characters.")
        out.append(pairs)
    return out


def _span_tokens(i: int, text: str, spans: list[Span], places: np.ndarray, limit: int | None) -> np.ndarray:
    # Overlap, not equality: a token carries the space before its word, and a character may be split over tokens.
    places = places.reshape(-1, 2)
    chosen = np.zeros(len(places), dtype=bool)
    for start, end in spans:
        hit = (places[:, 0] < end) & (places[:, 1] > start)
        if not hit.any():
            raise InvalidInput(f"span ({start}, {end}) of text {i}, {text[start:end]!r}, hits no token.")
        if limit is not None and hit[limit:].any():
            raise InvalidInput(f"span ({start}, {end}) of text {i}, {text[start:end]!r}, is cut off at {limit} tokens.")
        chosen |= hit
    return chosen


def _join(
    rows: list[tuple[list[int], Any]], masks: list[np.ndarray], cut: np.ndarray, specials: frozenset[int]
) -> Encoded:
    starts = np.concatenate([[0], np.cumsum([len(ids) for ids, _ in rows])]).astype(np.int64)
    ids = np.fromiter((token for row, _ in rows for token in row), dtype=np.int64, count=int(starts[-1]))
    places = None
    if rows[0][1] is not None:
        places = np.concatenate([np.asarray(p, dtype=np.int64).reshape(-1, 2) for _, p in rows])
    return Encoded(
        ids=ids,
        special=np.isin(ids, list(specials)),
        starts=starts,
        truncated=cut,
        offsets=places,
        span_mask=np.concatenate(masks) if masks else None,
    )
