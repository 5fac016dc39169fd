"""Files of samples, damaged at random in the ways files are damaged, with the number of their rows."""

import gzip
import json

import numpy as np

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
        row[list(row)[rng.integers(len(row))]] = WRONG[rng.integers(len(WRONG))]
        return json.dumps(row).encode()
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
