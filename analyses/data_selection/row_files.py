"""Files and folders as numbered rows: a row that cannot be parsed comes back as a reason, never as nothing."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyses.data_selection.samples import UnusableRow
from interp.errors import CorruptArtifact, InvalidInput

MAX_ROW_BYTES = 16 * 2**20
_LINES, _JSON, _CSV, _PARQUET = (".jsonl", ".ndjson"), (".json",), (".csv", ".tsv"), (".parquet", ".pq")
KINDS = (*_LINES, *_JSON, *_CSV, *_PARQUET)


@dataclass(frozen=True)
class Row:
    """Row `number` of a source: its bytes and its value, or why it has none. A blank line has neither."""

    number: int
    raw: bytes = b""
    value: Any = None
    problem: UnusableRow | None = None
    blank: bool = False


def file_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of one file.

    Raises:
        InvalidInput: a kind that is not read. CorruptArtifact: a parquet file that is none.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes[-1:] == [".gz"]
    kind = (suffixes[:-1] if packed else suffixes)[-1:]
    if kind and kind[0] in _PARQUET and not packed:
        yield from _parquet_rows(path)
        return
    readers = {**dict.fromkeys(_LINES, _line_rows), **dict.fromkeys(_JSON, _json_rows)}
    if kind and kind[0] in _CSV:
        readers[kind[0]] = _tab_rows if kind[0] == ".tsv" else _comma_rows
    if not kind or kind[0] not in readers:
        raise InvalidInput(f"{path.name}: expected one of {', '.join(KINDS)}, text kinds also with .gz behind.")
    with gzip.open(path, "rb") if packed else open(path, "rb") as file:
        yield from readers[kind[0]](file)


def _lines(file: Any) -> Iterator[tuple[int, bytes, UnusableRow | None]]:
    """Yield (number, line without its break, why it cannot be read) and end where the file does, early or not."""
    number = 0
    try:
        while line := file.readline(MAX_ROW_BYTES + 1):
            number += 1
            if len(line) > MAX_ROW_BYTES and not line.endswith(b"\n"):
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_ROW_BYTES)
                yield number, b"", UnusableRow("line too long", f"more than {MAX_ROW_BYTES:,} bytes")
            else:
                yield number, line.removesuffix(b"\n"), None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        yield number + 1, b"", UnusableRow("file ends early", f"gzip: {error}; what follows is lost")


def _line_rows(file: Any) -> Iterator[Row]:
    for number, line, problem in _lines(file):
        text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if problem is not None:
            yield Row(number, line, problem=problem)
        elif not text.strip():
            yield Row(number, line, blank=True)
        else:
            yield _parsed(number, line, text)


def _parsed(number: int, line: bytes, text: bytes) -> Row:
    try:
        return Row(number, line, json.loads(_decoded(text)))
    except UnusableRow as problem:
        return Row(number, line, problem=problem)
    except RecursionError:
        return Row(number, line, problem=UnusableRow("not JSON", "nested too deeply"))
    except ValueError as error:  # also an integer of more digits than Python reads
        return Row(number, line, problem=UnusableRow("not JSON", str(error)[:200]))


def _decoded(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        hint = " (UTF-16?)" if line[:2] in (b"\xff\xfe", b"\xfe\xff") or line.count(0) > len(line) // 4 else ""
        raise UnusableRow("not UTF-8", f"byte {error.start} of the line{hint}") from error


def _json_rows(file: Any) -> Iterator[Row]:
    """Rows of a JSON array; a file that is no array is read as lines, for many name JSON lines .json."""
    try:
        head = file.peek(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    except (EOFError, zlib.error, OSError):  # the reader of lines says where
        head = b""
    if not head.startswith(b"["):
        yield from _line_rows(file)
        return
    try:
        found = json.loads(_decoded(file.read().removeprefix(b"\xef\xbb\xbf")))
    except UnusableRow as problem:
        yield Row(1, problem=problem)
    except (ValueError, RecursionError, EOFError, zlib.error, OSError) as error:
        yield Row(1, problem=UnusableRow("not JSON", f"the array cannot be read: {error}"[:200]))
    else:
        for number, value in enumerate(found, 1):
            yield Row(number, as_line(value), value)


def as_line(value: Any) -> bytes:
    """Return a row of a table as one line of JSON (what JSON has no form for as text)."""
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")


def _comma_rows(file: Any) -> Iterator[Row]:
    return _csv_rows(file, ",")


def _tab_rows(file: Any) -> Iterator[Row]:
    return _csv_rows(file, "\t")


def _csv_rows(file: Any, delimiter: str) -> Iterator[Row]:
    """Rows under a header; a cell may hold line breaks, so a row that is broken is named by the lines it spans."""
    read: list[UnusableRow] = []

    def text_lines() -> Iterator[str]:
        for _, line, problem in _lines(file):
            if problem is not None:
                read.append(problem)
            # a byte that is no UTF-8 is carried through as half a character, and found below
            yield line.decode("utf-8-sig", "surrogateescape") + "\n"

    reader = csv.reader(text_lines(), delimiter=delimiter, strict=True)
    number, before = 0, 0
    with _wide_fields():
        try:
            header = next(reader, None)
        except csv.Error as error:
            yield Row(1, problem=UnusableRow("not CSV", f"the header cannot be read: {error}"))
            return
        if header is None:
            return
        before = reader.line_num
        while True:
            number += 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Row(number, problem=UnusableRow("not CSV", _span(before, reader.line_num) + str(error)))
                before = reader.line_num
                continue
            yield _csv_row(number, header, cells, _span(before, reader.line_num), read)
            before = reader.line_num


def _csv_row(number: int, header: list[str], cells: list[str], span: str, read: list[UnusableRow]) -> Row:
    if read:
        return Row(number, problem=read.pop(0))
    if not cells:
        return Row(number, blank=True)
    if len(cells) != len(header):
        return Row(number, problem=UnusableRow("not CSV", f"{span}{len(cells)} fields, the header has {len(header)}"))
    value = dict(zip(header, cells, strict=True))
    if any("\udc80" <= char <= "\udcff" for cell in cells for char in cell):
        return Row(number, problem=UnusableRow("not UTF-8", span.rstrip(": ")))
    return Row(number, as_line(value), value)


def _span(before: int, after: int) -> str:
    return f"lines {before + 1} to {after}: " if after > before + 1 else f"line {after}: "


@contextmanager
def _wide_fields() -> Iterator[None]:
    before = csv.field_size_limit(MAX_ROW_BYTES)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(batch_size=1024):
                for value in batch.to_pylist():
                    number += 1
                    yield Row(number, as_line(value), value)
            stated = file.metadata.num_rows
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise CorruptArtifact(f"{path} cannot be read as parquet after row {number}: {error}") from error
    if number != stated:  # a flipped bit of the footer, which no checksum covers
        raise CorruptArtifact(f"{path} gave {number} rows, and its footer says {stated}; restore the file from a copy.")


def arrow_rows(paths: list[Path]) -> Iterator[Row]:
    """Yield the rows of the Arrow files of one split that `datasets` saved.

    Raises:
        CorruptArtifact: a file that is no Arrow stream.
    """
    import pyarrow as pa

    number = 0
    for path in paths:
        try:
            with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
                for batch in stream:
                    for value in batch.to_pylist():
                        number += 1
                        yield Row(number, as_line(value), value)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CorruptArtifact(f"{path} cannot be read as an Arrow stream: {error}") from error
