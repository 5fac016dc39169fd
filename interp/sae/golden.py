"""Golden vectors: inputs with the latents and reconstructions they must give, kept beside the weights.

Weights and config can both be whole and still not belong together: a convention read the wrong way gives other
latents and no error. So a saved SAE carries a few inputs and their results, and loading it computes them again.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from interp.errors import CorruptArtifact, InvalidInput, SaeMismatch
from interp.sae.coder import SAE
from interp.sae.config import refuse_keys

FILE = "golden.safetensors"
N_ROWS = 8
CANDIDATES = 512
TOLERANCE = 3e-5
"""Allowed difference, as a share of the largest value in the row: above rounding, far below another convention."""
_JITTER = 1e-5
_TENSORS = ["inputs", "latent_rows", "latent_columns", "latent_values", "reconstruction"]


def make_golden(sae: SAE, inputs: np.ndarray | Tensor | None = None, *, seed: int = 0) -> bytes:
    """Return golden.safetensors of an SAE as it will be loaded (that is, with rounded weights).

    Args:
        inputs: [n, d_in] activations to choose from; by default Gaussian vectors of the size of the training data.
        seed: of those vectors, and of the search for rows whose active latents no rounding can change.

    Raises:
        InvalidInput: no candidate row has latents that stay the same under a change of 1e-5.
    """
    rng = np.random.default_rng(seed)
    if inputs is None:
        noise = rng.standard_normal((CANDIDATES, sae.config.d_in)) / sae.config.input_scale
        candidates = torch.from_numpy(noise).float()
        if not sae.config.is_transcoder:  # whose b_dec is of the place it writes to
            candidates = candidates + sae.b_dec.cpu()
    else:
        candidates = torch.as_tensor(inputs)[:CANDIDATES].detach().to("cpu", torch.float32)
    rows = candidates[_steady(sae, candidates, rng)][:N_ROWS].contiguous()
    if len(rows) == 0:
        raise InvalidInput(
            f"none of {len(candidates)} candidate inputs has latents that are clear of rounding; give other inputs= "
            "(real activations of the site)."
        )
    latents = sae.encode(rows)
    on = latents.nonzero()
    tensors = {
        "inputs": rows,
        "latent_rows": on[:, 0].to(torch.int32).contiguous(),
        "latent_columns": on[:, 1].to(torch.int32).contiguous(),
        "latent_values": latents[on[:, 0], on[:, 1]],
        "reconstruction": sae(rows),
    }
    return save({k: v.cpu() for k, v in tensors.items()}, metadata={"config": _canonical(sae.config.to_dict())})


def check_golden(sae: SAE, data: bytes) -> None:
    """Compare the SAE with the golden vectors it was saved with.

    Raises:
        SaeMismatch: the config is not the one it was saved with (the fields are named), or latents or
            reconstructions differ.
        CorruptArtifact: the golden file is not whole.
    """
    expected, stated = _parse(data)
    now = sae.config.to_dict()
    keys = dict.fromkeys([*now, *stated])
    changed = [
        f"{key} was {stated.get(key)!r}, now {now.get(key)!r}" for key in keys if stated.get(key) != now.get(key)
    ]
    if changed:
        raise SaeMismatch(f"the config is not the one this SAE was saved with: {'; '.join(changed)}.")
    compare_golden(sae, expected)


def compare_golden(sae: SAE, expected: dict[str, Tensor]) -> None:
    """Compare numbers alone: active latents exactly, values to 3e-5 of the largest. Raises SaeMismatch."""
    inputs = expected["inputs"]
    latents = sae.encode(inputs).cpu()
    wanted = torch.zeros_like(latents)
    wanted[expected["latent_rows"].long(), expected["latent_columns"].long()] = expected["latent_values"]
    differ = ((latents > 0) != (wanted > 0)).sum(dim=1)
    if bool(differ.any()):
        row = int(differ.argmax())
        raise SaeMismatch(
            f"golden input {row}: {int(differ[row])} latents are on where they were off, or off where they were on. "
            "The weights are used under another convention than they were saved with."
        )
    _close(latents, wanted, "latents")
    _close(sae(inputs).cpu(), expected["reconstruction"], "reconstruction")


def _close(found: Tensor, wanted: Tensor, what: str) -> None:
    scale = wanted.abs().amax(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
    off = (found - wanted).abs().amax(dim=1) / scale
    if not bool((off <= TOLERANCE).all()):  # a NaN is not within the tolerance either
        raise SaeMismatch(
            f"golden input {int(off.argmax())}: the {what} differ by {float(off.max()):.2g} of the largest value "
            f"(allowed {TOLERANCE:g}). The weights are used under another convention than they were saved with."
        )


def _steady(sae: SAE, rows: Tensor, rng: np.random.Generator) -> Tensor:
    """Return a mask of the rows that activate something, and the same latents after changes of 1e-5."""
    on = sae.encode(rows).cpu() > 0
    steady = on.any(dim=1)
    size = rows.abs().amax(dim=1, keepdim=True)
    for _ in range(4):
        jitter = torch.from_numpy(rng.uniform(-1, 1, tuple(rows.shape))).float()
        steady &= ((sae.encode(rows + jitter * size * _JITTER).cpu() > 0) == on).all(dim=1)
    return steady


def _parse(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        tensors = load(data)
        metadata = _metadata(data)
        stated = json.loads(metadata["config"])
        refuse_keys(tensors, _TENSORS, what=FILE)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CorruptArtifact(f"{FILE} is not a whole golden file: {error}.") from None
    return tensors, stated


def _metadata(data: bytes) -> dict[str, str]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length])["__metadata__"]


def _canonical(value: dict[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)
