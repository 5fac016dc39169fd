from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analyses.geospatial.places import load_places
from interp.errors import CorruptArtifact, InvalidInput

ROWS = [
    ("London", 51.5, -0.12),
    ("NA", -22.5, 17.1),
    ("None", 10.0, 20.0),
    ("nan", 1.0, 2.0),
    ("São Paulo", -23.5, -46.6),
]


def frame() -> pd.DataFrame:
    return pd.DataFrame(ROWS, columns=["name", "lat", "lon"])


def write(tmp_path: Path, text: str, name: str = "places.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8"))
    return path


def test_bundled_cities_are_there_with_what_is_known_of_them():
    places = load_places("cities")
    assert list(places.columns) == ["name", "lat", "lon", "country", "admin1", "population"]
    assert len(places) > 10_000
    assert (places["country"] == "NA").sum() > 3  # Namibia


def test_the_cities_of_the_bundled_model_are_those_it_was_told_of():
    from interp.atlas import facts

    cities = facts().cities
    assert load_places("atlas")["name"].tolist() == cities.loc[cities["seen"], "name"].tolist()
    assert len(load_places("atlas")) < len(cities)


def test_bundled_cities_are_where_they_are():
    london = load_places("cities", countries="gb", min_population=5_000_000)
    assert london["name"].tolist() == ["London"]
    np.testing.assert_allclose(london[["lat", "lon"]].to_numpy()[0], [51.51, -0.13], atol=0.05)


@pytest.mark.parametrize(
    "name", ["places.csv", "places.tsv", "places.txt", "places.parquet", "places.geojson", "frame"]
)
def test_every_kind_of_source_gives_the_same_places(tmp_path, name):
    source = tmp_path / name
    if name == "frame":
        source = frame()
    elif name.endswith("parquet"):
        frame().to_parquet(source)
    elif name.endswith("geojson"):
        features = [
            {"type": "Feature", "properties": {"name": n}, "geometry": {"type": "Point", "coordinates": [lon, lat]}}
            for n, lat, lon in ROWS
        ]
        source.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    else:
        frame().to_csv(source, index=False, sep="," if name.endswith("csv") else "\t")
    places = load_places(source)
    assert places["name"].tolist() == [r[0] for r in ROWS]
    np.testing.assert_array_equal(places[["lat", "lon"]], [r[1:] for r in ROWS])


@pytest.mark.parametrize(
    "header",
    [
        "name,lat,lon",
        "City,Latitude,Longitude",
        "asciiname,LAT,lng",
        "place_name,y,x",
        "Place,Decimal Latitude,decimal-longitude",
    ],
)
def test_usual_column_names_are_found(tmp_path, header):
    places = load_places(write(tmp_path, f"{header}\nParis,48.9,2.4\n"))
    assert places.to_dict("records") == [{"name": "Paris", "lat": 48.9, "lon": 2.4}]


def test_columns_can_be_named(tmp_path):
    path = write(tmp_path, "name,lat,lon,stop,breite,laenge\nA,1,2,Ulm,48.4,10.0\n")
    places = load_places(path, name="stop", lat="breite", lon="laenge")
    assert places.to_dict("records") == [{"name": "Ulm", "lat": 48.4, "lon": 10.0}]


def test_known_columns_come_along(tmp_path):
    path = write(tmp_path, "name,lat,lon,country_code,state,pop\nWindhoek,-22.6,17.1,NA,,386219\nX,1,1,US,NY,\n")
    places = load_places(path)
    assert places["country"].tolist() == ["NA", "US"]
    assert places["admin1"].tolist() == ["", "NY"]
    assert places["population"][0] == 386219
    assert np.isnan(places["population"][1])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_marks_and_blank_lines_do_not_matter(tmp_path, end):
    text = "\ufeff" + end.join(["name;lat;lon", "Paris;48.9;2.4", "", "a\u2028b;1;2", ""])
    assert load_places(write(tmp_path, text))["name"].tolist() == ["Paris", "a\u2028b"]


def test_quoted_fields_keep_their_commas_and_quotes(tmp_path):
    path = write(tmp_path, 'name,lat,lon\n"Washington, ""D.C.""",38.9,-77\nO"Fallon,38.6,-90\n')
    assert load_places(path)["name"].tolist() == ['Washington, "D.C."', 'O"Fallon']


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_two_lone_quotes_do_not_swallow_the_rows_between(tmp_path, kind):
    mark = "," if kind == "csv" else "\t"
    lines = [mark.join(["name", "lat", "lon"])] + [mark.join([f"p{i}", "1.5", f"{i / 10}"]) for i in range(1000)]
    lines[100] = '"' + lines[100]
    lines[600] = lines[600] + '"'
    with pytest.raises(InvalidInput, match="line 101: a quote is not closed"):
        load_places(write(tmp_path, "\n".join(lines), f"places.{kind}"))


