"""How good guessed coordinates are, with an interval that resamples whole cells of the map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from interp.atlas.measure.rows import name_words
from interp.atlas.world import EARTH_KM, unit_xyz

Interval = tuple[float, float]


def great_circle_km(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the distance in km of each pair of places (latitude, longitude in degrees), float64 [place].

    A latitude beyond a pole counts as the pole.
    """
    first, second = (unit_xyz(np.clip(p[:, 0], -90, 90), p[:, 1]) for p in (np.asarray(a, float), np.asarray(b, float)))
    chord = np.linalg.norm(first - second, axis=1) / 2
    return 2 * EARTH_KM * np.arcsin(np.clip(chord, 0, 1))


def r2(y: np.ndarray, guess: np.ndarray) -> float:
    """Return 1 - sum (y - guess)² / sum (y - mean y)² over all places [place]; NaN where y is constant."""
    y, guess = np.asarray(y, dtype=np.float64), np.asarray(guess, dtype=np.float64)
    total = float(((y - y.mean()) ** 2).sum()) if len(y) else 0.0
    return 1 - float(((y - guess) ** 2).sum()) / total if total > 0 else np.nan


@dataclass(frozen=True)
class Resampled:
    """Bootstrap draws of whole blocks of places: `times` float64 [draw, block], `block` int64 [place]."""

    block: np.ndarray
    times: np.ndarray

    def _sums(self, values: np.ndarray) -> np.ndarray:
        return self.times @ np.bincount(self.block, weights=values, minlength=self.times.shape[1])

    def r2_interval(self, y: np.ndarray, guess: np.ndarray) -> Interval:
        """Return the percentile 95 % interval of `r2` over the draws."""
        y, guess = np.asarray(y, dtype=np.float64), np.asarray(guess, dtype=np.float64)
        centred = y - y.mean()  # so that the variance is no small difference of large sums
        n, first, second = (self._sums(values) for values in (np.ones(len(y)), centred, centred**2))
        total = second - first**2 / n
        return _percentiles(
            np.where(total > 0, 1 - self._sums((y - guess) ** 2) / np.where(total > 0, total, 1), np.nan)
        )

    def median_interval(self, values: np.ndarray) -> Interval:
        """Return the percentile 95 % interval of the (lower) median over the draws."""
        order = np.argsort(values, kind="stable")
        running = np.cumsum(self.times[:, self.block[order]], axis=1)
        return _percentiles(np.asarray(values)[order][(running >= running[:, -1:] / 2).argmax(axis=1)])


def resample(blocks: np.ndarray, *, seed: int, n_boot: int = 1000) -> Resampled:
    """Draw as many blocks as there are, with replacement, `n_boot` times.

    Reference: Efron (1979); blocks of neighbours: Hall (1985), for data that are alike where they are near.
    """
    labels, block = np.unique(blocks, return_inverse=True)
    rng = np.random.default_rng(np.random.SeedSequence([seed, *name_words("blocks")]))
    times = rng.multinomial(len(labels), np.full(len(labels), 1 / len(labels)), size=n_boot)
    return Resampled(block, times.astype(np.float64))


def _percentiles(values: np.ndarray) -> Interval:
    if np.isnan(values).all():
        return np.nan, np.nan
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
