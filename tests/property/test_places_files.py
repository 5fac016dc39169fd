"""Whatever is written into a file of places, no row is lost and no value is changed without a word."""

from __future__ import annotations

import random

import pandas as pd

from analyses.geospatial.places import load_places
from interp.errors import InvalidInput

NAMES = [
    "Paris",
    "NA",
    "None",
    "nan",
    "null",
    "-",
    "007",
    "Mülheim",
    "São Tomé",
    "東京",
    "O'Fallon",
    "Ш",
    "True",
    "1e5",
    "a b",
]
DIRT = ['"', "'", ",", ";", "\t", "\n", "\r", "\u2028", "\x0b", "\x1c", "\x00", " ", "#", "\\", "\ufeff", "−1", "🗺"]


def dirty_file(rng: random.Random) -> tuple[str, str, int]:
    """A file of up to 30 rows, mostly clean, with some dirt; returns text, suffix and the rows that were meant."""
    mark, suffix = rng.choice([(",", ".csv"), (";", ".csv"), ("\t", ".tsv"), ("\t", ".txt")])
    rows = rng.randint(1, 30)
    lines = [mark.join(["name", "lat", "lon", "country"])]
    for i in range(rows):
        name = rng.choice(NAMES) + (f" {i}" if rng.random() < 0.95 else "")
        cells = [name, f"{rng.uniform(-90, 90):.4f}", f"{rng.uniform(-180, 180):.4f}", rng.choice(["NA", "FR", ""])]
        lines.append(mark.join(cells))
    for _ in range(rng.choice([0, 0, 1, 2, 3])):
        at = rng.randrange(len(lines))
        where = rng.randint(0, len(lines[at]))
        lines[at] = lines[at][:where] + rng.choice(DIRT) + lines[at][where:]
    return rng.choice(["\n", "\r\n"]).join(lines) + rng.choice(["", "\n"]), suffix, rows


def test_a_thousand_dirty_files_lose_no_row_in_silence(tmp_path):
    rng = random.Random(0)
    read = 0
    for number in range(1000):
        text, suffix, rows = dirty_file(rng)
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(text.encode())
        try:
            places = load_places(path)
        except InvalidInput:
            continue
        read += 1
        assert len(places) == rows, text
        assert places["lat"].between(-90, 90).all()
        assert places["name"].str.len().min() > 0
    assert 400 < read < 1000


def test_clean_files_come_back_as_they_were_written(tmp_path):
    rng = random.Random(1)
    for number in range(100):
        rows = [
            (
                "".join(rng.choice([*NAMES, *'",; #\\']) for _ in range(3)).strip() + f"x{i}",
                rng.uniform(-90, 90),
                rng.uniform(-180, 180),
            )
            for i in range(rng.randint(1, 20))
        ]
        path = tmp_path / f"{number}.csv"
        frame = pd.DataFrame(rows, columns=["name", "lat", "lon"])
        frame.to_csv(path, index=False)
        back = load_places(path)
        assert back["name"].tolist() == frame["name"].tolist()
        assert back["lat"].tolist() == frame["lat"].tolist()
        assert back["lon"].tolist() == frame["lon"].tolist()
