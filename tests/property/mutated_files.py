"""Files of samples, damaged at random in the ways files are damaged, with the number of their rows if it is known."""

import csv
import gzip
import io
import json

import numpy as np
import pyarrow as pa
from pyarrow import parquet

ROWS = [
    {"messages": [{"role": "user", "content": "Where is Lyon?"}, {"role": "assistant", "content": "In France."}]},
    {"conversations": [{"from": "human", "value": "Hei"}, {"from": "gpt", "value": "Hei, \u00e5!"}], "id": 7},
    {"instruction": "Add.", "input": "1 2", "output": "3"},
    {"prompt": "Say a.", "completion": "a"},
    {"text": "Bergen lies by the sea."},
]
WRONG = [None, 3, 4.5, True, [], {}, "", [1], {"role": "user"}, "\ud800", [None], "x" * 5000, float("nan")]


def mutated_lines(seed: int) -> tuple[bytes, int]:
    """Return a file of JSON lines with damaged rows, and how many of its lines are not blank."""
    rng = np.random.default_rng(seed)
    lines = [_mutated_line(rng) for _ in range(rng.integers(1, 8))]
    data = b"\n".join(lines) + (b"\n" if rng.random() < 0.5 else b"")
    if rng.random() < 0.05:
        data = b"\xef\xbb\xbf" + data
    parts = data.split(b"\n")
    parts[0] = parts[0].removeprefix(b"\xef\xbb\xbf")
    return data, sum(bool(part.strip()) for part in parts)


def mutated_gzip(seed: int) -> bytes:
    """Return a gzip file of JSON lines that is cut, flipped or followed by rubbish."""
    rng = np.random.default_rng(seed)
    data = bytearray(gzip.compress(mutated_lines(seed)[0], mtime=0))
    kind = rng.integers(3)
    if kind == 0:
        return bytes(data[: rng.integers(1, len(data) + 1)])
    if kind == 1:
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        return bytes(data)
    return bytes(data) + rng.bytes(int(rng.integers(1, 30)))


def _mutated_line(rng: np.random.Generator) -> bytes:
    row = json.loads(json.dumps(ROWS[rng.integers(len(ROWS))]))
    kind = rng.integers(9)
    if kind == 0:
        return json.dumps(row).encode()
    if kind == 1:
        return json.dumps(_with_wrong_value(rng)).encode()
    if kind == 2:
        del row[list(row)[rng.integers(len(row))]]
        return json.dumps(row).encode()
    if kind == 3:
        return json.dumps(row, ensure_ascii=False).encode(str(rng.choice(["utf-16", "utf-16-le", "latin-1", "cp1252"])))
    if kind == 4:
        return [b"[" * 100_000, b"1" * 5000, b'"text"', b"null", b"\x00", b'{"text": 1e999}', b" \t "][rng.integers(7)]
    line = bytearray(json.dumps(row, ensure_ascii=bool(rng.integers(2))).encode())
    if kind == 5:
        return bytes(line[: rng.integers(0, len(line) + 1)])
    if kind == 6:
        line[rng.integers(len(line))] = int(rng.integers(256))
        return bytes(line).replace(b"\n", b" ")
    if kind == 7:
        return bytes(line) + bytes(line)
    messages = next((row[name] for name in ("messages", "conversations") if name in row), None)
    if messages is None:
        row.update(ROWS[rng.integers(len(ROWS))])
    else:
        one = messages[rng.integers(len(messages))]
        one[list(one)[rng.integers(len(one))]] = WRONG[rng.integers(len(WRONG))]
    return json.dumps(row).encode()


def mutated_array(seed: int) -> tuple[bytes, int | None]:
    """Return a file with a JSON array, its rows or its bytes damaged."""
    rng = np.random.default_rng(seed)
    values = [_with_wrong_value(rng) if rng.random() < 0.5 else ROWS[rng.integers(len(ROWS))] for _ in range(5)]
    values += [WRONG[rng.integers(len(WRONG))] for _ in range(rng.integers(3))]
    data = bytearray(json.dumps(values).encode())
    if rng.random() < 0.6:
        return bytes(data), len(values)
    return _damaged(data, rng), None


def mutated_csv(seed: int) -> tuple[bytes, int | None]:
    """Return a CSV of prompts and completions with odd cells, or with damaged bytes."""
    rng = np.random.default_rng(seed)
    odd = ["", "a", "b,c", 'say "x"', "two\nlines", "\u00e5", "NA", "\x00", "x" * 5000, "\ufeff", "'"]
    rows = [[odd[rng.integers(len(odd))] for _ in range(2)] for _ in range(rng.integers(1, 7))]
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([["prompt", "completion"], *rows])
    data = text.getvalue().encode(str(rng.choice(["utf-8", "utf-8", "utf-8", "utf-16"])))
    if rng.random() < 0.6:
        # what follows a line that is too long within a cell is a row of its own
        return data, len(rows) if data[:2] != b"\xff\xfe" and b"xxx" not in data else None
    return _damaged(bytearray(data), rng), None


def mutated_parquet(seed: int) -> tuple[bytes, int | None]:
    """Return a Parquet file with a column of a wrong type, or with damaged bytes; three rows were written."""
    rng = np.random.default_rng(seed)
    columns = [
        ["Oslo", None, ""], [1, 2, None], [0.5, float("nan"), None], [None, None, None], [[1], [], None],
        [{"role": "user", "content": "a"}, None, {"role": None, "content": "b"}], [b"\xff", b"a", None],
        [[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], [], None], [True, False, None],
    ]  # fmt: skip
    names = [("text",), ("prompt", "completion"), ("messages",), ("instruction", "output"), ("other",)][rng.integers(5)]
    file = io.BytesIO()
    table = pa.table({name: columns[rng.integers(len(columns))] for name in names})
    parquet.write_table(table, file, write_page_checksum=True)
    data = file.getvalue()
    return (data, 3) if rng.random() < 0.5 else (_damaged(bytearray(data), rng), None)


def _damaged(data: bytearray, rng: np.random.Generator) -> bytes:
    kind = rng.integers(3)
    if kind == 0:
        return bytes(data[: rng.integers(len(data))])
    at = int(rng.integers(len(data)))
    if kind == 1:
        data[at] ^= 1 << int(rng.integers(8))
        return bytes(data)
    return bytes(data[:at] + rng.bytes(int(rng.integers(1, 9))) + data[at:])


def _with_wrong_value(rng: np.random.Generator) -> dict:
    row = json.loads(json.dumps(ROWS[rng.integers(len(ROWS))]))
    row[list(row)[rng.integers(len(row))]] = WRONG[rng.integers(len(WRONG))]
    return row
