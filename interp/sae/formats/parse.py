"""What every reader needs: bytes to values, hook names to sites, and statements to a config."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from interp.errors import CorruptArtifact, InvalidInput, SaeMismatch
from interp.sae.config import ACTIVATIONS, OPTIONAL, SaeConfig, refuse_keys
from interp.sites import Site

Files = Mapping[str, bytes]
Read = tuple[SaeConfig, dict[str, Tensor]]
Declared = Mapping[str, Any] | None

# what numpy and zipfile raise on the bytes of something else, on a wrong sum, on lengths that cannot be
_NOT_NPZ = (ValueError, OSError, KeyError, EOFError, TypeError, SyntaxError, RuntimeError, MemoryError, OverflowError)
_NOT_NPZ += (zipfile.BadZipFile, NotImplementedError, zlib.error, struct.error, IndexError, AttributeError)
_FLOATS = (np.dtype("float16"), np.dtype("float32"), np.dtype("float64"))

MAX_INFLATION = 64
"""Weights do not shrink to a 64th when they are compressed; a file that says so is made to fill the memory."""


def parse_json(data: bytes, name: str) -> dict[str, Any]:
    """Return the object in a JSON file. Raises CorruptArtifact naming the file."""
    try:
        value = json.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise CorruptArtifact(f"{name} is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise CorruptArtifact(f"{name} holds {type(value).__name__}, not an object.")
    return value


def parse_weights(data: bytes, name: str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file. Raises CorruptArtifact naming the file."""
    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise CorruptArtifact(f"{name} is not a whole safetensors file: {error}.") from None


def parse_arrays(data: bytes, name: str) -> dict[str, Tensor]:
    """Return the arrays of an npz file, without unpickling. Raises CorruptArtifact naming the file."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_INFLATION * len(data):
                raise CorruptArtifact(f"{name} would unpack to more than {MAX_INFLATION} times its size.")
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {key: np.array(file[key]) for key in file.files}
    except _NOT_NPZ as error:
        raise CorruptArtifact(f"{name} is not a whole npz file of numbers: {error}.") from None
    other = [f"{key} ({array.dtype})" for key, array in arrays.items() if array.dtype not in _FLOATS]
    if other:
        raise CorruptArtifact(f"{name} is not a whole npz file of numbers: it holds {', '.join(other)}.")
    return {key: torch.from_numpy(array) for key, array in arrays.items()}


def site_of_hook(hook_name: str | None, head: int | None = None) -> str | None:
    """Return the site of a TransformerLens hook name, or None where it is none that has a site.

    >>> site_of_hook("blocks.3.attn.hook_z", 5)
    'z.3.h5'
    """
    from interp.models import HOOKS

    for component, pattern in HOOKS.items():
        expression = re.escape(pattern).replace(re.escape("{layer}"), r"(\d+)")
        match = re.fullmatch(expression, hook_name or "")
        if match:
            return str(Site(component, int(match[1]) if match.groups() else None, head))
    return None


def at_site(component: str, layer: int) -> dict[str, str]:
    """Return `site` and `hook_name` of a component of a layer."""
    from interp.models import hook_name

    return {"site": f"{component}.{layer}", "hook_name": hook_name(f"{component}.{layer}")}


def common(architecture: Any, d_in: Any, d_sae: Any) -> dict[str, Any]:
    """Return the fields of a config that a published file says nothing about, and those given."""
    unsaid = ("site", "hook_name", "model_name", "model_fingerprint", "bos", "context_size", "k")
    return dict.fromkeys(unsaid) | {
        "architecture": architecture,
        "activation": ACTIVATIONS.get(architecture) if isinstance(architecture, str) else None,
        "d_in": d_in,
        "d_sae": d_sae,
        "input_scale": 1.0,
        "decoder_norm": "free",  # nothing is assumed about the lengths of the rows
        "rescale_acts_by_decoder_norm": False,
    }


def build(stated: dict[str, Any], weights: Mapping[str, Tensor], declare: Declared, what: str) -> SaeConfig:
    """Return the config of what a file states, filled up with what was declared.

    Raises:
        InvalidInput: a convention is missing, unknown or not computed here. SaeMismatch: `declare` contradicts the
            file, or the weights are of several types.
    """
    dtypes = {value.dtype for value in weights.values()}
    if len(dtypes) != 1:
        raise SaeMismatch(f"the weights are of {len(dtypes)} types: {', '.join(sorted(map(str, dtypes)))}.")
    stated = {**stated, "dtype": str(dtypes.pop()).removeprefix("torch.")}
    scale = stated.get("normalize_activations")
    if scale not in (None, "none", "layer_norm"):
        raise InvalidInput(
            f"{what}: normalize_activations {scale!r} needs a factor that the file does not hold. Fold it into the "
            "weights where the SAE was trained and save again."
        )
    for key, value in (declare or {}).items():
        if key in stated and stated[key] not in (None, value) and key in _STATED_BY_FILE:
            raise SaeMismatch(f"declared {key} {value!r}; {what} says {stated[key]!r}.")
    merged = {**stated, **(declare or {})}
    refuse_keys({**dict.fromkeys(OPTIONAL), **merged}, [f.name for f in fields(SaeConfig)], what=what)
    return SaeConfig.from_dict(merged)


_STATED_BY_FILE = {f.name for f in fields(SaeConfig)} - {"input_scale", "decoder_norm"}
