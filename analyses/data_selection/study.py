"""A whole selection: read, code, score, leave out, pick, and compare the pick with what chance and length give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.data_selection.audit import agreement, length_audit, pick_stability, shuffled_prototype
from analyses.data_selection.chance_scores import random_scores
from analyses.data_selection.coded_pool import CodedPool
from analyses.data_selection.coders import random_sae
from analyses.data_selection.dense_scores import cosine_scores
from analyses.data_selection.encoding import encode_pool
from analyses.data_selection.exclusions import Exclusions, find_exclusions
from analyses.data_selection.picking import select
from analyses.data_selection.reasons import edited
from analyses.data_selection.relevance import ranked, score, score_each
from analyses.data_selection.samples import Sample, Samples
from analyses.data_selection.selection_config import SelectionConfig, check_config, read_factors
from analyses.data_selection.word_scores import dsir_scores, tfidf_scores
from interp.errors import InvalidInput

if TYPE_CHECKING:
    from interp.models import Model


@dataclass(frozen=True, eq=False)
class Selection:
    """What a selection found.

    ranking: one row a sample and task: id, source, number, task, score, raw, background, rank, percentile, n_tokens,
        n_features, truncated, selected, picked_for, pick, reason.
    pick: [sample] of the pool, from `select`. tables: the audit, the controls, the stability, what was left out.
    """

    ranking: pd.DataFrame
    pick: pd.DataFrame
    pool: CodedPool
    targets: Mapping[str, CodedPool]
    samples: tuple[Sample, ...]
    exclusions: Exclusions
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
    scored = {
        task: score(coded, target, method=config.method, seed=config.seed) for task, target in coded_targets.items()
    }
    against = [sample for given in (*targets.values(), *([tests] if tests is not None else [])) for sample in given]

    def left_out() -> Exclusions:
        best = np.min([table["rank"].to_numpy() for table in scored.values()], axis=0)
        return find_exclusions(
            samples, against, np.argsort(best, kind="stable"), duplicates=config.duplicates,
            drop_contaminated=config.contaminated == "drop", n_words=config.overlap_words, seed=config.seed,
        )  # fmt: skip

    exclusions = left_out()
    notes: list[str] = []
    pick = _pick(config, coded, coded_targets, scored, exclusions)
    if coded.is_cut:
        n_settled = 0
        while len(rows := _straddling(scored, pick)):
            n_settled += len(rows)
            _settle(config, rows, samples, model, sae, coded, coded_targets, scored, options)
            exclusions = left_out()  # which of two repeats is the better one may have changed
            pick = _pick(config, coded, coded_targets, scored, exclusions)
        notes.append(
            f"codes were cut to {config.top} entries; {n_settled:,} rows whose bounds straddled the cut were coded "
            "again, whole, so the pick is that of whole codes."
        )
    ranking = _ranking(coded, scored, pick)
    tables = _tables(config, coded, coded_targets, scored, pick, samples, targets, model, sae)
    return Selection(ranking, pick, coded, coded_targets, samples, exclusions, tables, tuple(notes))


def _coded(task: str, given: Samples, model: Model, sae: Any, options: dict[str, Any]) -> CodedPool:
    found = encode_pool(given.require_some(), model, sae, **options)
    if not len(found):
        first = found.listed.iloc[0]
        raise InvalidInput(
            f"no target example of {task} could be coded; the first: {first['reason']} {first['detail']}"
        )
    return found


def _pick(
    config: SelectionConfig, coded: CodedPool, targets: Mapping[str, CodedPool], scored: Mapping[str, pd.DataFrame],
    exclusions: Exclusions,
) -> pd.DataFrame:  # fmt: skip
    values: dict[str, Any] = {task: table["score"].to_numpy() for task, table in scored.items()}
    if config.per_example:
        background = config.method == "background"
        values = {task: score_each(coded, target, background=background) for task, target in targets.items()}
    return select(
        values, config.budget, n_tokens=coded.rows["n_tokens"].to_numpy(), sources=coded.rows["source"].tolist(),
        excluded=exclusions.reasons, per_source=config.per_source, temperature=config.temperature, seed=config.seed,
    )  # fmt: skip


def _straddling(scored: Mapping[str, pd.DataFrame], pick: pd.DataFrame) -> np.ndarray:
    """Rows that are not known whole and may rank at or above the last pick of a task."""
    wanted = np.zeros(len(pick), dtype=bool)
    for task, table in scored.items():
        mine = ((pick["task"] == task) & pick["selected"]).to_numpy()
        if mine.any():
            cut = table["lower"].to_numpy()[mine].min()
            wanted |= ((table["upper"] >= cut) & (table["upper"] > table["lower"])).to_numpy()
    return np.flatnonzero(wanted)


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
    config: SelectionConfig, coded: CodedPool, targets: Mapping[str, CodedPool], scored: Mapping[str, pd.DataFrame],
    pick: pd.DataFrame, samples: Sequence[Sample], given: Mapping[str, Samples], model: Model, sae: Any,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    """Return length audit, controls and stability, each with the task of its rows."""
    tokens = coded.rows["n_tokens"].to_numpy()
    texts = [sample.text for sample in samples]
    lengths, controls, stable = [], [], []
    other = None
    if config.random_control:
        control = random_sae(sae, config.seed)
        other = encode_pool(samples, model, control, **config.encoding(), residual=False)
    for number, (task, target) in enumerate(targets.items()):
        table = scored[task]
        chosen = (pick["selected"] & (pick["task"] == task)).to_numpy()
        n = max(1, int(chosen.sum()))
        lengths.append(length_audit(table, chosen, target.rows["n_tokens"].to_numpy()).assign(task=task))
        method = config.method if not coded.is_cut and config.method != "matched" else "mona"
        shuffled = shuffled_prototype(target, coded, seed=config.seed)
        others = {
            "published score (mona)": table["raw"].to_numpy() if config.method != "cosine" else None,
            "shuffled target": score(coded, shuffled, method=method)["score"].to_numpy(),
            "mean activation, no SAE": _residual(coded, target),
            "TF-IDF": tfidf_scores(texts, given[task].texts),
            "DSIR": dsir_scores(texts, given[task].texts),
            "longest": tokens.astype(np.float64),
            "random": random_scores(len(coded), seed=config.seed + number),
        }
        if other is not None:
            again = encode_pool(given[task], model, random_sae(sae, config.seed), **config.encoding(), residual=False)
            others["random SAE"] = score(other, again, method=method)["score"].to_numpy()
        found = {name: values for name, values in others.items() if values is not None}
        controls.append(agreement(table["score"].to_numpy(), found, tokens, n).assign(task=task))
        if len(target) > 1 and not coded.is_cut:
            background = config.method != "mona"
            steady = pick_stability(coded, target, n, background=background, seed=config.seed)
            stable.append(pd.DataFrame([{**steady.attrs, "n": n, "n_boot": 100, "seed": config.seed, "task": task}]))
    tables = {"length": lengths, "controls": controls, "stability": stable}
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items() if parts}


def _residual(coded: CodedPool, target: CodedPool) -> np.ndarray | None:
    if coded.residual is None or target.residual is None:
        return None
    return cosine_scores(coded.residual, target.residual, centre=True)
