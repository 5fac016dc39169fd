"""Files of a hundred thousand places: every row arrives, or an error counts the rows that cannot and numbers the first.

Rows are counted from 1 below the header, lines of a text file from 1 at its top.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from analyses.geospatial.places import load_places
from interp.errors import InterpError, InvalidInput

MANY, FEW = 100_000, 300
FORMATS = ("csv", "tsv", "parquet", "geojson")


def table(n: int) -> pd.DataFrame:
    """Text as people write it: "NA" is a name and a country, names have quotes, commas and accents."""
    rng = np.random.default_rng(0)
    names = np.array([f"p{i}" for i in range(n)], dtype=object)
    names[3::1000], names[7::1000], names[11::1000] = "NA", "Zürich", 'The "Hill", N'
    country = np.where(np.arange(n) % 50 == 0, "NA", "FR").astype(object)
    lat, lon = rng.uniform(-90, 90, n).round(6), rng.uniform(-180, 180, n).round(6)
    return pd.DataFrame({"name": names, "lat": lat, "lon": lon, "country": country})


def write(frame: pd.DataFrame, path) -> None:
    """Write a frame, missing values included, in the format that the name of the file ends in."""
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".geojson":
        records = frame.astype(object).where(frame.notna(), None).to_dict("records")
        features = [
            {
                "type": "Feature",
                "properties": {"name": r["name"], "country": r["country"]},
                "geometry": None
                if r["lat"] is None or r["lon"] is None
                else {"type": "Point", "coordinates": [r["lon"], r["lat"]]},
            }
            for r in records
        ]
        path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    else:
        sep = "," if path.suffix == ".csv" else "\t"
        frame.to_csv(path, index=False, sep=sep, encoding="utf-8-sig", lineterminator="\r\n\r\n")  # BOM, blank lines


def marked(n: int, column: str, value: object) -> tuple[pd.DataFrame, list[int]]:
    """Return a table with a fault in seven rows, and their numbers."""
    frame, at = table(n), np.linspace(n // 10, n - 2, 7).astype(int)
    frame[column] = frame[column].astype(object)
    frame.loc[at, column] = value
    return frame, (at + 1).tolist()


def numbered(rows: list[int]) -> str:
    return "7 such rows: " + ", ".join(map(str, rows[:5])) + ", .."


@pytest.mark.parametrize("suffix", FORMATS)
def test_all_rows_of_a_large_file_arrive_as_they_are(tmp_path, suffix):
    source, path = table(MANY), tmp_path / f"places.{suffix}"
    write(source, path)
    places = load_places(path)
    assert list(places) == list(source)
    assert all(places[column].tolist() == source[column].tolist() for column in source)


FAULTS = {
    "latitude missing": ("lat", None, {"geojson": "geometry is None"}, "is not a number of degrees"),
    "latitude 95": ("lat", 95.0, {}, r"is outside \[-90, 90\]"),
    "longitude 540": ("lon", 540.0, {}, r"is outside \[-180, 180\]"),
    "name missing": ("name", None, {"csv": "blank name", "tsv": "blank name"}, "has no name"),
    "name blank": ("name", "  ", {}, "has a blank name"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("suffix", FORMATS)
def test_rows_that_cannot_be_used_are_counted_and_numbered(tmp_path, suffix, fault):
    column, value, special, message = FAULTS[fault]
    frame, rows = marked(FEW, column, value)
    path = tmp_path / f"places.{suffix}"
    write(frame, path)
    with pytest.raises(InvalidInput, match=special.get(suffix, message)) as error:
        load_places(path)
    assert numbered(rows) in str(error.value)
    assert f"Row {rows[0]}" in str(error.value)


@pytest.mark.parametrize(("suffix", "fault"), list(zip(FORMATS, FAULTS, strict=False)))
def test_they_are_in_a_large_file_too(tmp_path, suffix, fault):
    column, value, *_ = FAULTS[fault]
    frame, rows = marked(MANY, column, value)
    path = tmp_path / f"places.{suffix}"
    write(frame, path)
    with pytest.raises(InvalidInput) as error:
        load_places(path)
    assert numbered(rows) in str(error.value)


@pytest.mark.parametrize("suffix", FORMATS)
def test_repeated_rows_are_counted_and_can_be_dropped(tmp_path, suffix):
    frame = table(FEW)
    path = tmp_path / f"places.{suffix}"
    write(pd.concat([frame, frame[:4], frame[:3]]), path)
    with pytest.raises(InvalidInput, match=r"Rows 1 and 301 are .*7 such rows: 301, 302, 303, 304, 305,"):
        load_places(path)
    pd.testing.assert_frame_equal(load_places(path, duplicates="drop"), frame, check_dtype=False)


TEXT_FAULTS = {
    "stray quotes": ('"', "a quote is not closed"),
    "a field too many": ("p{mark}", "the header has 4"),
    "Latin-1": ("Orléans", "is not UTF-8"),
}


@pytest.mark.parametrize("fault", TEXT_FAULTS)
@pytest.mark.parametrize(("suffix", "mark"), [("csv", ","), ("tsv", "\t")])
def test_lines_that_cannot_be_read_are_counted_and_numbered(tmp_path, suffix, mark, fault):
    start, message = TEXT_FAULTS[fault]
    lines = [mark.join(["name", "lat", "lon", "country"])]
    lines += [mark.join([f"p{i}", "1.5", f"{i / 1000}", "NA"]) for i in range(MANY // 10)]
    for at in (50, 600, 7000):
        lines[at] = start.format(mark=mark) + lines[at]
    path = tmp_path / f"places.{suffix}"
    path.write_bytes("\n".join(lines).encode("latin-1"))
    with pytest.raises(InvalidInput, match=f"{message}.*3 such lines: 51, 601, 7001"):
        load_places(path)


def test_a_row_of_empty_fields_is_a_row(tmp_path):
    for suffix, mark in (("csv", ","), ("tsv", "\t")):
        path = tmp_path / f"places.{suffix}"
        path.write_text(f"name{mark}lat{mark}lon\nA{mark}1{mark}2\n{mark}{mark}\n\n")
        with pytest.raises(InvalidInput, match="Row 2 has a blank name"):
            load_places(path)


SMALL = (
    "\ufeffname,lat,lon,country,population\r\nWindhoek,-22.57,17.08,NA,386219\r\n"
    'São Paulo,-23.55,-46.63,BR,\r\n"Washington, ""D.C.""",38.9,-77.04,US,689545\r\n\r\n'
    "NA,1,2,FR,3\r\nÅ,63.9,10.2,NO,1\r\n"
)


