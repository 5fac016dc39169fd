"""Weights in eight bits: the bound of the error, what is refused, and files."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load, save

from interp.atlas.eight_bit import decode, dequantise, encode, quantise
from interp.errors import CorruptArtifact, InvalidInput

MATRICES = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.floats(-8e6, 8e6, width=32, allow_nan=False),
)


@given(MATRICES)
@settings(max_examples=300, deadline=None)
def test_a_weight_is_off_by_at_most_half_the_scale_of_its_row(matrix):
    codes, scale = quantise(matrix)
    error = np.abs(codes.astype(np.float64) * scale.astype(np.float64)[:, None] - matrix)
    assert (error <= scale.astype(np.float64)[:, None] / 2 * (1 + 1e-12)).all()


def test_the_scale_is_the_largest_weight_over_127_to_float16():
    matrix = np.random.default_rng(0).normal(size=(50, 160)).astype(np.float32)
    codes, scale = quantise(matrix)
    ratio = scale.astype(float) / (np.abs(matrix).max(axis=1) / 127)
    assert ratio.min() >= 1.0
    assert ratio.max() <= 1 + 2**-10
    assert np.abs(codes).max(axis=1).min() >= 126
    assert (codes.dtype, scale.dtype) == (np.int8, np.float16)


def test_normal_weights_lose_a_hundredth_of_their_size():
    matrix = np.random.default_rng(0).normal(size=(200, 160)).astype(np.float32)
    error = dequantise(*quantise(matrix)) - matrix
    # rounding to a grid of width s gives an error of s / sqrt(12); rows of 160 normals reach 2.8 on average
    assert np.sqrt((error**2).mean()) == pytest.approx(2.8 / 127 / np.sqrt(12), rel=0.05)


def test_a_row_of_zeros_stays_zero():
    codes, scale = quantise(np.zeros((3, 4), np.float32))
    assert not codes.any()
    assert not scale.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e8])
def test_weights_that_no_scale_can_hold_are_refused(bad):
    with pytest.raises(InvalidInput, match="not finite or too large"):
        quantise(np.array([[1.0, bad]]))
    with pytest.raises(InvalidInput, match="shape"):
        quantise(np.array([1.0]))


def weights():
    rng = np.random.default_rng(4)
    return {"b": rng.normal(size=(6, 5)).astype(np.float32), "a.norm": rng.normal(size=5).astype(np.float32)}


def test_a_file_gives_back_vectors_exactly_and_matrices_as_quantised():
    found, when = decode(encode(weights(), step=12, tokens=3000))
    assert when == {"step": 12, "tokens": 3000}
    np.testing.assert_array_equal(found["a.norm"], weights()["a.norm"])
    np.testing.assert_array_equal(found["b"], dequantise(*quantise(weights()["b"])))
    assert {a.dtype for a in found.values()} == {np.dtype(np.float32)}
    assert sorted(found) == ["a.norm", "b"]


def test_equal_weights_give_equal_bytes():
    other_order = dict(reversed(weights().items()))
    assert len({encode(w, step=1, tokens=2) for w in (weights(), other_order) for _ in range(8)}) == 1


def test_a_file_of_another_format_or_without_its_scales_is_corrupt():
    whole = encode(weights(), step=1, tokens=2)
    about = {"checkpoint": json.dumps({"format": "int8 rows", "step": 1, "tokens": 2})}
    arrays = load(whole)
    cases = [
        whole[:-1],
        b"{}",
        save(arrays, metadata={"format": "pt"}),
        save(arrays, metadata={"checkpoint": json.dumps({"format": "int4 rows", "step": 1, "tokens": 2})}),
        save(arrays, metadata={"checkpoint": json.dumps({"format": "int8 rows", "step": 1})}),
        save(arrays, metadata={"checkpoint": "[]"}),
        save({k: v for k, v in arrays.items() if k != "b.scale"}, metadata=about),
        save({k: v for k, v in arrays.items() if k != "b"} | {"c": arrays["b"]}, metadata=about),
        save(arrays | {"b.scale": arrays["b.scale"][:-1]}, metadata=about),
    ]
    for data in cases:
        with pytest.raises(CorruptArtifact):
            decode(data)


def test_every_byte_cut_off_is_noticed():
    whole = encode(weights(), step=1, tokens=2)
    for length in range(len(whole)):
        with pytest.raises(CorruptArtifact):
            decode(whole[:length])


def test_matrices_take_one_byte_a_weight():
    rng = np.random.default_rng(0)
    data = encode({"m": rng.normal(size=(500, 160)).astype(np.float32)}, step=1, tokens=1)
    header = int.from_bytes(data[:8], "little")
    assert len(data) - header - 8 == 500 * 160 + 500 * 2
    assert "m.scale" in json.loads(data[8 : 8 + header])
