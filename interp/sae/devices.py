"""Where a training run computes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from interp.errors import InvalidInput

Device = str | torch.device | None


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
