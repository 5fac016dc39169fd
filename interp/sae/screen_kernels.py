"""Compiled loops under the screened top k: bounds of each latent from 16-bit products, then those that are left."""

from __future__ import annotations

import numba
import numpy as np

from interp.stats.moran_kernels import compiled

LANES = 64
"""Latents side by side; the number of latents is a multiple of it."""
ROUNDING = np.float32(0.004)
"""More than 2^-8 / (1 - 2^-8), the relative error of a number that was rounded to bfloat16."""
TINY = np.float32(1.2e-38)  # what is not positive is no latent


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def dot(a, row, b, other):
    """a[row] . b[other], float32."""
    total = np.float32(0)
    for i in range(a.shape[1]):
        total += a[row, i] * b[other, i]
    return total


@numba.njit(cache=True, nogil=True, fastmath={"nnan", "nsz"}, error_model="numpy")
def spread(bits, bias, norms, room, least, wide, low, high, tops):
    """Fill low and high (latent,) with bounds of the latents of a token, and tops (LANES,) with the largest low a lane.

    bits: int16 (latent,), bfloat16 numbers; |true - (number + bias)| <= room * norms + ROUNDING |number| + least.
    wide: int32 (latent,), room to work in.
    """
    rough = wide.view(np.float32)
    for j in range(bits.shape[0]):
        wide[j] = np.int32(bits[j]) << 16
    for j in range(bits.shape[0]):
        about = rough[j] + bias[j]
        off = room * norms[j] + ROUNDING * abs(rough[j]) + least
        low[j] = about - off
        high[j] = about + off
    for lane in range(LANES):
        tops[lane] = 0
    for start in range(0, bits.shape[0], LANES):
        for lane in range(LANES):
            tops[lane] = max(tops[lane], low[start + lane])


@compiled
def kth_largest(values, n, best):
    """Return the k-th largest of the first n values and the number of equal ones among the k; k = len(best) <= n."""
    k = best.shape[0]
    filled = 0
    for i in range(n):
        if filled == k:
            if values[i] <= best[k - 1]:
                continue
        else:
            filled += 1
        place = filled - 1
        while place > 0 and best[place - 1] < values[i]:
            best[place] = best[place - 1]
            place -= 1
        best[place] = values[i]
    last, equal = best[k - 1], 0
    for i in range(k):
        equal += best[i] == last
    return last, equal


@compiled
def settle(x, bits, rooms, weights, bias, norms, least, values, columns):
    """Fill values and columns (token, k) with the k largest latents that are positive, columns ascending.

    x: float32 (token, d_in); bits, rooms (token,), bias, norms, least: see `spread`; weights: float32 (latent, d_in).
    Of equal latents those of lower column. A row with fewer positive ones is filled with zeros at other columns.
    """
    n, width = bits.shape
    k = values.shape[1]
    wide, low, high = np.empty(width, np.int32), np.empty(width, np.float32), np.empty(width, np.float32)
    tops, best = np.empty(LANES, np.float32), np.empty(k, np.float32)
    found, kept = np.empty(width, np.int64), np.empty(width, np.float32)
    for i in range(n):
        spread(bits[i], bias, norms, rooms[i], least, wide, low, high, tops)
        # k latents in different lanes reach the k-th of the tops, so the k-th of all does
        cut = kth_largest(tops, LANES, best)[0] if k <= LANES else np.float32(0)
        cut = max(cut, TINY)
        m = 0
        for j in range(width):
            if high[j] >= cut:
                found[m], kept[m] = j, low[j]
                m += 1
        if m > k:
            cut = kth_largest(kept, m, best)[0]
            few = 0
            for c in range(m):
                if high[found[c]] >= cut:
                    found[few] = found[c]
                    few += 1
            m = few
        for c in range(m):
            kept[c] = dot(x, i, weights, found[c]) + bias[found[c]]
        choose(found, kept, m, best, values[i], columns[i])


@compiled
def choose(found, kept, m, best, values, columns):
    """Fill values and columns (k,) with the k largest of the m latents `found`, ascending, whose values are `kept`."""
    k = values.shape[0]
    last, equal = kth_largest(kept, m, best) if m > k else (np.float32(-np.inf), 0)
    n = 0
    for c in range(m):
        if kept[c] > last or (kept[c] == last and equal > 0):
            equal -= kept[c] == last
            values[n], columns[n] = max(kept[c], np.float32(0)), found[c]
            n += 1
    other = 0
    while n < k:  # columns that were not chosen, put in order
        at = n
        while at > 0 and columns[at - 1] > other:
            at -= 1
        if at == 0 or columns[at - 1] != other:
            for c in range(n, at, -1):
                values[c], columns[c] = values[c - 1], columns[c - 1]
            values[at], columns[at] = 0, other
            n += 1
        other += 1
