"""Reading files of places without losing a row or a name.

A comma-separated file is read line by line: a quote that is opened and not closed is an error on its own line, where
common readers swallow everything up to the next quote and say nothing. Text stays text, so "NA" is a name.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.geospatial.place_columns import ALIASES
from interp.errors import CorruptArtifact, InvalidInput, nearest

_TEXT = {".csv": ",;\t", ".tsv": "\t", ".tab": "\t", ".txt": "\t,;"}
_TABLE = (".parquet", ".geoparquet", ".pq")
_JSON = (".geojson", ".json")


def read_file(path: Path) -> pd.DataFrame:
    """Return the raw table in `path`, one row a place; a geometry column comes back as lat and lon.

    Raises:
        InvalidInput: no such file, a folder, an empty file, an unknown kind, or contents that do not parse.
    """
    if path.is_dir():
        inside = sorted(p.name for p in path.iterdir() if p.suffix.lower() in (*_TEXT, *_TABLE, *_JSON))[:3]
        raise InvalidInput(
            f"{path} is a folder, expected a file of places." + (f" It holds {', '.join(inside)}." if inside else "")
        )
    if not path.exists():
        siblings = [p.name for p in path.parent.iterdir() if p.is_file()] if path.parent.is_dir() else []
        like = f" Nearest there: {', '.join(nearest(path.name, siblings))}." if siblings else ""
        raise InvalidInput(f"No file {str(path)!r}.{like} The bundled tables are 'atlas' and 'cities'.")
    if path.stat().st_size == 0:
        raise InvalidInput(f"{path} is empty (0 bytes).")
    suffix = path.suffix.lower()
    if suffix in _TEXT:
        return read_delimited(_text(path), delimiters=_TEXT[suffix], source=path.name)
    if suffix in _TABLE:
        return _read_parquet(path)
    if suffix in _JSON:
        return _read_geojson(path)
    raise InvalidInput(f"{path.name}: unknown kind {suffix!r}; expected one of {', '.join((*_TEXT, *_TABLE, *_JSON))}.")


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path.name} is not UTF-8 (byte {error.start}); save it as UTF-8.") from error


def read_delimited(text: str, *, delimiters: str, source: str) -> pd.DataFrame:
    """Parse delimited text with a header, every cell as text.

    Args:
        text: the whole file.
        delimiters: candidates; the one that cuts the header into most fields is used.
        source: name of the file, for messages.

    Returns:
        One row for each line that is not blank.

    Raises:
        InvalidInput: no rows, an unclosed quote, a line with more or fewer fields than the header, a repeated column.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")  # splitlines() would cut at U+2028 too
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise InvalidInput(f"{source} has no lines with text.")
    delimiter = max(delimiters, key=numbered[0][1].count)
    header = [cell.strip() for cell in _cells(*numbered[0], delimiter, source)]
    repeated = sorted({cell for cell in header if header.count(cell) > 1})
    if repeated:
        raise InvalidInput(f"{source}: the header repeats {', '.join(map(repr, repeated))}; rename the columns.")
    rows = []
    for number, line in numbered[1:]:
        cells = _cells(number, line, delimiter, source)
        if len(cells) != len(header):
            raise InvalidInput(
                f"{source}, line {number}: {len(cells)} fields, the header has {len(header)}: {line[:60]!r}."
            )
        rows.append(cells)
    if not rows:
        raise InvalidInput(f"{source} has a header and no rows.")
    return pd.DataFrame(rows, columns=pd.Index(header), dtype=object)


def _cells(number: int, line: str, delimiter: str, source: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InvalidInput(
            f"{source}, line {number}: a quote is not closed on its line, or text follows it ({error}): {line[:60]!r}. "
            'Write a quote inside a quoted field twice (""); a name has no line breaks.'
        ) from error


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path, page_checksum_verification=True)
        plain = table.to_pandas(ignore_metadata=True)
        if b"geo" not in (table.schema.metadata or {}):
            return plain
        import geopandas

        geometries = geopandas.read_parquet(path)
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise CorruptArtifact(f"{path} cannot be read as parquet: {error}") from error
    return from_geometry(geometries)


def _read_geojson(path: Path) -> pd.DataFrame:
    text = _text(path)
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"{path.name} is not JSON: {error}.") from error
    kind = found.get("type") if isinstance(found, dict) else type(found).__name__
    features = found.get("features") if isinstance(found, dict) else None
    if kind != "FeatureCollection" or not isinstance(features, list):
        raise InvalidInput(f"{path.name} is JSON of type {kind!r}; expected a GeoJSON FeatureCollection of points.")
    if not features:
        raise InvalidInput(f"{path.name} has no features.")
    import geopandas

    crs = (
        (found.get("crs") or {}).get("properties", {}).get("name", "EPSG:4326")
    )  # RFC 7946: WGS84 unless it says other
    try:
        return from_geometry(geopandas.GeoDataFrame.from_features(features, crs=crs))
    except InvalidInput:
        raise
    except Exception as error:  # shapely and pyproj raise many kinds for one fact: this is not GeoJSON
        raise InvalidInput(f"{path.name} has features that are not GeoJSON points: {error}.") from error


def from_geometry(frame: Any) -> pd.DataFrame:
    """Return a GeoDataFrame as a plain frame with lat and lon in WGS84 degrees, reprojected where it has another CRS.

    Raises:
        InvalidInput: no CRS, or a geometry that is missing, empty or not a point.
    """
    if frame.crs is None:
        raise InvalidInput("The geometries have no CRS; say what they are: frame.set_crs('EPSG:4326').")
    kinds = frame.geometry.geom_type
    bad = (kinds != "Point").to_numpy() | frame.geometry.isna().to_numpy() | frame.geometry.is_empty.to_numpy()
    if bad.any():
        at = int(bad.argmax())
        raise InvalidInput(
            f"Row {at + 1}: geometry is {kinds.iloc[at]}; expected a point (frame.representative_point())."
        )
    points = frame.geometry.to_crs("EPSG:4326")
    plain = pd.DataFrame(frame.drop(columns=frame.geometry.name))
    stale = [c for c in plain.columns if str(c).lower() in (*ALIASES["lat"], *ALIASES["lon"])]
    return plain.drop(columns=stale).assign(lat=points.y.to_numpy(), lon=points.x.to_numpy())
