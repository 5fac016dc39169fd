"""What labels say of units beside the verdicts: modularity, compactness and monosemanticity of known sources. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analyses.polysemanticity.concept_trees import feature_monosemanticity_score
from analyses.polysemanticity.disentanglement import infomec

N_CUTS = 5


def scores_of_labels(
    activations: np.ndarray, sources: Mapping[str, Sequence[str]], *, n_perm: int = 5, seed: int
) -> pd.DataFrame:
    """Return InfoM and InfoC (`infomec`) and the mean FMS (`feature_monosemanticity_score`) of units for labels.

    Args:
        activations: float [n_texts, n_units], dense; 0 is off.
        sources: two or more: name -> label of each text, "" for none. Texts without a label of each are left out.
        n_perm: permutations of the texts, all labels together, for the null; of FMS labels are shuffled as often.

    Returns:
        score ("modularity", "compactness", "FMS"), source ("all" for modularity), value, null_mean, null_sd, z,
        n (texts), n_units (that are ever on), n_perm, seed, status.

    Raises:
        InvalidInput: fewer than two sources, or labels of another length.
    """
    given = {name: np.asarray(labels, dtype=str) for name, labels in sources.items()}
    rows = np.all([labels != "" for labels in given.values()], axis=0)
    z, labels = np.asarray(activations)[rows], {name: values[rows] for name, values in given.items()}
    z = z[:, z.max(axis=0, initial=0) > 0]
    about = {"n": len(z), "n_units": z.shape[1], "n_perm": n_perm, "seed": seed}
    columns = ["score", "source", "value", "null_mean", "null_sd", "z", *about, "status"]
    if len(z) < 50 or z.shape[1] <= N_CUTS or any(len(np.unique(values)) < 2 for values in labels.values()):
        lacking = {"score": "modularity", "source": "all", **about, "status": "too few labelled texts or active units"}
        return pd.DataFrame([lacking], columns=columns)
    own, rng = _information(z, labels, seed), np.random.default_rng([seed, 6])
    orders = [rng.permutation(len(z)) for _ in range(n_perm)]
    null = pd.DataFrame([_information(z[order], labels, seed) for order in orders])
    found = [_row(*name, value, null[name].to_numpy()) for name, value in own.items()]
    for source, values in labels.items():
        table: Any = feature_monosemanticity_score(z, values.tolist(), n_cuts=N_CUTS, n_shuffles=n_perm, seed=seed)
        ok = table[table["status"] == "ok"]
        if not len(ok):
            continue
        # shuffles of different concepts are independent draws
        sd = float(np.sqrt((ok["null_sd"] ** 2).sum()) / len(ok))
        value, mean = float(ok["fms"].mean()), float(ok["null_mean"].mean())
        found.append({"score": "FMS", "source": source, "value": value, "null_mean": mean, "null_sd": sd,
                      "z": (value - mean) / sd if sd > 0 else np.nan})  # fmt: skip
    return pd.DataFrame(found).assign(**about, status="ok").reindex(columns=columns)


def _information(z: np.ndarray, labels: Mapping[str, Any], seed: int) -> dict[tuple[str, str], float]:
    found = infomec(z, labels, folds=0, seed=seed)
    by_source = dict(zip(found.sources["source"], found.sources["compactness"], strict=True))
    return {("modularity", "all"): found.modularity} | {("compactness", name): c for name, c in by_source.items()}


def _row(score: str, source: str, value: float, null: np.ndarray) -> dict[str, object]:
    mean, sd = float(null.mean()), float(null.std(ddof=1))
    z = (value - mean) / sd if sd > 0 else np.nan
    return {"score": score, "source": source, "value": value, "null_mean": mean, "null_sd": sd, "z": z}
