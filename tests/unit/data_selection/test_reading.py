"""Reading samples: every layout, every kind of file, and not one row that is neither used nor listed."""

import gzip
import json

import pandas as pd
import pyarrow as pa
import pytest

from analyses.data_selection import read_samples
from interp.errors import CorruptArtifact, InvalidInput

ROWS = [
    {"messages": [{"role": "user", "content": "Where is Lyon?"}, {"role": "assistant", "content": "In France."}]},
    {"conversations": [{"from": "human", "value": "Hei"}, {"from": "gpt", "value": "Hei, \u00e5!"}], "id": 7},
    {"instruction": "Add.", "input": "1 2", "output": "3"},
    {"prompt": "Say a.", "completion": "a"},
    {"text": "Bergen lies by the sea."},
]
TURNS = [
    [("user", "Where is Lyon?"), ("assistant", "In France.")],
    [("user", "Hei"), ("assistant", "Hei, å!")],
    [("user", "Add.\n\n1 2"), ("assistant", "3")],
    [("user", "Say a."), ("assistant", "a")],
    [("text", "Bergen lies by the sea.")],
]


def turns_of(samples):
    return [[(turn.role, turn.content) for turn in sample.turns] for sample in samples]


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def lines(tmp_path):
    return write_lines(tmp_path / "pool.jsonl", ROWS)


def test_each_schema_is_found_and_counted(lines):
    samples = read_samples(lines)
    assert turns_of(samples) == TURNS
    assert [s.schema for s in samples] == ["messages", "sharegpt", "alpaca", "prompt_completion", "text"]
    assert "5 rows, 5 usable (messages 1, sharegpt 1, alpaca 1, prompt_completion 1, text 1)" in samples.summary()


def test_a_row_keeps_its_bytes(tmp_path):
    raw = b'{"text" :  "a", "z":1}\r'
    path = tmp_path / "odd.jsonl"
    path.write_bytes(raw + b"\n\n" + b'{"text":"b"}')
    samples = read_samples(path)
    assert [s.raw for s in samples] == [raw, b'{"text":"b"}']
    assert [s.id for s in samples] == ["odd.jsonl:1", "odd.jsonl:3"]
    assert samples.files["blank_lines"].tolist() == [1]


def test_every_kind_of_source_gives_the_same_turns(tmp_path, lines):
    (tmp_path / "pool.jsonl.gz").write_bytes(gzip.compress(lines.read_bytes()))
    (tmp_path / "array.json").write_text(json.dumps(ROWS))
    flat = pd.DataFrame([{"instruction": "Add.", "input": "1 2", "output": 'a "b",\nc'}] * 2)
    flat.to_csv(tmp_path / "flat.csv", index=False)
    flat.to_csv(tmp_path / "flat.tsv", index=False, sep="\t")
    flat.to_parquet(tmp_path / "flat.parquet")
    for source in (tmp_path / "pool.jsonl.gz", tmp_path / "array.json", ROWS):
        assert turns_of(read_samples(source)) == TURNS, source
    expected = [[("user", "Add.\n\n1 2"), ("assistant", 'a "b",\nc')]] * 2
    for source in (tmp_path / "flat.csv", tmp_path / "flat.tsv", tmp_path / "flat.parquet", flat):
        assert turns_of(read_samples(source)) == expected, source


def test_a_saved_dataset_and_its_splits_are_read(tmp_path):
    table = pa.table({"messages": [row["messages"] for row in ROWS[:1]] * 3})
    for split in ("train", "test"):
        folder = tmp_path / "saved" / split
        folder.mkdir(parents=True)
        with pa.OSFile(str(folder / "data-0.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-0.arrow"}]}))
    (tmp_path / "saved" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    assert turns_of(read_samples(tmp_path / "saved" / "train")) == TURNS[:1] * 3
    assert read_samples(tmp_path / "saved").files["source"].tolist() == ["saved/train", "saved/test"]


def test_a_dataset_that_points_out_of_its_folder_is_refused(tmp_path):
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../../etc/passwd"}]}))
    with pytest.raises(CorruptArtifact, match="plain file name"):
        read_samples(tmp_path)


def test_a_glob_reads_all_and_names_files_apart(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_lines(tmp_path / folder / "x.jsonl", ROWS[-1:])
    samples = read_samples(str(tmp_path / "*" / "x.jsonl"))
    assert len({s.id for s in samples}) == 2


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": [{"role": "user", "content": "a"}]}, "empty answer"),
        ({"prompt": "a", "completion": "  "}, "empty answer"),
        ({"instruction": "a", "output": None}, "bad field"),
        ({"messages": "a"}, "bad field"),
        ({"messages": [{"role": "judge", "content": "a"}]}, "bad field"),
        ({"text": " \n"}, "empty text"),
        ({"text": "\ud800"}, "lone surrogate"),
        ({"question": "a"}, "no known schema"),
        ([1], "not an object"),
    ],
)
def test_a_row_that_cannot_be_used_is_listed_with_its_reason(tmp_path, row, reason):
    samples = read_samples(write_lines(tmp_path / "pool.jsonl", [row, ROWS[0]]))
    assert len(samples) == 1
    assert samples.listed[["source", "number", "reason"]].values.tolist() == [["pool.jsonl", 1, reason]]


def test_other_encodings_are_listed(tmp_path):
    (tmp_path / "a.jsonl").write_bytes('{"text": "å"}\n'.encode("latin-1") + b'{"text": "ok"}\n')
    (tmp_path / "b.csv").write_bytes("text\nå\nok\n".encode("latin-1"))
    for name in ("a.jsonl", "b.csv"):
        samples = read_samples(tmp_path / name)
        assert (len(samples), samples.listed["reason"].tolist()) == (1, ["not UTF-8"])


def test_a_stray_quote_in_a_csv_is_listed_with_the_lines_it_swallowed(tmp_path):
    (tmp_path / "a.csv").write_text('prompt,completion\na,b\n"open,b\nc,d\n')
    samples = read_samples(tmp_path / "a.csv")
    assert len(samples) == 1
    assert samples.listed["detail"].str.contains("lines 3 to 4").all()


def test_a_line_that_is_too_long_is_listed_and_reading_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("analyses.data_selection.row_files.MAX_ROW_BYTES", 100)
    samples = read_samples(write_lines(tmp_path / "a.jsonl", [{"text": "x" * 300}, {"text": "x" * 101}, ROWS[-1]]))
    assert samples.listed["reason"].tolist() == ["line too long"] * 2
    assert samples.samples[0].number == 3


def test_a_forced_schema_lists_the_others(lines):
    samples = read_samples(lines, schema="text")
    assert (len(samples), samples.n_rows) == (1, 5)


def test_wrong_sources_say_what_is_there(tmp_path, lines):
    with pytest.raises(InvalidInput, match=r"Nearest there: pool\.jsonl"):
        read_samples(tmp_path / "pol.jsonl")
    with pytest.raises(InvalidInput, match=r"save_to_disk.*pool\.jsonl"):
        read_samples(tmp_path)
    with pytest.raises(InvalidInput, match="no file matches"):
        read_samples(str(tmp_path / "*.csv"))
    with pytest.raises(InvalidInput, match="Nearest: messages"):
        read_samples(lines, schema="mesages")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(CorruptArtifact, match=r"bad\.parquet"):
        read_samples(tmp_path / "bad.parquet")
    (tmp_path / "none.jsonl").write_text("{}\n")
    with pytest.raises(InvalidInput, match="no known schema: 1 rows"):
        read_samples(tmp_path / "none.jsonl").require_some()
