"""How many bits do labels take, once a probe that saw the earlier ones predicts the next: a minimum description length.

L = n_1 log2 K - sum over blocks of log2 p(labels of the block | a probe fitted on all earlier blocks)

The first block of n_1 labels is sent as it is. Easy labels make L small early; compression is n log2 K / L, above 1
where x tells something of the labels. The penalty of each block's probe is the one that would have coded the earlier
blocks best, so the code could really be sent.

Reference: Voita & Titov 2020, section 2.2 (online code); Dawid 1984 (prequential choice).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from interp.errors import InvalidInput
from interp.stats.multinomial import fit_multinomial

FRACTIONS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)
RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


@dataclass(frozen=True)
class OnlineCode:
    """What sending n labels costs.

    Args:
        bits: of the online code. uniform_bits: n log2 K, without a probe.
        ends: [block], number of labels sent after each block. block_bits: [block].
        ridges: [block], penalty of each probe; NaN for the first block.
    """

    bits: float
    uniform_bits: float
    ends: np.ndarray
    block_bits: np.ndarray
    ridges: np.ndarray

    @property
    def compression(self) -> float:
        """Bits without a probe over bits with it."""
        return self.uniform_bits / self.bits


def online_code(
    x: Any,
    codes: Any,
    *,
    n_classes: int,
    fractions: Sequence[float] = FRACTIONS,
    ridges: Sequence[float] = RIDGES,
) -> OnlineCode:
    """Return the code length of labels, sent in the order of the rows: shuffle rows (or whole groups) before.

    Args:
        x: [n, d]; each block's probe standardises it by the rows before.
        codes: int [n].
        n_classes: K, known to the receiver.
        fractions: ends of the blocks as shares of n, the last one 1; blocks of no row are left out.
        ridges: penalties to choose from, on standardised columns.

    Raises:
        InvalidInput: shapes that do not fit, fewer than 2 classes, or fractions that do not rise to 1.
    """
    x, codes = np.asarray(x, dtype=np.float64), np.asarray(codes)
    if x.ndim != 2 or codes.shape != x.shape[:1] or n_classes < 2:
        raise InvalidInput(f"online_code needs x [n, d], a code a row, 2 classes or more; {x.shape}, {n_classes}.")
    if list(fractions) != sorted(fractions) or not fractions or fractions[0] <= 0 or fractions[-1] != 1.0:
        raise InvalidInput(f"fractions rise from above 0 to 1; given {tuple(fractions)}.")
    ends = np.unique(np.ceil(np.asarray(fractions) * len(x)).astype(int))
    spent = np.zeros(len(ridges))  # bits that each penalty would have needed so far
    bits, chosen = [ends[0] * np.log2(n_classes)], [np.nan]
    for start, end in pairwise(ends):
        each = _block_bits(x[:end], codes[:end], start, n_classes, ridges)
        best = int(spent.argmin()) if spent.any() else len(ridges) - 1  # before anything is known, the strongest
        bits.append(each[best])
        chosen.append(ridges[best])
        spent += each
    return OnlineCode(float(np.sum(bits)), len(x) * np.log2(n_classes), ends, np.array(bits), np.array(chosen))


def _block_bits(x: np.ndarray, codes: np.ndarray, start: int, n_classes: int, ridges: Sequence[float]) -> np.ndarray:
    """Return the bits of rows from `start` on by probes on the rows before, one a penalty.

    A share 1 / (rows before + 1) of the chance is spread over all classes: one that never came is not impossible.
    """
    seen, present = x[:start], np.unique(codes[:start])
    chances = np.zeros((len(ridges), len(x) - start, n_classes))
    if len(present) < 2 or start < 2:
        chances[:, :, present] = 1.0
    else:
        mean, sd = seen.mean(axis=0), seen.std(axis=0)
        z = (x - mean) / np.where(sd > 1e-10 * np.maximum(1.0, np.abs(mean)), sd, np.inf)
        local = np.searchsorted(present, codes[:start])
        for i, ridge in enumerate(ridges):
            fitted = fit_multinomial(z[:start], local, ridge=ridge, n_classes=len(present), tolerance=1e-6)
            chances[i][:, present] = np.exp(fitted.log_chances(z[start:])[0])
    share = 1 / (start + 1)
    chances = (1 - share) * chances + share / n_classes
    own = np.take_along_axis(chances, codes[None, start:, None], axis=2)[:, :, 0]
    return -np.log2(own).sum(axis=1)
