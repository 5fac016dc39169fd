"""The best n of rows whose scores are known as intervals: which are certain, and which have to be looked at whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from interp.errors import InvalidInput


@dataclass(frozen=True)
class CertifiedTop:
    """certain: rows that are among the best n whatever the true scores are; straddling: rows that may be."""

    certain: np.ndarray
    straddling: np.ndarray

    @property
    def is_certified(self) -> bool:
        """Whether the best n are known."""
        return len(self.straddling) == 0


def certified_top(lower: np.ndarray, upper: np.ndarray, n: int) -> CertifiedTop:
    """Tell the certain members of the best n rows from those that only their whole codes can settle.

    A row is in where fewer than n others can reach its lower bound, and out where n others surely pass its upper.
    Of equal exact scores the earlier row is the better one, as everywhere here.

    Args:
        lower, upper: [row], lower <= upper.
        n: rows wanted.
    """
    if len(lower) != len(upper) or not 0 <= n <= len(lower):
        raise InvalidInput(f"n is 0 to the number of rows ({len(lower)}), not {n}.")
    order = np.argsort(-lower, kind="stable")
    if n in (0, len(lower)):
        return CertifiedTop(np.sort(order[:n]), np.zeros(0, dtype=np.int64))
    cut = lower[order[n - 1]]  # n rows surely reach it
    may = np.flatnonzero(upper >= cut)
    ahead = len(upper) - np.searchsorted(np.sort(upper), lower[may], side="left") - 1  # others that may reach its lower
    certain = may[ahead < n]
    left = np.setdiff1d(may, certain)
    exact = left[(lower[left] == upper[left]) & (lower[left] == cut)]
    if len(exact) == len(left):  # nothing but a tie of exact scores: order settles it
        return CertifiedTop(np.sort(np.concatenate([certain, exact[: n - len(certain)]])), np.zeros(0, dtype=np.int64))
    return CertifiedTop(certain, left)
