"""Keys and hashes: equal things give equal digests, different things different ones, and the rest is refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from interp.errors import InvalidInput
from interp.store import canonical_json, changed_parts, make_key, sha256_array, sha256_file, sha256_table


@dataclass(frozen=True)
class Config:
    k: int
    layers: tuple[int, ...]


class Mode(Enum):
    FAST = "fast"


def test_digest_is_the_sha256_of_the_canonical_json_of_the_parts():
    key = make_key({"b": 1, "a": [0.1]}, {"places": "ff"}, code_version="2")
    text = '{"code_version":"2","config":{"a":[0.1],"b":1},"inputs":{"places":"ff"}}'
    assert key.digest == hashlib.sha256(text.encode()).hexdigest()


def test_order_of_names_and_kind_of_container_do_not_change_the_key():
    one = make_key({"k": np.int64(3), "layers": (0, 1), "mode": Mode.FAST}, {}, code_version="1")
    two = make_key({"mode": "fast", "layers": [0, np.int8(1)], "k": 3}, {}, code_version="1")
    assert one == two
    assert make_key(Config(3, (0, 1)), {}, code_version="1") == make_key(
        {"k": 3, "layers": [0, 1]}, {}, code_version="1"
    )


@pytest.mark.parametrize(
    "other", [{"k": 4}, {"k": 3.0}, {"k": "3"}, {"k": True}, {"k": None}, {"k": [3]}, {"K": 3}, {"k": 3, "l": None}, {}]
)
def test_every_change_of_a_value_or_its_type_changes_the_key(other):
    assert make_key({"k": 3}, {}, code_version="1").digest != make_key(other, {}, code_version="1").digest


def test_inputs_and_code_version_are_part_of_the_key():
    keys = {make_key({}, i, code_version=v).digest for i in ({}, {"a": "1"}, {"a": "2"}) for v in ("1", "2")}
    assert len(keys) == 6


def test_a_key_may_be_the_input_of_another():
    first = make_key({}, {}, code_version="1")
    assert make_key({}, {"x": first}, code_version="1").inputs == {"x": first.digest}


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({"a": {"b": [0, float("nan")]}}, "config.a.b[1]"),
        ({"a": np.float32("inf")}, "config.a"),
        ({"a": {1: 2}}, "config.a"),
        ({"a": {3, 1}}, "sorted list"),
        ({"a": np.zeros(2)}, "sha256_array"),
        ({"a": b"x"}, "config.a"),
        ({"a": [1, object()]}, "config.a[1]"),
        ({"a": 1j}, "config.a"),
    ],
)
def test_what_has_no_canonical_form_is_refused_by_its_path(config, where):
    with pytest.raises(InvalidInput) as caught:
        make_key(config, {}, code_version="1")
    assert where in str(caught.value)


def test_config_must_be_a_mapping_and_code_version_a_text():
    with pytest.raises(InvalidInput, match="mapping or a dataclass"):
        make_key([1], {}, code_version="1")
    with pytest.raises(InvalidInput, match="code_version"):
        make_key({}, {}, code_version="")


def test_canonical_json_gives_back_what_it_was_given():
    value = {"é": [1, -0.0, 1e-300, 0.1 + 0.2, True, None, "\ud800 ☃"], "p": Path("a") / "b"}
    assert json.loads(canonical_json(value)) == value | {"p": "a/b"}


def test_changed_parts_names_each_difference_with_both_values():
    old = make_key({"k": 8, "layers": [0, 1]}, {"places": "aa"}, code_version="1")
    new = make_key({"k": 16, "layers": [0, 1, 2]}, {"places": "aa"}, code_version="2")
    assert changed_parts(old, new) == [
        'code_version: "1" -> "2"',
        "config.k: 8 -> 16",
        "config.layers[2]: (absent) -> 2",
    ]
    assert changed_parts(old, old) == []


def test_changed_parts_shows_the_beginning_of_a_hash():
    old, new = (make_key({}, {"model": digit * 64}, code_version="1") for digit in "ab")
    assert changed_parts(old, new) == [f"inputs.model: {'a' * 12}... -> {'b' * 12}..."]


def test_long_texts_that_differ_at_their_end_are_told_apart():
    one, two = (make_key({"t": "x" * 500 + end}, {}, code_version="1") for end in "ab")
    assert len(changed_parts(one, two)) == 1


def test_array_hash_sees_values_shape_and_dtype_but_not_layout():
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert sha256_array(a) == sha256_array(np.asfortranarray(a)) == sha256_array(a.astype(">f4"))
    others = [a.reshape(3, 2), a.astype(np.float64), a.view(np.int32), np.nextafter(a, 9)]
    assert len({sha256_array(x) for x in [a, *others]}) == 5


def test_array_of_objects_has_no_hash():
    with pytest.raises(InvalidInput, match="dtype object"):
        sha256_array(np.array([{}]))


def test_file_hash_equals_hashlib(tmp_path):
    data = np.random.default_rng(0).bytes(3_000_000)
    (tmp_path / "f").write_bytes(data)
    assert sha256_file(tmp_path / "f") == hashlib.sha256(data).hexdigest()


def test_table_hash_sees_every_cell_name_order_and_index():
    base = pd.DataFrame({"a": [1.0, np.nan], "s": ["x", None], "d": pd.to_datetime(["2020-01-01", None])})
    variants = [
        base.assign(a=[1.0, 2.0]),
        base.assign(s=["x", "None"]),
        base.assign(d=pd.to_datetime(["2020-01-02", None])),
        base[["s", "a", "d"]],
        base.rename(columns={"a": "b"}),
        base.iloc[::-1],
        base.set_axis([5, 6]),
        base.iloc[:1],
    ]
    assert len({sha256_table(frame) for frame in [base, *variants]}) == 9


def test_table_hash_ignores_which_text_dtype_and_which_nan():
    negative_nan = np.array([0x7FF8000000000000, 0xFFF8000000000000], dtype=np.uint64).view(np.float64)
    one = pd.DataFrame({"s": np.array(["x", None], dtype=object), "a": negative_nan})
    two = pd.DataFrame({"s": pd.array(["x", None], dtype="string"), "a": [np.nan, np.nan]})
    assert sha256_table(one) == sha256_table(two)
