"""A whole selection: read, code, score, leave out, pick, and compare the pick with what chance and length give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.data_selection.audit import agreement, length_audit, pick_stability, shuffled_prototype
from analyses.data_selection.budgets import parse_budget
from analyses.data_selection.coded_pool import CodedPool
from analyses.data_selection.encoding import encode_pool
from analyses.data_selection.exclusions import Exclusions, find_exclusions
from analyses.data_selection.format_audit import ALWAYS_ON, always_on_share, format_audit
from analyses.data_selection.method_names import BOUNDED, EXPLAINED, SCORES
from analyses.data_selection.methods import StandardMethods
from analyses.data_selection.picking import select
from analyses.data_selection.reasons import edited
from analyses.data_selection.relevance import mona_scores, ranked, score, score_table
from analyses.data_selection.samples import Sample, Samples
from analyses.data_selection.selection_config import SelectionConfig, check_config, read_factors, read_shares
from interp.errors import InvalidInput

if TYPE_CHECKING:
    from interp.models import Model

SETTLED_AT_ONCE = 64
"""Least number of cut rows that are coded whole together."""


SMALL = 5_000
"""Samples of a pool that the control of random directions also codes without being asked."""


@dataclass(frozen=True, eq=False)
class Selection:
    """What a selection found.

    ranking: one row a sample and task: id, source, number, task, score, raw, background, rank, percentile, n_tokens,
        n_features, truncated, selected, picked_for, pick, reason.
    pick: [sample] of the pool, from `select`.
    targets, examples: of each task the codes and the samples.
    tables: the audits of length and format, the controls, the stability.
    """

    ranking: pd.DataFrame
    pick: pd.DataFrame
    pool: CodedPool
    targets: Mapping[str, CodedPool]
    samples: tuple[Sample, ...]
    exclusions: Exclusions
    examples: Mapping[str, list[Sample]] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def selected(self) -> np.ndarray:
        """Bool [sample]."""
        return self.pick["selected"].to_numpy()


def run_selection(
    config: SelectionConfig, pool: Samples, targets: Mapping[str, Samples], tests: Samples | None, model: Model,
    sae: Any, *, out: Path | None = None, engine: str = "local", workers: int | None = None,
) -> Selection:  # fmt: skip
    """Select from a pool that was read.

    Args:
        targets: the samples of each task. tests: samples that must not be in the pick.
        out: folder for the shards of codes; None: in memory.
        engine, workers: what codes the pool, see `encode_pool`.

    Raises:
        InvalidInput: no usable sample or target, or an impossible budget.
    """
    check_config(config)
    options = config.encoding()
    coded_targets = {task: _coded(task, given, model, sae, options) for task, given in targets.items()}
    coded = encode_pool(
        pool.require_some(), model, sae, out=out, engine=engine, workers=workers, top=config.top, **options
    )
    factors = read_factors(config.weigh)
    if factors:
        coded = edited(coded, next(iter(coded_targets.values())), factors)[0]
        coded_targets = {task: edited(target, target, factors)[0] for task, target in coded_targets.items()}
    by_id = {sample.id: sample for sample in pool}
    samples = tuple(by_id[one] for one in coded.rows["id"])
    methods = _methods(config, samples, coded, model, sae)
    examples = {task: _examples(methods, given, coded_targets[task]) for task, given in targets.items()}
    scored, turns = _scored(config, methods, examples, coded_targets)
    against = [sample for given in (*targets.values(), *([tests] if tests is not None else [])) for sample in given]

    def left_out() -> Exclusions:
        best = np.min([table["rank"].to_numpy() for table in scored.values()], axis=0)
        return find_exclusions(
            samples, against, np.argsort(best, kind="stable"), duplicates=config.duplicates,
            drop_contaminated=config.contaminated == "drop", n_words=config.overlap_words, seed=config.seed,
        )  # fmt: skip

    exclusions = left_out()
    notes: list[str] = []
    pick = _pick(config, coded, scored, turns, exclusions)
    if coded.is_cut:
        n_settled = 0
        at_once = max(SETTLED_AT_ONCE, int(pick["selected"].to_numpy().sum()) // 2)
        while len(_straddling(scored, pick)):
            while len(rows := _straddling(scored, pick)[:at_once]):
                n_settled += len(rows)
                _settle(config, rows, samples, model, sae, coded, coded_targets, scored, options)
                pick = _pick(config, coded, scored, turns, exclusions)
            exclusions = left_out()  # which of two repeats is the better one may have changed
            pick = _pick(config, coded, scored, turns, exclusions)
        notes.append(
            f"codes were cut to {config.top} entries; {n_settled:,} rows whose bounds straddled the cut were coded "
            "again, whole, so the pick is that of whole codes."
        )
    ranking = _ranking(coded, scored, pick)
    tables = _tables(config, methods, examples, coded_targets, scored, pick)
    return Selection(ranking, pick, coded, coded_targets, samples, exclusions, examples, tables, tuple(notes))


def _coded(task: str, given: Samples, model: Model, sae: Any, options: dict[str, Any]) -> CodedPool:
    found = encode_pool(given.require_some(), model, sae, **options)
    if not len(found):
        first = found.listed.iloc[0]
        raise InvalidInput(
            f"no target example of {task} could be coded; the first: {first['reason']} {first['detail']}"
        )
    return found


def _methods(
    config: SelectionConfig, samples: Sequence[Sample], coded: CodedPool, model: Model, sae: Any
) -> StandardMethods:
    """Return all methods on the pool, told how many samples a task will pick, about."""
    tokens = coded.rows["n_tokens"].to_numpy()
    budget = parse_budget(config.budget, n_samples=len(coded), n_tokens=int(tokens.sum()))
    size = 1.0 if budget.unit == "samples" else max(1.0, float(tokens.mean()))
    wanted = min(len(coded), max(1, round(budget.amount / size / len(config.target))))
    return StandardMethods(samples, model, sae, coded=coded, wanted=wanted, seed=config.seed, **config.encoding())


def _examples(methods: StandardMethods, given: Samples, coded: CodedPool) -> list[Sample]:
    """Return the examples that could be coded, in the order of their codes, which the methods then know."""
    by_id = {sample.id: sample for sample in given}
    found = [by_id[one] for one in coded.rows["id"]]
    methods.know(found, coded)
    return found


def _scored(
    config: SelectionConfig, methods: StandardMethods, examples: Mapping[str, list[Sample]],
    targets: Mapping[str, CodedPool],
) -> tuple[dict[str, pd.DataFrame], dict[str, np.ndarray]]:  # fmt: skip
    """Return the table of scores of each task, and [sample, example] of the methods whose examples pick in turn."""
    coded, scored, turns = methods.coded, {}, {}
    for number, (task, target) in enumerate(targets.items()):
        if config.method in SCORES:
            scored[task] = score(coded, target, method=config.method, seed=config.seed)
            continue
        values = methods.scores(config.method, examples[task], config.seed + number)
        if values.ndim == 2:
            turns[task] = values
            known = np.where(np.isnan(values), -np.inf, values).max(axis=1)
            values = np.where(np.isinf(known), np.nan, known)
        scored[task] = score_table(coded, values, raw=mona_scores(coded, target), method=config.method)
    return scored, turns


def _pick(
    config: SelectionConfig, coded: CodedPool, scored: Mapping[str, pd.DataFrame], turns: Mapping[str, np.ndarray],
    exclusions: Exclusions,
) -> pd.DataFrame:  # fmt: skip
    values = {task: turns.get(task, table["score"].to_numpy()) for task, table in scored.items()}
    sources = coded.rows["source"].tolist()
    per_source = read_shares("source_quota", config.source_quota)
    if config.per_source is not None:
        per_source = {**dict.fromkeys(sources, config.per_source), **per_source}
    return select(
        values, config.budget, n_tokens=coded.rows["n_tokens"].to_numpy(), sources=sources,
        excluded=exclusions.reasons, per_source=per_source, task_quotas=read_shares("task_quota", config.task_quota),
        temperature=config.temperature, seed=config.seed,
    )  # fmt: skip


def _straddling(scored: Mapping[str, pd.DataFrame], pick: pd.DataFrame) -> np.ndarray:
    """Rows that are not known whole and may rank at or above the last pick of a task, the most promising first.

    Their order saves work: each that turns out to be good raises the cut that the others have to reach.
    """
    margin = np.full(len(pick), -np.inf)
    for task, table in scored.items():
        mine = ((pick["task"] == task) & pick["selected"]).to_numpy()
        if mine.any():
            over = (table["upper"] - table["lower"].to_numpy()[mine].min()).to_numpy()
            margin = np.maximum(margin, np.where(table["upper"] > table["lower"], over, -np.inf))
    rows = np.flatnonzero(margin >= 0)
    return rows[np.argsort(-margin[rows], kind="stable")]


def _settle(
    config: SelectionConfig, rows: np.ndarray, samples: Sequence[Sample], model: Model, sae: Any, coded: CodedPool,
    targets: Mapping[str, CodedPool], scored: dict[str, pd.DataFrame], options: dict[str, Any],
) -> None:  # fmt: skip
    """Code some rows whole and put their exact scores into the tables."""
    whole = encode_pool([samples[row] for row in rows], model, sae, **{**options, "residual": False})
    for task, target in targets.items():
        exact = score(whole, target, method=config.method, background=coded.mean)
        table = scored[task].copy()
        for column in ("score", "raw", "background", "lower", "upper"):
            table.loc[rows, column] = exact[column].to_numpy()
        scored[task] = ranked(table)


def _ranking(coded: CodedPool, scored: Mapping[str, pd.DataFrame], pick: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for task, table in scored.items():
        more = {"number": coded.rows["number"], "truncated": coded.rows["truncated"], "selected": pick["selected"],
                "picked_for": pick["task"], "pick": pick["pick"], "reason": pick["reason"]}  # fmt: skip
        parts.append(table.assign(task=task, **more))
    first = [
        "id",
        "source",
        "number",
        "task",
        "score",
        "raw",
        "rank",
        "n_tokens",
        "selected",
        "pick",
        "picked_for",
        "reason",
    ]
    table = pd.concat(parts, ignore_index=True)
    table["task"] = table["task"].astype("str")
    table["method"] = table["method"].astype("str")
    return table.loc[:, [*first, *(name for name in table.columns if name not in first)]]


def _tables(
    config: SelectionConfig, methods: StandardMethods, examples: Mapping[str, list[Sample]],
    targets: Mapping[str, CodedPool], scored: Mapping[str, pd.DataFrame], pick: pd.DataFrame,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    """Return audits of length and format, controls and stability, each with the task of its rows."""
    coded = methods.coded
    tokens = coded.rows["n_tokens"].to_numpy()
    lengths, formats, controls, stable = [], [], [], []
    for number, (task, target) in enumerate(targets.items()):
        table = scored[task]
        chosen = (pick["selected"] & (pick["task"] == task)).to_numpy()
        n = max(1, int(chosen.sum()))
        lengths.append(length_audit(table, chosen, target.rows["n_tokens"].to_numpy()).assign(task=task))
        others = _others(config, methods, examples[task], table, config.seed + number)
        formats.append(_format(methods, examples[task], table["score"].to_numpy(), chosen).assign(task=task))
        controls.append(agreement(table["score"].to_numpy(), others, tokens, n).assign(task=task))
        stable.append(_stability(config, coded, target, n).assign(task=task))
    tables = {"length": lengths, "format": formats, "controls": controls, "stability": stable}
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}


def _format(methods: StandardMethods, examples: list[Sample], scores: np.ndarray, chosen: np.ndarray) -> pd.DataFrame:
    """Return the audit of format, and as its last row what features that are on nearly everywhere add to the pick."""
    table = format_audit(methods.pool, examples, scores, chosen)
    usual = always_on_share(methods.coded, methods.code_examples(examples).mean, chosen)
    last = {
        "trait": f"of the likeness, share of the {usual['n_features']:,} features on in most samples",
        "pool": usual["pool"], "pick": usual["pick"], "n": len(methods.pool),
        "status": "ok" if chosen.any() else "nothing picked",
        "flag": "always-on features" if usual["pick"] > ALWAYS_ON else "",
    }  # fmt: skip
    return pd.concat([table, pd.DataFrame([last])], ignore_index=True).astype({"status": "str", "flag": "str"})


def _others(
    config: SelectionConfig, methods: StandardMethods, examples: list[Sample], table: pd.DataFrame, seed: int
) -> dict[str, np.ndarray]:
    """Return what the pick is compared with: the published score, baselines, and controls under the pick's own score.

    Where that is no score of codes with a prototype the controls are those of the published one.
    """
    coded = methods.coded
    known = BOUNDED if coded.is_cut else EXPLAINED
    method = config.method if config.method in known and config.method != "matched" else "mona"
    shuffled = shuffled_prototype(methods.code_examples(examples), coded, seed=config.seed)
    others = {
        "mona": table["raw"].to_numpy(),
        f"shuffled target, {method}": score(coded, shuffled, method=method)["score"].to_numpy(),
    }
    asked = config.random_control
    if len(coded) <= SMALL and hasattr(methods.sae, "weights") if asked is None else asked:
        random = methods.code_examples(examples, "random-sae")
        others[f"random SAE, {method}"] = score(methods.random, random, method=method)["score"].to_numpy()
    names = ("residual-centred", "tf-idf", "dsir", "longest", "random")
    return others | {name: methods.scores(name, examples, seed) for name in names if name != config.method}


def _stability(config: SelectionConfig, coded: CodedPool, target: CodedPool, n: int) -> pd.DataFrame:
    about: dict[str, Any] = {"n": n, "n_boot": 100, "seed": config.seed, "n_examples": len(target)}
    nothing = dict.fromkeys(("overlap", "overlap_low", "overlap_high"), np.nan)
    if len(target) < 2 or coded.is_cut or config.method not in SCORES:
        reason = "one example" if len(target) < 2 else "codes were cut" if coded.is_cut else "not a score of codes"
        return pd.DataFrame([{**nothing, **about, "status": reason}])
    steady = pick_stability(coded, target, n, method=config.method, seed=config.seed)
    return pd.DataFrame([{**steady.attrs, **about, "status": "ok"}])
