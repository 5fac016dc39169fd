"""Weights in eight bits: whole numbers from -127 to 127, one scale a row of each matrix.

Checkpoints along the training ship in this form, a quarter of their size in float32. Vectors (norms)
stay in float32. A row is off by at most half its scale, which is 1/254 of its largest weight.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from interp.errors import CorruptArtifact, InvalidInput

LEVELS = 127
_SCALE, _ABOUT, _FORMAT = ".scale", "checkpoint", "int8 rows"


def quantise(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return codes int8 [row, col] and scales float16 [row] with |matrix - codes * scales| <= scales / 2.

    The scale of a row is its largest magnitude / 127, rounded up to the next float16, so that nothing is cut off.

    Raises:
        InvalidInput: not a matrix, or a value that is not finite or beyond 127 times the largest float16.
    """
    if matrix.ndim != 2:
        raise InvalidInput(f"only a matrix has rows to scale; got an array of shape {matrix.shape}.")
    exact = matrix.astype(np.float64)
    wanted = np.abs(exact).max(axis=1, initial=0.0) / LEVELS
    if not (wanted <= np.finfo(np.float16).max).all():
        raise InvalidInput("a weight is not finite or too large for a float16 scale; nothing like it can be shipped.")
    scale = wanted.astype(np.float16)
    scale = np.where(scale < wanted, np.nextafter(scale, np.float16(np.inf)), scale)
    step = np.where(scale > 0, scale, 1).astype(np.float64)
    return np.rint(exact / step[:, None]).astype(np.int8), scale


def dequantise(codes: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return codes * scales, float32 [row, col], of codes int8 [row, col] and scales float16 [row]."""
    return codes.astype(np.float32) * scale.astype(np.float32)[:, None]


def encode(weights: Mapping[str, np.ndarray], *, step: int, tokens: int) -> bytes:
    """Return named weights of one step of a training as safetensors: matrices in eight bits, vectors in float32.

    Args:
        step: number of updates made.
        tokens: number of tokens seen by then.
    """
    from safetensors.numpy import save

    arrays: dict[str, np.ndarray] = {}
    for name, weight in weights.items():
        if weight.ndim == 2:
            arrays[name], arrays[name + _SCALE] = quantise(weight)
        else:
            arrays[name] = weight.astype(np.float32)
    about = {"format": _FORMAT, "step": step, "tokens": tokens}
    return save(dict(sorted(arrays.items())), metadata={_ABOUT: json.dumps(about)})  # several keys have a random order


def decode(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Return the weights, float32, and {"step", "tokens"} of what `encode` wrote.

    Raises:
        CorruptArtifact: the bytes are not such a file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays, about = load(data), _about(data)
        when = {key: int(about[key]) for key in ("step", "tokens")}
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptArtifact(f"not a checkpoint in eight bits ({str(error) or type(error).__name__})") from error
    if about.get("format") != _FORMAT:
        raise CorruptArtifact(f"its format is {about.get('format')!r}, expected {_FORMAT!r}")
    names = [name for name in arrays if name + _SCALE in arrays]
    if {name for name, a in arrays.items() if a.dtype == np.int8} != set(names):
        raise CorruptArtifact("a matrix in eight bits has no scales, or scales have no matrix")
    if any(arrays[name].shape[:1] != arrays[name + _SCALE].shape for name in names):
        raise CorruptArtifact("a matrix in eight bits has another number of rows than scales")
    whole = {name: dequantise(arrays[name], arrays[name + _SCALE]) for name in names}
    scales = {name + _SCALE for name in names}
    return whole | {name: a for name, a in arrays.items() if name not in whole and name not in scales}, when


def _about(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")  # the reader of safetensors has checked it against the whole
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_ABOUT])