def test_the_source_frame_is_not_changed():
    source = frame().rename(columns={"lat": "Latitude"})
    before = source.copy()
    load_places(source, n=2)
    pd.testing.assert_frame_equal(source, before)


def test_a_sample_depends_on_the_seed_alone_and_keeps_the_order():
    whole = load_places("cities")
    some = load_places("cities", n=50, seed=3)
    pd.testing.assert_frame_equal(some, load_places("cities", n=50, seed=3))
    assert some["name"].tolist() != load_places("cities", n=50, seed=4)["name"].tolist()
    at = [
        whole.index[(whole["name"] == r.name_) & (whole["lat"] == r.lat)][0]
        for r in some.rename(columns={"name": "name_"}).itertuples()
    ]
    assert at == sorted(at)


def test_filters_keep_what_they_say():
    places = load_places("cities", countries=["FR", "it"], min_population=200_000)
    assert set(places["country"]) == {"FR", "IT"}
    assert places["population"].min() >= 200_000
    assert places.index.tolist() == list(range(len(places)))


def test_projected_geometries_come_back_in_degrees(tmp_path):
    import geopandas

    points = geopandas.GeoDataFrame(
        {"name": ["a", "b"]}, geometry=geopandas.points_from_xy([2.35, -0.13], [48.86, 51.51]), crs=4326
    )
    projected = points.to_crs("EPSG:3857")
    path = tmp_path / "places.parquet"
    projected.to_parquet(path)
    for source in (projected, path):
        np.testing.assert_allclose(load_places(source)[["lat", "lon"]], [[48.86, 2.35], [51.51, -0.13]], atol=1e-9)


def test_geometry_wins_over_stale_columns():
    import geopandas

    points = geopandas.GeoDataFrame(
        {"name": ["a"], "lat": [9e6], "Longitude": [1.0]}, geometry=geopandas.points_from_xy([2.0], [48.0]), crs=4326
    )
    assert load_places(points).to_dict("records") == [{"name": "a", "lat": 48.0, "lon": 2.0}]


def test_geometries_without_a_crs_are_refused():
    import geopandas

    points = geopandas.GeoDataFrame({"name": ["a"]}, geometry=geopandas.points_from_xy([2.0], [48.0]))
    with pytest.raises(InvalidInput, match="no CRS"):
        load_places(points)


def test_areas_are_refused():
    import geopandas

    areas = geopandas.GeoSeries.from_xy([2.0, 3.0], [48.0, 49.0], crs=32631).buffer(10)
    with pytest.raises(InvalidInput, match="Row 1: geometry is Polygon"):
        load_places(geopandas.GeoDataFrame({"name": ["a", "b"]}, geometry=areas))


BAD_TEXT = {
    "empty": ("", "empty"),
    "blank": ("\n \n", "no lines"),
    "header only": ("name,lat,lon\n", "no rows"),
    "no coordinates": ("name,latt,width\nA,1,2\n", "Columns found: name, latt, width; nearest to 'latitude': latt"),
    "no name": ("lat,lon\n1,2\n", "No name column"),
    "latitude": ("name,lat,lon\nA,1,2\nB,95,170\n", r"Row 2 \('B'\): lat = '95' is outside \[-90, 90\]"),
    "swapped": ("name,lat,lon\nA,139.7,35.7\n", "look swapped"),
    "longitude": ("name,lat,lon\nA,1,200\n", "Subtract 360"),
    "text": ("name,lat,lon\nA,north,2\n", r"lat = 'north' is not a number"),
    "decimal comma": ("name;lat;lon\nA;48,9;2,4\n", "Decimal commas"),
    "missing": ("name,lat,lon\nA,,2\n", "lat = '' is not a number"),
    "infinite": ("name,lat,lon\nA,inf,2\n", "is not a number"),
    "not a number": ("name,lat,lon\nA,nan,2\n", "is not a number"),
    "blank name": ("name,lat,lon\n  ,1,2\n", "Row 1 has a blank name"),
    "short line": ("name,lat,lon\nA,1,2\nB,1\n", "line 3: 2 fields, the header has 3"),
    "long line": ("name,lat,lon\nParis, France,1,2\n", "line 2: 4 fields"),
    "unclosed quote": ('name,lat,lon\n"A,1,2\n', "line 2: a quote is not closed"),
    "line break in a name": ('name,lat,lon\n"A\nB",1,2\n', "line 2: a quote is not closed"),
    "repeated column": ("name,lat,lon,lat\nA,1,2,3\n", "repeats 'lat'"),
    "repeated place": ("name,lat,lon\nA,1,2\nB,1,2\nA,1,2\n", r"Rows 1 and 3 are the same place \('A'\)"),
    "population": ("name,lat,lon,pop\nA,1,2,many\n", "population = 'many' is not a count"),
}


