"""Are units of an MLP, or latents, in groups that work together? Scores of groupings, beside random ones. Pure.

A grouping by what units read, and one by when they are on, are asked three things: how little is lost when the few
most active groups of each token speak alone, how much a group is on in one domain, and whether the two groupings are
one. Random groups of equal size answer what groups give that mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analyses.polysemanticity.grouping import adjusted_rand
from analyses.polysemanticity.neuron_experts import emergent_experts, route_experts
from interp.errors import InvalidInput

WEIGHTS, TOGETHER = "weights", "co-activation"
FVU, DOMAIN_SHARE, AGREEMENT = "fvu", "domain share", "agreement"
N_BOOT = 200


def expert_scores(
    activations: np.ndarray,
    keys: np.ndarray,
    writes: np.ndarray,
    *,
    text_index: np.ndarray,
    domains: Sequence[str] | None = None,
    n_experts: int = 16,
    kept: Sequence[float] = (0.25, 0.5),
    n_random: int = 9,
    seed: int,
) -> pd.DataFrame:
    """Return scores of the experts of a layer, by weights and by co-activation.

    Co-activation is that on texts of even number; scores are of the others.

    Args:
        activations: float [n_tokens, n_units].
        keys: float [n_units, d], what units read (rows of W_in), or write (rows of W_dec).
        writes: float [n_units, d_model], what they add for each unit of activation.
        text_index: int [n_tokens], ascending; intervals and domains are over texts.
        domains: domain of each text; None: domain shares are left out.
        n_experts: groups, of equal size. kept: shares of them that speak.
        n_random: random groupings of the same sizes.

    Returns:
        split ("weights", "co-activation"), score, k (groups that speak), value, ci_low, ci_high (95 %, over texts),
        null_mean, null_sd (random groupings), z, p (see `against`), n (tokens that are judged), n_texts, n_units,
        n_experts, n_random, seed, status. Scores: "fvu", share of the variance of what is written that is lost when the
        k groups of largest mean activation speak; "domain share", largest share of a group's activation that one domain
        has (domains of equal weight), mean over groups; "agreement", adjusted Rand index of the two splits.

    Raises:
        InvalidInput: fewer units than groups, or fewer than two texts.
    """
    a, text = np.asarray(activations, dtype=np.float64), np.asarray(text_index)
    if not 2 <= n_experts <= a.shape[1]:
        raise InvalidInput(f"{n_experts} groups of {a.shape[1]} units; give 2 to as many as there are units.")
    first = text % 2 == 0
    if first.all() or not first.any():
        raise InvalidInput("groups are made on every other text and judged on the rest; give two texts or more.")
    seen = a[first] - a[first].mean(axis=0)
    splits = {
        WEIGHTS: emergent_experts(keys, n_experts, seed=seed),
        TOGETHER: emergent_experts(seen.T, n_experts, seed=seed),
    }
    a, text = a[~first], text[~first]
    rng = np.random.default_rng([seed, 8])
    random = [rng.permutation(splits[WEIGHTS]) for _ in range(n_random)]
    ks = sorted({max(1, round(share * n_experts)) for share in kept})
    scorers: list[tuple[str, int, Any]] = [(FVU, k, _Fidelity(a, writes, text, k)) for k in ks]
    if domains is not None:
        scorers.append((DOMAIN_SHARE, n_experts, _DomainShare(a, text, domains, seed)))
    rows = []
    for score, k, scorer in scorers:
        null = np.array([scorer.value(experts) for experts in random])
        better = "smaller" if score == FVU else "larger"
        for name, experts in splits.items():
            value, (low, high) = scorer.value(experts), scorer.interval(experts)
            row = {"split": name, "score": score, "k": k, "value": value, "ci_low": low, "ci_high": high}
            rows.append(row | against(value, null, better=better))
    null = np.array([adjusted_rand(splits[TOGETHER], experts) for experts in random])
    same = adjusted_rand(splits[WEIGHTS], splits[TOGETHER])
    both = {"split": f"{WEIGHTS} and {TOGETHER}", "score": AGREEMENT, "k": n_experts, "value": same}
    rows.append(both | {"ci_low": np.nan, "ci_high": np.nan} | against(same, null, better="larger"))
    about = {"n": len(a), "n_texts": len(np.unique(text)), "n_units": a.shape[1], "n_experts": n_experts}
    return pd.DataFrame(rows).assign(**about, n_random=n_random, seed=seed)


def against(value: float, null: np.ndarray, *, better: str) -> dict[str, Any]:
    """Return null_mean, null_sd, z, p and status of a value beside a few random ones.

    p is that a further random one would be as good: Student's t with one degree of freedom less than there are random
    ones, for (value - mean) / (sd sqrt(1 + 1/n)), the random ones taken to be normal.
    """
    n = len(null)
    mean, sd = (float(null.mean()) if n else np.nan), (float(null.std(ddof=1)) if n > 1 else np.nan)
    spread = sd > 1e-12 * max(abs(mean), 1e-300)
    z = (value - mean) / sd if spread else np.nan
    found = {"null_mean": mean, "null_sd": sd, "z": z}
    if n < 3 or not spread:
        return found | {"p": np.nan, "status": "fewer than 3 random ones" if n < 3 else "random ones are all equal"}
    t = z / np.sqrt(1 + 1 / n)
    return found | {"p": float(stats.t.sf(t if better == "larger" else -t, n - 1)), "status": "ok"}


class _Fidelity:
    """What is lost of the output when k groups speak, with an interval over texts (ratio estimator)."""

    def __init__(self, a: np.ndarray, writes: np.ndarray, text: np.ndarray, k: int) -> None:
        self.a, self.W, self.k = a.astype(np.float32), np.asarray(writes, dtype=np.float32), k
        self.starts = np.flatnonzero(np.diff(text, prepend=text[0] - 1))
        self.whole = self.a @ self.W
        self.total = self._by_text(self.whole - self.whole.mean(axis=0))

    def _by_text(self, x: np.ndarray) -> np.ndarray:
        return np.add.reduceat(np.einsum("td,td->t", x, x, dtype=np.float64), self.starts)

    def _lost(self, experts: np.ndarray) -> np.ndarray:
        return self._by_text(route_experts(self.a, experts, self.k).astype(np.float32) @ self.W - self.whole)

    def value(self, experts: np.ndarray) -> float:
        return float(self._lost(experts).sum() / self.total.sum())

    def interval(self, experts: np.ndarray) -> tuple[float, float]:
        lost = self._lost(experts)
        value, n = float(lost.sum() / self.total.sum()), len(lost)
        rest = lost - value * self.total
        half = float(1.96 * np.sqrt(n / (n - 1) * (rest**2).sum()) / self.total.sum()) if n > 1 else float("nan")
        return value - half, value + half


class _DomainShare:
    """How much of a group's activation one domain has, with a bootstrap interval over texts."""

    def __init__(self, a: np.ndarray, text: np.ndarray, domains: Sequence[str], seed: int) -> None:
        starts = np.flatnonzero(np.diff(text, prepend=text[0] - 1))
        of_text = np.asarray(domains, dtype=object)[text[starts]]
        self.member = (of_text[:, None] == np.unique(of_text.astype(str))[None]).astype(np.float64)
        size = np.abs(a)
        largest = size.max(axis=0)
        scaled = size / np.where(largest > 0, largest, 1.0)  # no unit speaks for its group by its scale
        self.sums, self.counts = np.add.reduceat(scaled, starts, axis=0), np.diff(np.append(starts, len(a)))
        rng = np.random.default_rng([seed, 9])
        n = len(starts)
        self.draws = rng.multinomial(n, np.full(n, 1 / n), size=N_BOOT).astype(np.float64)

    def _mean(self, by_text: np.ndarray, weight: np.ndarray) -> float:
        inside = self.member * weight[:, None]
        tokens = inside.T @ self.counts
        means = (inside.T @ by_text)[tokens > 0] / tokens[tokens > 0, None]
        total = means.sum(axis=0)
        return float((means.max(axis=0) / np.where(total > 0, total, 1.0))[total > 0].mean())

    def _by_text(self, experts: np.ndarray) -> np.ndarray:
        return self.sums @ np.eye(int(experts.max()) + 1)[experts]

    def value(self, experts: np.ndarray) -> float:
        return self._mean(self._by_text(experts), np.ones(len(self.sums)))

    def interval(self, experts: np.ndarray) -> tuple[float, float]:
        by_text = self._by_text(experts)
        drawn = np.array([self._mean(by_text, weight) for weight in self.draws])
        # of fewer different texts the largest of several shares is larger: only the spread is taken from the samples
        low, high = self.value(experts) + np.percentile(drawn, [2.5, 97.5]) - drawn.mean()
        return float(low), float(high)