def mutated(raw: bytes, rng: np.random.Generator) -> bytes:
    """Return a copy with one to three bytes (or short runs) changed, dropped, doubled or put in."""
    out = bytearray(raw)
    for _ in range(rng.integers(1, 4)):
        at, kind = int(rng.integers(len(out))), rng.integers(4)
        size = int(rng.integers(1, 6))
        if kind == 0:
            out[at] = rng.choice([rng.integers(256), *b'",;\n\r\t -.e0'])
        elif kind == 1:
            del out[at : at + size]
        elif kind == 2:
            out[at:at] = out[at : at + size]
        else:
            out[at:at] = bytes([rng.choice([*b'",;\n\r\t\x00'])])
    return bytes(out)


def test_a_thousand_damaged_copies_lose_no_row_and_raise_nothing_else(tmp_path):
    raw, path, loaded = SMALL.encode(), tmp_path / "p.csv", 0
    for seed in range(1000):
        copy = mutated(raw, np.random.default_rng(seed))
        path.write_bytes(copy)
        try:
            places = load_places(path)
        except InterpError:
            continue
        loaded += 1
        lines = copy.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        assert len(places) == sum(bool(line.decode("utf-8-sig").strip()) for line in lines) - 1, copy
        assert np.isfinite(places[["lat", "lon"]].to_numpy()).all()
        assert places["name"].map(len).min() > 0
    assert 100 < loaded < 900  # neither of the two outcomes is rare


def test_five_hundred_damaged_geojson_files_lose_no_feature_and_raise_nothing_else(tmp_path):
    features = [
        {"type": "Feature", "properties": {"name": name, "population": 5, "country": "NA"}, "geometry": {
            "type": "Point", "coordinates": [2.0 + i, 1.5]}} for i, name in enumerate(["NA", "Å", "b"])
    ]  # fmt: skip
    crs = {"type": "name", "properties": {"name": "EPSG:4326"}}
    raw = json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}, ensure_ascii=False).encode()
    path, loaded = tmp_path / "p.geojson", 0
    for seed in range(500):
        copy = mutated(raw, np.random.default_rng(seed))
        path.write_bytes(copy)
        try:
            places = load_places(path)
        except InterpError:
            continue
        loaded += 1
        assert len(places) == len(json.loads(copy.decode("utf-8-sig"))["features"])
    assert loaded > 20


VALUES = [None, True, 5, -1e400, "x", [], [1], {}, {"a": 1}, "NA", ""]


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("where", ["crs", "features", "feature", "properties", "name", "population", "geometry", "lon"])
def test_geojson_with_a_value_of_another_kind_is_read_or_refused(tmp_path, where, value):
    feature: dict = {"type": "Feature", "properties": {"name": "a", "population": 5}, "geometry": {
        "type": "Point", "coordinates": [2.0, 1.5]}}  # fmt: skip
    found: dict = {"type": "FeatureCollection", "features": [feature]}
    home = {"crs": found, "features": found, "properties": feature, "geometry": feature}
    home |= {"name": feature["properties"], "population": feature["properties"]}
    if where == "lon":
        feature["geometry"]["coordinates"][0] = value
    elif where == "feature":
        found["features"][0] = value
    else:
        home[where][where] = value
    path = tmp_path / "p.geojson"
    path.write_text(json.dumps(found))
    try:
        assert len(load_places(path)) == 1
    except InterpError:
        assert where != "crs" or value is not None
