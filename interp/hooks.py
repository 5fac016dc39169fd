"""Attach functions to hook points and take them off again, whatever happens in between.

A hook that outlives its use changes every later number without a sign, so this context manager is
the only way in. It removes exactly the hooks that it attached: hooks of the caller stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

HookFunction = Callable[[torch.Tensor], torch.Tensor | None]


@contextmanager
def attached(pairs: Sequence[tuple[Any, HookFunction]]) -> Iterator[None]:
    """Run the body with each function on its hook point.

    Args:
        pairs: (hook point, function); the function takes the tensor and returns None, or the tensor
            that takes its place. Functions on one hook point run in the order given.
    """
    handles: list[tuple[Any, Any]] = []
    try:
        for point, function in pairs:
            point.add_hook(_ignore_hook_argument(function))
            handles.append((point, point.fwd_hooks[-1]))
        yield
    finally:
        for point, handle in reversed(handles):
            handle.hook.remove()
            point.fwd_hooks = [kept for kept in point.fwd_hooks if kept is not handle]


def _ignore_hook_argument(function: HookFunction) -> Callable[..., torch.Tensor | None]:
    # A hook learns its canonical name there, not the one it was asked for: never read it.
    def call(tensor: torch.Tensor, hook: Any) -> torch.Tensor | None:
        return function(tensor)

    return call
