"""One probe with everything that has to stand beside its score; arrays in, a row out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from analyses.probing.fitting import held_out, require_kind
from analyses.probing.labels import (
    Labels,
    Task,
    assign_folds,
    assign_row_folds,
    group_codes,
    group_order,
    permuted,
    read_labels,
)
from analyses.probing.scores import accuracy, interval, score
from interp.errors import InvalidInput
from interp.stats.control_task import control_labels
from interp.stats.description_length import online_code
from interp.stats.label_variance import variance_explained
from interp.stats.pvalues import permutation_p
from interp.stats.seeds import check_seed

N_PERM = {"ridge": 199, "mass_mean": 199, "logistic": 19, "mlp": 19}
MIN_GROUPS = 5
MDL_RIDGES = (1e-2, 1e-1, 1.0)
MEASURED = (
    "score", "ci_low", "ci_high", "baseline", "accuracy", "majority", "null_mean", "null_sd", "p", "score_row_folds",
    "control_score", "selectivity", "mdl_bits", "mdl_compression", "mdl_compression_null", "variance_explained",
    "variance_explained_null", "alpha",
)  # fmt: skip


@dataclass(frozen=True)
class ProbeConfig:
    """Every choice that changes the numbers of a probe."""

    kind: str = "ridge"
    """ridge, logistic, mass_mean or mlp."""
    task: Task = "auto"
    """classes, numbers, or auto: floats are numbers, all else classes."""
    n_folds: int = 5
    """Folds that hold out whole groups; inside them the strength is chosen."""
    n_perm: int | None = None
    """Refits with permuted labels; None: 199 for ridge and mass_mean, 19 for logistic and mlp."""
    n_boot: int = 500
    """Resamples of groups behind the interval."""
    description_length: bool = True
    """Also measure the online code (10 logistic fits)."""
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name, least in (("n_folds", 3), ("n_boot", 0), ("n_perm", 0)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise InvalidInput(f"{name} is a whole number from {least}, not {value!r}.")

    @property
    def permutations(self) -> int:
        """Refits with permuted labels."""
        return N_PERM.get(self.kind, 19) if self.n_perm is None else self.n_perm

    @property
    def p_floor(self) -> float:
        """The least p that so many permutations can give."""
        return 1 / (self.permutations + 1)

    def to_dict(self) -> dict[str, Any]:
        """Return the choices as a plain dict."""
        return asdict(self)


@dataclass(frozen=True)
class Data:
    """Rows to probe: x [n, d], labels, group and type of each row as codes; types None: no control task."""

    x: np.ndarray
    labels: Labels
    groups: np.ndarray
    types: np.ndarray | None


@dataclass(frozen=True)
class Probed:
    """A row of results, and for each sample its fold and guess (its class, or its number)."""

    row: dict[str, Any]
    folds: np.ndarray
    guesses: np.ndarray


def read_data(X: Any, y: Any, groups: Any, types: Any, config: ProbeConfig) -> Data:
    """Return checked rows; types default to groups of more than one row, which are what a probe could know by heart.

    Raises:
        InvalidInput: shapes that do not fit, NaN, or a kind of probe that does not fit the labels.
    """
    x = np.asarray(X.toarray() if hasattr(X, "toarray") else X, dtype=np.float64)
    labels = read_labels(y, config.task)
    require_kind(config.kind, labels)
    n = len(labels.y)
    if x.ndim != 2 or len(x) != n or x.shape[1] < 1:
        raise InvalidInput(f"X is [n, d] with a row for each of the {n} labels; given {x.shape}.")
    if not np.isfinite(x).all():
        raise InvalidInput(f"X holds NaN or infinity in {int((~np.isfinite(x)).any(axis=1).sum())} of its {n} rows.")
    codes = group_codes(groups, n)
    own = group_codes(types, n) if types is not None else codes
    return Data(x, labels, codes, own if own.max() + 1 < n else None)


def probe_row(data: Data, config: ProbeConfig) -> Probed:
    """Return the held-out score of a probe beside its interval, nulls and controls; NaN with a status where none is."""
    labels, groups, n = data.labels, data.groups, len(data.x)
    about = {"kind": config.kind, "metric": labels.metric, "n": n, "n_groups": int(groups.max()) + 1,
             "n_classes": labels.n_classes, "n_folds": config.n_folds, "n_perm": config.permutations,
             "p_floor": config.p_floor, "seed": config.seed}  # fmt: skip
    status = status_of(labels, groups)
    folds = assign_folds(groups, config.n_folds, seed=config.seed)
    if status != "ok":
        return Probed({**about, **dict.fromkeys(MEASURED, np.nan), "status": status}, folds, np.full(n, np.nan))
    versions = np.concatenate([labels.y[None], permuted(labels.y, groups, config.permutations, seed=config.seed)])
    found = held_out(config.kind, data.x, versions, folds, labels, seed=config.seed)
    values: dict[str, Any] = judged(data, versions, found.values, folds, _means(labels.y, folds), config)
    values |= {"alpha": float(found.strengths[0])}
    values |= _control(data, config) | _information(data, versions, folds, config)
    row = {**about, **{name: values[name] for name in MEASURED}, "status": status}
    return Probed(row, folds, told(labels, found.values[0]))


def judged(
    data: Data, versions: np.ndarray, guesses: np.ndarray, folds: np.ndarray, constant: np.ndarray, config: ProbeConfig
) -> dict[str, float]:
    """Return score, interval, baselines and null of guesses, the first version of which is of the real labels.

    constant: [n], the mean of the rows that each row's probe was fitted on; used for numbers alone.
    """
    labels, y = data.labels, data.labels.y
    scores = np.array([score(labels, v, g, folds) for v, g in zip(versions, guesses, strict=True)])
    low, high = interval(labels, y, guesses[0], folds, data.groups, n_boot=config.n_boot, seed=config.seed)
    null = scores[1:][np.isfinite(scores[1:])]
    baseline, majority = _baselines(labels, constant)
    p = permutation_p(np.sum(null >= scores[0]), np.sum(null <= scores[0]), len(null))
    return {
        "score": float(scores[0]), "ci_low": low, "ci_high": high, "baseline": baseline,
        "accuracy": accuracy(labels, y, guesses[0]), "majority": majority,
        "null_mean": float(null.mean()) if len(null) else np.nan,
        "null_sd": float(null.std(ddof=1)) if len(null) > 1 else np.nan,
        "p": float(p) if np.isfinite(scores[0]) else np.nan,
    }  # fmt: skip


def told(labels: Labels, guesses: np.ndarray) -> np.ndarray:
    """Return the number or the code of the class that each row was told to be, float64 [n]."""
    if not labels.names:
        return guesses
    return (guesses > 0).astype(np.float64) if labels.n_classes == 2 else guesses.argmax(axis=1).astype(np.float64)


def status_of(labels: Labels, groups: np.ndarray) -> str:
    """Return "ok", or why there can be no score."""
    n_groups = len(np.unique(groups))
    if len(np.unique(labels.y)) < 2:
        return "constant label"
    if n_groups < MIN_GROUPS:
        return f"too few groups ({n_groups}; at least {MIN_GROUPS})"
    if labels.names:
        least = min(len(np.unique(groups[labels.y == code])) for code in np.unique(labels.y))
        if least < 2:
            return "a class is in one group alone"
    return "ok"


def _means(y: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Return for each row the mean of the other folds, float64 [n]."""
    out = np.empty(len(y))
    for fold in np.unique(folds):
        out[folds == fold] = y[folds != fold].mean()
    return out


