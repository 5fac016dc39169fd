"""Folders as other libraries write them, with the very names and shapes, and their latents computed in numpy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

D_IN, D_SAE, D_OUT = 12, 40, 9

Arrays = dict[str, np.ndarray]


def draw(shapes: dict[str, tuple[int, ...]], *, seed: int = 0) -> Arrays:
    """Gaussian float32 arrays of these shapes."""
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def rows(n: int = 50, *, seed: int = 1) -> np.ndarray:
    """Activations float32 [n, D_IN]."""
    return np.random.default_rng(seed).standard_normal((n, D_IN)).astype(np.float32)


def unit(matrix: np.ndarray, axis: int) -> np.ndarray:
    """The matrix with vectors of length 1 along an axis."""
    return (matrix / np.linalg.norm(matrix.astype(np.float64), axis=axis, keepdims=True)).astype(np.float32)


def write_folder_of(path: Path, *, files: dict[str, Any]) -> Path:
    """Write JSON objects, arrays (.safetensors, .npz) or bytes under their file names."""
    path.mkdir(parents=True)
    for name, value in files.items():
        if name.endswith(".json"):
            (path / name).write_text(json.dumps(value))
        elif name.endswith(".npz"):
            np.savez(path / name, **value)
        else:
            save_file({k: torch.as_tensor(v).clone().contiguous() for k, v in value.items()}, path / name)
    return path


def relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0)."""
    return np.maximum(x, 0.0)


def keep_largest(x: np.ndarray, k: int) -> np.ndarray:
    """The k largest of each row, after a ReLU; 0 elsewhere."""
    cut = np.sort(x, axis=1)[:, -k][:, None]
    return np.where(x >= cut, relu(x), 0.0)


def doubles(arrays: Arrays) -> Arrays:
    """The same in float64."""
    return {name: np.asarray(value, dtype=np.float64) for name, value in arrays.items()}
