"""Reading samples from files, globs, folders of `datasets`, frames and lists."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.data_selection.row_files import KINDS, Row, arrow_rows, as_line, file_rows
from analyses.data_selection.samples import LISTED_COLUMNS, Sample, Samples, UnusableRow
from analyses.data_selection.schemas import check_schema, find_turns
from interp.errors import CorruptArtifact, InvalidInput, nearest
from interp.store import sha256_file

_FILE_COLUMNS = ["source", "sha256", "rows", "usable", "listed", "blank_lines", "schemas"]


@dataclass(frozen=True)
class _Source:
    name: str
    rows: Iterable[Row]
    sha256: str


def read_samples(source: Any, *, schema: str = "auto") -> Samples:
    """Read samples and list every row that cannot be used.

    Args:
        source: a path, a glob, a list of them, a folder saved by `datasets` (a dataset or a dict of splits), a
            DataFrame, or a list of rows (dicts). JSON lines, JSON array, CSV, TSV (all also with .gz), Parquet.
        schema: "auto", or "messages", "sharegpt" (field conversations), "prompt_completion", "alpaca" or "text".

    Returns:
        Samples: rows in = usable + listed. Blank lines are no rows; they are counted.

    Raises:
        InvalidInput: no such file, or a kind that is not read.
        CorruptArtifact: a Parquet or Arrow file that is none.
    """
    check_schema(schema)
    samples: list[Sample] = []
    listed: list[tuple[str, int, str, str]] = []
    files: list[dict[str, Any]] = []
    for found in _sources(source):
        schemas: Counter[str] = Counter()
        n_listed, blank = len(listed), 0
        for row in found.rows:
            blank += row.blank
            if row.blank:
                continue
            try:
                sample = _sample(found.name, row, schema)
                schemas[sample.schema] += 1
                samples.append(sample)
            except UnusableRow as problem:
                listed.append((found.name, row.number, problem.reason, problem.detail))
        usable, unusable = schemas.total(), len(listed) - n_listed
        counts = ", ".join(f"{name} {n:,}" for name, n in schemas.most_common())
        values = (found.name, found.sha256, usable + unusable, usable, unusable, blank, counts)
        files.append(dict(zip(_FILE_COLUMNS, values, strict=True)))
    frame = pd.DataFrame(listed, columns=pd.Index(LISTED_COLUMNS)).astype({"number": "int64"})
    return Samples(tuple(samples), frame, pd.DataFrame(files, columns=pd.Index(_FILE_COLUMNS)))


def _sample(source: str, row: Row, schema: str) -> Sample:
    if row.problem is not None:
        raise row.problem
    name, turns = find_turns(row.value, schema)
    return Sample(f"{source}:{row.number}", source, row.number, row.raw, name, turns)


def _sources(source: Any) -> list[_Source]:
    if isinstance(source, pd.DataFrame):
        values = (dict(zip(source.columns, row, strict=True)) for row in source.itertuples(index=False, name=None))
        return [_Source("frame", _rows_of(values), "")]
    if isinstance(source, str | Path):
        return _named(_expanded(str(source)))
    if isinstance(source, Sequence) and source:
        if all(isinstance(one, Mapping) for one in source):
            return [_Source("rows", _rows_of(source), "")]
        if all(isinstance(one, str | Path) for one in source):
            return _named([path for one in source for path in _expanded(str(one))])
    raise InvalidInput(
        f"samples are read from a path, a list of paths, a DataFrame or a list of dicts, not {type(source).__name__}"
        f"{' (empty)' if isinstance(source, Sequence) else ''}."
    )


def _rows_of(values: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    return (Row(number, as_line(value), value) for number, value in enumerate(values, 1))


def _expanded(given: str) -> list[Path]:
    path = Path(given)
    if path.exists():
        return [path]
    if any(mark in given for mark in "*?["):
        root = Path(path.anchor) if path.is_absolute() else Path()
        found = sorted(root.glob(str(path.relative_to(path.anchor))))
        if found:
            return found
        raise InvalidInput(f"no file matches {given!r}.")
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    like = f" Nearest there: {', '.join(nearest(path.name, siblings))}." if siblings else ""
    raise InvalidInput(f"no file {given!r}.{like}")


def _named(paths: Sequence[Path]) -> list[_Source]:
    """Name each file by its name, or by its whole path where two share one."""
    paths = list(dict.fromkeys(paths))
    names = Counter(path.name for path in paths)
    sources = []
    for path in paths:
        name = path.name if names[path.name] == 1 else str(path)
        if path.is_dir():
            sources += [_Source(*split) for split in _splits(path, name)]
        else:
            sources.append(_Source(name, file_rows(path), sha256_file(path)))
    return sources


def _splits(folder: Path, name: str) -> list[tuple[str, Iterable[Row], str]]:
    """Return (name, rows, "") of a folder that `datasets` saved, or of each split in one that holds several."""
    listing = folder / "dataset_dict.json"
    if listing.is_file():
        splits = _json_field(listing, "splits")
        return [one for split in splits for one in _splits(folder / _plain(split, listing), f"{name}/{split}")]
    state = folder / "state.json"
    if not state.is_file():
        inside = sorted(p.name for p in folder.iterdir() if p.suffix in (*KINDS, ".gz"))[:3]
        raise InvalidInput(
            f"{folder} is a folder without the state.json of datasets.save_to_disk."
            + (f" It holds {', '.join(inside)}: give a glob." if inside else "")
        )
    files = _json_field(state, "_data_files")
    try:
        paths = [folder / _plain(entry["filename"], state) for entry in files]
    except (TypeError, KeyError) as error:
        raise CorruptArtifact(f"{state} does not list its files ({error!r}).") from error
    return [(name, arrow_rows(paths), "")]


def _json_field(path: Path, field: str) -> list[Any]:
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))[field])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptArtifact(f"{path} is not what datasets.save_to_disk writes: no {field} ({error}).") from error


def _plain(name: Any, listing: Path) -> str:
    if not isinstance(name, str) or Path(name).name != name or name in ("", ".", ".."):
        raise CorruptArtifact(f"{listing} names {name!r}, which is no plain file name.")
    return name
