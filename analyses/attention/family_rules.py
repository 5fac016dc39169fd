"""The rule that names the family of a latent, from its evidence alone; thresholds are defaults and can be changed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from analyses.attention.relations import (
    BOS,
    DUPLICATE,
    INDUCTION,
    OTHER,
    PREVIOUS,
    RELATIONS,
    SELF,
    effective_number,
    shares,
)

FAMILIES = (
    "induction", "duplicate", "previous token", "token/position", "suppression", "local context", "long-range context",
    "mixed", "undecided", "no-DFA", "dead",
)  # fmt: skip
ORDER = (
    "dead: never on.",
    "undecided: on at fewer tokens than `min_events`.",
    "no-DFA: positive attribution is less than `min_dfa` of the activation; the bias speaks.",
    "induction, duplicate, previous token: the relation has at least `min_share` of the attribution (BOS left out), "
    "`min_lift` times its share under even attention, and `min_lead` times that of any other relation.",
    "token/position: the same of the token itself; or most attribution from BOS; or the current token or the position "
    "explains `min_variance` of the variance.",
    "suppression: the effect on the logits has skew below `max_skew` and excess kurtosis above `min_kurtosis`.",
    "local or long-range context: at least `min_share` comes from sources that stand in no literal relation but "
    "may open the text; half of the activation needs at most `local` or at least `long` tokens of context. Where "
    "too few activations were resampled the median distance of the attribution decides by the same bounds.",
    "mixed: two relations at least have `min_part` each, `min_lift` times their share under even attention.",
    "undecided: all else.",
)
LITERAL = (SELF, INDUCTION, DUPLICATE, PREVIOUS)
_NAMES = {INDUCTION: "induction", DUPLICATE: "duplicate", PREVIOUS: "previous token", SELF: "token/position"}


@dataclass(frozen=True)
class FamilyRule:
    """Thresholds of the rule; see `ORDER`."""

    min_events: int = 10
    min_dfa: float = 0.05
    min_share: float = 0.5
    min_lift: float = 2.0
    min_lead: float = 2.0
    min_part: float = 0.2
    min_variance: float = 0.5
    max_skew: float = -1.0
    min_kurtosis: float = 3.0
    local: float = 8.0
    long: float = 16.0

    def to_dict(self) -> dict[str, Any]:
        """Return the thresholds as a plain dict."""
        return asdict(self)


def relation_family(mass: np.ndarray, even: np.ndarray, rule: FamilyRule) -> np.ndarray:
    """Return the relation of `LITERAL` that passes the rule, int [...], for mass and even mass [..., 8]; -1: none."""
    share = np.nan_to_num(shares(mass, with_bos=False))
    uniform = np.nan_to_num(shares(even, with_bos=False))
    top = share.argmax(axis=-1)
    best = np.take_along_axis(share, top[..., None], -1)[..., 0]
    chance = np.take_along_axis(uniform, top[..., None], -1)[..., 0]
    second = np.sort(share, axis=-1)[..., -2]
    passes = (best >= rule.min_share) & (best >= rule.min_lift * chance) & (best >= rule.min_lead * second)
    return np.where(passes & np.isin(top, LITERAL), top, -1)


def family_of(row: dict[str, Any], rule: FamilyRule) -> tuple[str, str]:
    """Return the family and the reason, from one row of evidence; see `ORDER`.

    `row` holds: n, dfa_share, relation (of `relation_family`), share and uniform [8], bos_share, token_variance,
    position_variance, logit_skew, logit_kurtosis, w50, median_distance.
    """
    if row["n"] == 0:
        return "dead", "never on"
    if row["n"] < rule.min_events:
        return "undecided", f"on at {row['n']} tokens only"
    if not row["dfa_share"] >= rule.min_dfa:
        return "no-DFA", f"attribution is {row['dfa_share']:.2g} of the activation"
    share, relation = row["share"], row["relation"]
    if relation in _NAMES:
        return _NAMES[relation], f"{share[relation]:.2f} of the attribution from {RELATIONS[relation]} sources"
    if row["bos_share"] >= rule.min_share:
        return "token/position", f"{row['bos_share']:.2f} of the attribution from BOS"
    for kind in ("token", "position"):
        if row[f"{kind}_variance"] >= rule.min_variance:
            return "token/position", f"the {kind} explains {row[f'{kind}_variance']:.2f} of the variance"
    if row["logit_skew"] <= rule.max_skew and row["logit_kurtosis"] >= rule.min_kurtosis:
        return "suppression", f"effect on the logits has skew {row['logit_skew']:.2g}"
    free = 1.0 - float(share[list(LITERAL)].sum())
    if free >= rule.min_share:
        return _context(row, free, rule)
    lifted = [r for r in range(BOS + 1, OTHER) if share[r] >= max(rule.min_part, rule.min_lift * row["uniform"][r])]
    if len(lifted) >= 2:
        return "mixed", " and ".join(f"{share[r]:.2f} {RELATIONS[r]}" for r in lifted)
    return "undecided", f"no relation leads; effective number {float(effective_number(share)):.1f}"


def _context(row: dict[str, Any], free: float, rule: FamilyRule) -> tuple[str, str]:
    measured = not np.isnan(row["w50"])
    reach = row["w50"] if measured else row["median_distance"]
    what = "half of the activation needs" if measured else "median distance of the attribution is"
    if reach <= rule.local:
        return "local context", f"{what} {reach:.3g} tokens; {free:.2f} from sources in no literal relation"
    if reach >= rule.long:
        return "long-range context", f"{what} {reach:.3g} tokens; {free:.2f} from sources in no literal relation"
    return "undecided", f"{what} {reach:.3g} tokens, between local and long-range"
