"""Reading files of places without losing a row or a name.

A comma-separated file is read line by line: a quote that is opened and not closed is an error on its own line, where
common readers swallow everything up to the next quote and say nothing. Text stays text, so "NA" is a name.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analyses.geospatial.place_columns import ALIASES, such
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
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        lines = [number for number, line in enumerate(raw.split(b"\n"), 1) if not _is_utf8(line)]
        raise InvalidInput(
            f"{path.name} is not UTF-8 (byte {error.start}); save it as UTF-8. {such(lines, 'line')}"
        ) from error


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


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
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        raise InvalidInput(f"{source} has no lines with text.")
    delimiter = max(delimiters, key=first.count)
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip() or delimiter in line]
    (_, header), *rows = _parsed(numbered, delimiter, source)
    header = [cell.strip() for cell in header]
    repeated = sorted({cell for cell in header if header.count(cell) > 1})
    if repeated:
        raise InvalidInput(f"{source}: the header repeats {', '.join(map(repr, repeated))}; rename the columns.")
    if not rows:
        raise InvalidInput(f"{source} has a header and no rows.")
    ragged = [(number, cells) for number, cells in rows if len(cells) != len(header)]
    if ragged:
        number, cells = ragged[0]
        raise InvalidInput(
            f"{source}, line {number}: {len(cells)} fields, the header has {len(header)}: {lines[number - 1][:60]!r}. "
            + such([number for number, _ in ragged], "line")
        )
    return pd.DataFrame([cells for _, cells in rows], columns=pd.Index(header), dtype=object)


def _parsed(numbered: list[tuple[int, str]], delimiter: str, source: str) -> list[tuple[int, list[str]]]:
    """Return (line number, cells) of each line by itself."""
    parsed, broken = [], []
    for number, line in numbered:
        try:
            parsed.append((number, next(csv.reader([line], delimiter=delimiter, strict=True))))
        except csv.Error as error:
            broken.append((number, line, error))
    if broken:
        number, line, error = broken[0]
        raise InvalidInput(
            f"{source}, line {number}: a quote is not closed on its line, or text follows it ({error}): {line[:60]!r}. "
            f"{such([number for number, *_ in broken], 'line')} "
            'Write a quote inside a quoted field twice (""); a name has no line breaks.'
        )
    return parsed


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
    read = [_point(feature) for feature in features]
    bad = [at for at, point in enumerate(read, 1) if isinstance(point, str)]
    if bad:
        raise InvalidInput(
            f"{path.name} has features that are not GeoJSON points. Row {bad[0]}: {read[bad[0] - 1]}. {such(bad)}"
        )
    import geopandas

    table = pd.DataFrame([feature.get("properties") or {} for feature in features])
    try:
        # RFC 7946: WGS84 unless it says other
        crs = found["crs"]["properties"]["name"] if found.get("crs") else "EPSG:4326"
        points = geopandas.points_from_xy(*np.array(read, dtype=np.float64).T, crs=crs)
        return from_geometry(geopandas.GeoDataFrame(table, geometry=points))
    except Exception as error:  # pyproj raises many kinds for one fact: this is no CRS
        raise InvalidInput(
            f"{path.name}: its crs cannot be used ({error}); GeoJSON is WGS84 and needs none."
        ) from error


def _point(feature: Any) -> tuple[float, float] | str:
    """Return the coordinates of a GeoJSON feature, or what is wrong with it."""
    if not isinstance(feature, dict) or not isinstance(feature.get("properties") or {}, dict):
        return "it is no feature with properties"
    geometry = feature.get("geometry")
    kind = geometry.get("type") if isinstance(geometry, dict) else geometry
    if kind != "Point" or not isinstance(geometry, dict):
        return f"geometry is {kind!r}, expected a point"
    try:
        x, y = (float(c) for c in geometry["coordinates"][:2] if not isinstance(c, bool | str))
    except (KeyError, TypeError, ValueError, OverflowError):
        return f"coordinates are {geometry.get('coordinates')!r:.60}, expected longitude and latitude"
    return x, y


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
        kind = kinds.iloc[at] if isinstance(kinds.iloc[at], str) else "missing"
        raise InvalidInput(
            f"Row {at + 1}: geometry is {kind}; expected a point (frame.representative_point()). "
            + such(np.flatnonzero(bad) + 1)
        )
    points = frame.geometry.to_crs("EPSG:4326")
    plain = pd.DataFrame(frame.drop(columns=frame.geometry.name))
    stale = [c for c in plain.columns if str(c).lower() in (*ALIASES["lat"], *ALIASES["lon"])]
    return plain.drop(columns=stale).assign(lat=points.y.to_numpy(), lon=points.x.to_numpy())
