"""Inputs and targets of a transcoder as one array, so that one buffer shuffles them together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp.errors import InvalidInput
from interp.sae.buffer import Batches, OwnPart
from interp.sae.config import SaeConfig


def joined(batches: Batches | OwnPart | tuple[Any, Any], config: SaeConfig) -> Batches | OwnPart:
    """Return a stream of (x, y) pairs as a stream of [n, d_in + d_out] batches; an SAE's stream as it is.

    Args:
        batches: of a transcoder: as `open_source`, but each item a pair of [n, d_in] and [n, d_out]; or a pair of
            whole arrays [n, d_in] and [n, d_out].

    Raises:
        InvalidInput: an item that is no pair, or a pair of other shapes.
    """
    if not config.is_transcoder:
        if isinstance(batches, tuple):
            raise InvalidInput("pairs (x, y) are what a transcoder is trained on; state d_out in the config.")
        return batches
    if isinstance(batches, OwnPart):
        return OwnPart(lambda start: (_join(item, config) for item in batches(start)))
    if isinstance(batches, tuple):
        return _join(batches, config)
    if isinstance(batches, np.ndarray | Tensor):
        raise InvalidInput("a transcoder is trained on pairs: give (x, y), arrays [n, d_in] and [n, d_out].")
    if callable(batches):
        return lambda start: (_join(item, config) for item in batches(start))
    return _Joined(batches, config)


class _Joined:
    """An iterable of pairs that joins each when it is read, as often as the iterable itself can be read."""

    def __init__(self, pairs: Any, config: SaeConfig) -> None:
        self._pairs, self._config = pairs, config

    def __iter__(self) -> Iterator[Tensor]:
        return (_join(item, self._config) for item in self._pairs)


def _join(item: Any, config: SaeConfig) -> Tensor:
    if not isinstance(item, tuple) or len(item) != 2:
        given = f"{type(item).__name__} of {len(item)}" if isinstance(item, tuple | list) else type(item).__name__
        raise InvalidInput(f"a transcoder is trained on pairs (x, y); given a {given}.")
    x, y = (torch.as_tensor(part).detach().to(torch.float32) for part in item)
    wanted = (config.d_in, config.width_out)
    if x.ndim != 2 or y.ndim != 2 or (x.shape[1], y.shape[1]) != wanted or len(x) != len(y):
        raise InvalidInput(
            f"a pair is {list(x.shape)} and {list(y.shape)}; this transcoder is trained on [n, {wanted[0]}] and "
            f"[n, {wanted[1]}]."
        )
    return torch.cat([x, y.to(x.device)], dim=1)
