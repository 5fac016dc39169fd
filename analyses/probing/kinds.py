"""Other kinds of probe beside the ridge, on one site: what is coded linearly, and what a probe could know by heart.

A small network does better than a linear probe where a label is coded nonlinearly, or where it learns by heart: its
score is read beside that of its control task. The difference of means is the probe that steering uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from analyses.probing.compute import Data, ProbeConfig, probe_row
from analyses.probing.labels import Labels
from analyses.probing.layers import final_row
from interp.stats.control_task import control_labels

KINDS = ("ridge", "mass_mean", "logistic", "mlp")
FAST = ("ridge", "mass_mean")
"""Kinds whose permutations cost little; the others get a score without p here."""
SELECTIVE = ("ridge", "mlp")
"""Kinds that are given the control task: the least and the most that a probe could know by heart."""
UNPERMUTED = "score alone (no permutations)"
INFORMATION = ("mdl_bits", "mdl_compression", "mdl_compression_null", "variance_explained", "variance_explained_null")


def kind_rows(data: Data, keep: np.ndarray, config: ProbeConfig, kinds: Sequence[str] = KINDS) -> pd.DataFrame:
    """Return a row a kind of probe, fitted on the rows that are not kept and judged on those that are.

    Beside the score of groups that were not fitted: of the ridge and the network the score and that of the control
    task where rows are held out at random; in the row of the ridge the online code and the variance explained (all
    rows, permuted labels beside them).

    Args:
        data: classes. keep: bool [n], the test groups. kinds: of `KINDS`.
    """
    told = probe_row(data, replace(config, kind="ridge", description_length=True, n_perm=5, n_boot=0)).row
    mixed = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(31,))).random(len(keep)) < keep.mean()
    rows = []
    for kind in kinds:
        own = replace(config, kind=kind, n_perm=config.n_perm if kind in FAST else 0)
        row = final_row(data, keep, own)
        information = {name: told[name] if kind == "ridge" else np.nan for name in INFORMATION}
        if kind not in FAST and row["status"] == "ok":
            row["status"] = UNPERMUTED
        selectivity = _selectivity(data if kind in SELECTIVE else replace(data, types=None), mixed, own)
        rows.append({**row, **selectivity, **information})
    return pd.DataFrame(rows)


def _selectivity(data: Data, mixed: np.ndarray, config: ProbeConfig) -> dict[str, Any]:
    """Return the score and the control score on rows that were held out whatever their group."""
    quiet = replace(config, n_perm=0, n_boot=0)
    alone = np.arange(len(data.x))
    if data.types is None:
        return dict.fromkeys(("score_row_folds", "control_score", "selectivity"), np.nan)
    control = control_labels(data.types, data.labels.y, seed=config.seed)
    score, heart = (
        final_row(Data(data.x, Labels(y, data.labels.names), alone, None), mixed, quiet)["score"]
        for y in (data.labels.y, control)
    )
    return {"score_row_folds": score, "control_score": heart, "selectivity": score - heart}
