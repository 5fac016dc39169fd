"""Does the model use what a probe reads? Erase it while the model runs, and as much of anything else, and compare.

A probe shows that a label can be read, not that the model reads it. The label is taken out of a site by LEACE or by
mean projection (fitted on some groups), and other groups are predicted with it gone. Beside it: as many random
directions, and LEACE for permuted labels, which takes out as much by the same rule. That one is the null: directions
that follow the covariance of the activations, as those of any label do, cost more than directions drawn evenly.

Reference: Elazar et al. 2021 (amnesic probing); Belrose et al. 2023 (LEACE).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.probing.compute import ProbeConfig, read_data, status_of
from analyses.probing.fitting import held_out
from analyses.probing.labels import Labels, assign_folds, group_codes, permuted
from analyses.probing.layers import held_out_groups, with_q
from analyses.probing.scores import score
from interp.stats.erasure import Eraser, leace, mean_projection, random_projection
from interp.stats.pvalues import permutation_p

if TYPE_CHECKING:
    from analyses.probing.erasing import Ran
    from interp.models import Model

NOTHING, LEACE, MEANS = "nothing", "LEACE", "mean projection"
DIRECTIONS, PERMUTED = "random directions", "LEACE, permuted labels"
LOSS, RIGHT, OTHER = "loss of the continuation", "continuations right", "loss of the prompt's tokens"
AT_SITE, AT_END = "probe at the site", "probe at the end"
LESS_IS_WORSE = (RIGHT, AT_SITE, AT_END)
MEASURES = (LOSS, RIGHT, OTHER, AT_SITE, AT_END)
PROBED_DRAWS = 5


def causal_check(
    model: Model,
    prompts: Sequence[str],
    continuations: Sequence[str],
    labels: Any,
    site: str,
    *,
    last: int = 1,
    groups: Any = None,
    task: Any = "auto",
    seed: int = 0,
    n_random: int = 5,
    n_permuted: int = 19,
    test_share: float = 0.4,
    n_boot: int = 500,
) -> pd.DataFrame:
    """Return what a model loses when a label is erased at a site, beside erasing as much of anything.

    Args:
        prompts, continuations: [n] texts; a continuation is the answer to its prompt, or simply the rest of the text,
            with its leading space.
        labels: [n], what is erased. groups: [n], none is split; None: equal prompts are a group.
        site: where, such as "resid_post.3".
        last: how many of the last tokens of each prompt are edited, each by an eraser of its own.
        n_random, n_permuted: draws of random directions, and of permuted labels; of the probes the first 5 of each.
        test_share: groups that are predicted; the erasers are fitted on the others. Erasers that are fitted on fewer
            rows than the site has columns leave a part of the label in other rows: see the probe at the site.

    Returns:
        A row for each eraser and measure: eraser, measure, value, change (from nothing erased), ci_low and ci_high
        (95 %, of the change, over groups; NaN for the probes), null_mean, null_sd and p (of LEACE, one-sided: permuted
        labels that lose as much; n_null of them), q (over the table), rank (dimensions a token), variance_removed
        (share, rows that are predicted), n, n_fitted, n_groups, n_draws, seed, status ("ok" for LEACE; the others are
        to compare with, and not tested). Of several draws the rows have the mean.
        Measures: loss of the continuation (nats a token), continuations right (share, every token the likeliest), loss
        of the prompt's tokens behind the first edited one (nats a token; not for last=1), and a fresh cross-validated
        probe of the label at the first edited token and after the last block at the end of the prompt.

    Raises:
        InvalidInput: as `probe`, or prompts that are too short. UnknownSite: a site that the model has not.
    """
    from analyses.probing.erasing import make_prompts, run_edited
    from interp.models import find_site

    config = ProbeConfig(task=task, n_perm=0, seed=seed)
    groups = group_codes(list(prompts) if groups is None else groups, len(prompts))
    y = read_data(np.zeros((len(prompts), 1)), labels, groups, None, config).labels
    name, given = str(find_site(model, site)), make_prompts(model, prompts, continuations, last)
    keep = held_out_groups(groups, test_share, seed=seed)
    fit, test = np.flatnonzero(~keep), np.flatnonzero(keep)
    status = next((s for s in (status_of(Labels(y.y[r], y.names), groups[r]) for r in (fit, test)) if s != "ok"), "ok")
    about = {"n": len(test), "n_fitted": len(fit), "n_groups": len(np.unique(groups[test])), "seed": seed}
    if status != "ok":
        blank = dict.fromkeys((*_COLUMNS, "rank", "variance_removed"), np.nan)
        return with_q(pd.DataFrame([{"eraser": LEACE, "measure": LOSS, **blank, **about, "status": status}]))
    rows = run_edited(model, given, fit, name, None).site
    draws = fit_erasers(rows, y, fit, groups, n_random=n_random, n_permuted=n_permuted, seed=seed)

    def measured(erasers: list[Eraser] | None, probes: bool) -> dict[str, Any]:
        ran = run_edited(model, given, test, name, erasers)
        return measures_of(ran, Labels(y.y[test], y.names), groups[test], config if probes else None)

    found = {
        eraser: [measured(each, i < PROBED_DRAWS) for i, each in enumerate(all_draws)]
        for eraser, all_draws in draws.items()
    }
    clean = run_edited(model, given, test, name, None)
    plain = measures_of(clean, Labels(y.y[test], y.names), groups[test], config)
    shares = {e: np.mean([variance_removed(clean.site, d) for d in all_draws]) for e, all_draws in draws.items()}
    sizes = {eraser: all_draws[0][0].rank for eraser, all_draws in draws.items() if all_draws}
    table: Any = compared(plain, found, group_codes(groups[test], len(test)), n_boot=n_boot, seed=seed)
    table = table.assign(
        rank=table["eraser"].map(sizes).fillna(0).astype(int),
        variance_removed=table["eraser"].map(shares).fillna(0.0),
        **about,
        status=np.where(table["p"].notna(), "ok", "not_tested"),
    )
    return with_q(table)


_COLUMNS = ("value", "change", "ci_low", "ci_high", "null_mean", "null_sd", "p", "n_null", "n_draws")


def fit_erasers(
    rows: np.ndarray, labels: Labels, fit: np.ndarray, groups: np.ndarray, *, n_random: int, n_permuted: int, seed: int
) -> dict[str, list[list[Eraser]]]:
    """Return for each eraser its draws, each a list with one `Eraser` a token.

    Args:
        rows: [n, last, d], activations of the rows `fit` at the tokens that are edited.
    """
    own, tokens = Labels(labels.y[fit], labels.names), range(rows.shape[1])

    def each(make: Callable[..., Eraser], version: Labels) -> list[Eraser]:
        return [make(rows[:, j], version.columns()) for j in tokens]

    exact = each(leace, own)
    shuffled = permuted(own.y, group_codes(groups[fit], len(fit)), n_permuted, seed=seed)
    spread = np.random.SeedSequence(seed, spawn_key=(11,)).generate_state(n_random * len(tokens))
    states = spread.reshape(n_random, len(tokens)).tolist()
    return {
        LEACE: [exact],
        MEANS: [each(mean_projection, own)],
        DIRECTIONS: [[random_projection(rows[:, j], exact[j].rank, seed=s[j]) for j in tokens] for s in states],
        PERMUTED: [each(leace, Labels(v, own.names)) for v in shuffled],
    }


def variance_removed(rows: np.ndarray, erasers: Sequence[Eraser]) -> float:
    """Return the squared length of what erasers take from rows [n, last, d], over that of the centred rows."""
    gone = sum(float(((rows[:, j] - e.apply(rows[:, j])) ** 2).sum()) for j, e in enumerate(erasers))
    return gone / max(float(((rows - rows.mean(axis=0)) ** 2).sum()), 1e-300)


def measures_of(ran: Ran, labels: Labels, groups: np.ndarray, config: ProbeConfig | None) -> dict[str, Any]:
    """Return (sums, counts) a row of each measure, and scores of fresh probes (NaN where config is None)."""
    out: dict[str, Any] = {
        LOSS: (ran.nats, ran.n_tokens),
        RIGHT: (ran.right.astype(np.float64), np.ones(len(ran.right))),
        OTHER: (ran.other_nats, ran.n_other),
    }
    for name, x in ((AT_SITE, ran.site[:, 0]), (AT_END, ran.final)):
        out[name] = float("nan") if config is None else fresh_score(x, labels, groups, config)
    return out


def fresh_score(x: np.ndarray, labels: Labels, groups: np.ndarray, config: ProbeConfig) -> float:
    """Return the cross-validated score of a probe of x [n, d] that is fitted on these rows alone."""
    folds = assign_folds(group_codes(groups, len(x)), config.n_folds, seed=config.seed)
    found = held_out(config.kind, x, labels.y[None], folds, labels, seed=config.seed)
    return score(labels, labels.y, found.values[0], folds)


def compared(
    plain: dict[str, Any], found: dict[str, list[dict[str, Any]]], groups: np.ndarray, *, n_boot: int, seed: int
) -> pd.DataFrame:
    """Return the rows of every eraser and measure; see `causal_check`."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(12,)))
    n_groups = groups.max() + 1
    weights = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n_boot)[:, groups].astype(np.float64)
    rows = []
    for measure in MEASURES:
        if _value(plain[measure]) is None:
            continue
        sign = -1.0 if measure in LESS_IS_WORSE else 1.0
        null = sign * _changes(plain[measure], [draw[measure] for draw in found[PERMUTED]])
        null = null[np.isfinite(null)]
        base = {"measure": measure, "null_mean": np.nan, "null_sd": np.nan, "p": np.nan, "n_null": 0}
        rows.append({"eraser": NOTHING, **base, "value": _value(plain[measure]), "change": 0.0,
                     "ci_low": np.nan, "ci_high": np.nan, "n_draws": 1})  # fmt: skip
        for eraser, draws in found.items():
            own = [draw[measure] for draw in draws if np.isfinite(_value(draw[measure]))]
            change = float(np.mean(_changes(plain[measure], own)))
            low, high = _interval(plain[measure], own, weights)
            row = {"eraser": eraser, **base, "value": float(_value(plain[measure])) + change, "change": change,
                   "ci_low": low, "ci_high": high, "n_draws": len(own)}  # fmt: skip
            if eraser == LEACE and len(null):
                p = permutation_p(
                    np.asarray((null >= sign * change).sum()), np.asarray((null <= sign * change).sum()), len(null)
                )
                row |= {"null_mean": sign * null.mean(), "p": float(p), "n_null": len(null),
                        "null_sd": null.std(ddof=1) if len(null) > 1 else np.nan}  # fmt: skip
            rows.append(row)
    return pd.DataFrame(rows, columns=pd.Index(["eraser", "measure", *_COLUMNS]))


def _value(measured: Any) -> Any:
    """Return the mean of a measure a token or row; None where there is nothing to measure."""
    if not isinstance(measured, tuple):
        return measured
    return float(measured[0].sum() / measured[1].sum()) if measured[1].sum() else None


def _changes(plain: Any, draws: list[Any]) -> np.ndarray:
    return np.array([_value(draw) - _value(plain) for draw in draws], dtype=np.float64)


def _interval(plain: Any, draws: list[Any], weights: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the mean change over resamples of groups."""
    if not isinstance(plain, tuple) or not len(weights):
        return float("nan"), float("nan")
    change = np.mean([draw[0] for draw in draws], axis=0) - plain[0]
    with np.errstate(invalid="ignore"):
        drawn = (weights @ change) / (weights @ plain[1])
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(low), float(high)
