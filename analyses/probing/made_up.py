"""Labels drawn by lot, put through everything a real label is put through: what the procedure says of nothing.

For each of them a layer is chosen by cross-validation on some groups and judged on others. If choosing leaked into
judging, their scores would lie above chance and their p would be small too often.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from analyses.probing.compute import Data, ProbeConfig
from analyses.probing.fitting import held_out
from analyses.probing.labels import Labels, assign_folds, group_codes
from analyses.probing.layers import EMBED, final_row, with_q
from analyses.probing.scores import score

SIDES = ("heads", "tails")


def random_label_rows(
    acts: Mapping[str, np.ndarray], groups: Any, keep: np.ndarray, config: ProbeConfig, *, n_labels: int = 20
) -> pd.DataFrame:
    """Return a row a made-up label of two classes, one label a group: the site that was chosen, and its test score.

    Args:
        acts: site -> [n, d]; the embedding is not chosen. groups: [n]. keep: bool [n], the test groups.
    """
    codes = group_codes(groups, len(keep))
    rng = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(22,)))
    halves = np.arange(codes.max() + 1) % 2
    coins = np.stack([rng.permutation(halves)[codes] for _ in range(n_labels)])
    folds = assign_folds(group_codes(codes[~keep], int((~keep).sum())), config.n_folds, seed=config.seed)
    sites, labels = [site for site in acts if site != EMBED], Labels(coins[0], SIDES)
    table = np.array([
        [score(labels, y, g, folds) for y, g in zip(coins[:, ~keep], found, strict=True)]
        for found in (held_out("ridge", acts[s][~keep], coins[:, ~keep], folds, labels, seed=config.seed).values
                      for s in sites)
    ])  # fmt: skip
    rows = []
    for i, best in enumerate(table.argmax(axis=0)):
        whole = Data(np.asarray(acts[sites[best]], dtype=np.float64), Labels(coins[i], SIDES), codes, None)
        row = final_row(whole, keep, replace(config, kind="ridge"))
        rows.append({"label": i, "unit": sites[best], "score_of_choice": table[best, i], **row})
    return with_q(pd.DataFrame(rows))