def _baselines(labels: Labels, constant: np.ndarray) -> tuple[float, float]:
    """Return the score of a constant guess, and the accuracy of the commonest class."""
    if labels.names:
        share = np.bincount(labels.y).max() / len(labels.y)
        return (0.5 if labels.n_classes == 2 else 1 / len(np.unique(labels.y))), float(share)
    return score(labels, labels.y, constant, np.zeros(len(constant))), float("nan")


def _control(data: Data, config: ProbeConfig) -> dict[str, float]:
    """Return task and control scores under folds of rows: types then recur, and can be known by heart."""
    if data.types is None:
        return dict.fromkeys(("score_row_folds", "control_score", "selectivity"), np.nan)
    y = data.labels.y
    control = control_labels(data.types, y, seed=config.seed)
    folds = assign_row_folds(len(y), config.n_folds, seed=config.seed)
    both = np.stack([y, control])
    found = held_out(config.kind, data.x, both, folds, data.labels, seed=config.seed).values
    task, other = (score(data.labels, v, g, folds) for v, g in zip(both, found, strict=True))
    return {"score_row_folds": task, "control_score": other, "selectivity": task - other}


def _information(data: Data, versions: np.ndarray, folds: np.ndarray, config: ProbeConfig) -> dict[str, float]:
    """Return the online code of classes, and the share of the activations' variance; each beside permuted labels."""
    labels = data.labels
    names = ("mdl_bits", "mdl_compression", "mdl_compression_null", "variance_explained_null")
    out: dict[str, float] = dict.fromkeys(names, np.nan)
    if labels.names and config.description_length:
        order = group_order(data.groups, seed=config.seed)
        codes = [
            online_code(data.x[order], v[order], n_classes=labels.n_classes, ridges=MDL_RIDGES) for v in versions[:2]
        ]
        out |= {"mdl_bits": codes[0].bits, "mdl_compression": codes[0].compression}
        out["mdl_compression_null"] = codes[1].compression if len(codes) > 1 else np.nan
    out["variance_explained"] = variance_explained(data.x, labels.columns(), folds)
    if len(versions) > 1:
        null = [Labels(v, labels.names).columns() for v in versions[1:6]]
        out["variance_explained_null"] = float(np.mean([variance_explained(data.x, f, folds) for f in null]))
    return out
