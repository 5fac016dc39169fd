"""Sentences with tags and trees from a CoNLL-U file, read strictly: a line that breaks the format is named.

Words are the syntactic words, one a line with a whole number. A multiword token ("3-4 du", of the words "de" and "le")
gives its place in the text to each of its words; an empty node ("5.1") stands nowhere in the text and is left out.

Reference: https://universaldependencies.org/format.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from interp.errors import InvalidInput

N_COLUMNS = 10
ID, FORM, LEMMA, UPOS, XPOS, FEATS, HEAD, DEPREL, DEPS, MISC = range(N_COLUMNS)
Row = tuple[int, list[str]]  # number of the line in the file, columns


class MalformedConllu(InvalidInput):
    """A line of a CoNLL-U file breaks the format."""


@dataclass(frozen=True)
class Word:
    """A syntactic word: its characters [start, end) in the text, tags ("" where there is none), features, and head (the
    number of its head from 0, -1 for the root, -2 where none is given)."""

    form: str
    span: tuple[int, int]
    upos: str
    xpos: str
    head: int
    deprel: str
    lemma: str = ""
    feats: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sentence:
    """A text and its words in order; `n_empty` empty nodes were left out."""

    text: str
    words: tuple[Word, ...]
    id: str = ""
    n_empty: int = 0


def read_conllu(path: str | Path) -> list[Sentence]:
    """Return the sentences of a CoNLL-U file.

    Raises:
        MalformedConllu: a line with other than ten columns, numbers out of order, a head that is no word, a text that
            does not hold the words; with the number of the line. InvalidInput: no such file, or not UTF-8.
    """
    path = Path(path)
    if not path.is_file():
        raise InvalidInput(f"there is no file {path}; expected CoNLL-U (.conllu), ten tab-separated columns.")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 (byte {error.start}); CoNLL-U always is.") from None
    sentences = [_sentence(path, comments, rows) for comments, rows in _blocks(path, lines)]
    if not sentences:
        raise InvalidInput(f"{path} holds no sentence.")
    return sentences


def _blocks(path: Path, lines: list[str]) -> Iterator[tuple[dict[str, str], list[Row]]]:
    """Yield the comments (key -> value) and the rows of each sentence."""
    comments: dict[str, str] = {}
    rows: list[Row] = []
    for number, raw in enumerate(lines, 1):
        line = raw.removesuffix("\r")
        if not line:
            if rows:
                yield comments, rows
            elif comments:
                raise _error(path, number, "a sentence of comments alone")
            comments, rows = {}, []
        elif line.startswith("#"):
            if rows:
                raise _error(path, number, "a comment inside a sentence; a blank line has to end the one before")
            key, _, value = line[1:].partition("=")
            comments[key.strip()] = value.strip()
        else:
            columns = line.split("\t")
            if len(columns) != N_COLUMNS:
                raise _error(path, number, f"{len(columns)} tab-separated columns; expected {N_COLUMNS}")
            if not all(columns):
                raise _error(path, number, f"column {columns.index('') + 1} is empty; a missing value is written _")
            rows.append((number, columns))
    if rows:
        yield comments, rows


def _sentence(path: Path, comments: dict[str, str], rows: list[Row]) -> Sentence:
    words, ranges, n_empty = _sorted_rows(path, rows)
    if not words:
        raise _error(path, rows[0][0], "a sentence without a word")
    surface = _surface(words, ranges)
    text = comments.get("text") or _joined(surface)
    spans = _spans(path, text, surface)
    return Sentence(
        text, tuple(_word(path, row, spans[i], len(words)) for i, row in enumerate(words)), comments.get("sent_id", ""),
        n_empty,
    )  # fmt: skip


def _sorted_rows(path: Path, rows: list[Row]) -> tuple[list[Row], dict[int, tuple[int, Row]], int]:
    """Return the rows of words, multiword tokens by their first word (with their last one), and how many are empty."""
    words: list[Row] = []
    ranges: dict[int, tuple[int, Row]] = {}
    n_empty, end = 0, 0
    for number, columns in rows:
        name = columns[ID]
        first, dash, last = name.partition("-")
        whole, dot, part = name.partition(".")
        if name.isdecimal() and int(name) == len(words) + 1:
            words.append((number, columns))
        elif dash and first.isdecimal() and last.isdecimal() and int(first) == len(words) + 1:
            if int(last) <= int(first) or int(first) <= end:
                raise _error(path, number, f"the multiword token {name} is no range, or lies over another one")
            end = int(last)
            ranges[int(first) - 1] = (end - 1, (number, columns))
        elif dot and whole.isdecimal() and part.isdecimal() and int(whole) == len(words):
            n_empty += 1
        else:
            raise _error(path, number, f"the number {name!r} does not follow word {len(words)}")
    if end > len(words):
        raise _error(path, rows[-1][0], f"a multiword token ends at word {end}, the sentence at {len(words)}")
    return words, ranges, n_empty


def _surface(words: list[Row], ranges: dict[int, tuple[int, Row]]) -> list[tuple[list[int], Row]]:
    """Return what stands in the text, in order: the words that each piece holds, and its row."""
    out, at = [], 0
    while at < len(words):
        last, row = ranges.get(at, (at, words[at]))
        out.append((list(range(at, last + 1)), row))
        at = last + 1
    return out


def _joined(surface: list[tuple[list[int], Row]]) -> str:
    pieces = [
        columns[FORM] + ("" if "SpaceAfter=No" in columns[MISC].split("|") else " ") for _, (_, columns) in surface
    ]
    return "".join(pieces).strip()


def _spans(path: Path, text: str, surface: list[tuple[list[int], Row]]) -> dict[int, tuple[int, int]]:
    """Return the characters of each word: nothing but white space lies between what stands in the text."""
    spans, at = {}, 0
    for held, (number, columns) in surface:
        start = at + len(text[at:]) - len(text[at:].lstrip())
        if not text.startswith(columns[FORM], start):
            raise _error(path, number, f"{columns[FORM]!r} does not stand at {text[start : start + 20]!r} of # text")
        at = start + len(columns[FORM])
        spans |= dict.fromkeys(held, (start, at))
    if text[at:].strip():
        raise _error(path, surface[-1][1][0], f"# text goes on with {text[at:].strip()[:20]!r} behind the last word")
    return spans


def _word(path: Path, row: Row, span: tuple[int, int], n_words: int) -> Word:
    number, columns = row
    upos, xpos, deprel, lemma = ("" if columns[i] == "_" else columns[i] for i in (UPOS, XPOS, DEPREL, LEMMA))
    return Word(
        columns[FORM],
        span,
        upos,
        xpos,
        _head(path, number, columns, n_words),
        deprel,
        lemma,
        _feats(path, number, columns),
    )


def _head(path: Path, number: int, columns: list[str], n_words: int) -> int:
    head = columns[HEAD]
    if head == "_":
        return -2
    if not head.isdecimal() or int(head) > n_words or head == columns[ID]:
        raise _error(path, number, f"the head {head!r} is neither 0 nor another word from 1 to {n_words}")
    return int(head) - 1


def _feats(path: Path, number: int, columns: list[str]) -> dict[str, str]:
    if columns[FEATS] == "_":
        return {}
    pairs = [feature.partition("=") for feature in columns[FEATS].split("|")]
    if not all(name and equal and value for name, equal, value in pairs):
        raise _error(path, number, f"the features {columns[FEATS]!r} are not Name=Value|Name=Value")
    return {name: value for name, _, value in pairs}


def _error(path: Path, number: int, what: str) -> MalformedConllu:
    return MalformedConllu(f"{path}, line {number}: {what}.")
