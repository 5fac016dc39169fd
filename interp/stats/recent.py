"""Keep the last few results of a pure function of arrays: the same covariates and permutations serve many calls."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any, ParamSpec

import numpy as np

P = ParamSpec("P")
_LARGEST = 128_000_000  # bytes of a result; larger ones are made anew


def keep_recent(n: int) -> Callable[[Callable[P, np.ndarray]], Callable[P, np.ndarray]]:
    """Decorate a pure function that returns an array, so that its last `n` results are kept; they are read-only."""

    def decorate(function: Callable[P, np.ndarray]) -> Callable[P, np.ndarray]:
        kept: OrderedDict[Any, np.ndarray] = OrderedDict()

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> np.ndarray:
            key = (tuple(map(_digest, args)), tuple((name, _digest(value)) for name, value in sorted(kwargs.items())))
            if key in kept:
                kept.move_to_end(key)
                return kept[key]
            result = function(*args, **kwargs)
            result.flags.writeable = False
            if result.nbytes <= _LARGEST:
                kept[key] = result
                while len(kept) > n:
                    kept.popitem(last=False)
            return result

        return call

    return decorate


def _digest(value: Any) -> Any:
    if isinstance(value, Hashable):
        return value
    content = np.ascontiguousarray(value)  # arrays, and what is read as one: lists, frames
    if content.dtype == object:  # bytes of an object array are addresses
        content = content.astype(str)
    return content.dtype.str, content.shape, hashlib.blake2b(content.tobytes(), digest_size=16).digest()
