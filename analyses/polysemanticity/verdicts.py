"""Audit units: one thing, several, or undecided, with the evidence. Pure: activations and views in, a result out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analyses.polysemanticity.concepts import (
    ONE,
    SEVERAL,
    SHADES,
    UNSELECTIVE,
    AuditConfig,
    LateView,
    PairView,
    ReadView,
    View,
    concept_clusters,
)
from analyses.polysemanticity.sampling import (
    checked_activations,
    sample_activation_intervals,
    strongest_tokens,
    top_examples,
    unit_names,
)
from interp.errors import InvalidInput
from interp.result import Result

MONO, POLY, UNDECIDED, UNTESTED = "monosemantic", "polysemantic", "undecided", "not tested"
VERDICTS = (MONO, POLY, UNDECIDED)


def audit_units(
    activations: np.ndarray,
    views: Mapping[str, View | LateView],
    *,
    text_index: np.ndarray,
    units: Sequence[str] | None = None,
    tokens: Sequence[str] | np.ndarray | None = None,
    decisive: Sequence[str] | None = None,
    unifying: Sequence[str] | None = None,
    config: AuditConfig | None = None,
) -> Result:
    """Return a verdict on each unit.

    Examples are drawn evenly over the activation intervals of a unit, one a text, and clustered in every view.
    Monosemantic: a unifying view says "one". Polysemantic: none of them says "one" or "shades of one", and a decisive
    view says "several". Else undecided.

    Args:
        activations: float [n_tokens, n_units]; only what is positive counts as on.
        views: name -> array with a row a token, `PairView`, function of a unit and rows, or `LateView`; see
            `example_views`.
        text_index: int [n_tokens], ascending: the text of each token.
        units: names of the units; default their numbers.
        tokens: text of each token, for the description of clusters.
        decisive: views that may say "several"; default all. In a view of classes synonyms are as far apart as any two
            tokens, and one thing is followed by a comma or by a full stop, so such views are best left to say "one".
        unifying: views that may say "one"; default all. That one and the same earlier part drives a unit on all its
            examples does not make these one thing, so what wrote a unit is best left to say "several".

    Returns:
        Result "polysemanticity.audit": .table one row a unit: unit, verdict, reason, view (that decided), K, K_low,
        K_high, K_top (of the most active examples in the same view), n (examples), n_on (texts on which it is on),
        max, seed, status. .tables: views (`concept_clusters`), examples (with `text`), and of each `LateView` its parts
        under its name.

    Raises:
        InvalidInput, NonFinite: arrays that do not fit, or hold NaN.
    """
    config = config or AuditConfig()
    values = checked_activations(activations)
    text_index = np.asarray(text_index)
    names = unit_names(units, values.shape[1])
    _check_views(views, len(values))
    if unknown := {*(decisive or ()), *(unifying or ())} - set(views):
        raise InvalidInput(f"decisive or unifying views {sorted(unknown)} are none of the views {sorted(views)}.")
    examples = sample_activation_intervals(
        values, text_index=text_index, n_intervals=config.n_intervals, per_interval=config.per_interval,
        floor=config.floor, units=names, seed=config.seed,
    )  # fmt: skip
    background = draw_background(text_index, seed=config.seed)
    top = top_examples(values, text_index=text_index, k=config.n_intervals * config.per_interval)
    ready = _read(views, examples, top, background[: config.n_background])
    found = concept_clusters(examples, ready, background=background, config=config, names=tokens, units=names)
    count_only = replace(config, n_boot=0, n_null=0, n_splits=0)
    at_top = concept_clusters(top, ready, background=background, config=count_only, units=names)
    rule = _Rule(frozenset(decisive or views), frozenset(unifying or views))
    table = _verdicts(found, at_top, values, text_index, rule, config)
    labels = np.asarray(names, dtype=object)
    tables = {"views": _named(found, labels), "examples": _named(examples, labels)}
    tables["examples"] = tables["examples"].assign(text=text_index[examples["row"].to_numpy()])
    late = {name: _named(view.parts, labels) for name, view in ready.items() if isinstance(view, ReadView)}
    return Result("polysemanticity.audit", _named(table, labels), tables | late, {"config": asdict(config)})


class _Rule(NamedTuple):
    """The views that may say "several", and those that may say "one"."""

    decisive: frozenset[str]
    unifying: frozenset[str]


def _read(
    views: Mapping[str, View | LateView], examples: pd.DataFrame, top: pd.DataFrame, background: np.ndarray
) -> dict[str, View]:
    """Return the views, those read that had to wait for the examples; what decides which parts count are `examples`."""
    out: dict[str, Any] = dict(views)
    own, also = ({unit: part["row"].to_numpy() for unit, part in some.groupby("unit")} for some in (examples, top))
    rows = {unit: np.concatenate([background, at, also[unit]]) for unit, at in own.items()}
    for name, view in out.items():
        if hasattr(view, "read"):
            out[name] = view.read(own, rows)
    return out


def draw_background(text_index: np.ndarray, *, seed: int) -> np.ndarray:
    """Return the row of a random token of every text, the texts in random order; int64 [n_texts]."""
    rng = np.random.default_rng([seed, 1])
    starts = np.flatnonzero(np.diff(text_index, prepend=text_index[0] - 1) != 0)
    lengths = np.diff(np.append(starts, len(text_index)))
    return rng.permutation(starts + rng.integers(lengths))


def _verdicts(
    found: pd.DataFrame,
    at_top: pd.DataFrame,
    values: np.ndarray,
    text_index: np.ndarray,
    rule: _Rule,
    config: AuditConfig,
) -> pd.DataFrame:
    best, _ = strongest_tokens(values, text_index)
    most = best.max(axis=0)
    on = (best >= config.floor * np.where(most > 0, most, np.inf)).sum(axis=0)
    top = at_top.set_index(["unit", "view"])["K"]
    by_unit = dict(list(found.groupby("unit")))
    rows = []
    for unit in range(values.shape[1]):
        part = by_unit.get(unit)
        rows.append({"unit": unit, **_verdict(part, rule), "n_on": on[unit], "max": float(most[unit])})
        row = rows[-1]
        row["K_top"] = top.get((unit, row["view"]), -1) if row["view"] else -1
    columns = ["unit", "verdict", "reason", "view", "K", "K_low", "K_high", "K_top", "n", "n_on", "max", "status"]
    return pd.DataFrame(rows)[columns].assign(seed=config.seed)


def _verdict(views: Any, rule: _Rule) -> dict[str, object]:
    """Return verdict, reason, the view that decided and its numbers."""
    nothing = {"view": "", "K": -1, "K_low": np.nan, "K_high": np.nan}
    if views is None or (views["status"] != "ok").all():
        status = "never active" if views is None else str(views["status"].iloc[0])
        n = 0 if views is None else int(views["n"].iloc[0])
        return {"verdict": UNTESTED, "reason": status, **nothing, "n": n, "status": status}
    says, about = views["says"].to_numpy(), {"n": int(views["n"].iloc[0]), "status": "ok"}
    decisive, unifying = (views["view"].isin(those).to_numpy() for those in rule)
    shades = ((says == SHADES) & unifying).any()
    several = (says == SEVERAL) & decisive & (not shades)
    for word, verdict, those in ((ONE, MONO, (says == ONE) & unifying), (SEVERAL, POLY, several)):
        if those.any():
            chosen = views[those].sort_values("share", ascending=False, kind="stable").iloc[0]
            kept = {name: chosen[name] for name in nothing}
            reason = f"{word} in {', '.join(views['view'][those])}"
            return {"verdict": verdict, "reason": reason, **kept, **about}
    alike = "clusters that do not stay apart" if shades else "clusters that do not hold, or are not found again"
    reason = "no more alike than random tokens" if (says == UNSELECTIVE).all() else alike
    return {"verdict": UNDECIDED, "reason": reason, **nothing, **about}


def _named(table: pd.DataFrame, names: np.ndarray) -> pd.DataFrame:
    return table.assign(unit=names[table["unit"].to_numpy()] if len(table) else np.array([], dtype=object))


def _check_views(views: Mapping[str, Any], n: int) -> None:
    for name, view in views.items():
        rows = len(view.of_unit) if isinstance(view, PairView) else n if callable(view) else len(view)
        if rows != n:
            raise InvalidInput(f"view {name!r} has {rows} rows for {n} tokens; each token needs one.")
