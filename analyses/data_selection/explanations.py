"""Why these samples: features behind the scores, the tokens that fired them, what is missing, whether it holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analyses.data_selection.causal import causal_check
from analyses.data_selection.coded_pool import CodedPool
from analyses.data_selection.method_names import EXPLAINED
from analyses.data_selection.reasons import explain, feature_shift, firing_tokens, lacking
from analyses.data_selection.samples import Sample
from analyses.data_selection.selection_config import SelectionConfig
from analyses.data_selection.study import Selection
from analyses.data_selection.token_windows import TokenChoice, find_windows

if TYPE_CHECKING:
    from interp.models import Model

N_EXPLAINED, N_SHOWN, N_MARKED, N_ABLATED = 50, 6, 5, 10
"""Best picks of a task with reasons; those whose tokens are marked; features marked in each; features ablated."""


def why_tables(selection: Selection, config: SelectionConfig, model: Model, sae: Any) -> dict[str, pd.DataFrame]:
    """Return the tables of reasons, of all tasks together with the task of each row.

    reasons (see `explain`; `of` is the score that the contributions make), lacking, features (see `feature_shift`),
    tokens (see `marked_tokens`), and causal (see `causal_check`) where the configuration asks for it. Of a pool whose
    rows were cut there is `features` alone.
    """
    method = config.method if config.method in EXPLAINED else "mona"
    found: dict[str, list[pd.DataFrame]] = {}
    for task, target in selection.targets.items():
        tables = {"features": feature_shift(selection.pool, target, selection.selected)}
        rows = _best(selection, task)
        if len(rows) and not selection.pool.is_cut:
            reasons = explain(selection.pool, target, rows, method=method, seed=config.seed).assign(of=method)
            tables |= {"reasons": reasons, "lacking": lacking(selection.pool, target, rows, k=5)}
            tables["tokens"] = _tokens(selection.samples, reasons, config, model, sae)
            if config.causal_check:
                tables["causal"] = _causal(selection.examples[task], target, reasons, config, model, sae)
        for name, table in tables.items():
            found.setdefault(name, []).append(table.assign(task=task))
    return {name: pd.concat(parts, ignore_index=True) for name, parts in found.items()}


def marked_tokens(
    model: Model, sae: Any, sample: Sample, features: Sequence[int], *, choice: TokenChoice | None = None
) -> pd.DataFrame:
    """Return all tokens of one sample with the strongest of some features at each.

    Columns: position, token (as it is read, with the space before a word), feature (-1 where none of them is active or
    the token is not pooled), activation.
    """
    windows = find_windows(model, [sample], choice or TokenChoice())
    fired = firing_tokens(model, sae, sample, features, choice=choice)
    best = fired.sort_values("activation", ascending=False, kind="stable").drop_duplicates("position")
    ids = windows.encoded.ids if windows.encoded is not None else np.empty(0, np.int64)
    table = pd.DataFrame({"position": np.arange(len(ids)), "token": pd.array(_read(model, ids), dtype="str")})
    table = table.merge(best[["position", "feature", "activation"]], on="position", how="left")
    return table.assign(
        feature=table["feature"].fillna(-1).astype(np.int64), activation=table["activation"].fillna(0.0)
    )


def _best(selection: Selection, task: str) -> np.ndarray:
    mine: Any = selection.ranking[selection.ranking["task"] == task].reset_index(drop=True)
    picked: Any = mine[mine["picked_for"] == task]
    return picked.sort_values("rank", kind="stable").head(N_EXPLAINED).index.to_numpy()


def _tokens(
    samples: Sequence[Sample], reasons: pd.DataFrame, config: SelectionConfig, model: Model, sae: Any
) -> pd.DataFrame:
    choice = TokenChoice(config.template, config.tokens, config.max_length, config.keep, config.bos)
    parts = []
    for row in reasons["row"].drop_duplicates().head(N_SHOWN):
        mine: Any = reasons[(reasons["row"] == row) & (reasons["feature"] >= 0) & (reasons["contribution"] > 0)]
        features = mine["feature"].head(N_MARKED).tolist()
        table = marked_tokens(model, sae, samples[int(row)], features, choice=choice)
        parts.append(table.assign(row=int(row), id=samples[int(row)].id))
    return pd.concat(parts, ignore_index=True)


def _causal(
    examples: Sequence[Sample],
    target: CodedPool,
    reasons: pd.DataFrame,
    config: SelectionConfig,
    model: Model,
    sae: Any,
) -> pd.DataFrame:
    sums: Any = reasons[reasons["feature"] >= 0].groupby("feature")["contribution"].sum()
    latents = sums[sums > 0].sort_values(ascending=False, kind="stable").index[:N_ABLATED].tolist()
    return causal_check(model, sae, examples, latents, target.mean, template=config.template, seed=config.seed)


def _read(model: Model, ids: np.ndarray) -> list[str]:
    """Return what each token says; a piece of a character as the tokenizer writes it."""
    pieces = model.tokenizer.convert_ids_to_tokens(ids.tolist())
    texts = model.tokenizer.batch_decode([[int(one)] for one in ids], clean_up_tokenization_spaces=False)
    return [
        piece if not text or "\ufffd" in text else f" {text}" if piece.startswith("▁") and text[0] != " " else text
        for piece, text in zip(pieces, texts, strict=True)
    ]
