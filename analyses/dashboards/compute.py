"""Statistics of one latent from the tokens at which it is on: how often, how strongly, where, and with which others."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse, special

from interp.sae.density import DENSE
from interp.stats.intervals import wilson_interval


class Events(NamedTuple):
    """Tokens at which a latent is on: rows int64 [n_on], ascending, and its activations there, float64 [n_on]."""

    rows: np.ndarray
    values: np.ndarray


class Activity(NamedTuple):
    """How often and how strongly a latent is on; the interval is Wilson's 95 %, over tokens."""

    n: int
    n_on: int
    density: float
    ci_low: float
    ci_high: float
    largest: float
    mean: float
    status: str


class Interval(NamedTuple):
    """An interval (low, high] of activation: tokens in it, their share of all at which the latent is on, a draw."""

    low: float
    high: float
    n: int
    share: float
    drawn: np.ndarray
    """int64, positions in `Events`, the first of a random order."""

    def weight(self, shown: int) -> float:
        """Return how many tokens each of the first `shown` stands for: weighted means estimate those of all."""
        return self.n / min(shown, self.n)


class LogitPanel(NamedTuple):
    """Tokens whose logits a latent raises and lowers most (id, logit), and how all weights are spread."""

    top: pd.DataFrame
    bottom: pd.DataFrame
    counts: np.ndarray
    edges: np.ndarray


def events_of(matrix: sparse.csc_matrix, latent: int) -> Events:
    """Return the events of a column of [n_tokens, d_sae] with sorted indices."""
    at = slice(matrix.indptr[latent], matrix.indptr[latent + 1])
    return Events(matrix.indices[at].astype(np.int64), matrix.data[at].astype(np.float64))


def activity(events: Events, n: int) -> Activity:
    """Return density and size of a latent on n tokens; status is ok, dead (never on) or dense (above 10 %)."""
    n_on = len(events.rows)
    low, high = wilson_interval(n_on, n)
    status = "dead" if n_on == 0 else "dense" if n_on > DENSE * n else "ok"
    largest, mean = (float(events.values.max()), float(events.values.mean())) if n_on else (float("nan"),) * 2
    return Activity(n, n_on, n_on / n, low, high, largest, mean, status)


def strongest(events: Events, text_index: np.ndarray, k: int) -> np.ndarray:
    """Return the k strongest events, int64 positions, at most one a text; of equal ones the first.

    Args:
        text_index: int [n_tokens], the text of each token.
    """
    order = np.argsort(-events.values, kind="stable")
    _, first = np.unique(text_index[events.rows[order]], return_index=True)
    return order[np.sort(first)[:k]]


def intervals(events: Events, *, n_intervals: int, per_interval: int, seed: Any) -> list[Interval]:
    """Return equal intervals from 0 to the largest activation, the highest first; empty ones are left out.

    Examples by interval show what the largest activations hide: concepts that drive the latent less strongly.
    """
    if not len(events.values):
        return []
    largest, n_on = events.values.max(), len(events.values)
    place = np.minimum((events.values / largest * n_intervals).astype(np.int64), n_intervals - 1)
    shuffled = np.random.default_rng(seed).permutation(n_on)
    found = []
    for i in reversed(np.unique(place)):
        inside = shuffled[place[shuffled] == i]
        low, high = largest * i / n_intervals, largest * (i + 1) / n_intervals
        found.append(Interval(low, high, len(inside), len(inside) / n_on, inside[:per_interval]))
    return found


def token_table(events: Events, ids: np.ndarray, counts: np.ndarray, k: int) -> pd.DataFrame:
    """Return the k tokens with the largest summed activation: id, mass (share of the sum), n_on, n (occurrences).

    Args:
        ids: int [n_tokens].
        counts: int [d_vocab], occurrences of each id.
    """
    found, where, n_on = np.unique(ids[events.rows], return_inverse=True, return_counts=True)
    mass = np.bincount(where, weights=events.values, minlength=len(found)) / max(events.values.sum(), 1e-300)
    best = np.argsort(-mass, kind="stable")[:k]
    return pd.DataFrame({"id": found[best], "mass": mass[best], "n_on": n_on[best], "n": counts[found[best]]})


def logit_panel(logits: np.ndarray, k: int, n_bins: int = 40) -> LogitPanel:
    """Return the k largest and smallest of logit weights [d_vocab] and their histogram."""
    order = np.argsort(logits, kind="stable")
    top, bottom = order[::-1][:k], order[:k]
    counts, edges = np.histogram(logits, n_bins)
    raised, lowered = (pd.DataFrame({"id": ids, "logit": logits[ids]}) for ids in (top, bottom))
    return LogitPanel(raised, lowered, counts, edges)


def coactive(matrix: sparse.csc_matrix, latents: np.ndarray, n: int, k: int) -> list[pd.DataFrame]:
    """Return for each of some latents the k others most often on together with it, by the phi coefficient.

    Returns:
        Tables with latent, both (tokens at which both are on), expected (n_i n_j / n: what shuffled activations give
        in the mean), phi (the correlation of on and off).
    """
    on = sparse.csc_matrix((np.ones(matrix.nnz, np.float64), matrix.indices, matrix.indptr), shape=matrix.shape)
    sizes = np.diff(matrix.indptr).astype(np.float64)
    both = (on[:, latents].T @ on).toarray()
    tables = []
    for row, latent in zip(both, latents, strict=True):
        spread = np.sqrt(sizes[latent] * (n - sizes[latent]) * sizes * (n - sizes))
        phi = np.divide(n * row - sizes[latent] * sizes, spread, out=np.full_like(row, -np.inf), where=spread > 0)
        phi[latent] = -np.inf
        best = np.argsort(-phi, kind="stable")[:k]
        best = best[row[best] > 0]
        expected = sizes[latent] * sizes[best] / n
        tables.append(
            pd.DataFrame({"latent": best, "both": row[best].astype(int), "expected": expected, "phi": phi[best]})
        )
    return tables


def nearest_rows(
    directions: np.ndarray, others: np.ndarray, k: int, name: str, *, two_sided: bool
) -> list[pd.DataFrame]:
    """Return for each direction [n, d] the k rows of `others` [m, d] with the largest cosine: columns `name`, cosine.

    Args:
        two_sided: rank by |cosine|; a row of length 0 is never near.
    """
    cosine = _unit(directions) @ _unit(others).T
    score = np.abs(cosine) if two_sided else cosine
    best = np.argsort(-score, axis=1, kind="stable")[:, :k]
    return [pd.DataFrame({name: at, "cosine": row[at]}) for at, row in zip(best, cosine, strict=True)]


def random_largest_cosine(d: int, n: int, quantile: float, *, two_sided: bool) -> float:
    """Return a quantile of the largest (absolute) cosine of a direction with n random ones in d dimensions.

    The square of one cosine is Beta(1/2, (d - 1)/2); of n independent ones P(all <= c) = P(one <= c)^n. Exact for
    isotropic directions; those of a network are not, so it is the least to expect and no test.
    """
    if n < 1 or d < 2:
        return float("nan")
    below = quantile ** (1 / n)
    inside = below if two_sided else 2 * below - 1  # P(|cosine| <= c)
    return float(np.sqrt(special.betaincinv(0.5, (d - 1) / 2, inside))) if inside > 0 else 0.0


def _unit(rows: np.ndarray) -> np.ndarray:
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, size, out=np.zeros_like(rows, dtype=np.float64), where=size > 0)
