"""Models whose answers are planted: logits are a given function of the ids, so every figure is known beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from interp.testing import tiny_tokenizer

LogitsOf = Callable[[np.ndarray], np.ndarray]


class PlantedModel:
    """What the measurements use of a `Model`, with logits [batch, pos, d_vocab] = `function`(ids [batch, pos])."""

    def __init__(self, function: LogitsOf, *, tokenizer: Any = None, d_vocab: int | None = None, n_ctx: int = 64):
        self.tokenizer = tiny_tokenizer() if tokenizer is None else tokenizer
        self.d_vocab = len(self.tokenizer) if d_vocab is None else d_vocab
        self.function, self.n_ctx, self.bos, self.name = function, n_ctx, "always", "planted"
        self.bridge, self.device, self.passes = None, torch.device("cpu"), 0

    def logits(self, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        self.passes += 1
        assert mask is None or mask.shape == ids.shape
        return torch.from_numpy(self.function(ids.numpy()))


def uniform(d_vocab: int) -> LogitsOf:
    """Every token as likely as any other."""
    return lambda ids: np.zeros((*ids.shape, d_vocab))


def knows(d_vocab: int, answers: Callable[[list[int]], int], *, margin: float = 20.0) -> LogitsOf:
    """After each prefix, the token `answers(prefix)` leads by `margin`."""

    def logits(ids: np.ndarray) -> np.ndarray:
        out = np.zeros((*ids.shape, d_vocab))
        for r, row in enumerate(ids.tolist()):
            for j in range(len(row)):
                out[r, j, answers(row[: j + 1])] = margin
        return out

    return logits
