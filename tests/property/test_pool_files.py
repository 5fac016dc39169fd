"""Whatever is in a file of a pool, nothing crashes and no row is lost: rows in = rows scored + rows listed."""

import json
import os

import numpy as np
import pytest
from mutated_files import mutated_array, mutated_csv, mutated_gzip, mutated_lines, mutated_parquet

from analyses.data_selection import encode_pool, read_samples, score
from analyses.data_selection.coders import neuron_coder
from interp.errors import CorruptArtifact
from interp.testing import tiny_model

FILES = int(os.environ.get("INTERP_MUTATIONS", "60"))  # of each kind
LONG = 4096


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(autouse=True)
def short_rows(monkeypatch):
    """Lines that are too long without writing 16 MB of each."""
    monkeypatch.setattr("analyses.data_selection.row_files.MAX_ROW_BYTES", LONG)


def settled(model, read):
    """Count rows in, rows scored and rows listed, with what could be read coded and scored."""
    usable = [sample for samples in read for sample in samples]
    coded = encode_pool(usable, model, neuron_coder(model, 0, 4), shard_rows=4096)
    table = score(coded, coded.mean, method="mona")
    assert np.isfinite(table["score"]).all()
    return {
        "files": len(read),
        "rows": sum(samples.n_rows for samples in read),
        "scored": len(table),
        "listed": sum(len(samples.listed) for samples in read) + len(coded.listed),
    }


def test_lines_keep_their_numbers_and_their_bytes(model, tmp_path, record_property):
    read, rows = [], 0
    path = tmp_path / "mutated.jsonl"
    for seed in range(FILES):
        data, n_rows = mutated_lines(seed)
        path.write_bytes(data)
        samples = read_samples(path)
        assert samples.n_rows == n_rows, seed
        lines = data.split(b"\n")
        assert all(sample.raw == lines[sample.number - 1] for sample in samples), seed
        assert sorted([*samples.listed["number"], *(sample.number for sample in samples)]) == [
            i for i, line in enumerate(lines, 1) if line.removeprefix(b"\xef\xbb\xbf" if i == 1 else b"").strip()
        ], seed
        read.append(samples)
        rows += n_rows
    counts = settled(model, read)
    record_property("pool_files", json.dumps(counts))
    assert counts["scored"] + counts["listed"] == rows
    assert counts["scored"] > rows / 10
    assert counts["listed"] > rows / 10


@pytest.mark.parametrize(
    ("name", "mutated"),
    [("array.json", mutated_array), ("table.csv", mutated_csv), ("table.parquet", mutated_parquet),
     ("lines.jsonl.gz", lambda seed: (mutated_gzip(seed), None))],
)  # fmt: skip
def test_other_files_lose_no_row(model, tmp_path, record_property, name, mutated):
    read, refused = [], 0
    path = tmp_path / name
    for seed in range(FILES):
        data, n_rows = mutated(seed)
        path.write_bytes(data)
        try:
            samples = read_samples(path)
        except CorruptArtifact:
            assert name.endswith("parquet"), seed
            assert n_rows is None, seed
            refused += 1
            continue
        assert n_rows in (None, samples.n_rows), seed
        if name.endswith("parquet"):
            assert samples.n_rows == 3, seed  # damage is found by checksums or does not matter
        read.append(samples)
    counts = settled(model, read)
    record_property("pool_files", json.dumps({**counts, "files": FILES, "refused": refused}))
    assert counts["scored"] + counts["listed"] == counts["rows"]
    assert counts["scored"] > 0
    assert counts["listed"] > 0


def test_a_table_that_gives_fewer_rows_than_its_footer_says_is_refused(tmp_path, monkeypatch):
    """As a flipped bit of the footer does, which no checksum covers."""
    from pyarrow import parquet

    (tmp_path / "table.parquet").write_bytes(mutated_parquet(0)[0])
    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", lambda *_, **__: iter(()))
    with pytest.raises(CorruptArtifact, match="gave 0 rows, and its footer says 3"):
        read_samples(tmp_path / "table.parquet")
