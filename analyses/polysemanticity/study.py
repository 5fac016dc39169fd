"""What the polysemanticity study of a run asks, and the shares that answer it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analyses.polysemanticity.concepts import AuditConfig
from analyses.polysemanticity.verdicts import MONO, POLY, UNDECIDED, UNTESTED
from interp.stats.corrections import benjamini_hochberg
from interp.stats.intervals import wilson_interval

TRAINED, RANDOM, DIRECTIONS = "trained", "random weights", "random directions"
CONDITIONS = (TRAINED, RANDOM, DIRECTIONS)
KINDS = ("neuron", "head", "latent")


@dataclass(frozen=True)
class StudyConfig:
    """Choices that change the numbers of the study."""

    n_texts: int = 1200
    n_choosing: int = 600
    """Of them, those on which the units of a domain are chosen."""
    n_units: int = 200
    """Neurons, and latents, drawn at random; heads are all audited."""
    n_controls: int = 100
    """Of them, those audited in the twin; and random directions."""
    n_candidates: int = 1000
    """Latents, or neurons where there is no SAE, among which the units of one concept are found that are mixed."""
    n_mixtures: int = 20
    """Planted mixtures of each kind, for the power of the audit."""
    n_masked: int = 64
    """Neurons, and latents, that stand for a domain."""
    n_domain_texts: int = 10
    """Texts of a domain on which masks are judged."""
    n_random_masks: int = 5
    n_expert_texts: int = 80
    """Texts on whose tokens units are grouped, and groups judged."""
    n_experts: int = 16
    """Groups of equal size that the units of a layer are in."""
    n_random_groups: int = 9
    seed: int = 0
    audit: AuditConfig = field(default_factory=lambda: AuditConfig(n_boot=10))

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain data."""
        return asdict(self)


def condition_of(verdicts: pd.DataFrame, condition: str) -> pd.DataFrame:
    """Return verdicts with the condition and the kind of unit that they belong to; directions are a condition."""
    present = set(verdicts["kind"])
    kinds = [kind for kind in KINDS if kind in present]
    is_direction = (verdicts["kind"] == "random direction").to_numpy()
    table = verdicts.assign(
        condition=np.where(is_direction, DIRECTIONS, condition),
        kind=np.where(is_direction, kinds[0], verdicts["kind"]),
    )
    return table.loc[:, ["condition", *verdicts.columns]]


def verdict_shares(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return the share of each verdict among the units that could be tested, by kind and condition.

    Returns:
        kind, condition, n (tested), n_untested, n_polysemantic, share and ci_low, ci_high (polysemantic, 95 %,
        Wilson), n_monosemantic, share_monosemantic with its mono_low, mono_high, n_undecided, p (Fisher's exact test
        that the share of polysemantic units is that of the trained model's, two-sided), q (Benjamini-Hochberg over
        the table), status.
    """
    rows = []
    for kind in KINDS:
        own = _counts(verdicts, kind, TRAINED)
        for condition in CONDITIONS:
            found = _counts(verdicts, kind, condition)
            if found is None or own is None:
                continue
            p, status = np.nan, "what the others are compared with" if condition == TRAINED else "none tested"
            if condition != TRAINED and found["n"] and own["n"]:
                pair = [[c["n_polysemantic"], c["n"] - c["n_polysemantic"]] for c in (own, found)]
                p, status = float(stats.fisher_exact(pair)[1]), "ok"  # type: ignore[index]
            rows.append({"kind": kind, "condition": condition, **found, "p": p, "status": status})
    table = pd.DataFrame(rows)
    return table.assign(q=benjamini_hochberg(table["p"].to_numpy()))


def _counts(verdicts: pd.DataFrame, kind: str, condition: str) -> dict[str, Any] | None:
    part = verdicts.loc[(verdicts["kind"] == kind) & (verdicts["condition"] == condition), "verdict"]
    if part.empty:
        return None
    number: Mapping[str, int] = part.value_counts().to_dict()
    poly, mono, open_ = (int(number.get(verdict, 0)) for verdict in (POLY, MONO, UNDECIDED))
    n = poly + mono + open_
    out: dict[str, Any] = {"n": n, "n_untested": int(number.get(UNTESTED, 0))}
    for name, share, low, high, hits in (
        ("n_polysemantic", "share", "ci_low", "ci_high", poly),
        ("n_monosemantic", "share_monosemantic", "mono_low", "mono_high", mono),
    ):
        ends = wilson_interval(hits, n)
        out |= {name: hits, share: hits / n if n else np.nan, low: ends[0], high: ends[1]}
    return out | {"n_undecided": open_}
