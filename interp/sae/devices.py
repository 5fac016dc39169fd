"""Where a training run computes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from interp.errors import InvalidInput

Device = str | torch.device | None


def check_precision(precision: str, device: torch.device) -> None:
    """Raise InvalidInput for bfloat16 on a CPU that has no instructions for it: some forty times slower there."""
    if precision == "bfloat16" and device.type == "cpu" and not fast_bfloat16():
        raise InvalidInput("this CPU has neither AMX nor AVX512-BF16, without which bfloat16 is slow; give 'float32'.")


def fast_bfloat16() -> bool:
    """Return whether this CPU multiplies bfloat16 matrices in hardware."""
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def training_device(device: Device, batches: Any = None) -> torch.device:
    """Return the device that was asked for, or where none was, that of `batches` if it is a tensor, else the CPU.

    Raises:
        InvalidInput: no such device, or one that this machine or this build of torch does not have.
    """
    if device is None:
        return batches.device if isinstance(batches, Tensor) else torch.device("cpu")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InvalidInput(f"device is 'cpu', 'cuda' or 'cuda:1', not {device!r}.") from error
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise InvalidInput(f"device {str(device)!r}: torch sees {torch.cuda.device_count()} CUDA devices here.")
    return found