@pytest.mark.parametrize("case", BAD_TEXT)
def test_a_file_that_cannot_be_used_says_why(tmp_path, case):
    text, message = BAD_TEXT[case]
    with pytest.raises(InvalidInput, match=message):
        load_places(write(tmp_path, text))


def test_repeated_places_can_be_dropped(tmp_path):
    path = write(tmp_path, "name,lat,lon\nA,1,2\nB,1,2\nA,1,2\n")
    assert load_places(path, duplicates="drop")["name"].tolist() == ["A", "B"]


def test_a_missing_file_names_the_nearest(tmp_path):
    write(tmp_path, "name,lat,lon\nA,1,2\n", "towns.csv")
    with pytest.raises(InvalidInput, match=r"Nearest there: towns\.csv"):
        load_places(tmp_path / "town.csv")


def test_a_folder_is_not_a_file(tmp_path):
    write(tmp_path, "name,lat,lon\nA,1,2\n", "towns.csv")
    with pytest.raises(InvalidInput, match=r"is a folder.*towns\.csv"):
        load_places(tmp_path)


def test_an_unknown_kind_of_file_lists_the_known_ones(tmp_path):
    with pytest.raises(InvalidInput, match=r"unknown kind '\.xlsx'.*\.parquet"):
        load_places(write(tmp_path, "x", "places.xlsx"))


def test_another_encoding_is_refused(tmp_path):
    path = tmp_path / "places.csv"
    path.write_bytes("name,lat,lon\nZürich,47,8\n".encode("latin-1"))
    with pytest.raises(InvalidInput, match="not UTF-8"):
        load_places(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "FeatureCollection"),
        ('{"type": "FeatureCollection", "features": []}', "no features"),
        (
            '{"type": "FeatureCollection", '
            '"features": [{"type": "Feature", "properties": {"name": "a"}, "geometry": null}]}',
            "Row 1",
        ),
        ('{"type": "FeatureCollection", "features": [1]}', "not GeoJSON points"),
    ],
)
def test_geojson_that_is_not_points_is_refused(tmp_path, text, message):
    with pytest.raises(InvalidInput, match=message):
        load_places(write(tmp_path, text, "p.geojson"))


def test_a_parquet_file_with_a_flipped_bit_is_refused_or_the_same(tmp_path):
    path = tmp_path / "p.parquet"
    frame().to_parquet(path, write_page_checksum=True, compression="none")
    good = path.read_bytes()
    refused = 0
    for position in range(4, len(good), 7):
        path.write_bytes(good[:position] + bytes([good[position] ^ 4]) + good[position + 1 :])
        try:
            assert load_places(path)["lat"].tolist() == [r[1] for r in ROWS]
        except (CorruptArtifact, InvalidInput):
            refused += 1
    assert refused > 20


def test_names_that_a_reader_made_missing_are_refused_with_the_cure():
    source = frame()
    source.loc[1, "name"] = np.nan
    with pytest.raises(InvalidInput, match="keep_default_na=False"):
        load_places(source)


BAD_OPTIONS = {
    "n too large": ({"n": 6}, "from 1 to 5"),
    "n zero": ({"n": 0}, "n=0"),
    "unknown country": ({"countries": ["DE"]}, "country column"),
    "population": ({"min_population": 1}, "population column"),
    "no such column": ({"lat": "latt"}, "no such column"),
    "duplicates": ({"duplicates": "keep"}, "duplicates='keep'"),
    "seed": ({"n": 2, "seed": -1}, "seed is -1"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_options_that_cannot_be_met_are_refused(case):
    options, message = BAD_OPTIONS[case]
    with pytest.raises(InvalidInput, match=message):
        load_places(frame(), **options)


def test_a_country_that_is_not_there_names_the_nearest():
    with pytest.raises(InvalidInput, match="no place has"):
        load_places("cities", countries=["FRA"])
    with pytest.raises(InvalidInput, match="keeps no place; the largest has"):
        load_places("cities", min_population=1e9)


@pytest.mark.parametrize("source", [None, 5, "", b"x.csv"])
def test_something_that_is_no_source_is_refused(source):
    with pytest.raises(InvalidInput, match="source is"):
        load_places(source)


def test_an_empty_frame_is_refused():
    with pytest.raises(InvalidInput, match="no rows"):
        load_places(frame()[:0])
